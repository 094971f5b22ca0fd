#include "collector/catalog/source_cache.h"

#include <stdlib.h>

#define SLOTS_MIN 64

static size_t first_slot(const struct source_cache *cache, uint64_t row)
{
    return (size_t)(row * UINT64_C(0x9e3779b97f4a7c15)) & (cache->slot_count - 1);
}

static void place(struct source_cache *cache, struct source_entry *entry)
{
    size_t slot = first_slot(cache, entry->row);
    while (cache->slots[slot]) {
        slot = (slot + 1) & (cache->slot_count - 1);
    }
    cache->slots[slot] = entry;
}

static int make_room(struct source_cache *cache)
{
    if (cache->slot_count > 0 && (cache->used + 1) * 2 <= cache->slot_count) {
        return HF_OK;
    }
    struct source_cache grown = *cache;
    grown.slot_count = cache->slot_count ? cache->slot_count * 2 : SLOTS_MIN;
    grown.slots = calloc(grown.slot_count, sizeof(struct source_entry *));
    if (!grown.slots) {
        return HF_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < cache->slot_count; i++) {
        if (cache->slots[i]) {
            place(&grown, cache->slots[i]);
        }
    }
    free(cache->slots);
    *cache = grown;
    return HF_OK;
}

static int load(struct db *db, uint64_t row, struct source_entry *entry, struct hf_error *error)
{
    static const char sql[] = "SELECT host_row, committed_seq, versions, live_files, live_bytes,"
                              " last_at_ns, last_received_ns FROM sources WHERE row = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, row);
    rc = db_step(db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no source %llu",
                            (unsigned long long)row);
    }
    if (rc != DB_ROW) {
        return rc;
    }
    *entry = (struct source_entry){.row = row,
                                   .host_row = db_column_uint(statement, 0),
                                   .committed_seq = db_column_uint(statement, 1),
                                   .versions = db_column_uint(statement, 2),
                                   .live_files = db_column_uint(statement, 3),
                                   .live_bytes = db_column_uint(statement, 4),
                                   .last_at_ns = db_column_int(statement, 5),
                                   .last_received_ns = db_column_int(statement, 6)};
    return HF_OK;
}

int source_cache_get(struct source_cache *cache, struct db *db, uint64_t row,
                     struct source_entry **out, struct hf_error *error)
{
    if (cache->slot_count > 0) {
        size_t slot = first_slot(cache, row);
        while (cache->slots[slot]) {
            if (cache->slots[slot]->row == row) {
                *out = cache->slots[slot];
                return HF_OK;
            }
            slot = (slot + 1) & (cache->slot_count - 1);
        }
    }
    struct source_entry loaded;
    int rc = load(db, row, &loaded, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct source_entry *entry = make_room(cache) == HF_OK ? malloc(sizeof *entry) : NULL;
    if (!entry) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for a source's counters");
    }
    *entry = loaded;
    place(cache, entry);
    cache->used++;
    *out = entry;
    return HF_OK;
}

static int write_back(struct db *db, const struct source_entry *entry, struct hf_error *error)
{
    static const char sql[] =
        "UPDATE sources SET committed_seq = ?2, versions = ?3, live_files = ?4, live_bytes = ?5,"
        " last_at_ns = ?6, last_received_ns = ?7 WHERE row = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, entry->row);
    db_bind_uint(statement, 2, entry->committed_seq);
    db_bind_uint(statement, 3, entry->versions);
    db_bind_uint(statement, 4, entry->live_files);
    db_bind_uint(statement, 5, entry->live_bytes);
    db_bind_int(statement, 6, entry->last_at_ns);
    db_bind_int(statement, 7, entry->last_received_ns);
    return db_run(db, statement, error);
}

void source_cache_changed(struct source_cache *cache, struct source_entry *entry)
{
    if (!entry->changed) {
        entry->changed = true;
        entry->next_changed = cache->changed;
        cache->changed = entry;
    }
}

int source_cache_flush(struct source_cache *cache, struct db *db, struct hf_error *error)
{
    while (cache->changed) {
        struct source_entry *entry = cache->changed;
        int rc = write_back(db, entry, error);
        if (rc != HF_OK) {
            return rc;
        }
        entry->changed = false;
        cache->changed = entry->next_changed;
    }
    return HF_OK;
}

void source_cache_clear(struct source_cache *cache)
{
    for (size_t i = 0; i < cache->slot_count; i++) {
        free(cache->slots[i]);
    }
    free(cache->slots);
    *cache = (struct source_cache){0};
}
