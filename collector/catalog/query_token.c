#include "collector/catalog/reader.h"

#define SELECT_TOKEN                                                                               \
    "SELECT row, token_id, name, created_by, kind, role, secret_hash, created_ns, expires_ns,"     \
    " revoked_ns, uses, uses_left FROM tokens "

static void read_token(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_token_row *row = out;
    *row = (struct hf_token_row){.row = db_column_uint(statement, 0),
                                 .token_id = db_column_text(statement, 1, memory),
                                 .name = db_column_text(statement, 2, memory),
                                 .created_by = db_column_text(statement, 3, memory),
                                 .kind = (enum hf_token_kind)db_column_int(statement, 4),
                                 .role = (enum hf_role)db_column_int(statement, 5),
                                 .created_ns = db_column_int(statement, 7),
                                 .expires_ns = db_column_int(statement, 8),
                                 .revoked_ns = db_column_int(statement, 9),
                                 .uses = (uint32_t)db_column_uint(statement, 10),
                                 .uses_left = (uint32_t)db_column_uint(statement, 11)};
    db_column_hash(statement, 6, row->secret_hash);
}

static int add_labels(struct hf_catalog_reader *reader, struct hf_catalog_memory *memory,
                      struct hf_token_row *row, struct hf_error *error)
{
    static const char sql[] =
        "SELECT key, value FROM token_labels WHERE token_row = ?1 ORDER BY key";
    return reader_labels(reader, sql, row->row, memory, &row->labels, &row->label_count, error);
}

int catalog_token_by_id(struct hf_catalog_reader *reader, const char *token_id,
                        struct hf_catalog_memory *memory, struct hf_token_row *out,
                        struct hf_error *error)
{
    static const char sql[] = SELECT_TOKEN "WHERE token_id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, event_text(token_id));
    rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no token %s", token_id);
    }
    read_token(statement, memory, out);
    rc = add_labels(reader, memory, out, error);
    return rc == HF_OK ? db_check_memory(memory, error) : rc;
}

int catalog_token_list(struct hf_catalog_reader *reader, uint64_t after_row, size_t limit,
                       struct hf_catalog_memory *memory, const struct hf_token_row **rows,
                       size_t *count, struct hf_error *error)
{
    static const char sql[] = SELECT_TOKEN "WHERE row > ?1 ORDER BY row";
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, after_row);
    rc = reader_collect(reader, statement, limit, read_token, memory, &found, error);
    for (size_t i = 0; i < found.count && rc == HF_OK; i++) {
        rc = add_labels(reader, memory, &((struct hf_token_row *)found.rows)[i], error);
    }
    *rows = found.rows;
    *count = found.count;
    return rc;
}
