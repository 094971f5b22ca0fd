/* Dictionaries that small content is compressed with: one a class at a time, none ever taken away,
 * because blocks name them. */
#include "collector/catalog/apply.h"
#include "collector/catalog/query.h"
#include "common/dictionary.h"

int check_dictionary_trained(struct hf_catalog *catalog, struct hf_event *event,
                             struct hf_error *error)
{
    struct hf_event_dictionary_trained *e = &event->dictionary_trained;
    uint8_t hash[HF_HASH_BYTES];
    uint8_t newest[HF_HASH_BYTES];
    if (e->class_name.size == 0 || e->class_name.size > HF_NAME_MAX_BYTES) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "A dictionary is for a class");
    }
    if (!hf_dictionary_is_one(e->bytes)) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "%zu bytes for class %.*s are no trained dictionary", e->bytes.size,
                            APPLY_TEXT(e->class_name));
    }
    hf_sha256(e->bytes.data, e->bytes.size, hash);
    if (memcmp(hash, e->id, HF_HASH_BYTES) != 0) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "The id of a dictionary for class %.*s is not the SHA-256 of its bytes",
                            APPLY_TEXT(e->class_name));
    }
    int rc = query_dictionary_newest(&catalog->db, e->class_name, newest, error);
    if (rc == HF_OK && memcmp(newest, e->id, HF_HASH_BYTES) == 0) {
        return hf_error_set(error, HF_ERR_EXISTS, 0, "Class %.*s has that dictionary already",
                            APPLY_TEXT(e->class_name));
    }
    if (rc != HF_OK && rc != HF_ERR_NOT_FOUND) {
        return rc;
    }
    return apply_next_row(catalog, "SELECT max(row) FROM dictionaries", &e->row, error);
}

int apply_dictionary_trained(struct hf_catalog *catalog, const struct hf_event *event,
                             struct hf_error *error)
{
    static const char sql[] = "INSERT INTO dictionaries (row, class, id, trained_ns, bytes)"
                              " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    const struct hf_event_dictionary_trained *e = &event->dictionary_trained;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->row);
    db_bind_text(statement, 2, e->class_name);
    db_bind_blob(statement, 3, (struct hf_bytes){.data = e->id, .size = HF_HASH_BYTES});
    db_bind_int(statement, 4, event->time_ns);
    db_bind_blob(statement, 5, e->bytes);
    return db_run(&catalog->db, statement, error);
}

int catalog_dictionary_find(struct hf_catalog *catalog, const uint8_t id[HF_HASH_BYTES],
                            struct hf_buf *bytes, struct hf_error *error)
{
    return query_dictionary(&catalog->db, id, bytes, error);
}

int catalog_source_dictionary(struct hf_catalog *catalog, uint64_t source_row,
                              uint8_t id[HF_HASH_BYTES], struct hf_error *error)
{
    static const char sql[] =
        "SELECT d.id FROM sources s JOIN dictionaries d ON d.class = s.class WHERE s.row = ?1"
        " ORDER BY d.row DESC LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_DONE) {
        return HF_ERR_NOT_FOUND;
    }
    if (rc != DB_ROW) {
        return rc;
    }
    db_column_hash(statement, 0, id);
    return HF_OK;
}
