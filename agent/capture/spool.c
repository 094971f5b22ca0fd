#include "agent/capture/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "agent/capture/unit_codec.h"
#include "common/log.h"

struct hf_spool {
    const struct hf_config *config;
    sqlite3 *db;
    sqlite3_stmt *put, *after, *drop_through, *drop_from, *last, *total;
    struct hf_compressor *compressor;
    uint64_t bytes;
};

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
        code = sqlite3_exec(spool->db,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                            "CREATE TABLE IF NOT EXISTS units (source TEXT NOT NULL,"
                            " first INTEGER NOT NULL, last INTEGER NOT NULL, body BLOB NOT NULL,"
                            " PRIMARY KEY (source, first)) WITHOUT ROWID",
                            NULL, NULL, NULL);
    }
    spool->put = prepare(spool, "INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?)");
    spool->after = prepare(
        spool, "SELECT body FROM units WHERE source = ? AND last > ? ORDER BY first LIMIT 1");
    spool->drop_through = prepare(spool, "DELETE FROM units WHERE source = ? AND last <= ?");
    spool->drop_from = prepare(spool, "DELETE FROM units WHERE source = ? AND last >= ?");
    spool->last = prepare(spool, "SELECT max(last) FROM units WHERE source = ?");
    spool->total = prepare(spool, "SELECT coalesce(sum(length(body)), 0) FROM units");
    if (code != SQLITE_OK || !spool->put || !spool->after || !spool->drop_through ||
        !spool->drop_from || !spool->last || !spool->total || !spool->compressor) {
        int rc = fail(spool, error, "Opening");
        spool_close(spool);
        return rc;
    }
    if (sqlite3_step(spool->total) == SQLITE_ROW) {
        spool->bytes = (uint64_t)sqlite3_column_int64(spool->total, 0);
    }
    sqlite3_reset(spool->total);
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

int spool_put(struct hf_spool *spool, const struct hf_unit *unit, struct hf_error *error)
{
    struct hf_buf body = {0};
    int rc = unit_encode(unit, spool->compressor, &body);
    if (rc == HF_OK && spool->bytes + body.size > share(spool, unit->source)) {
        rc = hf_error_set(error, HF_ERR_NO_SPACE, 0,
                          "The spool has no more room for source %s (spool_max)",
                          spool->config->sources[unit->source].name);
    }
    if (rc == HF_OK) {
        bind_source(spool, spool->put, unit->source);
        sqlite3_bind_int64(spool->put, 2, (sqlite3_int64)unit_first_seq(unit));
        sqlite3_bind_int64(spool->put, 3, (sqlite3_int64)unit_last_seq(unit));
        sqlite3_bind_blob64(spool->put, 4, body.data, body.size, SQLITE_STATIC);
        rc = sqlite3_step(spool->put) == SQLITE_DONE ? HF_OK : fail(spool, error, "Writing");
        sqlite3_reset(spool->put);
        spool->bytes += rc == HF_OK ? body.size : 0;
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
