/* Small contents to learn from, in memory. */
#ifndef HF_COLLECTOR_DICTIONARY_SAMPLES_H
#define HF_COLLECTOR_DICTIONARY_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"

#define HF_SAMPLES_MAX_BYTES (4u * 1024u * 1024u)
/* With what several hosts have counted for each. */
#define HF_SAMPLES_MAX_SEEN_BYTES (4u * HF_SAMPLES_MAX_BYTES)

struct hf_sample {
    uint64_t host;
    uint8_t id[HF_HASH_BYTES]; /* SHA-256 of the content */
    size_t at, size;           /* where it is in bytes */
    bool repeated;             /* another host has the very same, further up */
};

/* Host by host. Zero-initialised it is empty and valid. */
struct hf_samples {
    struct hf_buf bytes;
    struct hf_sample *rows;
    size_t count, room;
    uint32_t *index; /* 2 * room: by id, its last row's number and 1; 0: free */
    size_t seen;     /* bytes of all rows */
};

/* A content of the host, which comes after all others of its or the hosts before. What the host has
 * already is left out. HF_ERR_LIMIT when it would be more than HF_SAMPLES_MAX_BYTES or, in all,
 * HF_SAMPLES_MAX_SEEN_BYTES; HF_ERR_NO_MEMORY. */
int samples_add(struct hf_samples *samples, uint64_t host, const uint8_t id[HF_HASH_BYTES],
                struct hf_bytes content);
struct hf_bytes samples_content(const struct hf_samples *samples, size_t i);
void samples_free(struct hf_samples *samples);

#endif
