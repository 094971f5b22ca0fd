/* One directory level at a moment. Directories that no version describes, as those above a
 * source's roots, are implied by what lies beneath them. */
#include <string.h>

#include "collector/catalog/timeline.h"

struct level {
    struct hf_catalog_reader *reader;
    const struct hf_timeline_query *query;
    struct hf_catalog_memory *memory;
    struct hf_bytes directory;
    struct memory_rows rows;
    size_t limit;
    /* The directory whose inside the walk is in and that no version describes: a row for it as
     * soon as something in it is alive. In `inside_path`. */
    size_t inside_size;
    uint8_t inside_path[TIMELINE_BOUND_BYTES];
    struct hf_bytes next;
    bool full;
};

static struct hf_bytes copy_key(struct level *level, struct hf_bytes path, const char *suffix)
{
    uint8_t key[TIMELINE_BOUND_BYTES];
    size_t size = path.size < sizeof key ? path.size : sizeof key - 1;
    memcpy(key, path.data, size);
    if (suffix[0]) {
        key[size++] = (uint8_t)suffix[0];
    }
    return memory_copy_bytes(level->memory, key, size);
}

/* Room for one more row, or the page is full. */
static struct hf_version_row *add_row(struct level *level)
{
    if (level->rows.count >= level->limit) {
        level->full = true;
        return NULL;
    }
    return memory_add_row(level->memory, &level->rows);
}

/* The path as the directory's direct child: itself, or the part up to the next '/'. */
static struct hf_bytes child_of(const struct level *level, struct hf_bytes path)
{
    size_t start = level->directory.size ? level->directory.size + 1 : 0;
    const uint8_t *end = memchr(path.data + start, '/', path.size - start);
    return (struct hf_bytes){.data = path.data,
                             .size = end ? (size_t)(end - path.data) : path.size};
}

static void add_implied(struct level *level, struct hf_bytes child)
{
    struct hf_version_row *row = add_row(level);
    if (row) {
        row->version.path = copy_key(level, child, "");
        row->version.type = HF_FILE_DIRECTORY;
        row->implied = true;
        level->next = copy_key(level, child, "/");
    }
}

/* The walk found something deeper than this level. */
static int pass_inside(struct level *level, struct timeline_walk *walk, struct hf_bytes child,
                       struct hf_error *error)
{
    enum hf_file_type type = HF_FILE_ABSENT;
    bool entered =
        level->inside_size == child.size && memcmp(level->inside_path, child.data, child.size) == 0;
    if (!entered) {
        int rc = timeline_type_at(walk->db, walk->source_row, child, walk->at_ns, &type, error);
        if (rc != HF_OK) {
            return rc;
        }
        level->inside_size = child.size;
        memcpy(level->inside_path, child.data, child.size);
    }
    bool implied = type == HF_FILE_ABSENT;
    if (implied && db_column_int(walk->row, TIMELINE_TYPE) == HF_FILE_ABSENT) {
        return HF_OK; /* look on: something else in it may be alive */
    }
    if (implied) {
        add_implied(level, child);
    }
    timeline_range_skip_beneath(
        &walk->range, (struct hf_bytes){.data = level->inside_path, .size = level->inside_size});
    timeline_pause(walk);
    return HF_OK;
}

static int pass(struct level *level, struct timeline_walk *walk, struct hf_error *error)
{
    struct hf_bytes path = db_column_view(walk->row, TIMELINE_PATH);
    struct hf_bytes child = child_of(level, path);
    if (walk->paths >= TIMELINE_PATHS_MAX) {
        level->full = true;
        level->next = copy_key(level, path, "");
    }
    if (child.size < path.size) {
        return pass_inside(level, walk, child, error);
    }
    if (db_column_int(walk->row, TIMELINE_TYPE) != HF_FILE_ABSENT) {
        struct hf_version_row *row = add_row(level);
        if (row) {
            timeline_read_row(walk->row, level->memory, row);
            level->next = row->version.path;
        }
    }
    return HF_OK;
}

static int walk_level(struct level *level, struct hf_error *error)
{
    struct timeline_walk walk;
    struct timeline_range range;
    struct hf_bytes after = level->query->after;
    bool found = true;
    int rc = HF_OK;
    timeline_range_beneath(&range, level->directory);
    if (after.size > 0 && after.data[after.size - 1] == '/') {
        after.size--;
        timeline_range_skip_beneath(&range, after);
    } else if (after.size > 0) {
        timeline_range_skip(&range, after);
    }
    timeline_start(&walk, &level->reader->db, level->query->source_row, level->query->at_ns,
                   &range);
    while (rc == HF_OK && !level->full) {
        rc = timeline_next(&walk, &found, error);
        if (rc != HF_OK || !found) {
            break;
        }
        rc = pass(level, &walk, error);
        if (rc == HF_OK) {
            rc = db_check_memory(level->memory, error);
        }
    }
    timeline_pause(&walk);
    return rc;
}

/* The path is a file then: it alone is listed. *done is set. */
static int list_file(struct level *level, enum hf_file_type *type, bool *done,
                     struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    bool found = false;
    int rc = timeline_find(&level->reader->db, level->query->source_row, level->directory,
                           level->query->at_ns, &statement, &found, error);
    *type = HF_FILE_ABSENT;
    *done = false;
    if (rc != HF_OK || !found) {
        return rc;
    }
    *type = (enum hf_file_type)db_column_int(statement, TIMELINE_TYPE);
    if (*type != HF_FILE_ABSENT && *type != HF_FILE_DIRECTORY) {
        struct hf_version_row *row = add_row(level);
        if (row) {
            timeline_read_row(statement, level->memory, row);
        }
        *done = true;
    }
    return db_check_memory(level->memory, error);
}

static int list(struct level *level, struct hf_error *error)
{
    enum hf_file_type type = HF_FILE_DIRECTORY;
    bool done = false;
    int rc = timeline_check_query(&level->reader->db, level->query, error);
    if (rc == HF_OK && level->query->path_count > 1) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "One directory is listed at a time");
    }
    if (rc == HF_OK && level->directory.size > 0) {
        rc = list_file(level, &type, &done, error);
    }
    if (rc == HF_OK && !done) {
        rc = walk_level(level, error);
    }
    bool first_page = level->query->after.size == 0;
    if (rc == HF_OK && first_page && level->rows.count == 0 && !level->full &&
        type == HF_FILE_ABSENT) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "At that moment there is no %.*s",
                            (int)level->directory.size, (const char *)level->directory.data);
    }
    return rc;
}

int catalog_list(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                 struct hf_catalog_memory *memory, struct hf_version_page *out,
                 struct hf_error *error)
{
    struct level level = {.reader = reader,
                          .query = query,
                          .memory = memory,
                          .rows = {.size = sizeof *out->rows},
                          .limit = reader_page_limit(query->limit)};
    *out = (struct hf_version_page){0};
    if (query->path_count > 0) {
        level.directory = query->paths[0];
    }
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = list(&level, error);
    catalog_reader_end(reader);
    if (rc == HF_OK) {
        *out = (struct hf_version_page){.rows = level.rows.rows,
                                        .count = level.rows.count,
                                        .next = level.full ? level.next : (struct hf_bytes){0},
                                        .last = !level.full};
    }
    return rc;
}
