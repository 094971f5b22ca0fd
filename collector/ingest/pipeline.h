/* The inside of ingest: items, the ring, the threads. Private to ingest/. */
#ifndef HF_COLLECTOR_INGEST_PIPELINE_H
#define HF_COLLECTOR_INGEST_PIPELINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "collector/ingest/ingest.h"

/* Streams are numbered 1 to 1024 and most hosts have a handful: memory is taken by the block. */
#define INGEST_STREAM_BLOCK  16u
#define INGEST_STREAM_BLOCKS (1024u / INGEST_STREAM_BLOCK + 1)

struct ingest_stream {
    _Atomic uint64_t source_row; /* 0: not opened; set by the committer, read by workers too */
    uint64_t awaiting_seq;       /* after a refusal: everything but this is dropped; 0: none */
    struct hf_ack *group_ack;    /* of the open group: what else is committed is added to it */
    uint64_t trained;            /* as ingest->trained was when SOURCE_STATE was last sent */
};

struct hf_ingest_session {
    struct hf_ingest *ingest;
    uint64_t host_row;
    char host_id[64];
    int64_t skew_ns;
    bool dictionaries;    /* its agent can use them; from before the first frame */
    _Atomic bool hurries; /* its items have a line of their own; set under ring_lock */
    bool waits_to_hurry;  /* under ring_lock, as the next: */
    struct hf_ingest_session *next_to_hurry;
    _Atomic unsigned references; /* the opener's and one an item */
    pthread_mutex_t lock;        /* protects deliver: NULL once closed */
    void (*deliver)(void *context, struct hf_ingest_reply *reply);
    void *context;
    /* Each NULL until a stream of it is opened; set by the committer, read by workers too. */
    struct ingest_stream *_Atomic streams[INGEST_STREAM_BLOCKS];
    bool others_retired;                            /* the committer's: see retire_others */
    struct ingest_item *parked_first, *parked_last; /* the committer's: lists.c */
    struct hf_ingest_session *next_parked;
    size_t released_bulk, released_control; /* the committer's: not said yet */
};

enum item_kind { ITEM_FRAME, ITEM_EVENTS, ITEM_STOP };

/* Events that somebody outside wants committed. */
struct item_events {
    struct hf_event *events;
    size_t count;
    struct hf_event copy; /* of an asynchronous event */
    struct hf_buf copy_memory;
    void (*done)(void *context, const struct hf_event *event, const struct hf_error *error);
    void *done_context;
    struct ingest_waiter *waiter; /* of a synchronous one */
    struct hf_error result;
};

enum task_kind { TASK_VERIFY, TASK_RUN, TASK_HAVE, TASK_LIST, TASK_DICTIONARY };

struct ingest_task {
    struct ingest_task *next;
    enum task_kind kind;
    struct ingest_item *item; /* that it is part of; NULL for TASK_RUN */
    void (*fn)(void *arg, struct hf_catalog_reader *catalog, struct hf_store_reader *store);
    void *arg;
};

enum { LINE_ASKED, LINE_HURRIED, LINE_VERIFY, TASK_LINES };

struct task_line {
    struct ingest_task *first, *last;
    size_t count;
};

/* Whether whoever waits for what is put in line is told at once, or by ingest_wake. */
enum ingest_wake { INGEST_WAKE_NOW, INGEST_WAKE_LATER };

/* What goes through the ring, in order of arrival. One a frame: kept small. */
struct ingest_item {
    struct ingest_item *next; /* in the ring, then in the group */
    struct ingest_task task;  /* when a worker has to look at it */
    enum item_kind kind;
    bool ready; /* under ingest->ring_lock: the committer may take it */

    struct hf_ingest_session *session;
    struct hf_buf message;
    struct hf_frame frame;
    struct hf_error *failure;     /* set by the worker, by item_fail; NULL when all went well */
    bool is_false;                /* with it: the host sent what is not what it says */
    struct ingest_blocks *blocks; /* CHUNKS: what the worker makes of them */
    struct ingest_lists *lists;   /* VERSIONS with lists: what is known of these; NULL before */

    struct item_events *events;    /* ITEM_EVENTS; owned */
    struct hf_ingest_reply *reply; /* to deliver once durable, newest first */
};

struct item_line {
    struct ingest_item *first, *last;
};

struct ingest_waiter {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
};

/* The newest mark of a source. */
struct source_mark {
    uint64_t source_row;
    int64_t until_ns; /* under mark_lock, as state */
    int state;
    /* The committer's: */
    int64_t journalled_ns; /* 0: not in this run */
    int journalled_state;
    uint8_t journalled_note[HF_HASH_BYTES]; /* a hash of its note */
    bool deferred;                          /* it waits to be journalled with others */
    uint64_t version_seq, pending_files;    /* of the deferred one */
    struct hf_buf note;
};

struct hf_ingest {
    struct hf_store *store;
    struct hf_catalog *catalog;
    struct hf_store_reader *committer_reader;

    pthread_mutex_t task_lock; /* protects the lines and what is said of them */
    pthread_cond_t task_came;
    struct task_line lines[TASK_LINES];
    unsigned idle_workers, unannounced;
    unsigned last_line; /* from which tasks were taken */
    bool tasks_closed;
    pthread_t *worker_threads;
    unsigned worker_count;    /* as many as there shall be: the workers read it */
    unsigned workers_started; /* of whoever starts and stops them */
    pthread_t committer_thread;

    pthread_mutex_t ring_lock; /* protects the lines and every item's ready */
    pthread_cond_t ring_ready; /* a head became ready; by the monotonic clock */
    struct item_line ring;
    struct item_line hurried; /* of sessions that hurry: before the ring */
    struct item_line events;  /* ready from the start */
    unsigned hurried_sessions;
    struct hf_ingest_session *to_hurry_first,
        *to_hurry_last; /* when one of those doesn't any more */
    bool several_were_last;
    bool stopping;

    pthread_mutex_t mark_lock;  /* protects marks */
    struct source_mark **marks; /* sorted by source_row */
    size_t mark_count, mark_capacity;
    int64_t mark_interval_ns;
    size_t deferred_marks; /* the committer's */
    int64_t deferred_ns;   /* monotonic, the committer's: since when there are such */

    pthread_mutex_t state_lock; /* protects storage_ok and message */
    bool storage_ok;
    char message[HF_ERROR_MESSAGE_BYTES];
    bool catalog_behind; /* committer: the journal is ahead of the catalog */
    bool group_open;     /* committer: something was written that end_group makes durable */
    struct hf_ingest_session *parked_first, *parked_last; /* committer: whose items wait, in turn */

    _Atomic uint64_t bytes, chunks, chunks_stored, versions, commits, refused, queue_bytes,
        commit_ns_sum, commit_buckets[HF_INGEST_LATENCY_BUCKETS];
    _Atomic int64_t last_commit_ns;
    _Atomic uint64_t trained; /* dictionaries in this run of the process */
};

/* pipeline.c */
int ring_push(struct hf_ingest *ingest, struct ingest_item *item, enum ingest_wake wake);
void ring_make_ready(struct hf_ingest *ingest, struct ingest_item *const *items, size_t count);
void ring_wake(struct hf_ingest *ingest);
/* Several events that belong together; or single ones and the longest runs of ready frames at the
 * heads of the other two lines, at most max_bytes of messages (one at least). When there is none:
 * waits for it until a monotonic time (0: not at all, INT64_MAX: for ever), then NULL. The stop
 * comes when all lines are empty. */
struct ingest_item *ring_take(struct hf_ingest *ingest, size_t max_bytes, int64_t until_ns);
/* What waits of a session's host changes lines, its order kept; at once, or when it is its turn. */
void ring_hurry(struct hf_ingest *ingest, struct hf_ingest_session *session, bool on);
/* What it holds, about: small messages decode to many times their size. */
size_t item_memory(const struct ingest_item *item);
void item_free(struct ingest_item *item);
void item_fail(struct ingest_item *item, enum hf_err code, const char *message);

/* workers.c */
void *worker_main(void *arg);
/* False when it was closed: then the task is still the caller's. */
bool task_push(struct hf_ingest *ingest, struct ingest_task *task, enum ingest_wake wake);
void tasks_wake(struct hf_ingest *ingest);
/* Workers end once their lines are empty. */
void tasks_close(struct hf_ingest *ingest);

/* session.c */
/* NULL when the stream was never opened. What it holds is the committer's, but for source_row. */
struct ingest_stream *session_stream(struct hf_ingest_session *session, uint32_t number);
/* The same, made when it is not there; NULL when out of memory. The committer alone. */
struct ingest_stream *session_stream_open(struct hf_ingest_session *session, uint32_t number);
/* Whether the session opened that source. The committer alone. */
bool session_has_open(struct hf_ingest_session *session, uint64_t source_row);
bool session_is_open(struct hf_ingest_session *session);
void session_unref(struct hf_ingest_session *session);
/* Hand over a reply, or free it when the session is closed. */
void session_deliver(struct hf_ingest_session *session, struct hf_ingest_reply *reply);
/* Say that the item's frame is dealt with; on workers. */
void session_release(const struct ingest_item *item);
struct hf_ingest_reply *reply_new(enum hf_ingest_reply_kind kind);

/* What a worker has of its own. */
struct ingest_worker {
    struct hf_catalog_reader *catalog;
    struct hf_store_reader *store;
    struct hf_decompressor *decompressor;
    struct hf_compressor *compressor;
    struct hf_buf plain, aid;        /* of the block that is verified */
    struct hf_block_builder builder; /* of one that is made anew */
    struct hf_error failure;         /* of the frame that is verified */
};

/* What is to be stored of a CHUNKS frame. */
struct ingest_block {
    struct hf_block block; /* views of the message, or of memory */
    uint8_t depth;
};
struct ingest_blocks {
    struct ingest_block *blocks;
    size_t count;
    struct hf_buf known;   /* ids of chunks that somebody stored before: not in the blocks */
    struct hf_buf *memory; /* of blocks that were made anew; one for each of the frame's */
    size_t memory_count;
};
void blocks_free(struct ingest_blocks *blocks);

/* verify.c, on workers */
void verify_chunks(struct ingest_worker *worker, struct ingest_item *item);
/* answer.c, on workers */
void answer_have(struct ingest_item *item, struct hf_catalog_reader *catalog);
void answer_list(struct ingest_item *item, struct hf_catalog_reader *catalog);
void answer_dictionary(struct ingest_item *item, struct hf_store_reader *store);

/* commit.c, frames.c: on the committer */
void *committer_main(void *arg);
int commit_frame(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error);
/* Begin to write, if the group has not. */
int group_begin(struct hf_ingest *ingest, struct hf_error *error);
/* Check, journal and apply one event. HF_ERR_EXISTS and other refusals of catalog_check come back
 * as they are and changed nothing. */
int commit_event(struct hf_ingest *ingest, struct hf_event *event, struct hf_error *error);
void item_reply(struct ingest_item *item, struct hf_ingest_reply *reply);

/* lists.c: on the committer */
struct ingest_lists;
void lists_free(struct ingest_lists *lists);
/* Of these items, those that can be committed now. The others wait, each session's in order, until
 * lists_work has looked into what the first of them refers to. */
struct ingest_item *lists_park(struct ingest_item *first);
bool lists_pending(const struct hf_ingest *ingest);
/* Some milliseconds of looking; only while lists_pending. Items that can be committed now, or NULL.
 */
struct ingest_item *lists_work(struct hf_ingest *ingest);
/* All that wait, at the end. */
void lists_drop(struct hf_ingest *ingest);
/* What was found of one version of an item: HF_OK with the ids that are missing, HF_ERR_INVALID
 * when its lists don't add up, or why it could not be told. */
int lists_missing(const struct ingest_item *item, const struct hf_version *version,
                  struct hf_buf *missing, struct hf_error *error);

/* replay.c */
int replay_journal(struct hf_ingest *ingest, struct hf_error *error);

/* marks.c, on the committer */
/* What is known of a source changed otherwise: until it is marked again, that is shown. */
void mark_show(struct hf_ingest *ingest, uint64_t source_row, int64_t until_ns, int state);
/* A source is marked: what is shown from now on, and the journal's entry when it is due. */
int mark_take(struct hf_ingest *ingest, uint64_t source_row, const struct hf_mark *mark,
              int64_t until_ns, int64_t now_ns, struct hf_error *error);
/* When marks that wait have to be journalled; monotonic, INT64_MAX: never. */
int64_t marks_due_ns(const struct hf_ingest *ingest);
/* Journal them, as part of a group. */
int marks_journal(struct hf_ingest *ingest, struct hf_error *error);
/* A group was given up, and with it what it journalled: the next mark of each source is journalled
 * whatever it says. */
void marks_doubt(struct hf_ingest *ingest);
void marks_free(struct hf_ingest *ingest);

#endif
