/* Where a record lies in a repository. To everything but the store it is an opaque id. */
#ifndef HF_COLLECTOR_STORE_LOCATION_H
#define HF_COLLECTOR_STORE_LOCATION_H

#include <stdint.h>

struct hf_location {
    uint64_t pack, offset; /* the journal's order is that of (pack, offset, entry) */
    uint32_t entry;        /* of a journal record that holds several */
    uint32_t size;         /* of the record; of a journal entry 0 */
};

/* A chunk of a block: the block's record, and the stretch of its plaintext that the chunk is. */
struct hf_place {
    struct hf_location location;
    uint32_t position, size;
};

#endif
