/* The chunks that were added last, so that the versions that name them next need not look them up:
 * a table of a fixed size, in which each chunk has one place. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_RECENT_H
#define HF_COLLECTOR_CATALOG_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hash.h"

/* A host's unit has a few hundred. 192 KiB in all. */
#define RECENT_CHUNKS 4096u

struct recent_chunks {
    struct {
        uint8_t id[HF_HASH_BYTES];
        uint64_t owner; /* 0: free */
        uint32_t size;
    } slots[RECENT_CHUNKS];
};

void recent_add(struct recent_chunks *recent, const uint8_t id[HF_HASH_BYTES], uint64_t owner,
                uint32_t size);
/* False says nothing. */
bool recent_has(const struct recent_chunks *recent, const uint8_t id[HF_HASH_BYTES], uint64_t owner,
                uint32_t size);
/* After a rollback, or when chunks are removed. */
void recent_clear(struct recent_chunks *recent);

#endif
