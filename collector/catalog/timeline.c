#include "collector/catalog/timeline.h"

#include <string.h>

static void set_bound(uint8_t *bound, size_t *size, struct hf_bytes path, const uint8_t *suffix)
{
    *size = path.size < TIMELINE_BOUND_BYTES ? path.size : TIMELINE_BOUND_BYTES - 1;
    if (*size > 0) {
        memcpy(bound, path.data, *size);
    }
    if (suffix) {
        bound[(*size)++] = *suffix;
    }
}

static const uint8_t nul = 0;
static const uint8_t slash = '/';
static const uint8_t after_slash = '/' + 1;

static struct hf_bytes low_of(const struct timeline_range *range)
{
    return (struct hf_bytes){.data = range->low, .size = range->low_size};
}

int timeline_compare(struct hf_bytes a, struct hf_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

bool timeline_is_beneath(struct hf_bytes path, struct hf_bytes directory)
{
    return directory.size == 0 || (path.size > directory.size && path.data[directory.size] == '/' &&
                                   memcmp(path.data, directory.data, directory.size) == 0);
}

void timeline_range_beneath(struct timeline_range *range, struct hf_bytes directory)
{
    if (directory.size == 0) {
        range->low_size = 0;
        /* No path is so long, so none is greater. */
        memset(range->high, 0xff, sizeof range->high);
        range->high_size = sizeof range->high;
        return;
    }
    set_bound(range->low, &range->low_size, directory, &slash);
    set_bound(range->high, &range->high_size, directory, &after_slash);
}

void timeline_range_only(struct timeline_range *range, struct hf_bytes path)
{
    set_bound(range->low, &range->low_size, path, NULL);
    set_bound(range->high, &range->high_size, path, &nul);
}

static void raise_low(struct timeline_range *range, struct hf_bytes path, const uint8_t *suffix)
{
    uint8_t bound[TIMELINE_BOUND_BYTES];
    size_t size;
    set_bound(bound, &size, path, suffix);
    if (timeline_compare((struct hf_bytes){.data = bound, .size = size}, low_of(range)) > 0) {
        memcpy(range->low, bound, size);
        range->low_size = size;
    }
}

void timeline_range_skip(struct timeline_range *range, struct hf_bytes path)
{
    raise_low(range, path, &nul); /* the smallest path after it: paths have no NUL */
}

void timeline_range_skip_beneath(struct timeline_range *range, struct hf_bytes directory)
{
    raise_low(range, directory, &after_slash);
}

void timeline_start(struct timeline_walk *walk, struct db *db, uint64_t source_row, int64_t at_ns,
                    const struct timeline_range *range)
{
    walk->db = db;
    walk->source_row = source_row;
    walk->at_ns = at_ns;
    walk->range = *range;
    walk->rows = walk->row = NULL;
    walk->paths = 0;
}

void timeline_pause(struct timeline_walk *walk)
{
    db_done(&walk->rows);
    db_done(&walk->row);
    walk->rows = walk->row = NULL;
}

static int open_rows(struct timeline_walk *walk, struct hf_error *error)
{
    static const char sql[] = "SELECT path, row FROM paths WHERE source_row = ?1 AND path >= ?2"
                              " AND path < ?3 ORDER BY path";
    int rc = db_prepare(walk->db, sql, &walk->rows, error);
    if (rc == HF_OK) {
        db_bind_uint(walk->rows, 1, walk->source_row);
        db_bind_blob_copy(walk->rows, 2, low_of(&walk->range)); /* it moves on meanwhile */
        db_bind_blob(walk->rows, 3,
                     (struct hf_bytes){.data = walk->range.high, .size = walk->range.high_size});
    }
    return rc;
}

/* To the first path that is still in the range. */
static int next_path(struct timeline_walk *walk, struct hf_error *error)
{
    int rc = walk->rows ? HF_OK : open_rows(walk, error);
    return rc == HF_OK ? db_step(walk->db, walk->rows, error) : rc;
}

/* The version at the moment of the path that the walk stands on. */
static int find_moment(struct timeline_walk *walk, struct hf_bytes path, bool *found,
                       struct hf_error *error)
{
    static const char sql[] = "SELECT " TIMELINE_COLUMNS " FROM versions WHERE path_row = ?1"
                              " AND at_ns <= ?3 ORDER BY at_ns DESC, seq DESC LIMIT 1";
    int rc = db_prepare(walk->db, sql, &walk->row, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(walk->row, 1, db_column_uint(walk->rows, 1));
    db_bind_blob(walk->row, 2, path);
    db_bind_int(walk->row, 3, walk->at_ns);
    rc = db_step(walk->db, walk->row, error);
    *found = rc == DB_ROW;
    return rc < 0 ? rc : HF_OK;
}

int timeline_next(struct timeline_walk *walk, bool *found, struct hf_error *error)
{
    *found = false;
    while (!*found) {
        db_done(&walk->row);
        walk->row = NULL;
        int rc = next_path(walk, error);
        if (rc != DB_ROW) {
            return rc;
        }
        struct hf_bytes path = db_column_view(walk->rows, 0);
        walk->paths++;
        timeline_range_skip(&walk->range, path);
        rc = find_moment(walk, path, found, error);
        if (rc != HF_OK) {
            return rc;
        }
    }
    return HF_OK;
}

struct hf_bytes timeline_last_path(const struct timeline_walk *walk,
                                   struct hf_catalog_memory *memory)
{
    /* The range goes on after it: the path and a NUL. */
    return memory_copy_bytes(memory, walk->range.low, walk->range.low_size - 1);
}

void timeline_read_row(sqlite3_stmt *statement, struct hf_catalog_memory *memory,
                       struct hf_version_row *out)
{
    struct hf_version *v = &out->version;
    *out = (struct hf_version_row){0};
    v->path = db_column_bytes(statement, TIMELINE_PATH, memory);
    out->at_ns = db_column_int(statement, TIMELINE_AT);
    v->seq = db_column_uint(statement, TIMELINE_SEQ);
    out->received_ns = db_column_int(statement, 3);
    v->captured_ns = db_column_int(statement, 4);
    v->type = (enum hf_file_type)db_column_int(statement, TIMELINE_TYPE);
    v->flags = (uint32_t)db_column_uint(statement, 6);
    v->mode = (uint32_t)db_column_uint(statement, 7);
    v->uid = (uint32_t)db_column_uint(statement, 8);
    v->gid = (uint32_t)db_column_uint(statement, 9);
    v->owner = db_column_bytes(statement, 10, memory);
    v->group = db_column_bytes(statement, 11, memory);
    v->mtime_ns = db_column_int(statement, 12);
    v->size = db_column_uint(statement, TIMELINE_SIZE);
    v->target = db_column_bytes(statement, 14, memory);
    v->depth = (uint8_t)db_column_uint(statement, 15);
    v->refs = db_column_bytes(statement, 16, memory);
    v->job = db_column_uint(statement, 17);
    v->link = db_column_uint(statement, 18);
    v->xattrs = db_column_bytes(statement, 19, memory);
}

int timeline_find(struct db *db, uint64_t source_row, struct hf_bytes path, int64_t at_ns,
                  sqlite3_stmt **statement, bool *found, struct hf_error *error)
{
    static const char sql[] =
        "SELECT " TIMELINE_COLUMNS " FROM versions WHERE path_row = " TIMELINE_PATH_ROW
        " AND at_ns <= ?3 ORDER BY at_ns DESC, seq DESC LIMIT 1";
    *found = false;
    int rc = db_prepare(db, sql, statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(*statement, 1, source_row);
    db_bind_blob(*statement, 2, path);
    db_bind_int(*statement, 3, at_ns);
    rc = db_step(db, *statement, error);
    *found = rc == DB_ROW;
    return rc < 0 ? rc : HF_OK;
}

int timeline_type_at(struct db *db, uint64_t source_row, struct hf_bytes path, int64_t at_ns,
                     enum hf_file_type *type, struct hf_error *error)
{
    static const char sql[] = "SELECT type FROM versions WHERE path_row = " TIMELINE_PATH_ROW
                              " AND at_ns <= ?3 ORDER BY at_ns DESC, seq DESC LIMIT 1";
    DB_STATEMENT statement = NULL;
    *type = HF_FILE_ABSENT;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    db_bind_blob(statement, 2, path);
    db_bind_int(statement, 3, at_ns);
    rc = db_step(db, statement, error);
    if (rc == DB_ROW) {
        *type = (enum hf_file_type)db_column_int(statement, 0);
    }
    return rc < 0 ? rc : HF_OK;
}

int timeline_check_query(struct db *db, const struct hf_timeline_query *query,
                         struct hf_error *error)
{
    static const char sql[] = "SELECT 1 FROM sources WHERE row = ?1";
    for (size_t i = 0; i < query->path_count; i++) {
        if (query->paths[i].size > HF_PATH_MAX_BYTES) {
            return hf_error_set(error, HF_ERR_LIMIT, 0, "A path has %zu bytes; at most %u are",
                                query->paths[i].size, HF_PATH_MAX_BYTES);
        }
    }
    if (query->after.size > HF_PATH_MAX_BYTES + 1) {
        return hf_error_set(error, HF_ERR_LIMIT, 0,
                            "The page asked for can't be: its key is %zu "
                            "bytes long",
                            query->after.size);
    }
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, query->source_row);
    rc = db_step(db, statement, error);
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no source %llu",
                            (unsigned long long)query->source_row);
    }
    return rc < 0 ? rc : HF_OK;
}
