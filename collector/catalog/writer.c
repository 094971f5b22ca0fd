#include "collector/catalog/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "collector/catalog/apply.h"
#include "collector/catalog/query.h"
#include "collector/catalog/schema.h"

/* The whole database is read for damage at opening only while that is quick. */
#define QUICK_CHECK_MAX_BYTES (INT64_C(64) * 1024 * 1024)

/* The log has pages of 2 KiB (4 KiB in older catalogs): it is 128 MiB long before it is copied. */
static const struct checkpoint_limits log_limits = {
    .log_frames = 65536, .rest_frames = 4096, .log_frames_max = 262144};

/* SQLite's own locks can't say "one writing process for good"; and a lock on the database file
 * itself would be dropped by whatever closes that file in this process. */
static int lock_writer(const char *path, int *out, struct hf_error *error)
{
    struct hf_buf name = {0};
    int rc = hf_buf_append_format(&name, "%s-lock", path);
    if (rc == HF_OK) {
        rc = hf_buf_terminate(&name);
    }
    if (rc != HF_OK) {
        hf_buf_free(&name);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s", path);
    }
    int fd = open((const char *)name.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        rc = hf_error_set(error, HF_ERR_IO, errno, "The catalog's lock %s can't be opened",
                          (const char *)name.data);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = hf_error_set(error, HF_ERR_AGAIN, 0,
                          "The catalog %s is in use by another collector: stop that one first",
                          path);
        close(fd);
        fd = -1;
    }
    hf_buf_free(&name);
    *out = fd;
    return rc;
}

static int find_damage(struct hf_catalog *catalog, struct hf_error *error)
{
    int64_t pages = 0;
    int64_t page_size = 0;
    int rc = db_exec_int(&catalog->db, "PRAGMA page_count", &pages, error);
    if (rc == HF_OK) {
        rc = db_exec_int(&catalog->db, "PRAGMA page_size", &page_size, error);
    }
    if (rc != HF_OK || pages * page_size > QUICK_CHECK_MAX_BYTES) {
        return rc;
    }
    static const char sql[] = "PRAGMA quick_check(1)";
    DB_STATEMENT statement = NULL;
    rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = db_step(&catalog->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    struct hf_bytes verdict = db_column_view(statement, 0);
    if (verdict.size == 2 && memcmp(verdict.data, "ok", 2) == 0) {
        return HF_OK;
    }
    hf_error_set(error, HF_ERR_CORRUPT, 0, "%.*s", APPLY_TEXT(verdict));
    db_done(&statement);
    return db_fail(&catalog->db, SQLITE_CORRUPT, error);
}

static int start_known(struct hf_catalog *catalog, struct hf_error *error)
{
    int64_t chunks = 0;
    int rc = db_exec_int(&catalog->db, "SELECT chunks FROM totals", &chunks, error);
    return rc == HF_OK ? known_start(catalog->db.path, (uint64_t)chunks, &catalog->known, error)
                       : rc;
}

static int prepare_to_write(struct hf_catalog *catalog, struct hf_error *error)
{
    /* Chunk ids are random and versions come from everywhere: nearly every row is written to a page
     * of its own, so small pages keep the log short. Those of a catalog that exists stay. */
    static const char settings[] = "PRAGMA page_size=2048; PRAGMA journal_mode=WAL; "
                                   "PRAGMA cache_size=-65536;"
                                   "PRAGMA journal_size_limit=134217728;";
    int rc = db_exec(&catalog->db, settings, error);
    if (rc == HF_OK) {
        rc = find_damage(catalog, error);
    }
    if (rc == HF_OK) {
        rc = schema_migrate(&catalog->db, error);
    }
    if (rc == HF_OK) {
        rc = start_known(catalog, error);
    }
    return rc == HF_OK ? checkpoint_start(&catalog->db, &log_limits, &catalog->checkpoint, error)
                       : rc;
}

int catalog_open(const char *path, struct hf_catalog **out, struct hf_error *error)
{
    struct hf_catalog *catalog = calloc(1, sizeof *catalog);
    *out = NULL;
    if (!catalog) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s", path);
    }
    catalog->lock_fd = -1;
    int rc = lock_writer(path, &catalog->lock_fd, error);
    if (rc == HF_OK) {
        rc = db_open(&catalog->db, path, DB_WRITE, error);
    }
    if (rc == HF_OK) {
        rc = prepare_to_write(catalog, error);
    }
    if (rc != HF_OK) {
        catalog_close(catalog);
        return rc;
    }
    *out = catalog;
    return HF_OK;
}

void catalog_close(struct hf_catalog *catalog)
{
    if (!catalog) {
        return;
    }
    catalog_rollback(catalog);
    source_cache_clear(&catalog->sources);
    checkpoint_stop(catalog->checkpoint);
    known_stop(catalog->known);
    db_close(&catalog->db);
    if (catalog->lock_fd >= 0) {
        close(catalog->lock_fd);
    }
    free(catalog);
}

int catalog_begin(struct hf_catalog *catalog, struct hf_error *error)
{
    static const char sql[] = "BEGIN IMMEDIATE";
    sqlite3_stmt *statement;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc == HF_OK) {
        rc = db_run(&catalog->db, statement, error);
    }
    catalog->in_transaction = rc == HF_OK;
    return rc;
}

static int write_totals(struct hf_catalog *catalog, struct hf_error *error)
{
    static const char sql[] =
        "UPDATE totals SET versions = versions + ?1, chunks = chunks + ?2,"
        " stored_bytes = stored_bytes + ?3, plain_bytes = plain_bytes + ?4 WHERE id = 1";
    DB_STATEMENT statement = NULL;
    if (catalog->added.versions == 0 && catalog->added.chunks == 0) {
        return HF_OK;
    }
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, catalog->added.versions);
    db_bind_uint(statement, 2, catalog->added.chunks);
    db_bind_uint(statement, 3, catalog->added.stored_bytes);
    db_bind_uint(statement, 4, catalog->added.plain_bytes);
    return db_run(&catalog->db, statement, error);
}

static int write_progress(struct hf_catalog *catalog, struct hf_error *error)
{
    static const char sql[] = "UPDATE progress SET pack = ?1, offset = ?2, entry = ?3 WHERE id = 1";
    DB_STATEMENT statement = NULL;
    if (!catalog->applied.moved) {
        return HF_OK;
    }
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, catalog->applied.location.pack);
    db_bind_uint(statement, 2, catalog->applied.location.offset);
    db_bind_uint(statement, 3, catalog->applied.location.entry);
    return db_run(&catalog->db, statement, error);
}

/* Everything that the transaction kept in memory is in the tables or forgotten. */
static void end_transaction(struct hf_catalog *catalog)
{
    memset(&catalog->added, 0, sizeof catalog->added);
    memset(&catalog->live, 0, sizeof catalog->live);
    catalog->applied.moved = false;
    catalog->in_transaction = false;
}

int catalog_commit(struct hf_catalog *catalog, struct hf_error *error)
{
    static const char sql[] = "COMMIT";
    sqlite3_stmt *statement;
    int rc = source_cache_flush(&catalog->sources, &catalog->db, error);
    if (rc == HF_OK) {
        rc = write_totals(catalog, error);
    }
    if (rc == HF_OK) {
        rc = write_progress(catalog, error);
    }
    if (rc == HF_OK) {
        rc = db_prepare(&catalog->db, sql, &statement, error);
    }
    if (rc == HF_OK) {
        rc = db_run(&catalog->db, statement, error);
    }
    if (rc != HF_OK) {
        catalog_rollback(catalog);
        return rc;
    }
    end_transaction(catalog);
    checkpoint_after_commit(catalog->checkpoint);
    return HF_OK;
}

void catalog_rollback(struct hf_catalog *catalog)
{
    if (!catalog->in_transaction) {
        return;
    }
    if (!sqlite3_get_autocommit(catalog->db.handle)) { /* some failures roll back by themselves */
        sqlite3_exec(catalog->db.handle, "ROLLBACK", NULL, NULL, NULL);
    }
    source_cache_clear(&catalog->sources);
    recent_clear(&catalog->recent);
    catalog->last_path_row = 0;
    catalog->applied.known = false;
    end_transaction(catalog);
}

int catalog_applied(struct hf_catalog *catalog, struct hf_location *out, struct hf_error *error)
{
    static const char sql[] = "SELECT pack, offset, entry FROM progress WHERE id = 1";
    if (!catalog->applied.known) {
        DB_STATEMENT statement = NULL;
        int rc = db_prepare(&catalog->db, sql, &statement, error);
        if (rc == HF_OK) {
            rc = db_step(&catalog->db, statement, error);
        }
        if (rc < 0) {
            return rc;
        }
        if (rc != DB_ROW) {
            return db_fail(&catalog->db, SQLITE_CORRUPT, error);
        }
        catalog->applied.location =
            (struct hf_location){.pack = db_column_uint(statement, 0),
                                 .offset = db_column_uint(statement, 1),
                                 .entry = (uint32_t)db_column_uint(statement, 2)};
        catalog->applied.known = true;
    }
    *out = catalog->applied.location;
    return HF_OK;
}

int catalog_host_find(struct hf_catalog *catalog, const char *host_id, uint64_t *host_row,
                      struct hf_error *error)
{
    return apply_find_host(catalog, event_text(host_id), host_row, NULL, error);
}

int catalog_source_find(struct hf_catalog *catalog, uint64_t host_row, struct hf_bytes name,
                        uint64_t *source_row, struct hf_error *error)
{
    static const char sql[] = "SELECT row FROM sources WHERE host_row = ?1 AND name = ?2";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    db_bind_text(statement, 2, name);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_ROW) {
        *source_row = db_column_uint(statement, 0);
        return HF_OK;
    }
    return rc < 0 ? rc
                  : hf_error_set(error, HF_ERR_NOT_FOUND, 0, "The host has no source %.*s",
                                 APPLY_TEXT(name));
}

int catalog_source_state(struct hf_catalog *catalog, uint64_t source_row,
                         struct hf_source_state_row *out, struct hf_error *error)
{
    struct source_entry *entry;
    int rc = source_cache_get(&catalog->sources, &catalog->db, source_row, &entry, error);
    if (rc != HF_OK) {
        return rc;
    }
    *out = (struct hf_source_state_row){.host_row = entry->host_row,
                                        .committed_seq = entry->committed_seq,
                                        .live_files = entry->live_files,
                                        .live_bytes = entry->live_bytes,
                                        .last_at_ns = entry->last_at_ns};
    return HF_OK;
}

int catalog_chunk_find(struct hf_catalog *catalog, const uint8_t id[HF_HASH_BYTES],
                       struct hf_chunk_place *out, struct hf_error *error)
{
    return query_chunk(&catalog->db, id, out, error);
}

int catalog_chunk_is_held(struct hf_catalog *catalog, uint64_t host_row,
                          const uint8_t id[HF_HASH_BYTES], bool *held, struct hf_error *error)
{
    struct hf_chunk_place place;
    return query_chunk_held(&catalog->db, host_row, id, held, &place, error);
}
