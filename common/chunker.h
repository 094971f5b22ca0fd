/* Content-defined chunking: FastCDC (Xia et al., USENIX ATC 2016) over a 64-bit gear hash, whose
 * values are judged through AES, with a table and a key that are a repository's secret.
 *
 * Where a gear or any other rolling hash decides by itself, the cuts of files that somebody knows
 * give its secret table away, and with it the cuts of every file (Truong, Merz, Scarlata, Günther,
 * Paterson: Breaking and Fixing Content-Defined Chunking, CCS 2025; Alexeev, Percival, Zhang:
 * Chunking Attacks on File Backup Services, 2025). Through AES a cut says nothing of another but
 * where the same 64 bytes stand before both. PROTOCOL.md, "cutting", has every byte of it, and
 * common/README.md what it protects and what it doesn't. */
#ifndef HF_COMMON_CHUNKER_H
#define HF_COMMON_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

/* No chunk is longer: on the wire, in packs, anywhere. */
#define HF_CHUNK_MAX_BYTES 524288u /* 512 KiB */
/* Content up to this size is one chunk whatever its class, and needs no secret. */
#define HF_CHUNK_SINGLE_MAX_BYTES 65536u /* 64 KiB */
/* Content beyond this is cut into longer chunks, whatever its class. */
#define HF_CHUNK_LARGE_BYTES (UINT64_C(16) << 30)
/* What a repository's cuts are made from. */
#define HF_CHUNK_SEED_BYTES 32u

struct hf_chunker_params {
    size_t single_max_bytes; /* content up to this size is one chunk */
    size_t min_bytes;        /* 64 at least */
    size_t average_bytes;    /* a power of two: cuts are rare before it and frequent after it */
    size_t max_bytes;        /* <= HF_CHUNK_MAX_BYTES */
};

/* For content of that size in a source of that class (NULL, or one that isn't known: the general
 * ones). Chosen by measurement: collector/store/README.md. Static memory. */
const struct hf_chunker_params *hf_chunker_params_of(const char *class_name, uint64_t size);

struct hf_chunker; /* never changes: any number of threads may cut with it */

/* NULL when out of memory. */
struct hf_chunker *hf_chunker_new(const uint8_t seed[HF_CHUNK_SEED_BYTES]);
/* One owner more; every owner frees it. */
struct hf_chunker *hf_chunker_share(struct hf_chunker *chunker);
void hf_chunker_free(struct hf_chunker *chunker); /* NULL is fine */

/* Length of the first chunk of data. `last` is non-zero when no data follows; else the caller
 * passes at least max_bytes. The result, in 1..max_bytes for size > 0, depends on nothing else than
 * the seed, params and data. */
size_t hf_chunker_cut(const struct hf_chunker *chunker, const struct hf_chunker_params *params,
                      const uint8_t *data, size_t size, int last);

#endif
