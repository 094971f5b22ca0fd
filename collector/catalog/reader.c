#include "collector/catalog/reader.h"

#include <stdlib.h>

#include "collector/catalog/schema.h"
#include "collector/catalog/writer.h"

int catalog_reader_open(const char *path, struct hf_catalog_reader **out, struct hf_error *error)
{
    struct hf_catalog_reader *reader = calloc(1, sizeof *reader);
    int64_t version = 0;
    *out = NULL;
    if (!reader) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s", path);
    }
    int rc = db_open(&reader->db, path, DB_READ, error);
    if (rc == HF_OK) {
        rc = db_exec_int(&reader->db, "PRAGMA user_version", &version, error);
    }
    if (rc == HF_OK && version != schema_newest()) {
        rc = hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                          "The catalog %s has schema %lld, this program reads %d: start the "
                          "collector once, it migrates it",
                          path, (long long)version, schema_newest());
    }
    if (rc != HF_OK) {
        catalog_reader_close(reader);
        return rc;
    }
    *out = reader;
    return HF_OK;
}

int catalog_reader_open_beside(const struct hf_catalog *catalog, struct hf_catalog_reader **out,
                               struct hf_error *error)
{
    int rc = catalog_reader_open(catalog->db.path, out, error);
    if (*out) {
        (*out)->known = catalog->known;
    }
    return rc;
}

void catalog_reader_close(struct hf_catalog_reader *reader)
{
    if (reader) {
        db_close(&reader->db);
        free(reader);
    }
}

int catalog_reader_begin(struct hf_catalog_reader *reader, struct hf_error *error)
{
    static const char sql[] = "BEGIN";
    if (reader->depth == 0) {
        sqlite3_stmt *statement;
        int rc = db_prepare(&reader->db, sql, &statement, error);
        if (rc == HF_OK) {
            rc = db_run(&reader->db, statement, error);
        }
        if (rc != HF_OK) {
            return rc;
        }
    }
    reader->depth++;
    return HF_OK;
}

void catalog_reader_end(struct hf_catalog_reader *reader)
{
    static const char sql[] = "COMMIT";
    if (reader->depth > 0 && --reader->depth == 0) {
        sqlite3_stmt *statement;
        if (db_prepare(&reader->db, sql, &statement, NULL) == HF_OK) {
            db_run(&reader->db, statement, NULL); /* a read transaction has nothing to lose */
        }
    }
}

size_t reader_page_limit(size_t limit)
{
    return limit == 0 || limit > HF_CATALOG_PAGE_MAX ? HF_CATALOG_PAGE_MAX : limit;
}

int reader_collect(struct hf_catalog_reader *reader, sqlite3_stmt *statement, size_t limit,
                   void (*read)(sqlite3_stmt *statement, struct hf_catalog_memory *memory,
                                void *row),
                   struct hf_catalog_memory *memory, struct memory_rows *rows,
                   struct hf_error *error)
{
    limit = reader_page_limit(limit);
    while (rows->count < limit) {
        int rc = db_step(&reader->db, statement, error);
        if (rc != DB_ROW) {
            return rc;
        }
        void *row = memory_add_row(memory, rows);
        if (row) {
            read(statement, memory, row);
        }
        rc = db_check_memory(memory, error);
        if (rc != HF_OK) {
            return rc;
        }
    }
    return HF_OK;
}
