/* Sources: opened by their host, marked as complete up to a moment. */
#include "collector/catalog/apply.h"

static int count_sources(struct hf_catalog *catalog, uint64_t host_row, uint64_t *count,
                         struct hf_error *error)
{
    static const char sql[] = "SELECT count(*) FROM sources WHERE host_row = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    rc = db_step(&catalog->db, statement, error);
    *count = rc == DB_ROW ? db_column_uint(statement, 0) : 0;
    return rc < 0 ? rc : HF_OK;
}

static int same_roots(struct hf_catalog *catalog, const struct hf_event_source_opened *e,
                      bool *same, struct hf_error *error)
{
    static const char sql[] = "SELECT root FROM source_roots WHERE source_row = ?1"
                              " ORDER BY position";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->source_row);
    *same = true;
    size_t i = 0;
    while ((rc = db_step(&catalog->db, statement, error)) == DB_ROW) {
        struct hf_bytes root = db_column_view(statement, 0);
        *same = *same && i < e->root_count && root.size == e->roots[i].size &&
                (root.size == 0 || memcmp(root.data, e->roots[i].data, root.size) == 0);
        i++;
    }
    *same = *same && i == e->root_count;
    return rc;
}

/* The source is known; would the event change it? One that was retired comes back. */
static int check_known(struct hf_catalog *catalog, const struct hf_event_source_opened *e,
                       struct hf_error *error)
{
    static const char sql[] = "SELECT 1 FROM sources WHERE row = ?1 AND kind = ?2 AND class = ?3"
                              " AND state <> ?4";
    DB_STATEMENT statement = NULL;
    bool same = false;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->source_row);
    db_bind_text(statement, 2, e->kind);
    db_bind_text(statement, 3, e->class_name);
    db_bind_int(statement, 4, HF_SOURCE_RETIRED);
    rc = db_step(&catalog->db, statement, error);
    if (rc == DB_ROW) {
        rc = same_roots(catalog, e, &same, error);
    }
    return rc == HF_OK && same ? hf_error_set(error, HF_ERR_EXISTS, 0,
                                              "Source %.*s is known just so", APPLY_TEXT(e->name))
                               : rc;
}

int check_source_opened(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    static const char host_sql[] = "SELECT 1 FROM hosts WHERE row = ?1 AND revoked_ns = 0";
    static const char last_row[] = "SELECT max(row) FROM sources";
    struct hf_event_source_opened *e = &event->source_opened;
    bool welcome = false;
    uint64_t count = 0;
    if (e->name.size == 0) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "A source needs a name");
    }
    int rc = apply_has_row(catalog, host_sql, e->host_row, &welcome, error);
    if (rc == HF_OK && !welcome) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "Host %llu is unknown or revoked: it opens no source",
                            (unsigned long long)e->host_row);
    }
    if (rc == HF_OK) {
        rc = catalog_source_find(catalog, e->host_row, e->name, &e->source_row, error);
    }
    if (rc != HF_ERR_NOT_FOUND) {
        return rc == HF_OK ? check_known(catalog, e, error) : rc;
    }
    rc = count_sources(catalog, e->host_row, &count, error);
    /* A host that opens source after source can't fill the catalog. */
    if (rc == HF_OK && count >= HF_CATALOG_SOURCES_MAX) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "A host has at most %u sources",
                            HF_CATALOG_SOURCES_MAX);
    }
    return rc == HF_OK ? apply_next_row(catalog, last_row, &e->source_row, error) : rc;
}

static int put_roots(struct hf_catalog *catalog, const struct hf_event_source_opened *e,
                     struct hf_error *error)
{
    static const char clear_sql[] = "DELETE FROM source_roots WHERE source_row = ?1";
    static const char sql[] =
        "INSERT INTO source_roots (source_row, position, root) VALUES (?1, ?2, ?3)";
    sqlite3_stmt *statement;
    int rc = db_prepare(&catalog->db, clear_sql, &statement, error);
    if (rc == HF_OK) {
        db_bind_uint(statement, 1, e->source_row);
        rc = db_run(&catalog->db, statement, error);
    }
    if (rc == HF_OK) {
        rc = db_prepare(&catalog->db, sql, &statement, error);
    }
    for (size_t i = 0; i < e->root_count && rc == HF_OK; i++) {
        db_bind_uint(statement, 1, e->source_row);
        db_bind_uint(statement, 2, i);
        db_bind_text(statement, 3, e->roots[i]);
        rc = db_run(&catalog->db, statement, error);
    }
    return rc;
}

int apply_source_opened(struct hf_catalog *catalog, const struct hf_event *event,
                        struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO sources (row, host_row, name, kind, class, opened_ns, committed_seq, versions,"
        " live_files, live_bytes, last_at_ns, last_received_ns, until_ns, marked_ns, state,"
        " pending_files, note)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '')"
        " ON CONFLICT (row) DO UPDATE SET kind = excluded.kind, class = excluded.class,"
        " state = CASE state WHEN ?7 THEN 0 ELSE state END";
    const struct hf_event_source_opened *e = &event->source_opened;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->source_row);
    db_bind_uint(statement, 2, e->host_row);
    db_bind_text(statement, 3, e->name);
    db_bind_text(statement, 4, e->kind);
    db_bind_text(statement, 5, e->class_name);
    db_bind_int(statement, 6, event->time_ns);
    db_bind_int(statement, 7, HF_SOURCE_RETIRED);
    rc = db_run(&catalog->db, statement, error);
    return rc == HF_OK ? put_roots(catalog, e, error) : rc;
}

int check_mark(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_mark *e = &event->mark;
    struct source_entry *source;
    int rc = source_cache_get(&catalog->sources, &catalog->db, e->source_row, &source, error);
    if (rc == HF_OK && e->version_seq > source->committed_seq) {
        return hf_error_set(error, HF_ERR_AGAIN, 0,
                            "Version %llu, which the mark is about, is not committed yet",
                            (unsigned long long)e->version_seq);
    }
    /* A host that runs ahead must not look protected in the future. */
    if (e->until_ns > event->time_ns) {
        e->until_ns = event->time_ns;
    }
    return rc;
}

int apply_mark(struct hf_catalog *catalog, const struct hf_event *event, struct hf_error *error)
{
    /* What was once protected stays so: a host's clock that is set back takes nothing away. */
    static const char sql[] = "UPDATE sources SET until_ns = max(until_ns, ?2), marked_ns = ?3,"
                              " state = ?4, pending_files = ?5, note = ?6 WHERE row = ?1";
    const struct hf_event_mark *e = &event->mark;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->source_row);
    db_bind_int(statement, 2, e->until_ns);
    db_bind_int(statement, 3, event->time_ns);
    db_bind_uint(statement, 4, e->state);
    db_bind_uint(statement, 5, e->pending_files);
    db_bind_text(statement, 6, e->note);
    rc = db_run(&catalog->db, statement, error);
    if (rc == HF_OK && db_changed(&catalog->db) == 0) {
        return apply_contradiction(error, "source %llu is marked before it was opened",
                                   (unsigned long long)e->source_row);
    }
    return rc;
}

int catalog_source_rows(struct hf_catalog *catalog, uint64_t host_row,
                        uint64_t rows[HF_CATALOG_SOURCES_MAX], size_t *count,
                        struct hf_error *error)
{
    static const char sql[] = "SELECT row FROM sources WHERE host_row = ?1 AND state <> ?2";
    DB_STATEMENT statement = NULL;
    *count = 0;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    db_bind_int(statement, 2, HF_SOURCE_RETIRED);
    while (*count < HF_CATALOG_SOURCES_MAX &&
           (rc = db_step(&catalog->db, statement, error)) == DB_ROW) {
        rows[(*count)++] = db_column_uint(statement, 0);
    }
    return rc < 0 ? rc : HF_OK;
}
