#include "collector/catalog/apply.h"

#include <stdarg.h>

static const struct {
    enum hf_event_type type;
    int (*check)(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error);
    int (*apply)(struct hf_catalog *catalog, const struct hf_event *event, struct hf_error *error);
} actions[] = {
    {HF_EVENT_HOST_CREATED, check_host_created, apply_host_created},
    {HF_EVENT_HOST_SEEN, check_host_seen, apply_host_seen},
    {HF_EVENT_HOST_LABELLED, check_host_labelled, apply_host_labelled},
    {HF_EVENT_HOST_REVOKED, check_host_revoked, apply_host_revoked},
    {HF_EVENT_CERT_ISSUED, check_cert_issued, apply_cert_issued},
    {HF_EVENT_TOKEN_CREATED, check_token_created, apply_token_created},
    {HF_EVENT_TOKEN_REVOKED, check_token_revoked, apply_token_revoked},
    {HF_EVENT_SOURCE_OPENED, check_source_opened, apply_source_opened},
    {HF_EVENT_VERSION, check_version, apply_version},
    {HF_EVENT_CHUNKS_HELD, check_chunks_held, apply_chunks_held},
    {HF_EVENT_MARK, check_mark, apply_mark},
    {HF_EVENT_SNAPSHOT_CREATED, check_snapshot_created, apply_snapshot_created},
    {HF_EVENT_SNAPSHOT_HELD, check_snapshot_held, apply_snapshot_held},
    {HF_EVENT_SNAPSHOT_RELEASED, check_snapshot_held, apply_snapshot_held},
    {HF_EVENT_JOB_CREATED, check_job_created, apply_job_created},
    {HF_EVENT_JOB_STATE, check_job_state, apply_job_state},
    {HF_EVENT_JOB_RESULTS, check_job_results, apply_job_results},
    {HF_EVENT_AUDIT, check_audit, apply_audit},
    {HF_EVENT_DICTIONARY_TRAINED, check_dictionary_trained, apply_dictionary_trained},
};

#define ACTION_COUNT (sizeof actions / sizeof actions[0])

static size_t find_action(enum hf_event_type type)
{
    size_t i = 0;
    while (i < ACTION_COUNT && actions[i].type != type) {
        i++;
    }
    return i;
}

int catalog_check(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    size_t action = find_action(event->type);
    if (action == ACTION_COUNT) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "There is no event type %d",
                            (int)event->type);
    }
    if (event->time_ns <= 0) { /* 0 means "never" in the tables */
        return hf_error_set(error, HF_ERR_INVALID, 0, "Event %s has no time",
                            event_type_name(event->type));
    }
    return actions[action].check(catalog, event, error);
}

int catalog_apply(struct hf_catalog *catalog, const struct hf_event *event,
                  const struct hf_location *location, struct hf_error *error)
{
    size_t action = find_action(event->type);
    if (action == ACTION_COUNT) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "There is no event type %d",
                            (int)event->type);
    }
    int rc = actions[action].apply(catalog, event, error);
    if (rc == HF_OK) {
        catalog->applied.location = *location;
        catalog->applied.known = catalog->applied.moved = true;
    }
    return rc;
}

int apply_contradiction(struct hf_error *error, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return hf_error_set(error, HF_ERR_CORRUPT, 0,
                        "The journal contradicts itself or the catalog: %s. Rebuild the catalog; "
                        "if that says the same, packs are missing from the repository",
                        text);
}

int apply_next_row(struct hf_catalog *catalog, const char *sql, uint64_t *out,
                   struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc == HF_OK) {
        rc = db_step(&catalog->db, statement, error);
    }
    if (rc < 0) {
        return rc;
    }
    *out = db_column_uint(statement, 0) + 1;
    return HF_OK;
}

int apply_find_host(struct hf_catalog *catalog, struct hf_bytes host_id, uint64_t *host_row,
                    bool *revoked, struct hf_error *error)
{
    static const char sql[] = "SELECT row, revoked_ns FROM hosts WHERE host_id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, host_id);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no host %.*s",
                            APPLY_TEXT(host_id));
    }
    if (rc != DB_ROW) {
        return rc;
    }
    *host_row = db_column_uint(statement, 0);
    if (revoked) {
        *revoked = db_column_int(statement, 1) != 0;
    }
    return HF_OK;
}

int apply_has_row(struct hf_catalog *catalog, const char *sql, uint64_t key, bool *found,
                  struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, key);
    rc = db_step(&catalog->db, statement, error);
    *found = rc == DB_ROW;
    return rc < 0 ? rc : HF_OK;
}

int apply_put_labels(struct hf_catalog *catalog, const char *sql, uint64_t row,
                     const struct hf_label *labels, size_t count, struct hf_error *error)
{
    sqlite3_stmt *statement;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    for (size_t i = 0; i < count && rc == HF_OK; i++) {
        db_bind_uint(statement, 1, row);
        db_bind_text(statement, 2, labels[i].key);
        db_bind_text(statement, 3, labels[i].value);
        rc = db_run(&catalog->db, statement, error);
    }
    return rc;
}
