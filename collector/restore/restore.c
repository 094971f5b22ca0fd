/* The queue of one session's restore work, and who works on it. */
#include "collector/restore/restore.h"

#include <stdlib.h>
#include <string.h>

#include "collector/restore/driver.h"
#include "common/log.h"

#define FRAMES_MAX    256u                 /* that wait; an honest agent has a dozen */
#define WAITING_MAX   (4u * 1024u * 1024u) /* bytes of them */
#define IN_FLIGHT_MAX (8u * 1024u * 1024u)
/* Well below the limits the session is read no more until half of it is done: a restore of a
 * million files reports faster than its results are committed. */
#define PAUSE_FRAMES 64u
#define PAUSE_BYTES  (1024u * 1024u)

static void run(void *arg, struct hf_catalog_reader *catalog, struct hf_store_reader *store);

static void unref(struct hf_restore *restore)
{
    if (atomic_fetch_sub(&restore->references, 1) != 1) {
        return;
    }
    while (restore->first) {
        struct restore_task *task = restore->first;
        restore->first = task->next;
        task_free(task);
    }
    pthread_mutex_destroy(&restore->lock);
    hf_buf_free(&restore->source_name);
    hf_compressor_free(restore->compressor);
    hf_block_builder_free(&restore->builder);
    free(restore);
}

void task_free(struct restore_task *task)
{
    proto_frame_free(&task->frame);
    hf_buf_free(&task->message);
    free(task);
}

int restore_open(const struct hf_restore_options *options, struct hf_restore **out)
{
    struct hf_restore *restore = calloc(1, sizeof *restore);
    if (!restore) {
        return HF_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&restore->lock, NULL);
    restore->options = *options;
    strncpy(restore->host_id, options->host_id, sizeof restore->host_id - 1);
    restore->options.host_id = restore->host_id;
    atomic_store(&restore->references, 1);
    *out = restore;
    return HF_OK;
}

void restore_close(struct hf_restore *restore)
{
    if (restore) {
        pthread_mutex_lock(&restore->lock);
        restore->closed = true;
        pthread_mutex_unlock(&restore->lock);
        unref(restore);
    }
}

/* With the lock held: have a worker look at the queue, unless one does or there is no use. */
static void start(struct hf_restore *restore)
{
    const struct restore_task *first = restore->first;
    bool full =
        first && first->kind == RESTORE_FRAME &&
        (first->frame.type == HF_FRAME_CHUNK_GET || first->frame.type == HF_FRAME_RESTORE_NEXT) &&
        restore->in_flight > IN_FLIGHT_MAX;
    if (restore->running || !restore->first || restore->closed || full) {
        return;
    }
    atomic_fetch_add(&restore->references, 1);
    restore->running = true;
    if (ingest_run(restore->options.ingest, run, restore) != HF_OK) {
        restore->running = false;
        atomic_fetch_sub(&restore->references, 1); /* the caller has one too */
    }
}

static void run(void *arg, struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    struct hf_restore *restore = arg;
    pthread_mutex_lock(&restore->lock);
    struct restore_task *task = restore->closed ? NULL : restore->first;
    if (task) {
        restore->first = task->next;
        restore->last = restore->first ? restore->last : NULL;
        restore->count--;
        restore->waiting -= task->message.size;
    }
    pthread_mutex_unlock(&restore->lock);
    bool more = task && driver_step(restore, task, catalog, store);
    if (task && !more) {
        task_free(task);
    }
    pthread_mutex_lock(&restore->lock);
    restore->running = false;
    if (more) {
        task->next = restore->first;
        restore->first = task;
        restore->last = restore->last ? restore->last : task;
        restore->count++;
        restore->waiting += task->message.size;
    }
    bool resume = restore->paused && restore->count <= PAUSE_FRAMES / 2 &&
                  restore->waiting <= PAUSE_BYTES / 2;
    restore->paused = restore->paused && !resume;
    start(restore);
    pthread_mutex_unlock(&restore->lock);
    if (resume) {
        struct hf_ingest_reply *reply = calloc(1, sizeof *reply);
        if (!reply) {
            abort(); /* the session would never be read again */
        }
        reply->kind = HF_REPLY_RELEASED;
        reply->frame.type = HF_FRAME_RESTORE_RESULT;
        restore_send(restore, reply);
    }
    unref(restore);
}

static int push(struct hf_restore *restore, struct restore_task *task)
{
    pthread_mutex_lock(&restore->lock);
    if (restore->count >= FRAMES_MAX || restore->waiting >= WAITING_MAX) {
        pthread_mutex_unlock(&restore->lock);
        return HF_ERR_LIMIT;
    }
    if (restore->last) {
        restore->last->next = task;
    } else {
        restore->first = task;
    }
    restore->last = task;
    restore->count++;
    restore->waiting += task->message.size;
    start(restore);
    pthread_mutex_unlock(&restore->lock);
    return HF_OK;
}

bool restore_pause(struct hf_restore *restore)
{
    pthread_mutex_lock(&restore->lock);
    bool pause = restore->count > PAUSE_FRAMES || restore->waiting > PAUSE_BYTES;
    restore->paused = restore->paused || pause;
    pthread_mutex_unlock(&restore->lock);
    return pause;
}

static void push_simple(struct hf_restore *restore, enum restore_task_kind kind, uint64_t job)
{
    struct restore_task *task = calloc(1, sizeof *task);
    if (task) {
        task->kind = kind;
        task->job = job;
        if (push(restore, task) != HF_OK) {
            free(task);
        }
    }
}

void restore_wake(struct hf_restore *restore)
{
    push_simple(restore, RESTORE_WAKE, 0);
}

void restore_cancel(struct hf_restore *restore, uint64_t job)
{
    push_simple(restore, RESTORE_CANCELLED, job);
}

int restore_frame(struct hf_restore *restore, struct hf_buf *message, struct hf_frame *frame)
{
    struct restore_task *task = calloc(1, sizeof *task);
    if (!task) {
        return HF_ERR_NO_MEMORY;
    }
    task->kind = RESTORE_FRAME;
    task->message = *message;
    task->frame = *frame;
    int rc = push(restore, task);
    if (rc != HF_OK) {
        free(task);
        return rc;
    }
    *message = (struct hf_buf){0};
    *frame = (struct hf_frame){0};
    return HF_OK;
}

void restore_sent(struct hf_restore *restore, size_t bytes)
{
    pthread_mutex_lock(&restore->lock);
    restore->in_flight -= bytes < restore->in_flight ? bytes : restore->in_flight;
    start(restore);
    pthread_mutex_unlock(&restore->lock);
}

bool restore_is_full(struct hf_restore *restore)
{
    pthread_mutex_lock(&restore->lock);
    bool full = restore->in_flight > IN_FLIGHT_MAX;
    pthread_mutex_unlock(&restore->lock);
    return full;
}

void restore_hurry(struct hf_restore *restore, bool on)
{
    pthread_mutex_lock(&restore->lock);
    if (!restore->closed) {
        restore->options.hurry(restore->options.context, on);
    }
    pthread_mutex_unlock(&restore->lock);
}

void restore_send(struct hf_restore *restore, struct hf_ingest_reply *reply)
{
    if (!reply) {
        return;
    }
    pthread_mutex_lock(&restore->lock);
    if (!restore->closed) {
        restore->in_flight += reply->bytes;
        restore->options.send(restore->options.context, reply);
        reply = NULL;
    }
    pthread_mutex_unlock(&restore->lock);
    ingest_reply_free(reply);
}
