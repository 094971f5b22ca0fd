/* Where a record lies in a repository. To everything but the store it is an opaque id. */
#ifndef HF_COLLECTOR_STORE_LOCATION_H
#define HF_COLLECTOR_STORE_LOCATION_H

#include <stdint.h>

struct hf_location {
    uint64_t pack, offset; /* the journal's order is that of (pack, offset) */
    uint32_t size;
};

#endif
