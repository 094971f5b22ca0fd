/* zstd, one context per struct, one thread at a time. */
#ifndef HF_COMMON_COMPRESS_H
#define HF_COMMON_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/dictionary.h"
#include "common/error.h"

/* How a block's bytes are written; on the wire and in packs. */
enum hf_codec {
    HF_CODEC_RAW = 0,
    HF_CODEC_ZSTD = 1,
    HF_CODEC_DICTIONARY = 2, /* zstd with a trained dictionary: the aid */
    HF_CODEC_DELTA = 3 /* zstd with another content before it, which both sides have: the aid */
};
#define HF_CODEC_LAST HF_CODEC_DELTA

struct hf_compressor;
struct hf_decompressor;

/* Is it a codec, and does it need an aid? */
bool hf_codec_is_known(unsigned codec);
bool hf_codec_has_aid(enum hf_codec codec);

struct hf_compressor *hf_compressor_new(int level);
void hf_compressor_free(struct hf_compressor *compressor);
/* Give back the memory that isn't needed while nothing is compressed: about a MiB. */
void hf_compressor_rest(struct hf_compressor *compressor);
/* From the next call on. Levels that zstd does not have become the nearest. */
void hf_compressor_set_level(struct hf_compressor *compressor, int level);
/* Append the shorter of raw and zstd to out; *codec says which. Content that probes
 * (hf_is_incompressible) or the whole result show not to shrink by 3 % is written raw. */
int hf_compress(struct hf_compressor *compressor, const uint8_t *data, size_t size,
                struct hf_buf *out, enum hf_codec *codec);

/* Whether probes of 4 KiB, from its middle and from halfway to both its ends, say that it does not
 * shrink. Content below 64 KiB is not probed: false. */
bool hf_is_incompressible(struct hf_compressor *compressor, const uint8_t *data, size_t size);
/* Append the data compressed with the dictionary (HF_CODEC_DICTIONARY). HF_ERR_LIMIT when it would
 * not be shorter than limit bytes, and out is as it was. */
int hf_compress_dictionary(struct hf_compressor *compressor, const struct hf_dictionary *dictionary,
                           const uint8_t *data, size_t size, size_t limit, struct hf_buf *out);
/* Append what differs from base (HF_CODEC_DELTA); both together are at most 8 MiB. HF_ERR_LIMIT
 * when it would not be shorter than limit bytes, and out is as it was. */
int hf_compress_delta(struct hf_compressor *compressor, struct hf_bytes base, const uint8_t *data,
                      size_t size, size_t limit, struct hf_buf *out);

struct hf_decompressor *hf_decompressor_new(void);
void hf_decompressor_free(struct hf_decompressor *decompressor);
/* Exactly plain_size bytes into out (the caller checked plain_size against its limit
 * before it allocated). aid: the content that a delta was made against, or the
 * dictionary's bytes, which stay prepared for calls to come; else ignored. HF_ERR_CORRUPT for
 * anything else: another size, trailing bytes, an unknown codec, an aid that is no dictionary, a
 * frame that asks for a window over the limit. */
int hf_decompress(struct hf_decompressor *decompressor, enum hf_codec codec, struct hf_bytes aid,
                  const uint8_t *data, size_t size, uint8_t *out, size_t plain_size);

#endif
