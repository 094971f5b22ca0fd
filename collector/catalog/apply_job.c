/* Jobs: asked for, under way, finished; and what became of each file. */
#include "collector/catalog/apply.h"

#include "common/fs.h"

/* Empty is in place. What can't be offered must not become a job: its host would be offered it for
 * ever. */
static bool is_destination(struct hf_bytes path)
{
    size_t size = path.size;
    while (size > 1 && path.data[size - 1] == '/') {
        size--;
    }
    return size == 0 || (path.size <= HF_PATH_MAX_BYTES && path.data[0] == '/' &&
                         (size == 1 || hf_path_check_relative((const char *)path.data + 1, size - 1,
                                                              NULL) == HF_OK));
}

static int check_job_fields(const struct hf_event *event, struct hf_error *error)
{
    const struct hf_event_job_created *e = &event->job_created;
    for (size_t i = 0; i < e->path_count; i++) {
        if (hf_path_check_relative((const char *)e->paths[i].data, e->paths[i].size, error) !=
            HF_OK) {
            return hf_error_prefix(error, "Path %zu of the restore", i + 1);
        }
    }
    if (!is_destination(e->destination)) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "A restore's destination is an absolute directory without . and .. of "
                            "at most %u bytes, not %.*s",
                            HF_PATH_MAX_BYTES, APPLY_TEXT(e->destination));
    }
    if (e->at_ns > event->time_ns) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "A restore is of a moment that has passed, not of one to come");
    }
    if (e->expires_ns <= event->time_ns) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "A restore must expire in the future");
    }
    return HF_OK;
}

static const char last_job[] = "SELECT max(id) FROM jobs";

int check_job_created(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_job_created *e = &event->job_created;
    uint64_t origin_row = 0;
    bool revoked = false;
    int rc = check_job_fields(event, error);
    if (rc == HF_OK) {
        rc = apply_find_host(catalog, e->host_id, &e->host_row, &revoked, error);
    }
    if (rc == HF_OK && revoked) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "Host %.*s is revoked: nothing can be restored to it",
                            APPLY_TEXT(e->host_id));
    }
    if (rc == HF_OK) {
        rc = apply_find_host(catalog, e->origin_host_id, &origin_row, NULL, error);
    }
    if (rc == HF_OK) {
        rc = catalog_source_find(catalog, origin_row, e->source_name, &e->source_row, error);
    }
    return rc == HF_OK ? apply_next_row(catalog, last_job, &e->job_id, error) : rc;
}

static int put_paths(struct hf_catalog *catalog, const struct hf_event_job_created *e,
                     struct hf_error *error)
{
    static const char sql[] = "INSERT INTO job_paths (job_id, position, path) VALUES (?1, ?2, ?3)"
                              " ON CONFLICT DO NOTHING";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    for (size_t i = 0; i < e->path_count && rc == HF_OK; i++) {
        db_bind_uint(statement, 1, e->job_id);
        db_bind_uint(statement, 2, i);
        db_bind_blob(statement, 3, e->paths[i]);
        rc = db_run(&catalog->db, statement, error);
    }
    return rc;
}

int apply_job_created(struct hf_catalog *catalog, const struct hf_event *event,
                      struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO jobs (id, host_row, origin_host_row, source_row, at_ns, destination, conflict,"
        " dry_run, created_ns, created_by, expires_ns, state, started_ns, finished_ns, snapshot_id,"
        " files_total, files_done, files_failed, bytes_total, bytes_done, fetched_bytes,"
        " reused_bytes, message)"
        " SELECT ?1, ?2, host_row, row, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, 0, 0, 0, ?11, 0, 0, ?12, 0,"
        " 0, 0, '' FROM sources WHERE row = ?3 ON CONFLICT DO NOTHING";
    const struct hf_event_job_created *e = &event->job_created;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->job_id);
    db_bind_uint(statement, 2, e->host_row);
    db_bind_uint(statement, 3, e->source_row);
    db_bind_int(statement, 4, e->at_ns);
    db_bind_blob(statement, 5, e->destination);
    db_bind_uint(statement, 6, e->conflict);
    db_bind_uint(statement, 7, e->dry_run);
    db_bind_int(statement, 8, event->time_ns);
    db_bind_text(statement, 9, event->actor);
    db_bind_int(statement, 10, e->expires_ns);
    db_bind_uint(statement, 11, e->file_count);
    db_bind_uint(statement, 12, e->byte_count);
    rc = db_run(&catalog->db, statement, error);
    return rc == HF_OK ? put_paths(catalog, e, error) : rc;
}

static int check_active(struct hf_catalog *catalog, uint64_t job_id, struct hf_error *error)
{
    static const char sql[] = "SELECT state FROM jobs WHERE id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, job_id);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no job %llu",
                            (unsigned long long)job_id);
    }
    enum hf_job_state state =
        rc == DB_ROW ? (enum hf_job_state)db_column_int(statement, 0) : HF_JOB_STATE_WAITING;
    if (event_job_is_final(state)) {
        return hf_error_set(
            error, HF_ERR_CONFLICT, 0, "Job %llu has %s already", (unsigned long long)job_id,
            state == HF_JOB_STATE_CANCELLED ? "been cancelled" : event_job_state_name(state));
    }
    return rc < 0 ? rc : HF_OK;
}

int check_job_state(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    return check_active(catalog, event->job_state.job_id, error);
}

int apply_job_state(struct hf_catalog *catalog, const struct hf_event *event,
                    struct hf_error *error)
{
    static const char sql[] =
        "UPDATE jobs SET state = ?2, message = ?3, fetched_bytes = ?4, reused_bytes = ?5,"
        " snapshot_id = CASE WHEN ?6 = 0 THEN snapshot_id ELSE ?6 END,"
        " started_ns = CASE WHEN started_ns = 0 AND ?2 = 2 THEN ?7 ELSE started_ns END,"
        " finished_ns = CASE WHEN ?2 > 2 THEN ?7 ELSE 0 END WHERE id = ?1";
    const struct hf_event_job_state *e = &event->job_state;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->job_id);
    db_bind_uint(statement, 2, e->state);
    db_bind_text(statement, 3, e->message);
    db_bind_uint(statement, 4, e->fetched_bytes);
    db_bind_uint(statement, 5, e->reused_bytes);
    db_bind_uint(statement, 6, e->snapshot_id);
    db_bind_int(statement, 7, event->time_ns);
    rc = db_run(&catalog->db, statement, error);
    if (rc == HF_OK && db_changed(&catalog->db) == 0) {
        return apply_contradiction(error, "job %llu moves before it was created",
                                   (unsigned long long)e->job_id);
    }
    return rc;
}

int check_job_results(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    return check_active(catalog, event->job_results.job_id, error);
}

/* What the results move in the job's row; a repeated path counts by its newest result. */
struct tally {
    int64_t done, failed, bytes;
};

static int count_known(struct hf_catalog *catalog, uint64_t job_id, struct hf_bytes path,
                       struct tally *tally, struct hf_error *error)
{
    static const char sql[] = "SELECT status, bytes FROM job_results WHERE job_id = ?1"
                              " AND path = ?2";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, job_id);
    db_bind_blob(statement, 2, path);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_ROW) {
        tally->done--;
        tally->failed -= db_column_int(statement, 0) == HF_RESTORE_FAILED;
        tally->bytes -= db_column_int(statement, 1);
    }
    return rc < 0 ? rc : HF_OK;
}

static int write_result(struct hf_catalog *catalog, const char *sql, uint64_t job_id,
                        const struct hf_event_job_result *row, struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, job_id);
    db_bind_blob(statement, 2, row->path);
    db_bind_uint(statement, 3, row->status);
    db_bind_uint(statement, 4, row->bytes);
    db_bind_text(statement, 5, row->message);
    return db_run(&catalog->db, statement, error);
}

/* Nearly all are of paths that have none yet: whether one has is asked of the row that is put. */
static int put_result(struct hf_catalog *catalog, uint64_t job_id,
                      const struct hf_event_job_result *row, struct tally *tally,
                      struct hf_error *error)
{
#define PUT "INTO job_results (job_id, path, status, bytes, message) VALUES (?1, ?2, ?3, ?4, ?5)"
    int rc = write_result(catalog, "INSERT OR IGNORE " PUT, job_id, row, error);
    bool known = rc == HF_OK && db_changed(&catalog->db) == 0;
    if (known) {
        rc = count_known(catalog, job_id, row->path, tally, error);
    }
    if (known && rc == HF_OK) {
        rc = write_result(catalog, "REPLACE " PUT, job_id, row, error);
    }
#undef PUT
    tally->done++;
    tally->failed += row->status == HF_RESTORE_FAILED;
    tally->bytes += (int64_t)row->bytes;
    return rc;
}

int apply_job_results(struct hf_catalog *catalog, const struct hf_event *event,
                      struct hf_error *error)
{
    /* Versions of the moment may have come in after the job was made: the total is what it was
     * when the files were counted. */
    static const char sql[] = "UPDATE jobs SET files_done = files_done + ?2,"
                              " files_total = max(files_total, files_done + ?2),"
                              " files_failed = files_failed + ?3, bytes_done = bytes_done + ?4"
                              " WHERE id = ?1";
    const struct hf_event_job_results *e = &event->job_results;
    struct tally tally = {0};
    DB_STATEMENT statement = NULL;
    int rc = HF_OK;
    for (size_t i = 0; i < e->count && rc == HF_OK; i++) {
        rc = put_result(catalog, e->job_id, &e->rows[i], &tally, error);
    }
    if (rc == HF_OK) {
        rc = db_prepare(&catalog->db, sql, &statement, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->job_id);
    db_bind_int(statement, 2, tally.done);
    db_bind_int(statement, 3, tally.failed);
    db_bind_int(statement, 4, tally.bytes);
    rc = db_run(&catalog->db, statement, error);
    if (rc == HF_OK && db_changed(&catalog->db) == 0) {
        return apply_contradiction(error, "job %llu has results before it was created",
                                   (unsigned long long)e->job_id);
    }
    return rc;
}
