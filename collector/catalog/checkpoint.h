/* Copying the write-ahead log into the database, so that the log begins anew instead of growing.
 * That means many scattered writes and waiting for the disk: a thread of its own does it, while the
 * committer goes on, and the committer finishes only the little that came in meanwhile. Private to
 * catalog/. */
#ifndef HF_COLLECTOR_CATALOG_CHECKPOINT_H
#define HF_COLLECTOR_CATALOG_CHECKPOINT_H

#include "collector/catalog/db.h"

struct checkpoint;

/* In frames of the log: pages. */
struct checkpoint_limits {
    int log_frames;     /* from so many on it is worth copying them: in a log half as long fewer
                           frames are of the same page */
    int rest_frames;    /* so few are left that the writer copies them itself, after which the log
                           begins anew */
    int log_frames_max; /* the disk does not keep up with what is committed: the writer waits */
};

/* For the writer's connection, after its settings are made and the schema is there; from now on
 * SQLite does nothing of this by itself. */
int checkpoint_start(struct db *writer, const struct checkpoint_limits *limits,
                     struct checkpoint **out, struct hf_error *error);
/* After each commit, by the writer's thread. */
void checkpoint_after_commit(struct checkpoint *checkpoint);
/* Before the writer's connection is closed. NULL is fine. */
void checkpoint_stop(struct checkpoint *checkpoint);

#endif
