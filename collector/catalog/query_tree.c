/* Everything at or beneath some paths at a moment: for restores, tars, and the agent's own
 * resynchronisation. */
#include <stdlib.h>
#include <string.h>

#include "collector/catalog/timeline.h"

/* Selections in order, those within others dropped. */
struct selection {
    struct hf_bytes *paths;
    size_t count;
};

static int compare_paths(const void *a, const void *b)
{
    return timeline_compare(*(const struct hf_bytes *)a, *(const struct hf_bytes *)b);
}

/* Is an ancestor of the path, or the path itself, among the kept ones? They are sorted, but other
 * names can stand between a directory and what is in it ("a", "a-b", "a/c"), so each ancestor is
 * looked for. */
static bool find_covering(const struct selection *kept, struct hf_bytes path, size_t *index)
{
    for (size_t size = path.size;; size--) {
        if (size == path.size || size == 0 || path.data[size] == '/') {
            struct hf_bytes ancestor = {.data = path.data, .size = size};
            const struct hf_bytes *found = kept->count == 0
                                               ? NULL
                                               : bsearch(&ancestor, kept->paths, kept->count,
                                                         sizeof *kept->paths, compare_paths);
            if (found) {
                *index = (size_t)(found - kept->paths);
                return true;
            }
        }
        if (size == 0) {
            return false;
        }
    }
}

static int select_paths(const struct hf_timeline_query *query, struct hf_catalog_memory *memory,
                        struct selection *out, struct hf_error *error)
{
    size_t count = query->path_count ? query->path_count : 1;
    out->count = 0;
    out->paths = memory_take_array(memory, count, sizeof *out->paths);
    struct hf_bytes *sorted = memory_take_array(memory, count, sizeof *sorted);
    if (!out->paths || !sorted) {
        return db_check_memory(memory, error);
    }
    if (query->path_count > 0) {
        memcpy(sorted, query->paths, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_paths);
    }
    for (size_t i = 0; i < count; i++) {
        size_t index;
        if (!find_covering(out, sorted[i], &index)) {
            out->paths[out->count++] = sorted[i];
        }
    }
    return HF_OK;
}

struct tree {
    struct hf_catalog_reader *reader;
    const struct hf_timeline_query *query;
    struct hf_catalog_memory *memory;
    struct selection selection;
    struct memory_rows rows;
    size_t limit, bytes;
    size_t paths; /* looked at */
    struct hf_bytes next;
    bool full; /* the page is; .next says where the next one begins */
};

/* The row may be the page's next one; if not, the page is full. */
static int add_row(struct tree *tree, sqlite3_stmt *statement, struct hf_error *error)
{
    if (tree->rows.count >= tree->limit) {
        tree->full = true;
        return HF_OK;
    }
    struct hf_version_row row;
    timeline_read_row(statement, tree->memory, &row);
    size_t bytes = tree->bytes + proto_version_size_bound(&row.version);
    if (tree->query->bytes_max > 0 && tree->rows.count > 0 && bytes > tree->query->bytes_max) {
        tree->full = true;
        return db_check_memory(tree->memory, error);
    }
    struct hf_version_row *added = memory_add_row(tree->memory, &tree->rows);
    if (added) {
        *added = row;
        tree->bytes = bytes;
        tree->next = row.version.path;
    }
    return db_check_memory(tree->memory, error);
}

/* The selected path itself. */
static int add_top(struct tree *tree, struct hf_bytes path, struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    bool found = false;
    int rc = timeline_find(&tree->reader->db, tree->query->source_row, path, tree->query->at_ns,
                           &statement, &found, error);
    if (rc == HF_OK && found && db_column_int(statement, TIMELINE_TYPE) != HF_FILE_ABSENT) {
        rc = add_row(tree, statement, error);
    }
    return rc;
}

static int add_beneath(struct tree *tree, struct hf_bytes directory, struct hf_bytes after,
                       struct hf_error *error)
{
    struct timeline_walk walk;
    struct timeline_range range;
    bool found = true;
    int rc = HF_OK;
    timeline_range_beneath(&range, directory);
    if (after.size > 0) {
        timeline_range_skip(&range, after);
    }
    timeline_start(&walk, &tree->reader->db, tree->query->source_row, tree->query->at_ns, &range);
    while (rc == HF_OK && !tree->full) {
        rc = timeline_next(&walk, &found, error);
        if (rc != HF_OK || !found) {
            break;
        }
        if (db_column_int(walk.row, TIMELINE_TYPE) != HF_FILE_ABSENT) {
            rc = add_row(tree, walk.row, error);
        }
        if (rc == HF_OK && !tree->full && tree->paths + walk.paths >= TIMELINE_PATHS_MAX) {
            tree->full = true;
            tree->next = timeline_last_path(&walk, tree->memory);
            rc = db_check_memory(tree->memory, error);
        }
    }
    tree->paths += walk.paths;
    timeline_pause(&walk);
    return rc;
}

static int collect(struct tree *tree, struct hf_error *error)
{
    struct hf_bytes after = tree->query->after;
    size_t first = 0;
    if (after.size > 0 && !find_covering(&tree->selection, after, &first)) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "The page asked for begins after a path that is not selected");
    }
    int rc = HF_OK;
    for (size_t i = first; i < tree->selection.count && rc == HF_OK && !tree->full; i++) {
        struct hf_bytes path = tree->selection.paths[i];
        bool resumed = i == first && after.size > 0;
        if (path.size > 0 && !resumed) {
            rc = add_top(tree, path, error);
        }
        if (rc == HF_OK && !tree->full) {
            rc = add_beneath(tree, path, resumed ? after : (struct hf_bytes){0}, error);
        }
    }
    return rc;
}

int catalog_tree(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                 struct hf_catalog_memory *memory, struct hf_version_page *out,
                 struct hf_error *error)
{
    struct tree tree = {.reader = reader,
                        .query = query,
                        .memory = memory,
                        .rows = {.size = sizeof *out->rows},
                        .limit = reader_page_limit(query->limit)};
    *out = (struct hf_version_page){0};
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = timeline_check_query(&reader->db, query, error);
    if (rc == HF_OK) {
        rc = select_paths(query, memory, &tree.selection, error);
    }
    if (rc == HF_OK) {
        rc = collect(&tree, error);
    }
    catalog_reader_end(reader);
    if (rc == HF_OK) {
        *out = (struct hf_version_page){.rows = tree.rows.rows,
                                        .count = tree.rows.count,
                                        .next = tree.full ? tree.next : (struct hf_bytes){0},
                                        .last = !tree.full};
    }
    return rc;
}

static int count_beneath(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                         struct hf_bytes directory, uint64_t *files, uint64_t *bytes,
                         struct hf_error *error)
{
    struct timeline_walk walk;
    struct timeline_range range;
    bool found = true;
    int rc = HF_OK;
    timeline_range_beneath(&range, directory);
    timeline_start(&walk, &reader->db, query->source_row, query->at_ns, &range);
    while ((rc = timeline_next(&walk, &found, error)) == HF_OK && found) {
        if (db_column_int(walk.row, TIMELINE_TYPE) != HF_FILE_ABSENT) {
            (*files)++;
            *bytes += db_column_uint(walk.row, TIMELINE_SIZE);
        }
    }
    timeline_pause(&walk);
    return rc;
}

static int count_top(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                     struct hf_bytes path, uint64_t *files, uint64_t *bytes, struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    bool found = false;
    int rc = timeline_find(&reader->db, query->source_row, path, query->at_ns, &statement, &found,
                           error);
    if (rc == HF_OK && found && db_column_int(statement, TIMELINE_TYPE) != HF_FILE_ABSENT) {
        (*files)++;
        *bytes += db_column_uint(statement, TIMELINE_SIZE);
    }
    return rc;
}

/* What is alive now is counted already. *known says whether that is what the query asks for. */
static int count_now(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                     bool *known, uint64_t *files, uint64_t *bytes, struct hf_error *error)
{
    static const char sql[] =
        "SELECT live_files, live_bytes FROM sources WHERE row = ?1 AND last_at_ns <= ?2";
    DB_STATEMENT statement = NULL;
    *known = false;
    if (query->path_count > 0) {
        return HF_OK;
    }
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, query->source_row);
    db_bind_int(statement, 2, query->at_ns);
    rc = db_step(&reader->db, statement, error);
    if (rc == DB_ROW) {
        *known = true;
        *files = db_column_uint(statement, 0);
        *bytes = db_column_uint(statement, 1);
    }
    return rc < 0 ? rc : HF_OK;
}

int catalog_tree_totals(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                        uint64_t *files, uint64_t *bytes, struct hf_error *error)
{
    struct hf_catalog_memory memory = {0};
    struct selection selection = {0};
    *files = *bytes = 0;
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    bool known = false;
    rc = timeline_check_query(&reader->db, query, error);
    if (rc == HF_OK) {
        rc = count_now(reader, query, &known, files, bytes, error);
    }
    if (rc == HF_OK && !known) {
        rc = select_paths(query, &memory, &selection, error);
    }
    for (size_t i = 0; i < selection.count && rc == HF_OK; i++) {
        if (selection.paths[i].size > 0) {
            rc = count_top(reader, query, selection.paths[i], files, bytes, error);
        }
        if (rc == HF_OK) {
            rc = count_beneath(reader, query, selection.paths[i], files, bytes, error);
        }
    }
    catalog_reader_end(reader);
    catalog_memory_free(&memory);
    return rc;
}
