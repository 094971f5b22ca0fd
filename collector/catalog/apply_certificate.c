/* Certificates: issuing one and taking a use of the token that asked for it are one event, so
 * neither can happen without the other. */
#include "collector/catalog/apply.h"

static int find_certificate(struct hf_catalog *catalog, const struct hf_event_cert_issued *e,
                            bool *found, struct hf_error *error)
{
    static const char sql[] = "SELECT 1 FROM certificates WHERE serial = ?1 UNION ALL"
                              " SELECT 1 FROM certificates"
                              " WHERE token_id <> '' AND token_id = ?2 AND key_hash = ?3";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, e->serial);
    db_bind_text(statement, 2, e->token_id);
    db_bind_blob(statement, 3, (struct hf_bytes){.data = e->key_hash, .size = HF_HASH_BYTES});
    rc = db_step(&catalog->db, statement, error);
    *found = rc == DB_ROW;
    return rc < 0 ? rc : HF_OK;
}

static int check_token(struct hf_catalog *catalog, struct hf_bytes token_id, int64_t now_ns,
                       struct hf_error *error)
{
    static const char sql[] =
        "SELECT kind, expires_ns, revoked_ns, uses_left FROM tokens WHERE token_id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, token_id);
    rc = db_step(&catalog->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    const char *reason = NULL;
    if (rc == DB_DONE) {
        reason = "is unknown";
    } else if (db_column_int(statement, 0) != HF_TOKEN_ENROL) {
        reason = "is not for enrolment";
    } else if (db_column_int(statement, 2) != 0) {
        reason = "was revoked";
    } else if (db_column_int(statement, 1) != 0 && db_column_int(statement, 1) <= now_ns) {
        reason = "has expired";
    } else if (db_column_uint(statement, 3) == 0) {
        reason = "is used up";
    }
    return reason ? hf_error_set(error, HF_ERR_DENIED, 0,
                                 "The token %.*s %s: ask an administrator for a new one",
                                 APPLY_TEXT(token_id), reason)
                  : HF_OK;
}

int check_cert_issued(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_cert_issued *e = &event->cert_issued;
    bool revoked = false;
    bool found = false;
    if (e->serial.size == 0 || e->not_after_ns <= e->not_before_ns) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "A certificate needs a serial number and an end after its start");
    }
    int rc = find_certificate(catalog, e, &found, error);
    if (rc == HF_OK && found) {
        return hf_error_set(error, HF_ERR_EXISTS, 0, "This certificate was issued already");
    }
    if (rc == HF_OK) {
        rc = apply_find_host(catalog, e->host_id, &e->host_row, &revoked, error);
    }
    if (rc == HF_OK && revoked) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "Host %.*s is revoked and gets no certificate: enrol it anew",
                            APPLY_TEXT(e->host_id));
    }
    if (rc == HF_OK && e->token_id.size > 0) {
        rc = check_token(catalog, e->token_id, event->time_ns, error);
    }
    return rc;
}

static int take_use(struct hf_catalog *catalog, struct hf_bytes token_id, struct hf_error *error)
{
    static const char sql[] =
        "UPDATE tokens SET uses_left = uses_left - 1 WHERE token_id = ?1 AND uses_left > 0";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, token_id);
    rc = db_run(&catalog->db, statement, error);
    if (rc == HF_OK && db_changed(&catalog->db) == 0) {
        return apply_contradiction(error, "token %.*s is used more often than it may",
                                   APPLY_TEXT(token_id));
    }
    return rc;
}

int apply_cert_issued(struct hf_catalog *catalog, const struct hf_event *event,
                      struct hf_error *error)
{
    static const char last_row[] = "SELECT max(row) FROM certificates";
    static const char sql[] =
        "INSERT INTO certificates (row, serial, host_row, key_hash, issued_ns, not_before_ns,"
        " not_after_ns, certificate_pem, token_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        " ON CONFLICT DO NOTHING";
    const struct hf_event_cert_issued *e = &event->cert_issued;
    uint64_t row = 0;
    DB_STATEMENT statement = NULL;
    int rc = apply_next_row(catalog, last_row, &row, error);
    if (rc == HF_OK) {
        rc = db_prepare(&catalog->db, sql, &statement, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, row);
    db_bind_text(statement, 2, e->serial);
    db_bind_uint(statement, 3, e->host_row);
    db_bind_blob(statement, 4, (struct hf_bytes){.data = e->key_hash, .size = HF_HASH_BYTES});
    db_bind_int(statement, 5, event->time_ns);
    db_bind_int(statement, 6, e->not_before_ns);
    db_bind_int(statement, 7, e->not_after_ns);
    db_bind_text(statement, 8, e->certificate_pem);
    db_bind_text(statement, 9, e->token_id);
    rc = db_run(&catalog->db, statement, error);
    if (rc != HF_OK || db_changed(&catalog->db) == 0 || e->token_id.size == 0) {
        return rc;
    }
    return take_use(catalog, e->token_id, error);
}
