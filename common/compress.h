/* zstd, one context per struct, one thread at a time. */
#ifndef HF_COMMON_COMPRESS_H
#define HF_COMMON_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

/* How a chunk's bytes are written; on the wire and in packs. */
enum hf_codec { HF_CODEC_RAW = 0, HF_CODEC_ZSTD = 1 };

struct hf_compressor;
struct hf_decompressor;

struct hf_compressor *hf_compressor_new(int level);
void hf_compressor_free(struct hf_compressor *compressor);
/* Append the shorter of raw and zstd to out; *codec says which. Content that a probe
 * of 4 KiB from its middle or the whole result shows not to shrink by 3 % is written raw. */
int hf_compress(struct hf_compressor *compressor, const uint8_t *data, size_t size,
                struct hf_buf *out, enum hf_codec *codec);

struct hf_decompressor *hf_decompressor_new(void);
void hf_decompressor_free(struct hf_decompressor *decompressor);
/* Exactly plain_size bytes into out (the caller checked plain_size against its limit
 * before it allocated). HF_ERR_CORRUPT for anything else: another size, trailing
 * bytes, an unknown codec, a frame that asks for a window over the limit. */
int hf_decompress(struct hf_decompressor *decompressor, enum hf_codec codec, const uint8_t *data,
                  size_t size, uint8_t *out, size_t plain_size);

#endif
