/* What SQLite keeps beside a database: NAME-wal, NAME-shm, NAME-journal. Put beneath what another
 * database left there, a restored one is damaged by the first program that opens it. One thread.
 *
 * What they hold of the database that is replaced is in the versions that were captured before. */
#ifndef HF_AGENT_RESTORE_SIBLINGS_H
#define HF_AGENT_RESTORE_SIBLINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* Whether a database is not, or not alone, what its file has: there is a -wal or a -journal with
 * something in it. */
bool siblings_count(int parent_fd, const char *name);

struct siblings {
    int parent_fd, staging_fd, lock_fd;
    const char *name; /* the caller's, as the descriptors but lock_fd are */
    uint64_t index;
    unsigned moved; /* a bit for each that is in the staging directory now */
    bool in_use;    /* somebody has the database that is to be replaced open, and goes on with it */
};

/* Take them away, durably, into the staging directory, where they end with the job; index is the
 * database's in the plan. If nobody uses the database that is there, nobody can begin to until
 * siblings_leave or siblings_return. HF_ERR_IO: nothing was changed. */
int siblings_take(int parent_fd, const char *name, int staging_fd, uint64_t index,
                  struct siblings *out, struct hf_error *error);
/* The new database is in place. */
void siblings_leave(struct siblings *siblings);
/* It isn't: they come back to the old one. */
void siblings_return(struct siblings *siblings);

#endif
