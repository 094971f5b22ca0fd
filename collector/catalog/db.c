#include "collector/catalog/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/catalog/log_vfs.h"
#include "collector/catalog/schema.h"

#define BUSY_TIMEOUT_MS 5000

#define REBUILD                                                                                    \
    "Nothing is lost: stop the collector, move the file away, start it again, and it is rebuilt "  \
    "from the repository"

int db_fail(struct db *db, int sqlite_rc, struct hf_error *error)
{
    const char *reason = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(sqlite_rc);
    int sys = db->handle ? sqlite3_system_errno(db->handle) : 0;
    switch (sqlite_rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return hf_error_set(error, HF_ERR_CORRUPT, 0, "The catalog %s is damaged (%s). " REBUILD,
                            db->path, reason);
    case SQLITE_FULL:
        return hf_error_set(error, HF_ERR_NO_SPACE, 0,
                            "There is no room for the catalog %s: make room on its file system",
                            db->path);
    case SQLITE_NOMEM:
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s", db->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return hf_error_set(error, HF_ERR_AGAIN, 0,
                            "The catalog %s is locked by another program (%s): end that and try "
                            "again",
                            db->path, reason);
    case SQLITE_CANTOPEN:
        return hf_error_set(error, sys == ENOENT ? HF_ERR_NOT_FOUND : HF_ERR_IO, sys,
                            "The catalog %s can't be opened (%s)", db->path, reason);
    case SQLITE_IOERR:
        if (sys == ENOSPC || sys == EDQUOT) {
            return hf_error_set(error, HF_ERR_NO_SPACE, sys,
                                "There is no room for the catalog %s: make room on its file system",
                                db->path);
        }
        return hf_error_set(error, HF_ERR_IO, sys,
                            "The catalog %s can't be read or written (%s): look at its disk",
                            db->path, reason);
    default:
        return hf_error_set(error, HF_ERR_IO, 0, "The catalog %s: %s", db->path, reason);
    }
}

int db_check_memory(const struct hf_catalog_memory *memory, struct hf_error *error)
{
    if (memory->exhausted) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for an answer of the catalog");
    }
    return HF_OK;
}

/* SQLite gives -wal and -shm the mode of the database, so the database's is set here first. */
static int create_private(const char *path, struct hf_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat about;
    if (fd < 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "The catalog %s can't be created or opened",
                            path);
    }
    int rc = HF_OK;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        rc = hf_error_set(error, HF_ERR_INVALID, 0, "The catalog %s is no regular file", path);
    } else if ((about.st_mode & 077) != 0 && fchmod(fd, 0600) != 0) {
        rc = hf_error_set(error, HF_ERR_IO, errno, "The catalog %s can't be made private (0600)",
                          path);
    }
    close(fd);
    return rc;
}

static int configure(struct db *db, enum db_mode mode, struct hf_error *error)
{
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    int rc = db_exec(db, "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;", error);
    if (rc != HF_OK) {
        return rc;
    }
    return db_exec(
        db, mode == DB_READ ? "PRAGMA query_only=ON; PRAGMA cache_size=-8192;" : LOG_VFS_SETTINGS,
        error);
}

/* Whose is it, and of which age? An empty file is ours to be. */
static int identify(struct db *db, struct hf_error *error)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t objects = 0;
    int rc = db_exec_int(db, "SELECT count(*) FROM sqlite_schema", &objects, error);
    if (rc == HF_OK) {
        rc = db_exec_int(db, "PRAGMA application_id", &application, error);
    }
    if (rc == HF_OK) {
        rc = db_exec_int(db, "PRAGMA user_version", &version, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    if (application != DB_APPLICATION_ID && (objects > 0 || application != 0 || version != 0)) {
        return hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                            "%s is a database, but not a Holdfast catalog: name another file, or "
                            "move this one away",
                            db->path);
    }
    if (version > schema_newest()) {
        return hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                            "The catalog %s was written by a newer Holdfast (schema %lld, this "
                            "program knows %d): use that version. Or go back: " REBUILD,
                            db->path, (long long)version, schema_newest());
    }
    return HF_OK;
}

/* SQLite counts what it allocates, under a lock that all connections share; nobody asks for it.
 * This has to be said before the first of them; later it changes nothing. Where LOG_VFS can't be
 * had, opening says so. */
static void prepare_sqlite(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    log_vfs_register();
}

int db_open(struct db *db, const char *path, enum db_mode mode, struct hf_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *db = (struct db){0};
    pthread_once(&once, prepare_sqlite);
    int rc = mode == DB_WRITE ? create_private(path, error) : HF_OK;
    if (rc != HF_OK) {
        return rc;
    }
    db->path = strdup(path);
    if (!db->path) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s", path);
    }
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW |
                (mode == DB_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    /* SQLITE_OPEN_NOFOLLOW refuses links anywhere in the path; only the last part is ours to judge.
     */
    char *real = realpath(path, NULL);
    int opened =
        sqlite3_open_v2(real ? real : path, &db->handle, flags, mode == DB_WRITE ? LOG_VFS : NULL);
    free(real);
    if (opened != SQLITE_OK) {
        return db_fail(db, opened, error);
    }
    rc = configure(db, mode, error);
    return rc == HF_OK ? identify(db, error) : rc;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < DB_STATEMENTS_MAX; i++) {
        sqlite3_finalize(db->kept[i].statement);
    }
    sqlite3_close(db->handle);
    free(db->path);
    *db = (struct db){0};
}

int db_exec(struct db *db, const char *sql, struct hf_error *error)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? HF_OK : db_fail(db, rc, error);
}

int db_exec_int(struct db *db, const char *sql, int64_t *out, struct hf_error *error)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    int result = rc == SQLITE_ROW || rc == SQLITE_DONE ? HF_OK : db_fail(db, rc, error);
    sqlite3_finalize(statement);
    return result;
}

int db_prepare(struct db *db, const char *sql, sqlite3_stmt **out, struct hf_error *error)
{
    size_t slot = ((uintptr_t)sql >> 3) % DB_STATEMENTS_MAX;
    for (size_t probe = 0; probe < DB_STATEMENTS_MAX; probe++) {
        if (db->kept[slot].sql == sql) {
            *out = db->kept[slot].statement;
            return HF_OK;
        }
        if (!db->kept[slot].sql) {
            int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
            if (rc != SQLITE_OK) {
                *out = NULL;
                return db_fail(db, rc, error);
            }
            db->kept[slot].sql = sql;
            db->kept[slot].statement = *out;
            return HF_OK;
        }
        slot = (slot + 1) % DB_STATEMENTS_MAX;
    }
    *out = NULL;
    return hf_error_set(error, HF_ERR_LIMIT, 0, "The catalog has more than %d statements",
                        DB_STATEMENTS_MAX);
}

void db_done(sqlite3_stmt **statement)
{
    if (*statement) {
        sqlite3_reset(*statement);
        sqlite3_clear_bindings(*statement);
    }
}

/* Binding to a statement that was not finished would silently ask the old question. */
static void bound(int rc)
{
    assert(rc != SQLITE_MISUSE && rc != SQLITE_RANGE);
    (void)rc;
}

/* A NULL pointer would bind NULL, not the empty value. */
static const void *start_of(struct hf_bytes value)
{
    return value.size ? (const void *)value.data : "";
}

void db_bind_uint(sqlite3_stmt *statement, int index, uint64_t value)
{
    bound(
        sqlite3_bind_int64(statement, index, value > INT64_MAX ? INT64_MAX : (sqlite3_int64)value));
}

void db_bind_int(sqlite3_stmt *statement, int index, int64_t value)
{
    bound(sqlite3_bind_int64(statement, index, value));
}

void db_bind_blob(sqlite3_stmt *statement, int index, struct hf_bytes value)
{
    bound(sqlite3_bind_blob64(statement, index, start_of(value), value.size, SQLITE_STATIC));
}

void db_bind_blob_copy(sqlite3_stmt *statement, int index, struct hf_bytes value)
{
    bound(sqlite3_bind_blob64(statement, index, start_of(value), value.size, SQLITE_TRANSIENT));
}

void db_bind_text(sqlite3_stmt *statement, int index, struct hf_bytes value)
{
    bound(sqlite3_bind_text64(statement, index, start_of(value), value.size, SQLITE_STATIC,
                              SQLITE_UTF8));
}

int db_step(struct db *db, sqlite3_stmt *statement, struct hf_error *error)
{
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        return DB_ROW;
    }
    return rc == SQLITE_DONE ? DB_DONE : db_fail(db, rc, error);
}

int db_run(struct db *db, sqlite3_stmt *statement, struct hf_error *error)
{
    int rc;
    do {
        rc = db_step(db, statement, error);
    } while (rc == DB_ROW);
    db_done(&statement);
    return rc;
}

int db_changed(struct db *db)
{
    return sqlite3_changes(db->handle);
}

uint64_t db_column_uint(sqlite3_stmt *statement, int column)
{
    return (uint64_t)sqlite3_column_int64(statement, column);
}

int64_t db_column_int(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_int64(statement, column);
}

struct hf_bytes db_column_view(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column);
    int size = sqlite3_column_bytes(statement, column);
    return (struct hf_bytes){.data = data, .size = data ? (size_t)size : 0};
}

struct hf_bytes db_column_bytes(sqlite3_stmt *statement, int column,
                                struct hf_catalog_memory *memory)
{
    struct hf_bytes view = db_column_view(statement, column);
    return memory_copy_bytes(memory, view.data, view.size);
}

const char *db_column_text(sqlite3_stmt *statement, int column, struct hf_catalog_memory *memory)
{
    struct hf_bytes view = db_column_view(statement, column);
    return memory_copy_text(memory, view.data, view.size);
}

void db_column_hash(sqlite3_stmt *statement, int column, uint8_t out[HF_HASH_BYTES])
{
    struct hf_bytes view = db_column_view(statement, column);
    memset(out, 0, HF_HASH_BYTES);
    if (view.size == HF_HASH_BYTES) {
        memcpy(out, view.data, HF_HASH_BYTES);
    }
}
