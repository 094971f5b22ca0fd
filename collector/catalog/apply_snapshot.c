/* Snapshots: named moments, and the holds that keep retention away from them. */
#include "collector/catalog/apply.h"

int check_snapshot_created(struct hf_catalog *catalog, struct hf_event *event,
                           struct hf_error *error)
{
    static const char last_id[] = "SELECT max(id) FROM snapshots";
    static const char job_sql[] = "SELECT 1 FROM jobs WHERE id = ?1";
    struct hf_event_snapshot_created *e = &event->snapshot_created;
    struct source_entry *source;
    bool found = true;
    if (e->at_ns > event->time_ns) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "A snapshot names a moment that has passed, not one to come");
    }
    int rc = source_cache_get(&catalog->sources, &catalog->db, e->source_row, &source, error);
    if (rc == HF_OK && e->job != 0) {
        rc = apply_has_row(catalog, job_sql, e->job, &found, error);
    }
    if (rc == HF_OK && !found) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no job %llu",
                            (unsigned long long)e->job);
    }
    return rc == HF_OK ? apply_next_row(catalog, last_id, &e->snapshot_id, error) : rc;
}

int apply_snapshot_created(struct hf_catalog *catalog, const struct hf_event *event,
                           struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO snapshots (id, source_row, name, at_ns, created_ns, created_by, reason, job,"
        " held, held_ns, hold_reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        " ON CONFLICT DO NOTHING";
    const struct hf_event_snapshot_created *e = &event->snapshot_created;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->snapshot_id);
    db_bind_uint(statement, 2, e->source_row);
    db_bind_text(statement, 3, e->name);
    db_bind_int(statement, 4, e->at_ns);
    db_bind_int(statement, 5, event->time_ns);
    db_bind_text(statement, 6, event->actor);
    db_bind_uint(statement, 7, e->reason);
    db_bind_uint(statement, 8, e->job);
    db_bind_uint(statement, 9, e->held);
    db_bind_int(statement, 10, e->held ? event->time_ns : 0);
    db_bind_text(statement, 11, e->hold_reason);
    return db_run(&catalog->db, statement, error);
}

int check_snapshot_held(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    static const char sql[] = "SELECT held FROM snapshots WHERE id = ?1";
    const struct hf_event_snapshot_held *e = &event->snapshot_held;
    bool hold = event->type == HF_EVENT_SNAPSHOT_HELD;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->snapshot_id);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no snapshot %llu",
                            (unsigned long long)e->snapshot_id);
    }
    if (rc == DB_ROW && hold == (db_column_int(statement, 0) != 0)) {
        return hf_error_set(error, HF_ERR_EXISTS, 0, "Snapshot %llu is %s already",
                            (unsigned long long)e->snapshot_id, hold ? "held" : "released");
    }
    return rc < 0 ? rc : HF_OK;
}

int apply_snapshot_held(struct hf_catalog *catalog, const struct hf_event *event,
                        struct hf_error *error)
{
    static const char sql[] =
        "UPDATE snapshots SET held = ?2, held_ns = ?3, hold_reason = ?4 WHERE id = ?1";
    const struct hf_event_snapshot_held *e = &event->snapshot_held;
    bool hold = event->type == HF_EVENT_SNAPSHOT_HELD;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->snapshot_id);
    db_bind_uint(statement, 2, hold);
    db_bind_int(statement, 3, hold ? event->time_ns : 0);
    db_bind_text(statement, 4, hold ? e->reason : event_text(""));
    rc = db_run(&catalog->db, statement, error);
    if (rc == HF_OK && db_changed(&catalog->db) == 0) {
        return apply_contradiction(error, "snapshot %llu is %s before it was created",
                                   (unsigned long long)e->snapshot_id, hold ? "held" : "released");
    }
    return rc;
}
