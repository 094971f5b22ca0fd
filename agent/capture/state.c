#include "agent/capture/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"

enum query {
    QUERY_BEGIN,
    QUERY_COMMIT,
    QUERY_NUMBERS,
    QUERY_ACKED,
    QUERY_LAST,
    QUERY_CLEAN,
    QUERY_DOUBT,
    QUERY_DOUBT_TIMES,
    QUERY_UNCONFIRM,
    QUERY_CONFIRM,
    QUERY_FORGET,
    QUERY_PUT,
    QUERY_TOUCH,
    QUERY_GET,
    QUERY_CHILDREN,
    QUERY_NAMES,
    QUERY_COUNT
};

#define ROW_COLUMNS                                                                                \
    "name, type, dev, ino, size, mtime, ctime, mode, uid, gid, seq, flags, depth, refs, target,"   \
    " link, xattrs"

static const char *const queries[QUERY_COUNT] = {
    [QUERY_BEGIN] = "BEGIN",
    [QUERY_COMMIT] = "COMMIT",
    [QUERY_NUMBERS] = "SELECT acked, last FROM sources WHERE source = ?",
    [QUERY_ACKED] = "INSERT INTO sources VALUES (?1, ?2, ?2) ON CONFLICT (source) DO UPDATE SET"
                    " acked = ?2, last = max(last, ?2)",
    [QUERY_LAST] = "INSERT INTO sources VALUES (?1, 0, ?2) ON CONFLICT (source) DO UPDATE SET"
                   " last = ?2",
    [QUERY_CLEAN] = "DELETE FROM files WHERE source = ?1 AND type = 0 AND seq <= ?2",
    [QUERY_DOUBT] = "UPDATE files SET dev = 0 WHERE source = ?1 AND seq >= ?2",
    [QUERY_DOUBT_TIMES] = "UPDATE files SET ctime = 0 WHERE ctime > ?1",
    [QUERY_UNCONFIRM] = "UPDATE files SET seq = -1 WHERE source = ?1",
    [QUERY_CONFIRM] = "UPDATE files SET seq = ?4 WHERE source = ?1 AND parent = ?2 AND name = ?3",
    [QUERY_FORGET] = "DELETE FROM files WHERE source = ?1 AND seq = -1",
    [QUERY_PUT] =
        "INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,"
        " ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    [QUERY_TOUCH] =
        "UPDATE files SET dev = ?4, ino = ?5, size = ?6, mtime = ?7, ctime = ?8,"
        " mode = ?9, uid = ?10, gid = ?11 WHERE source = ?1 AND parent = ?2 AND name = ?3"
        " AND dev <> 0",
    [QUERY_GET] =
        "SELECT " ROW_COLUMNS " FROM files WHERE source = ?1 AND parent = ?2 AND name = ?3",
    [QUERY_CHILDREN] =
        "SELECT " ROW_COLUMNS " FROM files WHERE source = ?1 AND parent = ?2 AND name > ?3"
        " AND type <> 0 ORDER BY name LIMIT ?4",
    [QUERY_NAMES] = "SELECT parent, name FROM files WHERE ino = ?2 AND type IN (1, 3)"
                    " AND source = ?1 AND dev = ?3 AND ctime <> ?5 LIMIT ?4",
};

struct hf_state {
    const struct hf_config *config;
    sqlite3 *db;
    sqlite3_stmt *statements[QUERY_COUNT];
    struct hf_error failure; /* the first since the transaction began */
    bool open;
};

static const char schema[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8192;"
    "CREATE TABLE IF NOT EXISTS sources (source TEXT PRIMARY KEY, acked INTEGER NOT NULL,"
    " last INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS files (source TEXT NOT NULL, parent BLOB NOT NULL,"
    " name BLOB NOT NULL, type INTEGER NOT NULL, dev INTEGER NOT NULL, ino INTEGER NOT NULL,"
    " size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, mode INTEGER NOT NULL,"
    " uid INTEGER NOT NULL, gid INTEGER NOT NULL, seq INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " depth INTEGER NOT NULL, refs BLOB NOT NULL, target BLOB NOT NULL, content BLOB,"
    " link INTEGER NOT NULL, xattrs BLOB NOT NULL,"
    " PRIMARY KEY (source, parent, name)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS files_gone ON files (source, seq) WHERE type = 0;"
    "CREATE INDEX IF NOT EXISTS files_inode ON files (ino) WHERE type IN (1, 3);"
    "DROP INDEX IF EXISTS files_content"; /* of earlier ones: finder.c makes it when needed */

static int fail(struct hf_state *state, struct hf_error *error, const char *doing)
{
    int code = sqlite3_errcode(state->db) & 0xff;
    return hf_error_set(
        error, code == SQLITE_FULL ? HF_ERR_NO_SPACE : HF_ERR_IO, 0,
        "%s %s/state.db failed: %s. If it is damaged, stop the agent and remove it: "
        "it is made again from the collector and the disk",
        doing, state->config->state, sqlite3_errmsg(state->db));
}

int state_open(const struct hf_config *config, struct hf_state **out, struct hf_error *error)
{
    char path[4200];
    struct hf_state *state = calloc(1, sizeof *state);
    if (!state) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for state.db");
    }
    state->config = config;
    snprintf(path, sizeof path, "%s/state.db", config->state);
    int code = sqlite3_open_v2(
        path, &state->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(state->db, 5000);
        code = sqlite3_exec(state->db, schema, NULL, NULL, NULL);
    }
    for (size_t i = 0; code == SQLITE_OK && i < QUERY_COUNT; i++) {
        code = sqlite3_prepare_v3(state->db, queries[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &state->statements[i], NULL);
    }
    if (code != SQLITE_OK) {
        int rc = fail(state, error, "Opening");
        state_close(state);
        return rc;
    }
    *out = state;
    return HF_OK;
}

void state_close(struct hf_state *state)
{
    if (state) {
        if (state->open) {
            state_commit(state, NULL);
        }
        for (size_t i = 0; i < QUERY_COUNT; i++) {
            sqlite3_finalize(state->statements[i]);
        }
        sqlite3_close(state->db);
        free(state);
    }
}

static sqlite3_stmt *query(struct hf_state *state, enum query which, size_t source)
{
    sqlite3_stmt *statement = state->statements[which];
    sqlite3_reset(statement);
    if (which != QUERY_BEGIN && which != QUERY_COMMIT) {
        sqlite3_bind_text(statement, 1, state->config->sources[source].name, -1, SQLITE_STATIC);
    }
    return statement;
}

static int finish(struct hf_state *state, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW && state->failure.code == HF_OK) {
        fail(state, &state->failure, "Writing");
    }
    sqlite3_reset(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? HF_OK : HF_ERR_IO;
}

void state_rest(struct hf_state *state)
{
    sqlite3_db_release_memory(state->db);
}

void state_begin(struct hf_state *state)
{
    if (!state->open) {
        state->open = finish(state, query(state, QUERY_BEGIN, 0)) == HF_OK;
    }
}

int state_commit(struct hf_state *state, struct hf_error *error)
{
    if (!state->open) {
        return HF_OK;
    }
    /* A full disk may have rolled back by itself; and what could not be written must not be missing
     * among what was. */
    bool lost = sqlite3_get_autocommit(state->db) != 0 || state->failure.code != HF_OK;
    int rc = lost ? HF_ERR_IO : finish(state, query(state, QUERY_COMMIT, 0));
    if (rc != HF_OK) {
        sqlite3_exec(state->db, "ROLLBACK", NULL, NULL, NULL);
        if (state->failure.code == HF_OK) {
            fail(state, &state->failure, "Writing");
        }
        if (error) {
            *error = state->failure;
        }
        rc = state->failure.code;
    }
    state->failure = (struct hf_error){0};
    state->open = false;
    return rc;
}

void state_numbers(struct hf_state *state, size_t source, uint64_t *acked, uint64_t *last)
{
    sqlite3_stmt *statement = query(state, QUERY_NUMBERS, source);
    *acked = 0;
    *last = 0;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        *acked = (uint64_t)sqlite3_column_int64(statement, 0);
        *last = (uint64_t)sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
}

static void run_with_seq(struct hf_state *state, enum query which, size_t source, uint64_t seq)
{
    sqlite3_stmt *statement = query(state, which, source);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)seq);
    if (finish(state, statement) != HF_OK) {
        hf_log_warning("state.db: %s", sqlite3_errmsg(state->db));
    }
}

void state_set_acked(struct hf_state *state, size_t source, uint64_t seq)
{
    run_with_seq(state, QUERY_ACKED, source, seq);
    run_with_seq(state, QUERY_CLEAN, source, seq);
}

void state_set_last(struct hf_state *state, size_t source, uint64_t seq)
{
    run_with_seq(state, QUERY_LAST, source, seq);
}

void state_doubt_from(struct hf_state *state, size_t source, uint64_t seq)
{
    run_with_seq(state, QUERY_DOUBT, source, seq);
}

void state_doubt_changed_after(struct hf_state *state, int64_t ctime_ns)
{
    sqlite3_stmt *statement = state->statements[QUERY_DOUBT_TIMES];
    sqlite3_bind_int64(statement, 1, ctime_ns);
    if (finish(state, statement) != HF_OK) {
        hf_log_warning("state.db: %s", sqlite3_errmsg(state->db));
    }
}

void state_unconfirm(struct hf_state *state, size_t source)
{
    finish(state, query(state, QUERY_UNCONFIRM, source));
}

void state_forget_unconfirmed(struct hf_state *state, size_t source)
{
    finish(state, query(state, QUERY_FORGET, source));
}

static void bind_bytes(sqlite3_stmt *statement, int index, const void *data, size_t size)
{
    sqlite3_bind_blob64(statement, index, size ? data : "", size, SQLITE_STATIC);
}

static void bind_place(sqlite3_stmt *statement, const char *parent, const char *name)
{
    bind_bytes(statement, 2, parent, strlen(parent));
    if (name) {
        bind_bytes(statement, 3, name, strlen(name));
    }
}

int state_put(struct hf_state *state, size_t source, const char *parent, const char *name,
              const struct state_print *print, const struct hf_version *version)
{
    sqlite3_stmt *statement = query(state, QUERY_PUT, source);
    uint8_t content[HF_HASH_BYTES];
    bind_place(statement, parent, name);
    const sqlite3_int64 numbers[] = {
        (sqlite3_int64)version->type,
        (sqlite3_int64)print->dev,
        (sqlite3_int64)print->ino,
        (sqlite3_int64)print->size,
        print->mtime_ns,
        print->ctime_ns,
        print->mode,
        print->uid,
        print->gid,
        (sqlite3_int64)version->seq,
        version->flags,
        version->depth,
    };
    for (int i = 0; i < 12; i++) {
        sqlite3_bind_int64(statement, 4 + i, numbers[i]);
    }
    bind_bytes(statement, 16, version->refs.data, version->refs.size);
    bind_bytes(statement, 17, version->target.data, version->target.size);
    if (version->type == HF_FILE_REGULAR && version->refs.size > 0) {
        hf_sha256(version->refs.data, version->refs.size, content);
        bind_bytes(statement, 18, content, HF_STATE_CONTENT_BYTES);
    } else {
        sqlite3_bind_null(statement, 18);
    }
    sqlite3_bind_int64(statement, 19, (sqlite3_int64)version->link);
    bind_bytes(statement, 20, version->xattrs.data, version->xattrs.size);
    return finish(state, statement);
}

int state_touch(struct hf_state *state, size_t source, const char *parent, const char *name,
                const struct state_print *print)
{
    sqlite3_stmt *statement = query(state, QUERY_TOUCH, source);
    bind_place(statement, parent, name);
    const sqlite3_int64 numbers[] = {
        (sqlite3_int64)print->dev,
        (sqlite3_int64)print->ino,
        (sqlite3_int64)print->size,
        print->mtime_ns,
        print->ctime_ns,
        print->mode,
        print->uid,
        print->gid,
    };
    for (int i = 0; i < 8; i++) {
        sqlite3_bind_int64(statement, 4 + i, numbers[i]);
    }
    return finish(state, statement);
}

static int read_row(sqlite3_stmt *statement, struct state_row *row)
{
    const char *name = sqlite3_column_blob(statement, 0);
    *row = (struct state_row){
        .name = strndup(name ? name : "", (size_t)sqlite3_column_bytes(statement, 0)),
        .type = (enum hf_file_type)sqlite3_column_int(statement, 1),
        .print = {.dev = (uint64_t)sqlite3_column_int64(statement, 2),
                  .ino = (uint64_t)sqlite3_column_int64(statement, 3),
                  .size = (uint64_t)sqlite3_column_int64(statement, 4),
                  .mtime_ns = sqlite3_column_int64(statement, 5),
                  .ctime_ns = sqlite3_column_int64(statement, 6),
                  .mode = (uint32_t)sqlite3_column_int64(statement, 7),
                  .uid = (uint32_t)sqlite3_column_int64(statement, 8),
                  .gid = (uint32_t)sqlite3_column_int64(statement, 9)},
        .seq = (uint64_t)sqlite3_column_int64(statement, 10),
        .flags = (uint32_t)sqlite3_column_int64(statement, 11),
        .depth = (uint8_t)sqlite3_column_int(statement, 12),
        .link = (uint64_t)sqlite3_column_int64(statement, 15),
    };
    const void *refs = sqlite3_column_blob(statement, 13);
    const void *target = sqlite3_column_blob(statement, 14);
    const void *xattrs = sqlite3_column_blob(statement, 16);
    if (!row->name ||
        hf_buf_append(&row->refs, refs, (size_t)sqlite3_column_bytes(statement, 13)) != HF_OK ||
        hf_buf_append(&row->target, target, (size_t)sqlite3_column_bytes(statement, 14)) != HF_OK ||
        hf_buf_append(&row->xattrs, xattrs, (size_t)sqlite3_column_bytes(statement, 16)) != HF_OK) {
        state_row_free(row);
        return HF_ERR_NO_MEMORY;
    }
    return HF_OK;
}

void state_row_free(struct state_row *row)
{
    free(row->name);
    row->name = NULL;
    hf_buf_free(&row->refs);
    hf_buf_free(&row->target);
    hf_buf_free(&row->xattrs);
}

bool state_get(struct hf_state *state, size_t source, const char *parent, const char *name,
               struct state_row *out)
{
    sqlite3_stmt *statement = query(state, QUERY_GET, source);
    bind_place(statement, parent, name);
    bool found = sqlite3_step(statement) == SQLITE_ROW && read_row(statement, out) == HF_OK;
    sqlite3_reset(statement);
    return found;
}

int state_children(struct hf_state *state, size_t source, const char *parent, const char *after,
                   struct state_row **rows, size_t *count)
{
    sqlite3_stmt *statement = query(state, QUERY_CHILDREN, source);
    size_t capacity = 0;
    int rc = HF_OK;
    *rows = NULL;
    *count = 0;
    bind_place(statement, parent, after);
    sqlite3_bind_int(statement, 4, (int)HF_STATE_PAGE_ROWS);
    while (rc == HF_OK) {
        int code = sqlite3_step(statement);
        if (code != SQLITE_ROW) {
            rc = code == SQLITE_DONE ? HF_OK : HF_ERR_IO;
            break;
        }
        if (*count == capacity) {
            capacity = capacity ? capacity * 2 : 32;
            struct state_row *grown = reallocarray(*rows, capacity, sizeof *grown);
            if (!grown) {
                rc = HF_ERR_NO_MEMORY;
                break;
            }
            *rows = grown;
        }
        rc = read_row(statement, &(*rows)[*count]);
        *count += rc == HF_OK;
    }
    sqlite3_reset(statement);
    return rc;
}

static int append_path(sqlite3_stmt *statement, struct hf_buf *paths)
{
    size_t parent = (size_t)sqlite3_column_bytes(statement, 0);
    int rc = hf_buf_append(paths, sqlite3_column_blob(statement, 0), parent);
    rc = rc == HF_OK && parent > 0 ? hf_buf_append_byte(paths, '/') : rc;
    rc = rc == HF_OK ? hf_buf_append(paths, sqlite3_column_blob(statement, 1),
                                     (size_t)sqlite3_column_bytes(statement, 1))
                     : rc;
    return rc == HF_OK ? hf_buf_append_byte(paths, '\0') : rc;
}

int state_names(struct hf_state *state, size_t source, uint64_t dev, uint64_t ino, int64_t ctime_ns,
                size_t most, struct hf_buf *paths)
{
    sqlite3_stmt *statement = query(state, QUERY_NAMES, source);
    int code = SQLITE_DONE;
    int rc = HF_OK;
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)ino);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)dev);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)most);
    sqlite3_bind_int64(statement, 5, ctime_ns);
    while (rc == HF_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = append_path(statement, paths);
    }
    sqlite3_reset(statement);
    return rc == HF_OK && code != SQLITE_DONE ? HF_ERR_IO : rc;
}

void state_rows_free(struct state_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        state_row_free(&rows[i]);
    }
    free(rows);
}

struct state_print state_print_of(const struct stat *status)
{
    return (struct state_print){
        .dev = status->st_dev,
        .ino = status->st_ino,
        .size = S_ISREG(status->st_mode) ? (uint64_t)status->st_size : 0,
        .mtime_ns = status->st_mtim.tv_sec * HF_NS_PER_SECOND + status->st_mtim.tv_nsec,
        .ctime_ns = status->st_ctim.tv_sec * HF_NS_PER_SECOND + status->st_ctim.tv_nsec,
        .mode = status->st_mode & 07777,
        .uid = status->st_uid,
        .gid = status->st_gid,
    };
}

bool state_print_equal(const struct state_print *a, const struct state_print *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->mode == b->mode &&
           a->uid == b->uid && a->gid == b->gid;
}

static bool same_bytes(const struct hf_buf *a, struct hf_bytes b)
{
    return a->size == b.size && (b.size == 0 || memcmp(a->data, b.data, b.size) == 0);
}

bool state_row_says(const struct state_row *row, const struct hf_version *version)
{
    return row->type == version->type && row->flags == version->flags &&
           row->depth == version->depth && row->print.size == version->size &&
           row->print.mode == version->mode && row->print.uid == version->uid &&
           row->print.gid == version->gid && row->print.mtime_ns == version->mtime_ns &&
           row->link == version->link && same_bytes(&row->refs, version->refs) &&
           same_bytes(&row->target, version->target) && same_bytes(&row->xattrs, version->xattrs);
}

int state_confirm(struct hf_state *state, size_t source, const char *parent, const char *name,
                  const struct hf_version *version, uint64_t seq)
{
    struct state_row row = {0};
    bool same = state_get(state, source, parent, name, &row) && row.print.dev != 0 &&
                state_row_says(&row, version);
    state_row_free(&row);
    if (!same) {
        struct hf_version copy = *version;
        copy.seq = seq;
        return state_put(state, source, parent, name, &(struct state_print){0}, &copy);
    }
    sqlite3_stmt *statement = query(state, QUERY_CONFIRM, source);
    bind_place(statement, parent, name);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)seq);
    return finish(state, statement);
}
