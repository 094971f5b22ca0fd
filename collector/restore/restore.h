/* The collector's side of restores: one host's jobs over one session.
 *
 * Everything happens on workers, one frame at a time and in order; frames to the agent go out
 * through `send`. Jobs live in the catalog, so a session that ends or a collector that restarts
 * loses nothing: the next session offers what is still active.
 */
#ifndef HF_COLLECTOR_RESTORE_RESTORE_H
#define HF_COLLECTOR_RESTORE_RESTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/ingest/ingest.h"

struct hf_restore;

struct hf_restore_options {
    struct hf_ingest *ingest;
    uint64_t host_row;
    const char *host_id;
    /* Hand a frame to the session; takes the reply. Called from workers. */
    void (*send)(void *context, struct hf_ingest_reply *reply);
    /* A job is offered, or the last one is over: until then somebody waits for what the host sends.
     * Called from workers. */
    void (*hurry)(void *context, bool on);
    void *context;
};

/* Any thread for all of these. */
int restore_open(const struct hf_restore_options *options, struct hf_restore **out);
/* No send or hurry call is running or starts after this returned. */
void restore_close(struct hf_restore *restore);
/* Look for an active job and offer it, if none is under way. */
void restore_wake(struct hf_restore *restore);
/* A RESTORE_*, or CHUNK_GET frame from the agent. Takes both on success. HF_ERR_LIMIT when the
 * agent asks faster than it is answered: end the session. */
int restore_frame(struct hf_restore *restore, struct hf_buf *message, struct hf_frame *frame);
/* Whether so much waits that the session should not be read for now; a HF_REPLY_RELEASED of type
 * RESTORE_RESULT and no bytes then comes through `send` when it may be again. */
bool restore_pause(struct hf_restore *restore);
/* The operator cancelled the job. */
void restore_cancel(struct hf_restore *restore, uint64_t job);
/* A frame has left the session's queue; bytes: those of its reply. */
void restore_sent(struct hf_restore *restore, size_t bytes);
/* Whether enough is on its way: what is asked for beyond that waits until some of it has left. Any
 * thread. */
bool restore_is_full(struct hf_restore *restore);

/* End the jobs that wait and have expired, of all hosts. On a worker, now and then; a host that
 * comes is not offered them in any case. */
int restore_expire_jobs(struct hf_ingest *ingest, struct hf_catalog_reader *catalog,
                        struct hf_error *error);

#endif
