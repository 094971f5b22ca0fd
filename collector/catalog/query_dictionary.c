#include "collector/catalog/reader.h"

int query_dictionary(struct db *db, const uint8_t id[HF_HASH_BYTES], struct hf_buf *bytes,
                     struct hf_error *error)
{
    static const char sql[] = "SELECT bytes FROM dictionaries WHERE id = ?1 LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_blob(statement, 1, (struct hf_bytes){.data = id, .size = HF_HASH_BYTES});
    rc = db_step(db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no such dictionary");
    }
    if (rc != DB_ROW) {
        return rc;
    }
    struct hf_bytes view = db_column_view(statement, 0);
    rc = hf_buf_append(bytes, view.data, view.size);
    return rc == HF_OK ? rc : hf_error_set(error, rc, 0, "No memory for a dictionary");
}

int query_dictionary_newest(struct db *db, struct hf_bytes class_name, uint8_t id[HF_HASH_BYTES],
                            struct hf_error *error)
{
    static const char sql[] =
        "SELECT id FROM dictionaries WHERE class = ?1 ORDER BY row DESC LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, class_name);
    rc = db_step(db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "The class has no dictionary");
    }
    if (rc != DB_ROW) {
        return rc;
    }
    db_column_hash(statement, 0, id);
    return HF_OK;
}

int catalog_dictionary_get(struct hf_catalog_reader *reader, const uint8_t id[HF_HASH_BYTES],
                           struct hf_buf *bytes, struct hf_error *error)
{
    return query_dictionary(&reader->db, id, bytes, error);
}

int catalog_dictionary_newest(struct hf_catalog_reader *reader, const char *class_name,
                              uint8_t id[HF_HASH_BYTES], struct hf_error *error)
{
    return query_dictionary_newest(&reader->db, event_text(class_name), id, error);
}
