/* The inside of ingest: items, the ring, the threads. Private to ingest/. */
#ifndef HF_COLLECTOR_INGEST_PIPELINE_H
#define HF_COLLECTOR_INGEST_PIPELINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "collector/ingest/ingest.h"
#include "common/queue.h"

#define INGEST_STREAMS_MAX 1025 /* indexed by stream number */

struct ingest_stream {
    _Atomic uint64_t source_row; /* 0: not opened; set by the committer, read by workers too */
    uint64_t awaiting_seq;       /* after a refusal: everything but this is dropped; 0: none */
    int64_t marked_ns;           /* when a MARK was last journalled */
    int marked_state;
    uint8_t marked_note[HF_HASH_BYTES]; /* a hash of its note */
};

struct hf_ingest_session {
    struct hf_ingest *ingest;
    uint64_t host_row;
    char host_id[64];
    int64_t skew_ns;
    _Atomic unsigned references; /* the opener's and one an item */
    pthread_mutex_t lock;        /* protects deliver: NULL once closed */
    void (*deliver)(void *context, struct hf_ingest_reply *reply);
    void *context;
    struct ingest_stream *streams;                  /* the committer's, but for source_row */
    bool others_retired;                            /* the committer's: see retire_others */
    struct ingest_item *parked_first, *parked_last; /* the committer's: lists.c */
    struct hf_ingest_session *next_parked;
};

enum item_kind { ITEM_FRAME, ITEM_EVENTS, ITEM_STOP };

/* What goes through the ring, in order of arrival. */
struct ingest_item {
    struct hf_queue_item link; /* in the workers' queue */
    struct ingest_item *next;  /* in the ring */
    enum item_kind kind;
    bool ready; /* under ingest->ring_lock: the committer may take it */

    struct hf_ingest_session *session;
    struct hf_buf message;
    struct hf_frame frame;
    struct hf_error failure;      /* set by the worker: code 0 when the chunks are good */
    bool is_false;                /* with it: the host sent what is not what it says */
    struct ingest_blocks *blocks; /* CHUNKS: what the worker makes of them */
    struct ingest_lists *lists;   /* VERSIONS with lists: what is known of these; NULL before */

    struct hf_event *events;
    size_t event_count;
    struct hf_event copy; /* of an asynchronous event */
    struct hf_buf copy_memory;
    void (*done)(void *context, const struct hf_event *event, const struct hf_error *error);
    void *done_context;
    struct ingest_waiter *waiter; /* of a synchronous one */
    struct hf_error result;

    struct ingest_item *replies_next; /* committer: items of the group */
    struct hf_ingest_reply *reply;    /* to deliver once durable, newest first */
};

struct ingest_waiter {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
};

enum task_kind { TASK_VERIFY, TASK_RUN, TASK_HAVE, TASK_LIST };

struct ingest_task {
    struct hf_queue_item link;
    enum task_kind kind;
    struct ingest_item *item;
    void (*fn)(void *arg, struct hf_catalog_reader *catalog, struct hf_store_reader *store);
    void *arg;
};

struct source_mark {
    uint64_t source_row;
    int64_t until_ns;
    int state;
};

struct hf_ingest {
    struct hf_store *store;
    struct hf_catalog *catalog;
    char *catalog_path;
    struct hf_store_reader *committer_reader;

    struct hf_queue *tasks;
    pthread_t *worker_threads;
    unsigned worker_count;
    pthread_t committer_thread;

    pthread_mutex_t ring_lock; /* protects the two lines and every item's ready */
    pthread_cond_t ring_ready; /* a head became ready */
    struct ingest_item *ring_first, *ring_last;
    struct ingest_item *events_first, *events_last; /* ready from the start */
    bool event_was_last;
    bool stopping;

    pthread_mutex_t mark_lock; /* protects marks */
    struct source_mark *marks; /* sorted by source_row */
    size_t mark_count, mark_capacity;

    pthread_mutex_t state_lock; /* protects storage_ok and message */
    bool storage_ok;
    char message[HF_ERROR_MESSAGE_BYTES];
    bool catalog_behind; /* committer: the journal is ahead of the catalog */
    struct hf_ingest_session *parked_first, *parked_last; /* committer: whose items wait, in turn */

    _Atomic uint64_t bytes, chunks, chunks_stored, versions, commits, refused, queue_bytes,
        commit_ns_sum, commit_buckets[HF_INGEST_LATENCY_BUCKETS];
    _Atomic int64_t last_commit_ns;
};

/* pipeline.c */
void *worker_main(void *arg);
int ring_push(struct hf_ingest *ingest, struct ingest_item *item);
void ring_make_ready(struct hf_ingest *ingest, struct ingest_item *item);
/* One item of events, or the longest run of ready frames at the ring's head, at most max_bytes of
 * messages (one at least). When there is none: waits for it, or NULL. The stop comes when both
 * lines are empty. */
struct ingest_item *ring_take(struct hf_ingest *ingest, size_t max_bytes, bool wait);
/* What it holds, about: small messages decode to many times their size. */
size_t item_memory(const struct ingest_item *item);
void item_free(struct ingest_item *item);

/* session.c */
bool session_is_open(struct hf_ingest_session *session);
void session_unref(struct hf_ingest_session *session);
/* Hand over a reply, or free it when the session is closed. */
void session_deliver(struct hf_ingest_session *session, struct hf_ingest_reply *reply);
/* Say that the item's frame is dealt with. */
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

/* commit.c, frames.c: on the committer */
void *committer_main(void *arg);
int commit_frame(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error);
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

/* marks.c */
void mark_set(struct hf_ingest *ingest, uint64_t source_row, int64_t until_ns, int state);

#endif
