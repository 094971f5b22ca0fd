#include "collector/catalog/reader.h"

#define SELECT_SNAPSHOT                                                                            \
    "SELECT n.id, n.source_row, s.host_row, h.host_id, s.name, n.name, n.created_by,"              \
    " n.hold_reason, n.at_ns, n.created_ns, n.held_ns, n.reason, n.job, n.held, h.name"            \
    " FROM snapshots n JOIN sources s ON s.row = n.source_row"                                     \
    " JOIN hosts h ON h.row = s.host_row "

static void read_snapshot(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_snapshot_row *row = out;
    *row = (struct hf_snapshot_row){.snapshot_id = db_column_uint(statement, 0),
                                    .source_row = db_column_uint(statement, 1),
                                    .host_row = db_column_uint(statement, 2),
                                    .host_id = db_column_text(statement, 3, memory),
                                    .source_name = db_column_text(statement, 4, memory),
                                    .name = db_column_text(statement, 5, memory),
                                    .created_by = db_column_text(statement, 6, memory),
                                    .hold_reason = db_column_text(statement, 7, memory),
                                    .at_ns = db_column_int(statement, 8),
                                    .created_ns = db_column_int(statement, 9),
                                    .held_ns = db_column_int(statement, 10),
                                    .reason = (enum hf_snapshot_reason)db_column_int(statement, 11),
                                    .job = db_column_uint(statement, 12),
                                    .held = db_column_int(statement, 13) != 0,
                                    .host_name = db_column_text(statement, 14, memory)};
}

int catalog_snapshot_get(struct hf_catalog_reader *reader, uint64_t snapshot_id,
                         struct hf_catalog_memory *memory, struct hf_snapshot_row *out,
                         struct hf_error *error)
{
    static const char sql[] = SELECT_SNAPSHOT "WHERE n.id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, snapshot_id);
    rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no snapshot %llu",
                            (unsigned long long)snapshot_id);
    }
    read_snapshot(statement, memory, out);
    return db_check_memory(memory, error);
}

int catalog_snapshot_list(struct hf_catalog_reader *reader, uint64_t host_row, uint64_t source_row,
                          uint64_t after_id, size_t limit, struct hf_catalog_memory *memory,
                          const struct hf_snapshot_row **rows, size_t *count,
                          struct hf_error *error)
{
    /* One statement each, so that none reads past what was not asked for. */
    static const char all_sql[] = SELECT_SNAPSHOT "WHERE n.id > ?1 ORDER BY n.id";
    static const char host_sql[] =
        SELECT_SNAPSHOT "WHERE n.id IN (SELECT id FROM snapshots WHERE id > ?1 AND source_row IN"
                        " (SELECT row FROM sources WHERE host_row = ?2) ORDER BY id LIMIT ?3)"
                        " ORDER BY n.id";
    static const char source_sql[] =
        SELECT_SNAPSHOT "WHERE n.id > ?1 AND (?2 = 0 OR s.host_row = ?2) AND n.source_row = ?3"
                        " ORDER BY n.id";
    const char *sql = source_row ? source_sql : host_row ? host_sql : all_sql;
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, after_id);
    if (sql != all_sql) {
        db_bind_uint(statement, 2, host_row);
    }
    if (sql == source_sql) {
        db_bind_uint(statement, 3, source_row);
    } else if (sql == host_sql) {
        db_bind_uint(statement, 3, reader_page_limit(limit));
    }
    rc = reader_collect(reader, statement, limit, read_snapshot, memory, &found, error);
    *rows = found.rows;
    *count = found.count;
    return rc;
}
