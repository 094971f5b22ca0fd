/* The table of frame types: one row each, with its encoder and decoder. Private to proto/. */
#ifndef HF_PROTO_CODEC_H
#define HF_PROTO_CODEC_H

#include "common/chunker.h"
#include "proto/frame.h"
#include "proto/reader.h"
#include "proto/writer.h"

struct proto_codec {
    enum hf_frame_type type;
    const char *name;
    size_t fields;  /* after type and seq; fewer are refused, more are ignored */
    size_t younger; /* fields behind those, which a frame may lack: see reader->more */
    bool bulk;
    void (*encode)(const struct hf_frame *frame,
                   struct proto_writer *writer); /* `fields` objects, and `younger` */
    void (*decode)(struct proto_reader *reader, struct hf_frame *frame);
};

/* NULL for an unknown type. */
const struct proto_codec *codec_find(enum hf_frame_type type);

/* Limits that only the two ends of a field need to agree on. */
#define HF_CAPABILITIES_MAX         32u
#define HF_ROOTS_MAX                64u
#define HF_STREAMS_MAX              1024u
#define HF_BLOB_MAX_BYTES           65536u
#define HF_RESULT_MESSAGE_MAX_BYTES (2u * HF_PATH_MAX_BYTES)

/* Versions (version.c). */
void version_write(const struct hf_version *version, struct proto_writer *writer);
void version_read(struct proto_reader *reader, struct hf_version *version);

/* One for each row (encode.c, decode.c). */
#define CODEC_FUNCTIONS(name)                                                                      \
    void encode_##name(const struct hf_frame *frame, struct proto_writer *writer);                 \
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
CODEC_FUNCTIONS(dictionary_get);
CODEC_FUNCTIONS(dictionary);
CODEC_FUNCTIONS(offer);
CODEC_FUNCTIONS(answer);
CODEC_FUNCTIONS(next);
CODEC_FUNCTIONS(page);
CODEC_FUNCTIONS(results);
CODEC_FUNCTIONS(done);
CODEC_FUNCTIONS(cancel);

#endif
