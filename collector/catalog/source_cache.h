/* The counters of sources that versions move. Kept in memory across transactions, since only this
 * process writes them; written back once a transaction instead of once a version. Private to
 * catalog/. */
#ifndef HF_COLLECTOR_CATALOG_SOURCE_CACHE_H
#define HF_COLLECTOR_CATALOG_SOURCE_CACHE_H

#include "collector/catalog/db.h"

struct source_entry {
    uint64_t row, host_row;
    uint64_t committed_seq, versions, live_files, live_bytes;
    int64_t last_at_ns, last_received_ns;
    bool changed;
    struct source_entry *next_changed;
};

struct source_cache { /* open addressing by row */
    struct source_entry **slots;
    size_t slot_count, used;
    struct source_entry *changed; /* those to write back */
};

/* HF_ERR_NOT_FOUND when there is no such source. The entry stays where it is until
 * source_cache_clear; say source_cache_changed after changing it. */
int source_cache_get(struct source_cache *cache, struct db *db, uint64_t row,
                     struct source_entry **out, struct hf_error *error);
void source_cache_changed(struct source_cache *cache, struct source_entry *entry);
/* Write what changed. */
int source_cache_flush(struct source_cache *cache, struct db *db, struct hf_error *error);
/* Forget everything, changes too (after a rollback). */
void source_cache_clear(struct source_cache *cache);

#endif
