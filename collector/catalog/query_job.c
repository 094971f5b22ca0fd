#include "collector/catalog/reader.h"

#define JOB_COLUMNS                                                                                \
    "SELECT j.id, j.host_row, j.origin_host_row, j.source_row, h.host_id, h.name, o.host_id,"      \
    " s.name, j.created_by, j.message, j.at_ns, j.created_ns, j.expires_ns, j.started_ns,"         \
    " j.finished_ns, j.destination, j.conflict, j.dry_run, j.state, j.snapshot_id, j.files_total," \
    " j.files_done, j.files_failed, j.bytes_total, j.bytes_done, j.fetched_bytes, j.reused_bytes"
#define JOB_NAMES                                                                                  \
    " JOIN hosts h ON h.row = j.host_row JOIN hosts o ON o.row = j.origin_host_row"                \
    " JOIN sources s ON s.row = j.source_row "
#define SELECT_JOB JOB_COLUMNS " FROM jobs j" JOB_NAMES
/* The index has the active ones only; left to itself SQLite goes through all jobs there ever were.
 */
#define SELECT_ACTIVE_JOB JOB_COLUMNS " FROM jobs j INDEXED BY jobs_active" JOB_NAMES

static void read_job(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_job_row *row = out;
    *row = (struct hf_job_row){.job_id = db_column_uint(statement, 0),
                               .host_row = db_column_uint(statement, 1),
                               .origin_host_row = db_column_uint(statement, 2),
                               .source_row = db_column_uint(statement, 3),
                               .host_id = db_column_text(statement, 4, memory),
                               .host_name = db_column_text(statement, 5, memory),
                               .origin_host_id = db_column_text(statement, 6, memory),
                               .source_name = db_column_text(statement, 7, memory),
                               .created_by = db_column_text(statement, 8, memory),
                               .message = db_column_text(statement, 9, memory),
                               .at_ns = db_column_int(statement, 10),
                               .created_ns = db_column_int(statement, 11),
                               .expires_ns = db_column_int(statement, 12),
                               .started_ns = db_column_int(statement, 13),
                               .finished_ns = db_column_int(statement, 14),
                               .destination = db_column_bytes(statement, 15, memory),
                               .conflict = (enum hf_conflict)db_column_int(statement, 16),
                               .dry_run = db_column_int(statement, 17) != 0,
                               .state = (enum hf_job_state)db_column_int(statement, 18),
                               .snapshot_id = db_column_uint(statement, 19),
                               .files_total = db_column_uint(statement, 20),
                               .files_done = db_column_uint(statement, 21),
                               .files_failed = db_column_uint(statement, 22),
                               .bytes_total = db_column_uint(statement, 23),
                               .bytes_done = db_column_uint(statement, 24),
                               .fetched_bytes = db_column_uint(statement, 25),
                               .reused_bytes = db_column_uint(statement, 26)};
}

static int add_paths(struct hf_catalog_reader *reader, struct hf_catalog_memory *memory,
                     struct hf_job_row *row, struct hf_error *error)
{
    static const char sql[] = "SELECT path FROM job_paths WHERE job_id = ?1 ORDER BY position";
    struct memory_rows found = {.size = sizeof *row->paths};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, row->job_id);
    while ((rc = db_step(&reader->db, statement, error)) == DB_ROW) {
        struct hf_bytes *path = memory_add_row(memory, &found);
        if (path) {
            *path = db_column_bytes(statement, 0, memory);
        }
    }
    row->paths = found.rows;
    row->path_count = found.count;
    return rc < 0 ? rc : db_check_memory(memory, error);
}

int catalog_job_get(struct hf_catalog_reader *reader, uint64_t job_id,
                    struct hf_catalog_memory *memory, struct hf_job_row *out,
                    struct hf_error *error)
{
    static const char sql[] = SELECT_JOB "WHERE j.id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, job_id);
    rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no job %llu",
                            (unsigned long long)job_id);
    }
    read_job(statement, memory, out);
    return add_paths(reader, memory, out, error);
}

/* Rows of a bound statement, and their paths. */
static int read_jobs(struct hf_catalog_reader *reader, sqlite3_stmt *statement, size_t limit,
                     struct hf_catalog_memory *memory, const struct hf_job_row **rows,
                     size_t *count, struct hf_error *error)
{
    struct memory_rows found = {.size = sizeof **rows};
    int rc = reader_collect(reader, statement, limit, read_job, memory, &found, error);
    for (size_t i = 0; i < found.count && rc == HF_OK; i++) {
        rc = add_paths(reader, memory, &((struct hf_job_row *)found.rows)[i], error);
    }
    *rows = found.rows;
    *count = found.count;
    return rc;
}

int catalog_job_list(struct hf_catalog_reader *reader, enum hf_job_filter filter, uint64_t host_row,
                     uint64_t before_id, size_t limit, struct hf_catalog_memory *memory,
                     const struct hf_job_row **rows, size_t *count, struct hf_error *error)
{
    /* One statement each, so that none reads past what was not asked for. */
    static const char all_sql[] = SELECT_JOB "WHERE j.id < ?1 ORDER BY j.id DESC";
    static const char host_sql[] =
        SELECT_JOB "WHERE j.id < ?1 AND j.host_row = ?2 ORDER BY j.id DESC";
    static const char active_sql[] =
        SELECT_ACTIVE_JOB "WHERE j.id < ?1 AND j.state <= 2 ORDER BY j.id DESC";
    static const char active_host_sql[] =
        SELECT_JOB "WHERE j.id < ?1 AND j.host_row = ?2 AND j.state <= 2 ORDER BY j.id DESC";
    const char *sql = filter == HF_JOBS_ACTIVE ? host_row ? active_host_sql : active_sql
                      : host_row               ? host_sql
                                               : all_sql;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, before_id ? before_id : UINT64_MAX);
    if (host_row) {
        db_bind_uint(statement, 2, host_row);
    }
    return read_jobs(reader, statement, limit, memory, rows, count, error);
}

int catalog_job_active(struct hf_catalog_reader *reader, uint64_t host_row,
                       struct hf_catalog_memory *memory, const struct hf_job_row **rows,
                       size_t *count, struct hf_error *error)
{
    static const char sql[] = SELECT_JOB "WHERE j.host_row = ?1 AND j.state <= 2 ORDER BY j.id";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    return read_jobs(reader, statement, 0, memory, rows, count, error);
}

static void read_result(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_job_result_row *row = out;
    *row = (struct hf_job_result_row){.path = db_column_bytes(statement, 0, memory),
                                      .status = (enum hf_restore_status)db_column_int(statement, 1),
                                      .bytes = db_column_uint(statement, 2),
                                      .message = db_column_text(statement, 3, memory)};
}

int catalog_job_results(struct hf_catalog_reader *reader, uint64_t job_id, int status,
                        struct hf_bytes after_path, size_t limit, struct hf_catalog_memory *memory,
                        const struct hf_job_result_row **rows, size_t *count,
                        struct hf_error *error)
{
    static const char sql[] = "SELECT path, status, bytes, message FROM job_results"
                              " WHERE job_id = ?1 AND path > ?2 AND (?3 = 0 OR status = ?3)"
                              " ORDER BY path";
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, job_id);
    db_bind_blob(statement, 2, after_path);
    db_bind_int(statement, 3, status);
    rc = reader_collect(reader, statement, limit, read_result, memory, &found, error);
    *rows = found.rows;
    *count = found.count;
    return rc;
}
