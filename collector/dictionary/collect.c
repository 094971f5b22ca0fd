#include "collector/dictionary/collect.h"

#include <stdlib.h>
#include <string.h>

#include "common/dictionary.h"
#include "common/log.h"

#define PAGE_ROWS        512u
#define CANDIDATES_MAX   2048u /* files of one source that are looked at */
#define NEVER_LEARN_FROM "credentials"

struct sources {
    struct hf_collect_source *rows;
    size_t count, room;
};

static int add_source(struct sources *sources, const struct hf_source_row *row)
{
    if (row->versions == 0 || row->live_files == 0 ||
        strcmp(row->class_name, NEVER_LEARN_FROM) == 0 ||
        strlen(row->class_name) > HF_NAME_MAX_BYTES) {
        return HF_OK;
    }
    if (sources->count == sources->room) {
        size_t room = sources->room ? 2 * sources->room : 64;
        struct hf_collect_source *grown = reallocarray(sources->rows, room, sizeof *grown);
        if (!grown) {
            return HF_ERR_NO_MEMORY;
        }
        sources->rows = grown;
        sources->room = room;
    }
    struct hf_collect_source *out = &sources->rows[sources->count++];
    *out = (struct hf_collect_source){.source_row = row->row,
                                      .host_row = row->host_row,
                                      .versions = row->versions,
                                      .last_received_ns = row->last_received_ns};
    memcpy(out->class_name, row->class_name, strlen(row->class_name));
    return HF_OK;
}

static int compare_sources(const void *a, const void *b)
{
    const struct hf_collect_source *left = a;
    const struct hf_collect_source *right = b;
    int order = strcmp(left->class_name, right->class_name);
    if (order != 0) {
        return order;
    }
    if (left->last_received_ns != right->last_received_ns) {
        return left->last_received_ns > right->last_received_ns ? -1 : 1;
    }
    return (left->source_row > right->source_row) - (left->source_row < right->source_row);
}

int collect_sources(struct hf_catalog_reader *catalog, struct hf_collect_source **out,
                    size_t *count, struct hf_error *error)
{
    struct sources sources = {0};
    uint64_t after = 0;
    size_t found = PAGE_ROWS;
    int rc = HF_OK;
    while (rc == HF_OK && found == PAGE_ROWS) {
        struct hf_catalog_memory memory = {0};
        const struct hf_source_row *rows = NULL;
        rc = catalog_source_list(catalog, 0, after, PAGE_ROWS, &memory, &rows, &found, error);
        for (size_t i = 0; rc == HF_OK && i < found; i++) {
            rc = add_source(&sources, &rows[i]);
            after = rows[i].row;
        }
        catalog_memory_free(&memory);
    }
    if (rc != HF_OK) {
        free(sources.rows);
        return rc == HF_ERR_NO_MEMORY
                   ? hf_error_set(error, rc, 0, "No memory for the list of sources")
                   : rc;
    }
    if (sources.count > 0) {
        qsort(sources.rows, sources.count, sizeof *sources.rows, compare_sources);
    }
    *out = sources.rows;
    *count = sources.count;
    return HF_OK;
}

/* A content that may be taken. */
struct candidate {
    int64_t received_ns;
    uint8_t id[HF_HASH_BYTES];
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;
    if (left->received_ns != right->received_ns) {
        return left->received_ns > right->received_ns ? -1 : 1;
    }
    return memcmp(left->id, right->id, HF_HASH_BYTES);
}

static size_t add_candidates(const struct hf_version_page *page, struct candidate *candidates,
                             size_t count)
{
    for (size_t i = 0; i < page->count && count < CANDIDATES_MAX; i++) {
        const struct hf_version_row *row = &page->rows[i];
        const struct hf_version *version = &row->version;
        if (row->implied || version->type != HF_FILE_REGULAR || version->depth != 0 ||
            version->refs.size != HF_CHUNK_REF_BYTES ||
            version->size > HF_DICTIONARY_CONTENT_MAX_BYTES) {
            continue;
        }
        candidates[count].received_ns = row->received_ns;
        memcpy(candidates[count].id, version->refs.data, HF_HASH_BYTES);
        count++;
    }
    return count;
}

/* The small files of the source as it is now, the newest first. */
static int find_candidates(struct hf_catalog_reader *catalog, uint64_t source_row,
                           struct candidate *candidates, size_t *count, struct hf_error *error)
{
    struct hf_buf after = {0};
    bool last = false;
    int rc = HF_OK;
    *count = 0;
    for (size_t looked_at = 0; rc == HF_OK && !last && looked_at < CANDIDATES_MAX;) {
        struct hf_catalog_memory memory = {0};
        struct hf_version_page page = {0};
        struct hf_timeline_query query = {.source_row = source_row,
                                          .at_ns = HF_CATALOG_NOW,
                                          .after = {after.data, after.size},
                                          .limit = PAGE_ROWS};
        rc = catalog_tree(catalog, &query, &memory, &page, error);
        if (rc == HF_OK) {
            *count = add_candidates(&page, candidates, *count);
            looked_at += page.count + 1; /* empty pages end too */
            last = page.last;
            hf_buf_clear(&after);
            rc = hf_buf_append(&after, page.next.data, page.next.size);
        }
        catalog_memory_free(&memory);
    }
    hf_buf_free(&after);
    if (rc == HF_OK && *count > 0) {
        qsort(candidates, *count, sizeof *candidates, compare_candidates);
    }
    return rc;
}

/* Up to bytes of the source's content that is new, and four times as much that others have too. */
static int collect_source(struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                          const struct hf_collect_source *source, struct candidate *candidates,
                          size_t bytes, struct hf_samples *samples, struct hf_error *error)
{
    struct hf_buf plain = {0};
    size_t count = 0;
    size_t new_at = samples->bytes.size;
    size_t seen_at = samples->seen;
    int rc = find_candidates(catalog, source->source_row, candidates, &count, error);
    for (size_t i = 0;
         rc == HF_OK && i < count && samples->bytes.size - new_at < bytes &&
         samples->seen - seen_at < HF_SAMPLES_MAX_SEEN_BYTES / HF_SAMPLES_MAX_BYTES * bytes;
         i++) {
        struct hf_chunk_place place;
        struct hf_error failure = {0};
        hf_buf_clear(&plain);
        rc = catalog_chunk_locate(catalog, candidates[i].id, &place, &failure);
        rc = rc == HF_OK ? store_read_chunk(store, &place.place, candidates[i].id, &plain, &failure)
                         : rc;
        if (rc != HF_OK && rc != HF_ERR_NO_MEMORY) {
            hf_log_debug("Nothing is learned from a content: %s", failure.message);
            rc = HF_OK;
            continue;
        }
        rc = rc == HF_OK ? samples_add(samples, source->host_row, candidates[i].id,
                                       (struct hf_bytes){plain.data, plain.size})
                         : rc;
    }
    hf_buf_free(&plain);
    return rc;
}

/* Of the sources, those of the hosts that sent last, host by host; returns how many. */
static size_t choose(const struct hf_collect_source *sources, size_t count,
                     struct hf_collect_source *chosen)
{
    uint64_t hosts[HF_COLLECT_HOSTS_MAX];
    size_t host_count = 0;
    size_t chosen_count = 0;
    for (size_t i = 0; i < count && host_count < HF_COLLECT_HOSTS_MAX; i++) {
        size_t known = 0;
        while (known < host_count && hosts[known] != sources[i].host_row) {
            known++;
        }
        if (known == host_count) {
            hosts[host_count++] = sources[i].host_row;
        }
    }
    for (size_t host = 0; host < host_count; host++) {
        size_t of_host = 0;
        for (size_t i = 0; i < count && of_host < HF_COLLECT_SOURCES_MAX; i++) {
            if (sources[i].host_row == hosts[host]) {
                chosen[chosen_count++] = sources[i];
                of_host++;
            }
        }
    }
    return chosen_count;
}

int collect_samples(struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                    const struct hf_collect_source *sources, size_t count,
                    struct hf_samples *samples, struct hf_error *error)
{
    size_t room = (size_t)HF_COLLECT_HOSTS_MAX * HF_COLLECT_SOURCES_MAX;
    struct hf_collect_source *chosen = calloc(room, sizeof *chosen);
    struct candidate *candidates = calloc(CANDIDATES_MAX, sizeof *candidates);
    int rc = chosen && candidates ? HF_OK : HF_ERR_NO_MEMORY;
    size_t chosen_count = rc == HF_OK ? choose(sources, count, chosen) : 0;
    for (size_t i = 0; rc == HF_OK && i < chosen_count; i++) {
        size_t share = HF_SAMPLES_MAX_BYTES / chosen_count;
        rc = collect_source(catalog, store, &chosen[i], candidates, share, samples, error);
    }
    free(candidates);
    free(chosen);
    if (rc == HF_ERR_LIMIT) {
        return HF_OK; /* enough */
    }
    return rc == HF_ERR_NO_MEMORY ? hf_error_set(error, rc, 0, "No memory for what is learned from")
                                  : rc;
}
