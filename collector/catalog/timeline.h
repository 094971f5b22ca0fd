/* A walk along the paths of one source as they were at one moment. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_TIMELINE_H
#define HF_COLLECTOR_CATALOG_TIMELINE_H

#include "collector/catalog/reader.h"

/* The columns that timeline_read_row reads, in its order, of a version whose path is bound to the
 * parameter ?2. */
#define TIMELINE_COLUMNS                                                                           \
    "?2, at_ns, seq, received_ns, captured_ns, type, flags, mode, uid, gid, owner, grp,"           \
    " mtime_ns, size, target, depth, refs, job, link, xattrs"
enum {
    TIMELINE_PATH = 0,
    TIMELINE_AT = 1,
    TIMELINE_SEQ = 2,
    TIMELINE_TYPE = 5,
    TIMELINE_SIZE = 13
};

/* The row of the path ?2 of the source ?1. */
#define TIMELINE_PATH_ROW "(SELECT row FROM paths WHERE source_row = ?1 AND path = ?2)"

/* Room for a path and what is put behind it to make a bound. */
#define TIMELINE_BOUND_BYTES (HF_PATH_MAX_BYTES + 2)

/* One call of a reader looks at no more paths than this, in some milliseconds; what does not fit
 * comes with the next page. So a request about a million dead paths can't hold a worker for long.
 */
#define TIMELINE_PATHS_MAX 1024u

/* low <= path < high. */
struct timeline_range {
    uint8_t low[TIMELINE_BOUND_BYTES], high[TIMELINE_BOUND_BYTES];
    size_t low_size, high_size;
};

/* All paths beneath a directory; of the empty one, all. */
void timeline_range_beneath(struct timeline_range *range, struct hf_bytes directory);
/* One path. */
void timeline_range_only(struct timeline_range *range, struct hf_bytes path);
/* Go on after this path, or, if it is `beneath`, after everything beneath it. Never goes back. */
void timeline_range_skip(struct timeline_range *range, struct hf_bytes path);
void timeline_range_skip_beneath(struct timeline_range *range, struct hf_bytes directory);

/* Each timeline_next finds the next path that had a version at the moment, deletions included, and
 * leaves `row` standing on that version until the next call. */
struct timeline_walk {
    struct db *db;
    uint64_t source_row;
    int64_t at_ns;
    struct timeline_range range; /* what is still to be walked */
    sqlite3_stmt *rows;          /* the paths of the range, NULL when it is to be opened */
    sqlite3_stmt *row;           /* the last one's version at the moment */
    size_t paths;                /* that were looked at */
};

void timeline_start(struct timeline_walk *walk, struct db *db, uint64_t source_row, int64_t at_ns,
                    const struct timeline_range *range);
int timeline_next(struct timeline_walk *walk, bool *found, struct hf_error *error);
/* Finish its statements. Also after walk->range.low was raised: the walk goes on from there. */
void timeline_pause(struct timeline_walk *walk);

/* A copy of the path that timeline_next found last. */
struct hf_bytes timeline_last_path(const struct timeline_walk *walk,
                                   struct hf_catalog_memory *memory);

/* Copy a row of TIMELINE_COLUMNS. */
void timeline_read_row(sqlite3_stmt *statement, struct hf_catalog_memory *memory,
                       struct hf_version_row *out);
/* The newest version of the path at the moment, deletions included; the statement, the caller's
 * to finish (DB_STATEMENT), stands on it. */
int timeline_find(struct db *db, uint64_t source_row, struct hf_bytes path, int64_t at_ns,
                  sqlite3_stmt **statement, bool *found, struct hf_error *error);
/* Its type then, HF_FILE_ABSENT when it is not alive. */
int timeline_type_at(struct db *db, uint64_t source_row, struct hf_bytes path, int64_t at_ns,
                     enum hf_file_type *type, struct hf_error *error);
/* HF_ERR_LIMIT for keys that can't be, HF_ERR_NOT_FOUND when there is no such source. */
int timeline_check_query(struct db *db, const struct hf_timeline_query *query,
                         struct hf_error *error);

/* directory is empty (the top) or path lies in it, at any depth. */
bool timeline_is_beneath(struct hf_bytes path, struct hf_bytes directory);
int timeline_compare(struct hf_bytes a, struct hf_bytes b); /* as the database orders paths */

#endif
