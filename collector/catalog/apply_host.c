/* Hosts: they join, say what they are, get labels, are revoked. */
#include "collector/catalog/apply.h"

#include <string.h>

#define HOST_ID_BYTES 18 /* "h-" and 16 hex digits */

static int check_host_id(struct hf_bytes host_id, struct hf_error *error)
{
    bool fits = host_id.size == HOST_ID_BYTES && memcmp(host_id.data, "h-", 2) == 0;
    for (size_t i = 2; fits && i < HOST_ID_BYTES; i++) {
        fits = strchr("0123456789abcdef", host_id.data[i]) && host_id.data[i] != 0;
    }
    return fits ? HF_OK
                : hf_error_set(error, HF_ERR_INVALID, 0,
                               "A host's id is h- and 16 hexadecimal digits, not %.*s",
                               APPLY_TEXT(host_id));
}

static bool is_name(struct hf_bytes key)
{
    return key.size == 4 && memcmp(key.data, "name", 4) == 0;
}

static const char last_host_row[] = "SELECT max(row) FROM hosts";

int check_host_created(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_host_created *e = &event->host_created;
    int rc = check_host_id(e->host_id, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = apply_find_host(catalog, e->host_id, &e->host_row, NULL, error);
    if (rc == HF_OK) {
        return hf_error_set(error, HF_ERR_EXISTS, 0, "There is a host %.*s already",
                            APPLY_TEXT(e->host_id));
    }
    return rc == HF_ERR_NOT_FOUND ? apply_next_row(catalog, last_host_row, &e->host_row, error)
                                  : rc;
}

static const char put_host_label[] = "INSERT INTO host_labels (host_row, key, value)"
                                     " VALUES (?1, ?2, ?3)"
                                     " ON CONFLICT DO UPDATE SET value = excluded.value";

int apply_host_created(struct hf_catalog *catalog, const struct hf_event *event,
                       struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO hosts (row, host_id, name, hostname, machine_id, os, agent_version, address,"
        " created_ns, seen_ns, revoked_ns, revoked_reason)"
        " VALUES (?1, ?2, ?3, ?4, '', '', '', '', ?5, 0, 0, '') ON CONFLICT DO NOTHING";
    const struct hf_event_host_created *e = &event->host_created;
    struct hf_bytes name = e->name;
    for (size_t i = 0; i < e->label_count; i++) {
        if (is_name(e->labels[i].key)) {
            name = e->labels[i].value;
        }
    }
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->host_row);
    db_bind_text(statement, 2, e->host_id);
    db_bind_text(statement, 3, name);
    db_bind_text(statement, 4, e->name);
    db_bind_int(statement, 5, event->time_ns);
    rc = db_run(&catalog->db, statement, error);
    if (rc != HF_OK || db_changed(&catalog->db) == 0) {
        return rc; /* known: its labels may have changed since */
    }
    return apply_put_labels(catalog, put_host_label, e->host_row, e->labels, e->label_count, error);
}

int check_host_seen(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    static const char sql[] = "SELECT 1 FROM hosts WHERE row = ?1 AND hostname = ?2"
                              " AND machine_id = ?3 AND os = ?4 AND agent_version = ?5"
                              " AND address = ?6 AND seen_ns > 0";
    struct hf_event_host_seen *e = &event->host_seen;
    int rc = apply_find_host(catalog, e->host_id, &e->host_row, NULL, error);
    if (rc != HF_OK) {
        return rc;
    }
    DB_STATEMENT statement = NULL;
    rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->host_row);
    db_bind_text(statement, 2, e->hostname);
    db_bind_text(statement, 3, e->machine_id);
    db_bind_text(statement, 4, e->os);
    db_bind_text(statement, 5, e->agent_version);
    db_bind_text(statement, 6, e->address);
    rc = db_step(&catalog->db, statement, error);
    return rc == DB_ROW ? hf_error_set(error, HF_ERR_EXISTS, 0, "Nothing about host %.*s changed",
                                       APPLY_TEXT(e->host_id))
                        : rc;
}

int apply_host_seen(struct hf_catalog *catalog, const struct hf_event *event,
                    struct hf_error *error)
{
    static const char sql[] =
        "UPDATE hosts SET hostname = ?2, machine_id = ?3, os = ?4, agent_version = ?5,"
        " address = ?6, seen_ns = max(seen_ns, ?7),"
        " name = CASE WHEN name = '' THEN ?2 ELSE name END WHERE row = ?1";
    const struct hf_event_host_seen *e = &event->host_seen;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->host_row);
    db_bind_text(statement, 2, e->hostname);
    db_bind_text(statement, 3, e->machine_id);
    db_bind_text(statement, 4, e->os);
    db_bind_text(statement, 5, e->agent_version);
    db_bind_text(statement, 6, e->address);
    db_bind_int(statement, 7, event->time_ns);
    rc = db_run(&catalog->db, statement, error);
    if (rc == HF_OK && db_changed(&catalog->db) == 0) {
        return apply_contradiction(error, "host %.*s is seen before it was created",
                                   APPLY_TEXT(e->host_id));
    }
    return rc;
}

/* How many labels the host would have that it doesn't have now. */
static int count_new_labels(struct hf_catalog *catalog, const struct hf_event_host_labelled *e,
                            uint64_t *total, struct hf_error *error)
{
    static const char count_sql[] = "SELECT count(*) FROM host_labels WHERE host_row = ?1";
    static const char known_sql[] = "SELECT 1 FROM host_labels WHERE host_row = ?1 AND key = ?2";
    DB_STATEMENT count = NULL;
    DB_STATEMENT known = NULL;
    int rc = db_prepare(&catalog->db, count_sql, &count, error);
    if (rc == HF_OK) {
        rc = db_prepare(&catalog->db, known_sql, &known, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(count, 1, e->host_row);
    rc = db_step(&catalog->db, count, error);
    if (rc < 0) {
        return rc;
    }
    *total = db_column_uint(count, 0);
    for (size_t i = 0; i < e->set_count; i++) {
        db_done(&known);
        db_bind_uint(known, 1, e->host_row);
        db_bind_text(known, 2, e->set[i].key);
        rc = db_step(&catalog->db, known, error);
        if (rc < 0) {
            return rc;
        }
        *total += rc == DB_DONE;
    }
    return HF_OK;
}

int check_host_labelled(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_host_labelled *e = &event->host_labelled;
    uint64_t total = 0;
    int rc = apply_find_host(catalog, e->host_id, &e->host_row, NULL, error);
    for (size_t i = 0; i < e->set_count && rc == HF_OK; i++) {
        if (e->set[i].key.size == 0) {
            rc = hf_error_set(error, HF_ERR_INVALID, 0, "A label needs a key: key=value");
        }
    }
    if (rc == HF_OK) {
        rc = count_new_labels(catalog, e, &total, error);
    }
    if (rc == HF_OK && total > HF_EVENT_LABELS_MAX) {
        return hf_error_set(error, HF_ERR_LIMIT, 0,
                            "A host has at most %u labels: remove some of %.*s first",
                            HF_EVENT_LABELS_MAX, APPLY_TEXT(e->host_id));
    }
    return rc;
}

static int set_name(struct hf_catalog *catalog, uint64_t host_row, struct hf_bytes name,
                    struct hf_error *error)
{
    /* Without a name of its own it goes by what it calls itself. */
    static const char sql[] =
        "UPDATE hosts SET name = CASE WHEN ?2 = '' THEN hostname ELSE ?2 END WHERE row = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    db_bind_text(statement, 2, name);
    return db_run(&catalog->db, statement, error);
}

static int remove_labels(struct hf_catalog *catalog, const struct hf_event_host_labelled *e,
                         struct hf_error *error)
{
    static const char sql[] = "DELETE FROM host_labels WHERE host_row = ?1 AND key = ?2";
    sqlite3_stmt *statement;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    for (size_t i = 0; i < e->removed_count && rc == HF_OK; i++) {
        db_bind_uint(statement, 1, e->host_row);
        db_bind_text(statement, 2, e->removed[i]);
        rc = db_run(&catalog->db, statement, error);
        if (rc == HF_OK && is_name(e->removed[i])) {
            rc = set_name(catalog, e->host_row, event_text(""), error);
        }
    }
    return rc;
}

int apply_host_labelled(struct hf_catalog *catalog, const struct hf_event *event,
                        struct hf_error *error)
{
    const struct hf_event_host_labelled *e = &event->host_labelled;
    int rc = remove_labels(catalog, e, error);
    if (rc == HF_OK) {
        rc = apply_put_labels(catalog, put_host_label, e->host_row, e->set, e->set_count, error);
    }
    for (size_t i = 0; i < e->set_count && rc == HF_OK; i++) {
        if (is_name(e->set[i].key)) {
            rc = set_name(catalog, e->host_row, e->set[i].value, error);
        }
    }
    return rc;
}

int check_host_revoked(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_host_revoked *e = &event->host_revoked;
    bool revoked = false;
    int rc = apply_find_host(catalog, e->host_id, &e->host_row, &revoked, error);
    return rc == HF_OK && revoked
               ? hf_error_set(error, HF_ERR_EXISTS, 0, "Host %.*s is revoked already",
                              APPLY_TEXT(e->host_id))
               : rc;
}

int apply_host_revoked(struct hf_catalog *catalog, const struct hf_event *event,
                       struct hf_error *error)
{
    static const char sql[] = "UPDATE hosts SET revoked_ns = ?2, revoked_reason = ?3"
                              " WHERE row = ?1 AND revoked_ns = 0";
    const struct hf_event_host_revoked *e = &event->host_revoked;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->host_row);
    db_bind_int(statement, 2, event->time_ns);
    db_bind_text(statement, 3, e->reason);
    return db_run(&catalog->db, statement, error);
}
