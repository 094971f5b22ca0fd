/* Ingest: what arrives becomes durable. Workers verify chunks in parallel; one committer takes what
 * is verified in the order of its arrival, writes a group to the packs, waits for the disk once,
 * commits the catalog once, and only then answers (promise 1). It is also the one place where
 * events happen.
 *
 * A group is whatever is ready when the committer comes back from the disk: on an idle collector
 * one frame, under load hundreds, without a timer. Only marks that say nothing new wait: they are
 * journalled together.
 *
 * Owns the store, the catalog's writer, and the worker threads with their readers.
 */
#ifndef HF_COLLECTOR_INGEST_INGEST_H
#define HF_COLLECTOR_INGEST_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/catalog/catalog.h"
#include "collector/store/store.h"
#include "common/buf.h"
#include "common/error.h"
#include "proto/frame.h"

struct hf_ingest;
struct hf_ingest_session;

struct hf_ingest_options {
    struct hf_store_options store;
    const char *catalog_path;
    unsigned workers;         /* 0: one per processor, at least 2 */
    int64_t mark_interval_ns; /* between journal entries of marks that say nothing new; 0: 60 s */
};

/* Open store and catalog, repair the catalog from the journal (or rebuild it when it is new), start
 * the threads. Blocks for as long as the replay takes. */
int ingest_start(const struct hf_ingest_options *options, struct hf_ingest **out,
                 struct hf_error *error);
/* Commit what was accepted, answer it, end the threads, close store and catalog. All sessions must
 * be closed before. */
void ingest_stop(struct hf_ingest *ingest);

/* --- agents' sessions --- */

enum hf_ingest_reply_kind {
    HF_REPLY_FRAME,    /* send this frame: SOURCE_STATE, NEED, ACK, ERROR, LISTING, DICTIONARY */
    HF_REPLY_RELEASED, /* nothing to send: only what is released; frame.type is a released frame's
                        */
    HF_REPLY_STORAGE, /* the repository can't take data: memory is text that says why, with its NUL;
                       * nothing was acked */
    HF_REPLY_HOSTILE  /* content does not match its id: send the ERROR frame, then hang up */
};

/* Owned by whoever deliver gave it to; free with ingest_reply_free. A frame's views point into
 * memory of the reply. */
struct hf_ingest_reply {
    struct hf_ingest_reply *next; /* for lists of whoever owns it */
    void *to;                     /* for whoever it was delivered to */
    enum hf_ingest_reply_kind kind;
    struct hf_frame frame;
    size_t bytes; /* of restore's frames alone */
    /* Bytes of the session's frames that have been dealt with and left memory, of any kind of
     * reply: bulk, and others. */
    size_t released_bulk, released_control;
    struct hf_buf memory;
    struct hf_catalog_memory rows;
};
void ingest_reply_free(struct hf_ingest_reply *reply);

/* One per live session. deliver is called from worker and committer threads; it must only enqueue.
 * skew_ns: collector's clock minus the host's at HELLO. NULL when out of memory. */
struct hf_ingest_session *ingest_session_open(
    struct hf_ingest *ingest, uint64_t host_row, const char *host_id, int64_t skew_ns,
    void (*deliver)(void *context, struct hf_ingest_reply *reply), void *context);
/* Its agent can use dictionaries: to be called before the first ingest_submit, or not at all. */
void ingest_session_take_dictionaries(struct hf_ingest_session *session);
/* No deliver call is running or starts after this returned. Work in the pipe is finished. */
void ingest_session_close(struct hf_ingest_session *session);

/* Takes message (the received bytes) and frame (decoded from them; it may be NULL'd out by the
 * caller after). CHUNKS, VERSIONS, MARK, SOURCE, HAVE, LIST, DICTIONARY_GET; others are
 * HF_ERR_INVALID. Never blocks. On failure the caller still owns both. */
int ingest_submit(struct hf_ingest_session *session, struct hf_buf *message,
                  struct hf_frame *frame);

/* The same for somebody who submits many at once and calls ingest_wake behind them: to wake a
 * thread for each would cost more than what the thread then does. */
int ingest_submit_quietly(struct hf_ingest_session *session, struct hf_buf *message,
                          struct hf_frame *frame);
void ingest_wake(struct hf_ingest *ingest);

/* Somebody waits for what this session's agent sends, as a restore does for what the host has
 * changed last: from now on, or no more, it does not stand in line behind what others send. So many
 * at a time and no more, the others in their turn; of what is committed together at most a share.
 * Any thread. */
#define HF_INGEST_HURRIED_MAX 32u
void ingest_session_hurry(struct hf_ingest_session *session, bool on);
bool ingest_session_hurries(const struct hf_ingest_session *session);

/* Bytes of agents' frames that are in memory here. Any thread. */
uint64_t ingest_queue_bytes(const struct hf_ingest *ingest);

/* --- events and questions --- */

/* Make events durable, all or nothing, in order. Blocks; never call it on the loop or the
 * committer. Chosen fields are filled in. Events that change nothing (HF_ERR_EXISTS of
 * catalog_check) count as done. A CERT_ISSUED may name the host of a HOST_CREATED before it. */
int ingest_commit(struct hf_ingest *ingest, struct hf_event *events, size_t count,
                  struct hf_error *error);
/* The same without waiting: events are copied; done (may be NULL) is called from the committer
 * thread, with error NULL when it worked. */
int ingest_commit_async(struct hf_ingest *ingest, const struct hf_event *event,
                        void (*done)(void *context, const struct hf_event *event,
                                     const struct hf_error *error),
                        void *context);
/* Run fn on a worker, with that worker's readers. HF_ERR_CLOSED when ingest is stopping. */
int ingest_run(struct hf_ingest *ingest,
               void (*fn)(void *arg, struct hf_catalog_reader *catalog,
                          struct hf_store_reader *store),
               void *arg);

/* Readers for a thread of one's own; to be closed, the store's first, before ingest_stop. On
 * failure there is nothing to close. */
int ingest_readers_open(const struct hf_ingest *ingest, struct hf_catalog_reader **catalog,
                        struct hf_store_reader **store, struct hf_error *error);

/* A dictionary was committed: agents that can use them are told with the answer to their next MARK.
 * Any thread. */
void ingest_note_trained(struct hf_ingest *ingest);

/* The newest mark of a source in this run of the process. (Marks are journalled when their state or
 * note is another, else about every minute, many together.) False when there was none. */
bool ingest_mark(struct hf_ingest *ingest, uint64_t source_row, int64_t *until_ns, int *state);

#define HF_INGEST_LATENCY_BUCKETS 8 /* <= 1, 2, 5, 10, 25, 100, 1000 ms, more */

struct hf_ingest_stats {
    uint64_t bytes, chunks, chunks_stored, versions, commits, refused;
    uint64_t queue_bytes;   /* of memory for frames in the pipe now */
    uint64_t commit_ns_sum; /* over commits */
    uint64_t commit_buckets[HF_INGEST_LATENCY_BUCKETS];
    int64_t last_commit_ns; /* 0: none in this run */
    struct hf_store_stats store;
    bool storage_ok;
    char message[HF_ERROR_MESSAGE_BYTES]; /* why not */
};
/* As store_chunking_seed. Any thread. */
void ingest_chunking_seed(const struct hf_ingest *ingest, uint8_t out[HF_CHUNK_SEED_BYTES]);
/* Any thread. */
void ingest_stats(struct hf_ingest *ingest, struct hf_ingest_stats *out);

#endif
