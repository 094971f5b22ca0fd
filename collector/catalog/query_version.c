/* Versions of one path. */
#include "collector/catalog/timeline.h"

int catalog_version_at(struct hf_catalog_reader *reader, uint64_t source_row, struct hf_bytes path,
                       int64_t at_ns, struct hf_catalog_memory *memory, struct hf_version_row *out,
                       struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    bool found = false;
    int rc = timeline_find(&reader->db, source_row, path, at_ns, &statement, &found, error);
    if (rc != HF_OK) {
        return rc;
    }
    if (!found || db_column_int(statement, TIMELINE_TYPE) == HF_FILE_ABSENT) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "At that moment there is no %.*s",
                            (int)path.size, (const char *)path.data);
    }
    timeline_read_row(statement, memory, out);
    return db_check_memory(memory, error);
}

int catalog_version_by_seq(struct hf_catalog_reader *reader, uint64_t source_row,
                           struct hf_bytes path, uint64_t seq, struct hf_catalog_memory *memory,
                           struct hf_version_row *out, struct hf_error *error)
{
    static const char sql[] = "SELECT " TIMELINE_COLUMNS
                              " FROM versions WHERE source_row = ?1 AND path = ?2 AND seq = ?3";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    db_bind_blob(statement, 2, path);
    db_bind_uint(statement, 3, seq);
    rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "Version %llu is none of %.*s",
                            (unsigned long long)seq, (int)path.size, (const char *)path.data);
    }
    timeline_read_row(statement, memory, out);
    return db_check_memory(memory, error);
}

static void read_row(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *row)
{
    timeline_read_row(statement, memory, row);
}

int catalog_version_list(struct hf_catalog_reader *reader, uint64_t source_row,
                         struct hf_bytes path, uint64_t before_seq, size_t limit,
                         struct hf_catalog_memory *memory, const struct hf_version_row **rows,
                         size_t *count, struct hf_error *error)
{
    /* Within a source at_ns never falls as seq grows, so newest first is the same by either. */
    static const char sql[] =
        "SELECT " TIMELINE_COLUMNS " FROM versions WHERE source_row = ?1 AND path = ?2 AND seq < ?3"
        " ORDER BY at_ns DESC, seq DESC";
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    db_bind_blob(statement, 2, path);
    db_bind_uint(statement, 3, before_seq ? before_seq : UINT64_MAX);
    rc = reader_collect(reader, statement, limit, read_row, memory, &found, error);
    *rows = found.rows;
    *count = found.count;
    return rc;
}
