#include "collector/catalog/known.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "collector/catalog/db.h"
#include "common/bytes.h"
#include "common/priority.h"

#define LINE_WORDS   8u /* of 64 bits */
#define LINE_BITS    (LINE_WORDS * 64u)
#define LINES        (KNOWN_BITS / LINE_BITS)
#define BITS_A_CHUNK 4u
#define SLICE        4096 /* chunks read at a time: a longer reading would hold the log */

struct known_chunks {
    _Atomic uint64_t *words;
    _Atomic bool complete, stopping;
    char *path;
    pthread_t loader;
    bool has_loader;
};

/* Ids are hashes already: other parts of them are as good as other hashes. */
static _Atomic uint64_t *line_of(const struct known_chunks *known, const uint8_t *id)
{
    return known->words + hf_get_le64(id) % LINES * LINE_WORDS;
}

void known_add(struct known_chunks *known, const uint8_t id[HF_HASH_BYTES])
{
    _Atomic uint64_t *line = line_of(known, id);
    uint64_t bits = hf_get_le64(id + 8);
    for (unsigned i = 0; i < BITS_A_CHUNK; i++) {
        unsigned bit = (unsigned)(bits % LINE_BITS);
        atomic_fetch_or_explicit(&line[bit / 64], UINT64_C(1) << bit % 64, memory_order_release);
        bits /= LINE_BITS;
    }
}

bool known_is_complete(const struct known_chunks *known)
{
    return known && atomic_load_explicit(&known->complete, memory_order_acquire);
}

bool known_maybe(const struct known_chunks *known, const uint8_t id[HF_HASH_BYTES])
{
    if (!known_is_complete(known)) {
        return true;
    }
    _Atomic uint64_t *line = line_of(known, id);
    uint64_t bits = hf_get_le64(id + 8);
    for (unsigned i = 0; i < BITS_A_CHUNK; i++) {
        unsigned bit = (unsigned)(bits % LINE_BITS);
        uint64_t word = atomic_load_explicit(&line[bit / 64], memory_order_acquire);
        if ((word >> bit % 64 & 1) == 0) {
            return false;
        }
        bits /= LINE_BITS;
    }
    return true;
}

/* The next ones after an id, which becomes the last of them; *count is how many there were. */
static int read_slice(struct known_chunks *known, struct db *db, struct hf_buf *after, int *count)
{
    static const char sql[] = "SELECT id FROM chunks WHERE id > ?1 ORDER BY id LIMIT ?2";
    DB_STATEMENT statement = NULL;
    uint8_t id[HF_HASH_BYTES] = {0};
    int rc = db_prepare(db, sql, &statement, NULL);
    *count = 0;
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_blob(statement, 1, (struct hf_bytes){after->data, after->size});
    db_bind_int(statement, 2, SLICE);
    while ((rc = db_step(db, statement, NULL)) == DB_ROW) {
        db_column_hash(statement, 0, id);
        known_add(known, id);
        (*count)++;
    }
    hf_buf_clear(after);
    return rc < 0 ? rc : hf_buf_append(after, id, sizeof id);
}

/* What is inserted meanwhile is added by whoever inserts it, also where this has been already. A
 * failure leaves the filter silent. */
static void *load(void *context)
{
    static const struct hf_priority low = {
        .nice = 10, .io_class = HF_IO_BEST_EFFORT, .io_priority = HF_IO_PRIORITY_MAX};
    struct known_chunks *known = context;
    struct hf_priority_switch priority;
    struct db db;
    struct hf_buf after = {0};
    int count = SLICE;
    pthread_setname_np(pthread_self(), "hf-known");
    hf_priority_begin(&priority, &low);
    int rc = db_open(&db, known->path, DB_READ, NULL);
    while (rc == HF_OK && count == SLICE && !atomic_load(&known->stopping)) {
        rc = read_slice(known, &db, &after, &count);
    }
    if (rc == HF_OK && count < SLICE) {
        atomic_store_explicit(&known->complete, true, memory_order_release);
    }
    hf_buf_free(&after);
    db_close(&db);
    return NULL;
}

int known_start(const char *path, uint64_t chunks, struct known_chunks **out,
                struct hf_error *error)
{
    struct known_chunks *known = calloc(1, sizeof *known);
    *out = known;
    if (known) {
        known->words = calloc(LINES * LINE_WORDS, sizeof *known->words);
        known->path = strdup(path);
    }
    if (!known || !known->words || !known->path) {
        known_stop(known);
        *out = NULL;
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s", path);
    }
    if (chunks == 0) {
        atomic_store(&known->complete, true);
    } else if (chunks <= KNOWN_CHUNKS_MAX) {
        int failed = pthread_create(&known->loader, NULL, load, known);
        if (failed) {
            known_stop(known);
            *out = NULL;
            return hf_error_set(error, HF_ERR_IO, failed, "Can't start a thread for the catalog %s",
                                path);
        }
        known->has_loader = true;
    }
    return HF_OK;
}

void known_stop(struct known_chunks *known)
{
    if (!known) {
        return;
    }
    if (known->has_loader) {
        atomic_store(&known->stopping, true);
        pthread_join(known->loader, NULL);
    }
    free(known->path);
    free((void *)known->words);
    free(known);
}
