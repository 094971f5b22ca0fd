/* Content-defined chunking: FastCDC (Xia et al., USENIX ATC 2016) with a 64-bit gear
 * hash and normalisation level 2; the gear table is the first 256 outputs of
 * splitmix64 from a fixed seed, so that every agent cuts alike. */
#ifndef HF_COMMON_CHUNKER_H
#define HF_COMMON_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

/* Content up to this size is one chunk and is never cut. */
#define HF_CHUNK_SINGLE_MAX_BYTES 65536u /* 64 KiB */
/* No chunk is longer: on the wire, in packs, anywhere. */
#define HF_CHUNK_MAX_BYTES 524288u /* 512 KiB */

struct hf_chunker_params {
    size_t min_bytes;
    size_t average_bytes; /* a power of two */
    size_t max_bytes;     /* <= HF_CHUNK_MAX_BYTES */
};

extern const struct hf_chunker_params hf_chunker_default; /* 32 KiB, 128 KiB, 512 KiB */

/* Length of the first chunk of data. `last` is non-zero when no data follows; else
 * the caller passes at least max_bytes. Pure; result is in 1..max_bytes for size > 0. */
size_t hf_chunker_cut(const struct hf_chunker_params *params, const uint8_t *data, size_t size,
                      int last);

#endif
