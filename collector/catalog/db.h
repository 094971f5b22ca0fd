/* One SQLite connection: opening with all its settings, statements that are prepared once and kept,
 * errors as sentences. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_DB_H
#define HF_COLLECTOR_CATALOG_DB_H

#include <sqlite3.h>

#include "collector/catalog/memory.h"
#include "common/buf.h"
#include "common/error.h"

#define DB_APPLICATION_ID 0x48464354 /* "HFCT", in the database's header */
#define DB_STATEMENTS_MAX 128

struct db {
    sqlite3 *handle;
    char *path;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } kept[DB_STATEMENTS_MAX];
};

enum db_mode { DB_READ, DB_WRITE };

/* DB_WRITE creates the file (0600) when there is none. Checks that it is one of ours and no newer
 * one's; migrates nothing. How it syncs (LOG_VFS_SETTINGS) is not to be changed. *db is to be
 * closed in any case. */
int db_open(struct db *db, const char *path, enum db_mode mode, struct hf_error *error);
void db_close(struct db *db);

/* Run statements without parameters or results. */
int db_exec(struct db *db, const char *sql, struct hf_error *error);
/* The first column of the first row. */
int db_exec_int(struct db *db, const char *sql, int64_t *out, struct hf_error *error);

/* The statement of this SQL (a string that lives as long as the connection; it is known by its
 * address), ready to be bound. Reset it with db_done, or DB_STATEMENT, as soon as its rows are
 * read: an unfinished one holds the read transaction. */
int db_prepare(struct db *db, const char *sql, sqlite3_stmt **out, struct hf_error *error);
void db_done(sqlite3_stmt **statement);
#define DB_STATEMENT __attribute__((cleanup(db_done))) sqlite3_stmt *

void db_bind_uint(sqlite3_stmt *statement, int index, uint64_t value);
void db_bind_int(sqlite3_stmt *statement, int index, int64_t value);
/* Not copied: the bytes must live until the statement is done. */
void db_bind_blob(sqlite3_stmt *statement, int index, struct hf_bytes value);
void db_bind_blob_copy(sqlite3_stmt *statement, int index, struct hf_bytes value);
void db_bind_text(sqlite3_stmt *statement, int index, struct hf_bytes value);

enum { DB_DONE = 0, DB_ROW = 1 };
/* DB_ROW, DB_DONE, or an error. */
int db_step(struct db *db, sqlite3_stmt *statement, struct hf_error *error);
/* Step to the end and reset. */
int db_run(struct db *db, sqlite3_stmt *statement, struct hf_error *error);
/* Rows that the last db_run changed. */
int db_changed(struct db *db);

uint64_t db_column_uint(sqlite3_stmt *statement, int column);
int64_t db_column_int(sqlite3_stmt *statement, int column);
struct hf_bytes db_column_view(sqlite3_stmt *statement, int column); /* until the next step */
struct hf_bytes db_column_bytes(sqlite3_stmt *statement, int column,
                                struct hf_catalog_memory *memory);
const char *db_column_text(sqlite3_stmt *statement, int column, struct hf_catalog_memory *memory);
void db_column_hash(sqlite3_stmt *statement, int column, uint8_t out[HF_HASH_BYTES]);

/* The last failure of SQLite as an error about this catalog. */
int db_fail(struct db *db, int sqlite_rc, struct hf_error *error);
/* What the rows were copied into is exhausted? */
int db_check_memory(const struct hf_catalog_memory *memory, struct hf_error *error);

#endif
