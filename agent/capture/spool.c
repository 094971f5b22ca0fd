#include "agent/capture/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "agent/capture/unit_codec.h"
#include "common/clock.h"
#include "common/log.h"

struct hf_spool {
    const struct hf_config *config;
    sqlite3 *db;
    sqlite3_stmt *put, *after, *drop_through, *drop_from, *last, *total, *pages;
    struct hf_compressor *compressor;
    uint64_t bytes;      /* of bodies */
    uint64_t used_pages; /* of the database, those in the log beside it included */
    uint64_t log_bytes;  /* that the log may grow to between two transactions */
    bool left_out;       /* some were, and that was said */
};

#define PAGE_BYTES 4096u
/* SQLite's index of the log, in shared memory: a file of this size at least. */
#define INDEX_BYTES 32768u
/* Payload of an overflow page; what a row takes besides at most: a leaf and a split above it; and
 * the pages that change with it, which stand in the log as well. */
#define OVERFLOW_BYTES (PAGE_BYTES - 4u)
#define ROW_PAGES      3u
#define CHANGED_PAGES  4u
/* A page in the log, with its header. */
#define FRAME_BYTES   (PAGE_BYTES + 24u)
#define LOG_MIN_BYTES (8u * FRAME_BYTES)
#define LOG_MAX_BYTES (1024u * FRAME_BYTES)

static int fail(struct hf_spool *spool, struct hf_error *error, const char *doing)
{
    int code = sqlite3_errcode(spool->db) & 0xff;
    return hf_error_set(error, code == SQLITE_FULL ? HF_ERR_NO_SPACE : HF_ERR_IO, 0,
                        "%s in the spool %s/spool.db failed: %s", doing, spool->config->state,
                        sqlite3_errmsg(spool->db));
}

static sqlite3_stmt *prepare(struct hf_spool *spool, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    sqlite3_prepare_v3(spool->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    return statement;
}

static void count_pages(struct hf_spool *spool)
{
    if (sqlite3_step(spool->pages) == SQLITE_ROW) {
        spool->used_pages = (uint64_t)sqlite3_column_int64(spool->pages, 0);
    }
    sqlite3_reset(spool->pages);
}

/* The log is written back when it has grown to its bytes, and cut to them when it starts anew: only
 * the transaction that makes it that long can be beyond. */
static int bound_log(struct hf_spool *spool)
{
    char sql[120];
    uint64_t bytes = spool->config->spool_max_bytes / 16;
    bytes = bytes > LOG_MIN_BYTES ? bytes : LOG_MIN_BYTES;
    spool->log_bytes = bytes < LOG_MAX_BYTES ? bytes : LOG_MAX_BYTES;
    snprintf(sql, sizeof sql, "PRAGMA wal_autocheckpoint = %llu; PRAGMA journal_size_limit = %llu;",
             (unsigned long long)spool->log_bytes / FRAME_BYTES,
             (unsigned long long)spool->log_bytes);
    return sqlite3_exec(spool->db, sql, NULL, NULL, NULL);
}

int spool_open(const struct hf_config *config, struct hf_spool **out, struct hf_error *error)
{
    char path[4200];
    struct hf_spool *spool = calloc(1, sizeof *spool);
    if (!spool) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the spool");
    }
    spool->config = config;
    spool->compressor = hf_compressor_new(1);
    snprintf(path, sizeof path, "%s/spool.db", config->state);
    int code = sqlite3_open_v2(
        path, &spool->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(spool->db, 5000);
        code = sqlite3_exec(
            spool->db,
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE IF NOT EXISTS units (source TEXT NOT NULL,"
            " first INTEGER NOT NULL, last INTEGER NOT NULL, body BLOB NOT NULL,"
            " PRIMARY KEY (source, first)) WITHOUT ROWID",
            NULL, NULL, NULL);
        code = code == SQLITE_OK ? bound_log(spool) : code;
    }
    spool->put = prepare(spool, "INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?)");
    spool->after = prepare(
        spool, "SELECT body FROM units WHERE source = ? AND last > ? ORDER BY first LIMIT 1");
    spool->drop_through = prepare(spool, "DELETE FROM units WHERE source = ? AND last <= ?");
    spool->drop_from = prepare(spool, "DELETE FROM units WHERE source = ? AND last >= ?");
    spool->last = prepare(spool, "SELECT max(last) FROM units WHERE source = ?");
    spool->total = prepare(spool, "SELECT coalesce(sum(length(body)), 0) FROM units");
    spool->pages = prepare(
        spool, "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count");
    if (code != SQLITE_OK || !spool->put || !spool->after || !spool->drop_through ||
        !spool->drop_from || !spool->last || !spool->total || !spool->pages || !spool->compressor) {
        int rc = fail(spool, error, "Opening");
        spool_close(spool);
        return rc;
    }
    if (sqlite3_step(spool->total) == SQLITE_ROW) {
        spool->bytes = (uint64_t)sqlite3_column_int64(spool->total, 0);
    }
    sqlite3_reset(spool->total);
    count_pages(spool);
    *out = spool;
    return HF_OK;
}

void spool_close(struct hf_spool *spool)
{
    if (spool) {
        sqlite3_finalize(spool->put);
        sqlite3_finalize(spool->after);
        sqlite3_finalize(spool->drop_through);
        sqlite3_finalize(spool->drop_from);
        sqlite3_finalize(spool->last);
        sqlite3_finalize(spool->total);
        sqlite3_finalize(spool->pages);
        sqlite3_close(spool->db);
        hf_compressor_free(spool->compressor);
        free(spool);
    }
}

static void bind_source(struct hf_spool *spool, sqlite3_stmt *statement, size_t source)
{
    sqlite3_reset(statement);
    sqlite3_bind_text(statement, 1, spool->config->sources[source].name, -1, SQLITE_STATIC);
}

static uint64_t share(const struct hf_spool *spool, size_t source)
{
    static const unsigned percent[] = {100, 80, 65, 50};
    unsigned rank = config_class_rank(spool->config->sources[source].class_name);
    return spool->config->spool_max_bytes / 100 * percent[rank];
}

/* A body is in the log before it is in the database, and in both for a while. */
static bool has_room(const struct hf_spool *spool, size_t source, size_t body_bytes)
{
    uint64_t pages = (uint64_t)body_bytes / OVERFLOW_BYTES + ROW_PAGES;
    uint64_t database_bytes = (spool->used_pages + pages) * PAGE_BYTES;
    uint64_t log_bytes = spool->log_bytes + (pages + CHANGED_PAGES) * FRAME_BYTES;
    return database_bytes + log_bytes + INDEX_BYTES <= share(spool, source);
}

/* Once, and again only after something could be sent. */
static void say_left_out(struct hf_spool *spool, const struct hf_error *error)
{
    if (!spool->left_out) {
        hf_log_warning("%s. From now on versions are left out where there is no room; what the "
                       "files are then is captured once the collector is back",
                       error->message);
    }
    spool->left_out = true;
}

void spool_rest(struct hf_spool *spool)
{
    sqlite3_db_release_memory(spool->db);
}

int spool_put(struct hf_spool *spool, const struct hf_unit *unit, struct hf_error *error)
{
    struct hf_buf body = {0};
    struct hf_error failure = {0};
    int rc = unit_encode(unit, spool->compressor, &body);
    if (rc != HF_OK) {
        hf_error_set(&failure, (enum hf_err)rc, 0, "No memory to spool versions");
    } else if (!has_room(spool, unit->source, body.size)) {
        char most[HF_TIME_TEXT_BYTES];
        hf_size_text(spool->config->spool_max_bytes, most);
        rc = hf_error_set(&failure, HF_ERR_NO_SPACE, 0,
                          "The spool has no more room for source %s (spool_max = %s)",
                          spool->config->sources[unit->source].name, most);
    } else {
        bind_source(spool, spool->put, unit->source);
        sqlite3_bind_int64(spool->put, 2, (sqlite3_int64)unit_first_seq(unit));
        sqlite3_bind_int64(spool->put, 3, (sqlite3_int64)unit_last_seq(unit));
        sqlite3_bind_blob64(spool->put, 4, body.data, body.size, SQLITE_STATIC);
        rc = sqlite3_step(spool->put) == SQLITE_DONE ? HF_OK : fail(spool, &failure, "Writing");
        sqlite3_reset(spool->put);
        spool->bytes += rc == HF_OK ? body.size : 0;
        count_pages(spool);
    }
    if (rc != HF_OK) {
        say_left_out(spool, &failure);
        if (error) {
            *error = failure;
        }
    }
    hf_buf_free(&body);
    return rc;
}

struct hf_unit *spool_after(struct hf_spool *spool, size_t source, uint64_t seq)
{
    struct hf_unit *unit = NULL;
    bind_source(spool, spool->after, source);
    sqlite3_bind_int64(spool->after, 2, (sqlite3_int64)seq);
    if (sqlite3_step(spool->after) == SQLITE_ROW) {
        unit = unit_decode(source, sqlite3_column_blob(spool->after, 0),
                           (size_t)sqlite3_column_bytes(spool->after, 0));
        if (!unit) {
            hf_log_warning(
                "A spooled unit of source %s can't be read; its files are captured again",
                spool->config->sources[source].name);
        }
    }
    sqlite3_reset(spool->after);
    return unit;
}

static void drop(struct hf_spool *spool, sqlite3_stmt *statement, size_t source, uint64_t seq)
{
    if (spool->bytes == 0) {
        return;
    }
    bind_source(spool, statement, source);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)seq);
    sqlite3_step(statement);
    sqlite3_reset(statement);
    if (sqlite3_changes(spool->db) > 0 && sqlite3_step(spool->total) == SQLITE_ROW) {
        spool->bytes = (uint64_t)sqlite3_column_int64(spool->total, 0);
        count_pages(spool);
        spool->left_out = false;
    }
    sqlite3_reset(spool->total);
}

void spool_drop_through(struct hf_spool *spool, size_t source, uint64_t seq)
{
    drop(spool, spool->drop_through, source, seq);
}

void spool_drop_from(struct hf_spool *spool, size_t source, uint64_t seq)
{
    drop(spool, spool->drop_from, source, seq);
}

uint64_t spool_last_seq(struct hf_spool *spool, size_t source)
{
    uint64_t last = 0;
    if (spool->bytes == 0) {
        return 0;
    }
    bind_source(spool, spool->last, source);
    if (sqlite3_step(spool->last) == SQLITE_ROW) {
        last = (uint64_t)sqlite3_column_int64(spool->last, 0);
    }
    sqlite3_reset(spool->last);
    return last;
}
