/* One session's restore: what restore.c (the queue) and driver.c (the work) share. */
#ifndef HF_COLLECTOR_RESTORE_DRIVER_H
#define HF_COLLECTOR_RESTORE_DRIVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "collector/restore/restore.h"

enum restore_task_kind { RESTORE_WAKE, RESTORE_FRAME, RESTORE_CANCELLED };

struct restore_task {
    struct restore_task *next;
    enum restore_task_kind kind;
    uint64_t job;
    struct hf_buf message;
    struct hf_frame frame;
    size_t sent; /* of the chunks that a CHUNK_GET asks for, by where they lie */
    bool begun;
};

struct hf_restore {
    struct hf_restore_options options;
    char host_id[64];
    _Atomic unsigned references;

    pthread_mutex_t lock; /* protects these */
    struct restore_task *first, *last;
    size_t count, waiting; /* tasks, and bytes of their messages */
    bool paused;           /* the session is not read; it is told when it may be again */
    size_t in_flight;      /* bytes of content and pages handed to the session and not yet sent */
    bool running, closed;

    /* Of whichever worker runs: one at a time. */
    uint64_t job; /* offered and not ended; 0: none */
    bool accepted;
    uint64_t denied_job; /* the last one of which a denial was audited */
    uint64_t origin_row, source_row;
    uint64_t fetched_bytes;
    struct hf_buf source_name;
    /* For what can't be sent as it is stored; made when it is needed. */
    struct hf_compressor *compressor;
    struct hf_block_builder builder;
};

void task_free(struct restore_task *task);
void restore_send(struct hf_restore *restore, struct hf_ingest_reply *reply);
void restore_hurry(struct hf_restore *restore, bool on);
/* driver.c. What is sent and recorded; actor is who did it. */
struct hf_ingest_reply *driver_frame(enum hf_frame_type type);
void driver_refuse(struct hf_restore *restore, const struct restore_task *task,
                   enum hf_wire_code code, const char *message, struct hf_bytes ids);
struct hf_event driver_event(const struct hf_restore *restore, enum hf_event_type type,
                             char actor[96]);
/* HF_ERR_CONFLICT: the job had ended before, for example because the operator cancelled it. */
int driver_commit(struct hf_restore *restore, struct hf_event *events, size_t count,
                  struct hf_error *error);
/* content.c: answer a CHUNK_GET, or some of it: true when there is more to do. */
bool driver_send_chunks(struct hf_restore *restore, struct restore_task *task,
                        struct hf_catalog_reader *catalog, struct hf_store_reader *store);

/* Do one task, or some of it: true when there is more to do. On a worker. */
bool driver_step(struct hf_restore *restore, struct restore_task *task,
                 struct hf_catalog_reader *catalog, struct hf_store_reader *store);

#endif
