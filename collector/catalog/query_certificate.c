#include "collector/catalog/reader.h"

#define SELECT_CERTIFICATE                                                                         \
    "SELECT c.host_row, h.host_id, c.serial, c.certificate_pem, c.token_id, c.key_hash,"           \
    " c.issued_ns, c.not_before_ns, c.not_after_ns"                                                \
    " FROM certificates c JOIN hosts h ON h.row = c.host_row "

static int read_one(struct hf_catalog_reader *reader, sqlite3_stmt *statement,
                    struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                    struct hf_error *error)
{
    int rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no such certificate");
    }
    *out = (struct hf_certificate_row){.host_row = db_column_uint(statement, 0),
                                       .host_id = db_column_text(statement, 1, memory),
                                       .serial = db_column_text(statement, 2, memory),
                                       .certificate_pem = db_column_text(statement, 3, memory),
                                       .token_id = db_column_text(statement, 4, memory),
                                       .issued_ns = db_column_int(statement, 6),
                                       .not_before_ns = db_column_int(statement, 7),
                                       .not_after_ns = db_column_int(statement, 8)};
    db_column_hash(statement, 5, out->key_hash);
    return db_check_memory(memory, error);
}

int catalog_certificate_by_serial(struct hf_catalog_reader *reader, const char *serial,
                                  struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                                  struct hf_error *error)
{
    static const char sql[] = SELECT_CERTIFICATE "WHERE c.serial = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, event_text(serial));
    return read_one(reader, statement, memory, out, error);
}

int catalog_certificate_by_token(struct hf_catalog_reader *reader, const char *token_id,
                                 const uint8_t key_hash[HF_HASH_BYTES],
                                 struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                                 struct hf_error *error)
{
    static const char sql[] = SELECT_CERTIFICATE
        "WHERE c.token_id <> '' AND c.token_id = ?1 AND c.key_hash = ?2 ORDER BY c.row LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, event_text(token_id));
    db_bind_blob(statement, 2, (struct hf_bytes){.data = key_hash, .size = HF_HASH_BYTES});
    return read_one(reader, statement, memory, out, error);
}

int catalog_certificate_newest(struct hf_catalog_reader *reader, uint64_t host_row,
                               struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                               struct hf_error *error)
{
    static const char sql[] =
        SELECT_CERTIFICATE "WHERE c.host_row = ?1 ORDER BY c.row DESC LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    return read_one(reader, statement, memory, out, error);
}
