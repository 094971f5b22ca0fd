#include "collector/catalog/reader.h"

#define SELECT_SOURCE                                                                              \
    "SELECT s.row, s.host_row, h.host_id, h.name, s.name, s.kind, s.class, s.committed_seq,"       \
    " s.versions, s.live_files, s.live_bytes, s.opened_ns, s.last_received_ns, s.until_ns,"        \
    " s.marked_ns, s.state, s.pending_files, s.note"                                               \
    " FROM sources s JOIN hosts h ON h.row = s.host_row "

static void read_source(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_source_row *row = out;
    *row = (struct hf_source_row){.row = db_column_uint(statement, 0),
                                  .host_row = db_column_uint(statement, 1),
                                  .host_id = db_column_text(statement, 2, memory),
                                  .host_name = db_column_text(statement, 3, memory),
                                  .name = db_column_text(statement, 4, memory),
                                  .kind = db_column_text(statement, 5, memory),
                                  .class_name = db_column_text(statement, 6, memory),
                                  .committed_seq = db_column_uint(statement, 7),
                                  .versions = db_column_uint(statement, 8),
                                  .live_files = db_column_uint(statement, 9),
                                  .live_bytes = db_column_uint(statement, 10),
                                  .opened_ns = db_column_int(statement, 11),
                                  .last_received_ns = db_column_int(statement, 12),
                                  .protected_until_ns = db_column_int(statement, 13),
                                  .marked_ns = db_column_int(statement, 14),
                                  .state = (int)db_column_int(statement, 15),
                                  .pending_files = db_column_uint(statement, 16),
                                  .note = db_column_text(statement, 17, memory)};
}

static int add_roots(struct hf_catalog_reader *reader, struct hf_catalog_memory *memory,
                     struct hf_source_row *row, struct hf_error *error)
{
    static const char sql[] =
        "SELECT root FROM source_roots WHERE source_row = ?1 ORDER BY position";
    struct memory_rows found = {.size = sizeof(const char *)};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, row->row);
    while ((rc = db_step(&reader->db, statement, error)) == DB_ROW) {
        const char **root = memory_add_row(memory, &found);
        if (root) {
            *root = db_column_text(statement, 0, memory);
        }
    }
    row->roots = found.rows;
    row->root_count = found.count;
    return rc < 0 ? rc : db_check_memory(memory, error);
}

static int read_one(struct hf_catalog_reader *reader, sqlite3_stmt *statement, const char *name,
                    struct hf_catalog_memory *memory, struct hf_source_row *out,
                    struct hf_error *error)
{
    int rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no source %s", name);
    }
    read_source(statement, memory, out);
    return add_roots(reader, memory, out, error);
}

int catalog_source_by_row(struct hf_catalog_reader *reader, uint64_t source_row,
                          struct hf_catalog_memory *memory, struct hf_source_row *out,
                          struct hf_error *error)
{
    static const char sql[] = SELECT_SOURCE "WHERE s.row = ?1";
    char name[32];
    snprintf(name, sizeof name, "%llu", (unsigned long long)source_row);
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    return read_one(reader, statement, name, memory, out, error);
}

int catalog_source_by_name(struct hf_catalog_reader *reader, uint64_t host_row, const char *name,
                           struct hf_catalog_memory *memory, struct hf_source_row *out,
                           struct hf_error *error)
{
    static const char sql[] = SELECT_SOURCE "WHERE s.host_row = ?1 AND s.name = ?2";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    db_bind_text(statement, 2, event_text(name));
    return read_one(reader, statement, name, memory, out, error);
}

int catalog_source_list(struct hf_catalog_reader *reader, uint64_t host_row, uint64_t after_row,
                        size_t limit, struct hf_catalog_memory *memory,
                        const struct hf_source_row **rows, size_t *count, struct hf_error *error)
{
    static const char all_sql[] = SELECT_SOURCE "WHERE s.row > ?1 ORDER BY s.row";
    static const char host_sql[] =
        SELECT_SOURCE "WHERE s.row > ?1 AND s.host_row = ?2 ORDER BY s.row";
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, host_row ? host_sql : all_sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, after_row);
    if (host_row) {
        db_bind_uint(statement, 2, host_row);
    }
    rc = reader_collect(reader, statement, limit, read_source, memory, &found, error);
    for (size_t i = 0; i < found.count && rc == HF_OK; i++) {
        rc = add_roots(reader, memory, &((struct hf_source_row *)found.rows)[i], error);
    }
    *rows = found.rows;
    *count = found.count;
    return rc;
}
