/* Versions of one path. */
#include "collector/catalog/timeline.h"

int catalog_version_at(struct hf_catalog_reader *reader, uint64_t source_row, struct hf_bytes path,
                       int64_t at_ns, struct hf_catalog_memory *memory, struct hf_version_row *out,
                       struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    bool found = false;
    int rc = timeline_find(&reader->db, source_row, path, at_ns, &statement, &found, error);
    if (rc != HF_OK) {
        return rc;
    }
    if (!found || db_column_int(statement, TIMELINE_TYPE) == HF_FILE_ABSENT) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "At that moment there is no %.*s",
                            (int)path.size, (const char *)path.data);
    }
    timeline_read_row(statement, memory, out);
    return db_check_memory(memory, error);
}

static int find_path(struct hf_catalog_reader *reader, uint64_t source_row, struct hf_bytes path,
                     uint64_t *row, struct hf_error *error)
{
    static const char sql[] = "SELECT row FROM paths WHERE source_row = ?1 AND path = ?2";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, source_row);
    db_bind_blob(statement, 2, path);
    rc = db_step(&reader->db, statement, error);
    *row = rc == DB_ROW ? db_column_uint(statement, 0) : 0;
    return rc < 0 ? rc : HF_OK;
}

/* Time and number of the path's newest version that is not later than the moment; seq 0 when there
 * is none. */
static int newest_until(struct hf_catalog_reader *reader, uint64_t path_row, int64_t moment_ns,
                        int64_t *at_ns, uint64_t *seq, struct hf_error *error)
{
    static const char sql[] = "SELECT at_ns, seq FROM versions WHERE path_row = ?1 AND at_ns <= ?2"
                              " ORDER BY at_ns DESC, seq DESC LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, path_row);
    db_bind_int(statement, 2, moment_ns);
    rc = db_step(&reader->db, statement, error);
    *at_ns = rc == DB_ROW ? db_column_int(statement, 0) : 0;
    *seq = rc == DB_ROW ? db_column_uint(statement, 1) : 0;
    return rc < 0 ? rc : HF_OK;
}

/* The moment with which (at_ns, seq) <= (*at_ns, last_seq) is true of the path's versions up to the
 * number last_seq and of no other. Versions are ordered by time, but are asked for by number; in a
 * source time never falls as numbers rise, so halving finds where, without walking along the very
 * many that a path can have. */
static int moment_of_seq(struct hf_catalog_reader *reader, uint64_t path_row, uint64_t last_seq,
                         int64_t *at_ns, struct hf_error *error)
{
    int64_t later_ns = HF_CATALOG_NOW; /* what is of this moment has a later number, or may have */
    int64_t until_ns = 0;              /* nothing until this moment has */
    uint64_t seq = 0;
    int rc = newest_until(reader, path_row, later_ns, at_ns, &seq, error);
    if (rc == HF_OK && seq > last_seq) {
        later_ns = *at_ns;
    } else {
        until_ns = later_ns;
    }
    while (rc == HF_OK && until_ns < later_ns - 1) {
        int64_t middle_ns = until_ns + (later_ns - until_ns) / 2;
        rc = newest_until(reader, path_row, middle_ns, at_ns, &seq, error);
        if (seq > last_seq) {
            later_ns = *at_ns;
        } else {
            until_ns = middle_ns;
        }
    }
    *at_ns = later_ns;
    return rc;
}

/* A statement over the path's versions up to the number, newest first. It has TIMELINE_COLUMNS and
 * is the caller's to finish; NULL when the path never had a version. */
static int open_until(struct hf_catalog_reader *reader, uint64_t source_row, struct hf_bytes path,
                      uint64_t last_seq, sqlite3_stmt **out, struct hf_error *error)
{
    static const char sql[] =
        "SELECT " TIMELINE_COLUMNS " FROM versions WHERE path_row = ?1 AND (at_ns, seq) <= (?3, ?4)"
        " ORDER BY at_ns DESC, seq DESC";
    uint64_t path_row = 0;
    int64_t at_ns = 0;
    int rc = find_path(reader, source_row, path, &path_row, error);
    if (rc == HF_OK && path_row != 0) {
        rc = moment_of_seq(reader, path_row, last_seq, &at_ns, error);
    }
    if (rc == HF_OK && path_row != 0) {
        rc = db_prepare(&reader->db, sql, out, error);
    }
    if (rc != HF_OK || path_row == 0) {
        return rc;
    }
    db_bind_uint(*out, 1, path_row);
    db_bind_blob(*out, 2, path);
    db_bind_int(*out, 3, at_ns);
    db_bind_uint(*out, 4, last_seq);
    return HF_OK;
}

static int version_by_seq(struct hf_catalog_reader *reader, uint64_t source_row,
                          struct hf_bytes path, uint64_t seq, struct hf_catalog_memory *memory,
                          struct hf_version_row *out, struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    int rc = open_until(reader, source_row, path, seq, &statement, error);
    if (rc == HF_OK && statement) {
        rc = db_step(&reader->db, statement, error);
    }
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE || db_column_uint(statement, TIMELINE_SEQ) != seq) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "Version %llu is none of %.*s",
                            (unsigned long long)seq, (int)path.size, (const char *)path.data);
    }
    timeline_read_row(statement, memory, out);
    return db_check_memory(memory, error);
}

int catalog_version_by_seq(struct hf_catalog_reader *reader, uint64_t source_row,
                           struct hf_bytes path, uint64_t seq, struct hf_catalog_memory *memory,
                           struct hf_version_row *out, struct hf_error *error)
{
    int rc = catalog_reader_begin(reader, error);
    if (rc == HF_OK) {
        rc = version_by_seq(reader, source_row, path, seq, memory, out, error);
        catalog_reader_end(reader);
    }
    return rc;
}

static void read_row(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *row)
{
    timeline_read_row(statement, memory, row);
}

static int version_list(struct hf_catalog_reader *reader, uint64_t source_row, struct hf_bytes path,
                        uint64_t last_seq, size_t limit, struct hf_catalog_memory *memory,
                        struct memory_rows *found, struct hf_error *error)
{
    DB_STATEMENT statement = NULL;
    int rc = open_until(reader, source_row, path, last_seq, &statement, error);
    return rc == HF_OK && statement
               ? reader_collect(reader, statement, limit, read_row, memory, found, error)
               : rc;
}

int catalog_version_list(struct hf_catalog_reader *reader, uint64_t source_row,
                         struct hf_bytes path, uint64_t before_seq, size_t limit,
                         struct hf_catalog_memory *memory, const struct hf_version_row **rows,
                         size_t *count, struct hf_error *error)
{
    struct memory_rows found = {.size = sizeof **rows};
    uint64_t last_seq = before_seq ? before_seq - 1 : UINT64_MAX;
    int rc = catalog_reader_begin(reader, error);
    if (rc == HF_OK) {
        rc = version_list(reader, source_row, path, last_seq, limit, memory, &found, error);
        catalog_reader_end(reader);
    }
    *rows = found.rows;
    *count = found.count;
    return rc;
}
