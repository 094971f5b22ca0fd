/* Memory of results: blocks in a chain, freed together (catalog_memory_free). A failed allocation
 * is remembered in .exhausted, so that a row may be filled field by field and looked at once.
 * Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_MEMORY_H
#define HF_COLLECTOR_CATALOG_MEMORY_H

#include <stddef.h>

#include "collector/catalog/catalog.h"

/* Zeroed, aligned for anything; NULL when out of memory. size 0 gives a valid pointer. */
void *memory_take(struct hf_catalog_memory *memory, size_t size);
void *memory_take_array(struct hf_catalog_memory *memory, size_t count, size_t size);
/* Copies. On failure the empty view, or "". */
struct hf_bytes memory_copy_bytes(struct hf_catalog_memory *memory, const void *data, size_t size);
const char *memory_copy_text(struct hf_catalog_memory *memory, const void *data, size_t size);

/* An array that grows while rows come; .rows is of `size` bytes each. */
struct memory_rows {
    void *rows;
    size_t count, capacity, size;
};
/* Room for one more row, zeroed and counted; NULL when out of memory. */
void *memory_add_row(struct hf_catalog_memory *memory, struct memory_rows *rows);

#endif
