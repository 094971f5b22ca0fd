/* Backups of SQLite databases: starts the reader (sqlite_reader.h), waits for it, hands back the
 * file that it made. What is guaranteed, whoever may write to the database and its directory, and
 * also where the agent is root:
 *
 *  - nothing beside the database is made, changed, removed or given to another owner;
 *  - nothing but regular files of the directory behind dir_fd is read, and no link is followed;
 *  - the backup has no name on any disk, so that no end of the agent, however sudden, leaves it
 *    behind. (Where a file system can't do that, it has one for a moment: sqlite_backup_sweep.) */
#ifndef HF_AGENT_CAPTURE_SQLITE_BACKUP_H
#define HF_AGENT_CAPTURE_SQLITE_BACKUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/error.h"

/* What a backup leaves free of the state directory's disk: the spool is on it too. */
#define SQLITE_BACKUP_KEEP_FREE_BYTES (UINT64_C(64) * 1024 * 1024)
/* A reader that shows no sign of life for so long is ended. */
#define SQLITE_BACKUP_STALL_NS (INT64_C(60) * 1000000000)

struct sqlite_backup_options {
    const char *state;  /* directory, on whose file system the backup is made */
    int dir_fd;         /* the directory that holds the database */
    const char *name;   /* of the database in it */
    int fd;             /* the database, open for reading, a regular file */
    struct stat status; /* of fd */
    uint64_t keep_free_bytes;
    int64_t stall_ns;
    /* Called often while the reader works; false ends it. NULL: nothing. */
    bool (*idle)(void *context);
    void *context;
};

struct sqlite_backup {
    int fd;         /* the backup, to be closed by the caller; -1 */
    bool unsound;   /* there is one, but the database is damaged: note says how */
    char note[192]; /* for people, after "/path: ": of unsound and HF_ERR_UNSUPPORTED */
};

/* Blocks until there is one. On success out->fd is positioned anywhere.
 * HF_ERR_UNSUPPORTED: SQLite can't make one, or there is no room: the file can be captured only as
 *                     it is; out->note says why
 * HF_ERR_TIMEOUT:     others kept it locked, or changed it, for too long
 * HF_ERR_RACED:       it isn't there any more
 * HF_ERR_CLOSED:      idle said so
 * HF_ERR_IO:          anything else, the reader's end by a signal of somebody's included */
int sqlite_backup_make(const struct sqlite_backup_options *options, struct sqlite_backup *out,
                       struct hf_error *error);

/* What an agent that was killed left in its state directory. */
void sqlite_backup_sweep(const char *state);

#endif
