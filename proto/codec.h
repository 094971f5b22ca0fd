/* The table of frame types: one row each, with its encoder and decoder. Private to proto/. */
#ifndef HF_PROTO_CODEC_H
#define HF_PROTO_CODEC_H

#include <msgpack.h>

#include "common/chunker.h"
#include "proto/frame.h"
#include "proto/reader.h"

struct proto_codec {
    enum hf_frame_type type;
    const char *name;
    size_t fields; /* after type and seq; fewer are refused, more are ignored */
    bool bulk;
    /* Encoders write exactly `fields` objects and return 0, or HF_ERR_LIMIT for a frame that breaks
     * a limit. Packing can only fail for memory, which packer_failed knows. */
    int (*encode)(const struct hf_frame *frame, msgpack_packer *packer);
    void (*decode)(struct proto_reader *reader, struct hf_frame *frame);
};

/* NULL for an unknown type. */
const struct proto_codec *codec_find(enum hf_frame_type type);

/* Packing (pack.c). */
void pack_bytes(msgpack_packer *packer, struct hf_bytes bytes); /* as bin */
void pack_text(msgpack_packer *packer, struct hf_bytes text);   /* as str */

/* Versions (version.c). */
int version_pack(const struct hf_version *version, msgpack_packer *packer);
void version_read(struct proto_reader *reader, struct hf_version *version);

/* One for each row (encode.c, decode.c). */
#define CODEC_FUNCTIONS(name)                                                                      \
    int encode_##name(const struct hf_frame *frame, msgpack_packer *packer);                       \
    void decode_##name(struct proto_reader *reader, struct hf_frame *frame)
CODEC_FUNCTIONS(hello);
CODEC_FUNCTIONS(welcome);
CODEC_FUNCTIONS(source);
CODEC_FUNCTIONS(source_state);
CODEC_FUNCTIONS(ids);
CODEC_FUNCTIONS(need);
CODEC_FUNCTIONS(chunks);
CODEC_FUNCTIONS(versions);
CODEC_FUNCTIONS(ack);
CODEC_FUNCTIONS(credit);
CODEC_FUNCTIONS(mark);
CODEC_FUNCTIONS(error);
CODEC_FUNCTIONS(goaway);
CODEC_FUNCTIONS(list);
CODEC_FUNCTIONS(listing);
CODEC_FUNCTIONS(blob);
CODEC_FUNCTIONS(offer);
CODEC_FUNCTIONS(answer);
CODEC_FUNCTIONS(next);
CODEC_FUNCTIONS(page);
CODEC_FUNCTIONS(results);
CODEC_FUNCTIONS(done);
CODEC_FUNCTIONS(cancel);

#endif
