/* Tokens: made and revoked. Their uses are taken by certificates (apply_certificate.c). */
#include "collector/catalog/apply.h"

static const char last_token[] = "SELECT max(row) FROM tokens";

static int find_token(struct hf_catalog *catalog, struct hf_bytes token_id, bool *found,
                      int64_t *revoked_ns, struct hf_error *error)
{
    static const char sql[] = "SELECT revoked_ns FROM tokens WHERE token_id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, token_id);
    rc = db_step(&catalog->db, statement, error);
    *found = rc == DB_ROW;
    *revoked_ns = *found ? db_column_int(statement, 0) : 0;
    return rc < 0 ? rc : HF_OK;
}

int check_token_created(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    const struct hf_event_token_created *e = &event->token_created;
    bool found;
    int64_t revoked_ns;
    bool enrols = e->kind == HF_TOKEN_ENROL && e->role == HF_ROLE_NONE && e->uses > 0;
    bool calls = e->kind == HF_TOKEN_API && e->role != HF_ROLE_NONE && e->uses == 0;
    if (e->token_id.size == 0 || (!enrols && !calls)) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "A token has an id and is either for enrolment, with uses, or for the "
                            "API, with a role");
    }
    if (e->expires_ns != 0 && e->expires_ns <= event->time_ns) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "A token can't expire in the past");
    }
    int rc = find_token(catalog, e->token_id, &found, &revoked_ns, error);
    return rc == HF_OK && found
               ? hf_error_set(error, HF_ERR_EXISTS, 0, "There is a token %.*s already",
                              APPLY_TEXT(e->token_id))
               : rc;
}

int apply_token_created(struct hf_catalog *catalog, const struct hf_event *event,
                        struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO tokens (row, token_id, kind, role, secret_hash, name, created_ns, created_by,"
        " expires_ns, uses, uses_left, revoked_ns)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, 0) ON CONFLICT DO NOTHING";
    static const char label_sql[] =
        "INSERT OR REPLACE INTO token_labels (token_row, key, value) VALUES (?1, ?2, ?3)";
    const struct hf_event_token_created *e = &event->token_created;
    uint64_t row = 0;
    DB_STATEMENT statement = NULL;
    int rc = apply_next_row(catalog, last_token, &row, error);
    if (rc == HF_OK) {
        rc = db_prepare(&catalog->db, sql, &statement, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, row);
    db_bind_text(statement, 2, e->token_id);
    db_bind_uint(statement, 3, e->kind);
    db_bind_uint(statement, 4, e->role);
    db_bind_blob(statement, 5, (struct hf_bytes){.data = e->secret_hash, .size = HF_HASH_BYTES});
    db_bind_text(statement, 6, e->name);
    db_bind_int(statement, 7, event->time_ns);
    db_bind_text(statement, 8, event->actor);
    db_bind_int(statement, 9, e->expires_ns);
    db_bind_uint(statement, 10, e->uses);
    rc = db_run(&catalog->db, statement, error);
    if (rc != HF_OK || db_changed(&catalog->db) == 0) {
        return rc;
    }
    return apply_put_labels(catalog, label_sql, row, e->labels, e->label_count, error);
}

int check_token_revoked(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    const struct hf_event_token_revoked *e = &event->token_revoked;
    bool found;
    int64_t revoked_ns;
    int rc = find_token(catalog, e->token_id, &found, &revoked_ns, error);
    if (rc != HF_OK) {
        return rc;
    }
    if (!found) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no token %.*s",
                            APPLY_TEXT(e->token_id));
    }
    return revoked_ns == 0 ? HF_OK
                           : hf_error_set(error, HF_ERR_EXISTS, 0, "Token %.*s is revoked already",
                                          APPLY_TEXT(e->token_id));
}

int apply_token_revoked(struct hf_catalog *catalog, const struct hf_event *event,
                        struct hf_error *error)
{
    static const char sql[] =
        "UPDATE tokens SET revoked_ns = ?2 WHERE token_id = ?1 AND revoked_ns = 0";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, event->token_revoked.token_id);
    db_bind_int(statement, 2, event->time_ns);
    return db_run(&catalog->db, statement, error);
}
