/* Versions: the hot path. Whether one is accepted, whether it says anything new, and its row. */
#include "collector/catalog/apply.h"

static struct hf_bytes view(sqlite3_stmt *statement, int column)
{
    return db_column_view(statement, column);
}

static bool same_bytes(struct hf_bytes a, struct hf_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The row of the path; 0 when the source never had a version of it. */
static int find_path(struct hf_catalog *catalog, uint64_t source_row, struct hf_bytes path,
                     uint64_t *row, struct hf_error *error)
{
    static const char sql[] = "SELECT row FROM paths WHERE source_row = ?1 AND path = ?2";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    db_bind_blob(statement, 2, path);
    rc = db_step(&catalog->db, statement, error);
    *row = rc == DB_ROW ? db_column_uint(statement, 0) : 0;
    return rc < 0 ? rc : HF_OK;
}

/* The newest version of the path. The statement stays on its row and is the caller's to finish. */
static int find_newest(struct hf_catalog *catalog, uint64_t path_row, sqlite3_stmt **out,
                       bool *found, struct hf_error *error)
{
    static const char sql[] =
        "SELECT type, size, flags, mode, uid, gid, mtime_ns, depth, owner, grp, target, refs,"
        " link, xattrs FROM versions WHERE path_row = ?1 ORDER BY at_ns DESC, seq DESC LIMIT 1";
    int rc = db_prepare(&catalog->db, sql, out, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(*out, 1, path_row);
    rc = db_step(&catalog->db, *out, error);
    *found = rc == DB_ROW;
    return rc < 0 ? rc : HF_OK;
}

static bool equals_row(const struct hf_version *version, sqlite3_stmt *newest)
{
    return (uint64_t)version->type == db_column_uint(newest, 0) &&
           version->size == db_column_uint(newest, 1) &&
           version->flags == db_column_uint(newest, 2) &&
           version->mode == db_column_uint(newest, 3) &&
           version->uid == db_column_uint(newest, 4) && version->gid == db_column_uint(newest, 5) &&
           version->mtime_ns == db_column_int(newest, 6) &&
           version->depth == db_column_uint(newest, 7) &&
           same_bytes(version->owner, view(newest, 8)) &&
           same_bytes(version->group, view(newest, 9)) &&
           same_bytes(version->target, view(newest, 10)) &&
           same_bytes(version->refs, view(newest, 11)) &&
           version->link == db_column_uint(newest, 12) &&
           same_bytes(version->xattrs, view(newest, 13));
}

/* Fills catalog->live for this version, and *equal: would recording it change nothing? */
static int compare_with_live(struct hf_catalog *catalog, uint64_t source_row,
                             const struct hf_version *version, bool *equal, struct hf_error *error)
{
    DB_STATEMENT newest = NULL;
    uint64_t path_row = 0;
    bool found = false;
    int rc = find_path(catalog, source_row, version->path, &path_row, error);
    if (rc == HF_OK && path_row != 0) {
        rc = find_newest(catalog, path_row, &newest, &found, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    bool alive = found && db_column_int(newest, 0) != HF_FILE_ABSENT;
    catalog->live.source_row = source_row;
    catalog->live.seq = version->seq;
    catalog->live.path_row = path_row;
    catalog->live.alive = alive;
    catalog->live.size = alive ? db_column_uint(newest, 1) : 0;
    *equal = version->type == HF_FILE_ABSENT ? !alive : alive && equals_row(version, newest);
    return HF_OK;
}

static bool names_missing(struct hf_catalog *catalog, uint64_t host_row, struct hf_bytes refs,
                          int *rc, struct hf_error *error)
{
    struct hf_buf missing = {0};
    *rc = catalog_missing_refs(catalog, host_row, refs, &missing, error);
    bool any = missing.size > 0;
    hf_buf_free(&missing);
    return any;
}

static int check_seq(const struct source_entry *source, uint64_t seq, struct hf_error *error)
{
    if (seq <= source->committed_seq) {
        return hf_error_set(error, HF_ERR_EXISTS, 0, "Version %llu is committed already",
                            (unsigned long long)seq);
    }
    if (seq != source->committed_seq + 1) {
        return hf_error_set(error, HF_ERR_CONFLICT, 0,
                            "Version %llu came, but the next one is %llu", (unsigned long long)seq,
                            (unsigned long long)source->committed_seq + 1);
    }
    return HF_OK;
}

int check_version(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_version *e = &event->version;
    struct source_entry *source;
    bool equal = false;
    int rc = source_cache_get(&catalog->sources, &catalog->db, e->source_row, &source, error);
    if (rc != HF_OK) {
        return rc;
    }
    if (source->host_row != e->host_row) {
        return hf_error_set(error, HF_ERR_DENIED, 0, "Source %llu belongs to another host",
                            (unsigned long long)e->source_row);
    }
    rc = check_seq(source, e->version.seq, error);
    if (rc == HF_OK) {
        rc = compare_with_live(catalog, e->source_row, &e->version, &equal, error);
    }
    /* What is equal to the live version names chunks that were held when that one came. */
    if (rc == HF_OK && !equal && names_missing(catalog, e->host_row, e->version.refs, &rc, error)) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "Version %llu names chunks that its host did not send",
                            (unsigned long long)e->version.seq);
    }
    if (rc != HF_OK) {
        return rc;
    }
    e->recorded = !equal;
    if (e->at_ns > e->received_ns) {
        e->at_ns = e->received_ns;
    }
    if (e->at_ns < source->last_at_ns) {
        e->at_ns = source->last_at_ns;
    }
    return HF_OK;
}

/* Give the path a row: one more than the largest, which is that of a version. */
static int insert_path(struct hf_catalog *catalog, const struct hf_event_version *e, uint64_t *row,
                       struct hf_error *error)
{
    static const char last_row[] = "SELECT max(path_row) FROM versions";
    static const char sql[] = "INSERT INTO paths (source_row, path, row) VALUES (?1, ?2, ?3)";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    *row = catalog->last_path_row + 1;
    if (rc == HF_OK && catalog->last_path_row == 0) {
        rc = apply_next_row(catalog, last_row, row, error);
    }
    if (rc != HF_OK) {
        return rc;
    }
    catalog->last_path_row = *row;
    db_bind_uint(statement, 1, e->source_row);
    db_bind_blob(statement, 2, e->version.path);
    db_bind_uint(statement, 3, *row);
    return db_run(&catalog->db, statement, error);
}

static int insert_version(struct hf_catalog *catalog, const struct hf_event_version *e,
                          uint64_t path_row, struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO versions (path_row, at_ns, seq, received_ns, captured_ns, type, flags,"
        " mode, uid, gid, owner, grp, mtime_ns, size, target, depth, refs, job, link, xattrs)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?19, ?20)";
    const struct hf_version *v = &e->version;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, path_row);
    db_bind_int(statement, 2, e->at_ns);
    db_bind_uint(statement, 3, v->seq);
    db_bind_int(statement, 4, e->received_ns);
    db_bind_int(statement, 5, v->captured_ns);
    db_bind_uint(statement, 6, v->type);
    db_bind_uint(statement, 7, v->flags);
    db_bind_uint(statement, 8, v->mode);
    db_bind_uint(statement, 9, v->uid);
    db_bind_uint(statement, 10, v->gid);
    db_bind_text(statement, 11, v->owner);
    db_bind_text(statement, 12, v->group);
    db_bind_int(statement, 13, v->mtime_ns);
    db_bind_uint(statement, 14, v->size);
    db_bind_blob(statement, 15, v->target);
    db_bind_uint(statement, 16, v->depth);
    db_bind_blob(statement, 17, v->refs);
    db_bind_uint(statement, 18, v->job);
    db_bind_uint(statement, 19, v->link);
    db_bind_blob(statement, 20, v->xattrs);
    return db_run(&catalog->db, statement, error);
}

static void count_version(struct source_entry *source, const struct hf_version *version,
                          bool was_alive, uint64_t old_size)
{
    bool is_alive = version->type != HF_FILE_ABSENT;
    source->live_files += (uint64_t)is_alive;
    source->live_files -= (uint64_t)was_alive;
    source->live_bytes += version->size;
    source->live_bytes -= old_size;
    source->versions++;
}

int apply_version(struct hf_catalog *catalog, const struct hf_event *event, struct hf_error *error)
{
    const struct hf_event_version *e = &event->version;
    struct source_entry *source;
    int rc = source_cache_get(&catalog->sources, &catalog->db, e->source_row, &source, error);
    if (rc == HF_ERR_NOT_FOUND) {
        return apply_contradiction(error, "source %llu has a version before it was opened",
                                   (unsigned long long)e->source_row);
    }
    if (rc != HF_OK || e->version.seq <= source->committed_seq) {
        return rc;
    }
    if (e->version.seq != source->committed_seq + 1) {
        return apply_contradiction(
            error, "source %llu has version %llu, but not %llu", (unsigned long long)e->source_row,
            (unsigned long long)e->version.seq, (unsigned long long)source->committed_seq + 1);
    }
    if (e->recorded) {
        bool equal;
        if (catalog->live.source_row != e->source_row || catalog->live.seq != e->version.seq) {
            rc = compare_with_live(catalog, e->source_row, &e->version, &equal, error);
        }
        uint64_t path_row = catalog->live.path_row;
        if (rc == HF_OK && path_row == 0) {
            rc = insert_path(catalog, e, &path_row, error);
        }
        if (rc == HF_OK) {
            rc = insert_version(catalog, e, path_row, error);
        }
        if (rc != HF_OK) {
            return rc;
        }
        count_version(source, &e->version, catalog->live.alive, catalog->live.size);
        catalog->added.versions++;
    }
    source->committed_seq = e->version.seq;
    source->last_at_ns = e->at_ns;
    source->last_received_ns = e->received_ns;
    source_cache_changed(&catalog->sources, source);
    catalog->live.seq = 0;
    return HF_OK;
}
