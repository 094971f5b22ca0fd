/* Units: what capture hands to the session, some versions of one source with the chunks they may
 * need. */
#ifndef HF_AGENT_CAPTURE_UNIT_H
#define HF_AGENT_CAPTURE_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/compress.h"
#include "common/hash.h"
#include "proto/version.h"

struct hf_unit_chunk {
    uint8_t id[HF_HASH_BYTES];
    enum hf_codec codec;
    uint32_t plain_size;
    struct hf_bytes data;
};

struct hf_unit {
    size_t source;               /* index in the configuration */
    struct hf_version *versions; /* in order of seq, without gaps */
    size_t version_count;
    struct hf_unit_chunk *chunks;
    size_t chunk_count;
    size_t bytes; /* memory it holds */

    /* The rest is unit.c's and the outbox's. */
    struct hf_unit *next;
    size_t version_capacity, chunk_capacity;
    struct unit_block *blocks;
    bool sent, taken, spooled;
    unsigned refusals; /* how often the collector lacked its chunks */
};

struct hf_unit *unit_new(size_t source); /* NULL when out of memory */
void unit_free(struct hf_unit *unit);
/* Memory that lives as long as the unit; NULL when there is none. */
uint8_t *unit_alloc(struct hf_unit *unit, size_t size);
/* Copy into the unit. */
struct hf_bytes unit_copy(struct hf_unit *unit, struct hf_bytes bytes);
/* Add a chunk whose data is in the unit's memory already. */
int unit_add_chunk(struct hf_unit *unit, const uint8_t id[HF_HASH_BYTES], enum hf_codec codec,
                   uint32_t plain_size, struct hf_bytes data);
/* Add a version; its views are copied. */
int unit_add_version(struct hf_unit *unit, const struct hf_version *version);
uint64_t unit_first_seq(const struct hf_unit *unit); /* 0 without versions */
uint64_t unit_last_seq(const struct hf_unit *unit);

#endif
