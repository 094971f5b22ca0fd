#include "agent/capture/finder.h"

#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

#include "agent/capture/state.h"
#include "common/hash.h"

struct hf_finder {
    sqlite3 *db;
    sqlite3_stmt *by_content;
};

/* Restores are rare: an index that is kept up to date would cost every capture far more than the
 * rows themselves, since hashes come in no order. This one lies in a temporary file. */
static bool make_index(struct hf_finder *finder)
{
    static const char make[] =
        "CREATE TEMP TABLE contents (content BLOB NOT NULL, depth INTEGER NOT NULL,"
        " parent BLOB NOT NULL, name BLOB NOT NULL,"
        " PRIMARY KEY (content, depth, parent, name)) WITHOUT ROWID;"
        "INSERT OR IGNORE INTO contents SELECT content, depth, parent, name FROM files"
        " WHERE content IS NOT NULL ORDER BY content, depth, parent, name";
    static const char find[] =
        "SELECT parent, name FROM contents WHERE content = ? AND depth = ? LIMIT 1";
    return sqlite3_exec(finder->db, make, NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_prepare_v3(finder->db, find, -1, SQLITE_PREPARE_PERSISTENT, &finder->by_content,
                              NULL) == SQLITE_OK;
}

struct hf_finder *finder_new(const struct hf_config *config)
{
    char file[4200];
    struct hf_finder *finder = calloc(1, sizeof *finder);
    snprintf(file, sizeof file, "%s/state.db", config->state);
    if (finder && (sqlite3_open_v2(file, &finder->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                                   NULL) != SQLITE_OK ||
                   !make_index(finder))) {
        finder_free(finder);
        return NULL;
    }
    return finder;
}

void finder_free(struct hf_finder *finder)
{
    if (finder) {
        sqlite3_finalize(finder->by_content);
        sqlite3_close(finder->db);
        free(finder);
    }
}

static int append_column(sqlite3_stmt *statement, int column, struct hf_buf *path)
{
    return hf_buf_append(path, sqlite3_column_blob(statement, column),
                         (size_t)sqlite3_column_bytes(statement, column));
}

int finder_find(struct hf_finder *finder, const struct hf_version *version, struct hf_buf *path)
{
    sqlite3_stmt *statement = finder->by_content;
    uint8_t content[HF_HASH_BYTES];
    int rc = HF_ERR_NOT_FOUND;
    hf_sha256(version->refs.data, version->refs.size, content);
    sqlite3_bind_blob(statement, 1, content, HF_STATE_CONTENT_BYTES, SQLITE_STATIC);
    sqlite3_bind_int(statement, 2, version->depth);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        rc = hf_buf_append_byte(path, '/');
        rc = rc == HF_OK ? append_column(statement, 0, path) : rc;
        rc = rc == HF_OK && sqlite3_column_bytes(statement, 0) > 0 ? hf_buf_append_byte(path, '/')
                                                                   : rc;
        rc = rc == HF_OK ? append_column(statement, 1, path) : rc;
        rc = rc == HF_OK ? hf_buf_terminate(path) : rc;
    }
    sqlite3_reset(statement);
    return rc;
}
