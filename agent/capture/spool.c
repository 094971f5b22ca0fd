#include "agent/capture/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/bytes.h"
#include "common/chunker.h"
#include "common/log.h"
#include "proto/frame.h"

struct hf_spool {
    const struct hf_config *config;
    sqlite3 *db;
    sqlite3_stmt *put, *after, *drop_through, *drop_from, *last, *total;
    struct hf_compressor *compressor;
    struct hf_decompressor *decompressor;
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
    spool->decompressor = hf_decompressor_new();
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
        !spool->drop_from || !spool->last || !spool->total || !spool->compressor ||
        !spool->decompressor) {
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
        hf_decompressor_free(spool->decompressor);
        free(spool);
    }
}

/* Body: number of versions, each as length and encoding; number of chunks, each as id, codec, plain
 * size, length and data. All numbers 32 bits little endian. */
static int put_u32(struct hf_buf *body, size_t value)
{
    uint8_t bytes[4];
    hf_put_le32(bytes, (uint32_t)value);
    return hf_buf_append(body, bytes, 4);
}

static int encode(struct hf_spool *spool, const struct hf_unit *unit, struct hf_buf *body)
{
    struct hf_buf scratch = {0};
    int rc = put_u32(body, unit->version_count);
    for (size_t i = 0; rc == HF_OK && i < unit->version_count; i++) {
        hf_buf_clear(&scratch);
        rc = proto_version_encode(&unit->versions[i], &scratch);
        rc = rc == HF_OK ? put_u32(body, scratch.size) : rc;
        rc = rc == HF_OK ? hf_buf_append(body, scratch.data, scratch.size) : rc;
    }
    rc = rc == HF_OK ? put_u32(body, unit->chunk_count) : rc;
    for (size_t i = 0; rc == HF_OK && i < unit->chunk_count; i++) {
        const struct hf_unit_chunk *chunk = &unit->chunks[i];
        enum hf_codec codec = chunk->codec;
        hf_buf_clear(&scratch);
        rc = codec == HF_CODEC_RAW ? hf_compress(spool->compressor, chunk->data.data,
                                                 chunk->data.size, &scratch, &codec)
                                   : hf_buf_append(&scratch, chunk->data.data, chunk->data.size);
        rc = rc == HF_OK ? hf_buf_append(body, chunk->id, HF_HASH_BYTES) : rc;
        rc = rc == HF_OK ? put_u32(body, codec) : rc;
        rc = rc == HF_OK ? put_u32(body, chunk->plain_size) : rc;
        rc = rc == HF_OK ? put_u32(body, scratch.size) : rc;
        rc = rc == HF_OK ? hf_buf_append(body, scratch.data, scratch.size) : rc;
    }
    hf_buf_free(&scratch);
    return rc;
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
    int rc = encode(spool, unit, &body);
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

struct cursor {
    const uint8_t *data;
    size_t size;
    bool bad;
};

static struct hf_bytes take(struct cursor *cursor, size_t size)
{
    if (cursor->bad || size > cursor->size) {
        cursor->bad = true;
        return (struct hf_bytes){0};
    }
    struct hf_bytes bytes = {cursor->data, size};
    cursor->data += size;
    cursor->size -= size;
    return bytes;
}

static uint32_t take_u32(struct cursor *cursor)
{
    struct hf_bytes bytes = take(cursor, 4);
    return bytes.size == 4 ? hf_get_le32(bytes.data) : 0;
}

static struct hf_unit *decode(size_t source, const uint8_t *data, size_t size)
{
    struct cursor cursor = {data, size, false};
    struct hf_unit *unit = unit_new(source);
    uint32_t versions = take_u32(&cursor);
    for (uint32_t i = 0; unit && !cursor.bad && i < versions; i++) {
        struct hf_version version;
        struct hf_bytes bytes = take(&cursor, take_u32(&cursor));
        cursor.bad = cursor.bad ||
                     proto_version_decode(bytes.data, bytes.size, &version, NULL) != HF_OK ||
                     unit_add_version(unit, &version) != HF_OK;
    }
    uint32_t chunks = take_u32(&cursor);
    for (uint32_t i = 0; unit && !cursor.bad && i < chunks; i++) {
        struct hf_bytes id = take(&cursor, HF_HASH_BYTES);
        uint32_t codec = take_u32(&cursor);
        uint32_t plain_size = take_u32(&cursor);
        struct hf_bytes bytes = take(&cursor, take_u32(&cursor));
        struct hf_bytes copy = unit_copy(unit, bytes);
        cursor.bad = cursor.bad || copy.size != bytes.size || plain_size > HF_CHUNK_MAX_BYTES ||
                     codec > HF_CODEC_ZSTD ||
                     unit_add_chunk(unit, id.data, (enum hf_codec)codec, plain_size, copy) != HF_OK;
    }
    if (unit && (cursor.bad || cursor.size > 0)) {
        unit_free(unit);
        unit = NULL;
    }
    return unit;
}

struct hf_unit *spool_after(struct hf_spool *spool, size_t source, uint64_t seq)
{
    struct hf_unit *unit = NULL;
    bind_source(spool, spool->after, source);
    sqlite3_bind_int64(spool->after, 2, (sqlite3_int64)seq);
    if (sqlite3_step(spool->after) == SQLITE_ROW) {
        unit = decode(source, sqlite3_column_blob(spool->after, 0),
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
