/* What changed in a source between two moments. */
#include "collector/catalog/timeline.h"

struct diff {
    struct hf_catalog_reader *reader;
    const struct hf_timeline_query *query;
    int64_t early_ns, late_ns;
    bool backwards; /* the later moment is the one that is compared from */
    struct hf_catalog_memory *memory;
    struct memory_rows rows;
    size_t limit;
    struct hf_bytes next;
    bool full;
};

static bool same(struct hf_bytes a, struct hf_bytes b)
{
    return timeline_compare(a, b) == 0;
}

static bool same_content(const struct hf_version *a, const struct hf_version *b)
{
    return a->type == b->type && a->size == b->size && a->depth == b->depth &&
           same(a->refs, b->refs) && same(a->target, b->target);
}

static bool same_metadata(const struct hf_version *a, const struct hf_version *b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && same(a->owner, b->owner) &&
           same(a->group, b->group) && a->mtime_ns == b->mtime_ns && a->flags == b->flags &&
           a->link == b->link && same(a->xattrs, b->xattrs);
}

static enum hf_change compare(const struct hf_version_row *before,
                              const struct hf_version_row *after)
{
    if (!before || !after) {
        return before ? HF_CHANGE_REMOVED : HF_CHANGE_ADDED;
    }
    if (!same_content(&before->version, &after->version)) {
        return HF_CHANGE_MODIFIED;
    }
    return same_metadata(&before->version, &after->version) ? 0 : HF_CHANGE_METADATA;
}

/* A copy of the row that the statement stands on; *out NULL when the path was not alive. */
static int read_alive(struct diff *diff, sqlite3_stmt *statement, struct hf_version_row **out,
                      struct hf_error *error)
{
    *out = NULL;
    if (db_column_int(statement, TIMELINE_TYPE) == HF_FILE_ABSENT) {
        return HF_OK;
    }
    *out = memory_take(diff->memory, sizeof **out);
    if (*out) {
        timeline_read_row(statement, diff->memory, *out);
    }
    return db_check_memory(diff->memory, error);
}

/* The walk, which is at the later moment, stands on a version newer than the earlier moment; it
 * doesn't afterwards. */
static int compare_path(struct diff *diff, struct timeline_walk *walk, struct hf_error *error)
{
    struct hf_version_row *late = NULL;
    struct hf_version_row *early = NULL;
    bool found = false;
    DB_STATEMENT statement = NULL;
    struct hf_bytes path = db_column_bytes(walk->row, TIMELINE_PATH, diff->memory);
    int rc = read_alive(diff, walk->row, &late, error);
    if (rc == HF_OK) {
        rc = timeline_find(walk->db, walk->source_row, path, diff->early_ns, &statement, &found,
                           error);
    }
    if (rc == HF_OK && found) {
        rc = read_alive(diff, statement, &early, error);
    }
    if (rc != HF_OK || (!early && !late)) {
        return rc;
    }
    struct hf_version_row *before = diff->backwards ? late : early;
    struct hf_version_row *after = diff->backwards ? early : late;
    enum hf_change change = compare(before, after);
    if (change == 0) {
        return HF_OK;
    }
    if (diff->rows.count >= diff->limit) {
        diff->full = true;
        return HF_OK;
    }
    struct hf_diff_row *row = memory_add_row(diff->memory, &diff->rows);
    if (row) {
        *row = (struct hf_diff_row){.change = change, .before = before, .after = after};
        diff->next = path;
    }
    return db_check_memory(diff->memory, error);
}

/* One path, or what is beneath a directory. */
static int walk_range(struct diff *diff, const struct timeline_range *range, struct hf_error *error)
{
    struct timeline_walk walk;
    bool found = true;
    int rc = HF_OK;
    timeline_start(&walk, &diff->reader->db, diff->query->source_row, diff->late_ns, range);
    while (rc == HF_OK && !diff->full) {
        rc = timeline_next(&walk, &found, error);
        if (rc != HF_OK || !found) {
            break;
        }
        if (db_column_int(walk.row, TIMELINE_AT) > diff->early_ns) {
            rc = compare_path(diff, &walk, error);
        }
        if (rc == HF_OK && !diff->full && walk.paths >= TIMELINE_PATHS_MAX) {
            diff->full = true;
            diff->next = timeline_last_path(&walk, diff->memory);
            rc = db_check_memory(diff->memory, error);
        }
    }
    timeline_pause(&walk);
    return rc;
}

static int collect(struct diff *diff, struct hf_error *error)
{
    struct hf_bytes path =
        diff->query->path_count > 0 ? diff->query->paths[0] : (struct hf_bytes){0};
    struct hf_bytes after = diff->query->after;
    struct timeline_range range;
    int rc = timeline_check_query(&diff->reader->db, diff->query, error);
    if (rc == HF_OK && diff->query->path_count > 1) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "One path is compared at a time");
    }
    if (rc == HF_OK && path.size > 0 && after.size == 0) {
        timeline_range_only(&range, path);
        rc = walk_range(diff, &range, error);
    }
    if (rc == HF_OK && !diff->full) {
        timeline_range_beneath(&range, path);
        if (after.size > 0) {
            timeline_range_skip(&range, after);
        }
        rc = walk_range(diff, &range, error);
    }
    return rc;
}

int catalog_diff(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                 int64_t to_ns, struct hf_catalog_memory *memory, struct hf_diff_page *out,
                 struct hf_error *error)
{
    bool backwards = to_ns < query->at_ns;
    struct diff diff = {.reader = reader,
                        .query = query,
                        .early_ns = backwards ? to_ns : query->at_ns,
                        .late_ns = backwards ? query->at_ns : to_ns,
                        .backwards = backwards,
                        .memory = memory,
                        .rows = {.size = sizeof *out->rows},
                        .limit = reader_page_limit(query->limit)};
    *out = (struct hf_diff_page){0};
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = collect(&diff, error);
    catalog_reader_end(reader);
    if (rc == HF_OK) {
        *out = (struct hf_diff_page){.rows = diff.rows.rows,
                                     .count = diff.rows.count,
                                     .next = diff.full ? diff.next : (struct hf_bytes){0},
                                     .last = !diff.full};
    }
    return rc;
}
