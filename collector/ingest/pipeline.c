/* The ring that keeps the order, and the workers. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>

#include "common/log.h"

#define INGEST_LEVEL 3 /* of zstd, for what is compressed anew here */

/* Events have a line of their own: whoever waits for one may be the very worker that a frame at the
 * ring's head waits for. */
int ring_push(struct hf_ingest *ingest, struct ingest_item *item)
{
    bool event = item->kind == ITEM_EVENTS;
    struct ingest_item **first = event ? &ingest->events_first : &ingest->ring_first;
    struct ingest_item **last = event ? &ingest->events_last : &ingest->ring_last;
    pthread_mutex_lock(&ingest->ring_lock);
    if (ingest->stopping && item->kind != ITEM_STOP) {
        pthread_mutex_unlock(&ingest->ring_lock);
        return HF_ERR_CLOSED;
    }
    item->next = NULL;
    if (*last) {
        (*last)->next = item;
    } else {
        *first = item;
    }
    *last = item;
    if ((*first)->ready) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
    return HF_OK;
}

void ring_make_ready(struct hf_ingest *ingest, struct ingest_item *item)
{
    pthread_mutex_lock(&ingest->ring_lock);
    item->ready = true;
    if (ingest->ring_first == item) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
}

static struct ingest_item *take_event(struct hf_ingest *ingest)
{
    struct ingest_item *item = ingest->events_first;
    ingest->events_first = item->next;
    if (!ingest->events_first) {
        ingest->events_last = NULL;
    }
    item->next = NULL;
    return item;
}

static struct ingest_item *take_frames(struct hf_ingest *ingest, size_t max_bytes)
{
    struct ingest_item *first = ingest->ring_first;
    struct ingest_item *last = first;
    size_t bytes = first->message.size;
    /* The stop is a group of its own. */
    while (first->kind == ITEM_FRAME && last->next && last->next->ready &&
           last->next->kind == ITEM_FRAME && bytes + last->next->message.size <= max_bytes) {
        last = last->next;
        bytes += last->message.size;
    }
    ingest->ring_first = last->next;
    if (!ingest->ring_first) {
        ingest->ring_last = NULL;
    }
    last->next = NULL;
    return first;
}

struct ingest_item *ring_take(struct hf_ingest *ingest, size_t max_bytes, bool wait)
{
    pthread_mutex_lock(&ingest->ring_lock);
    if (!wait && !ingest->events_first && !(ingest->ring_first && ingest->ring_first->ready)) {
        pthread_mutex_unlock(&ingest->ring_lock);
        return NULL;
    }
    while (!ingest->events_first && !(ingest->ring_first && ingest->ring_first->ready)) {
        pthread_cond_wait(&ingest->ring_ready, &ingest->ring_lock);
    }
    /* In turns, so that neither starves the other; the stop comes after both. */
    bool frames =
        ingest->ring_first && ingest->ring_first->ready && ingest->ring_first->kind == ITEM_FRAME;
    bool event = ingest->events_first && !(frames && ingest->event_was_last);
    struct ingest_item *item = event ? take_event(ingest) : take_frames(ingest, max_bytes);
    ingest->event_was_last = event;
    pthread_mutex_unlock(&ingest->ring_lock);
    return item;
}

size_t item_memory(const struct ingest_item *item)
{
    return sizeof *item + item->message.size + item->frame.owned_bytes;
}

void item_free(struct ingest_item *item)
{
    if (item->session) {
        size_t memory = item_memory(item);
        atomic_fetch_sub(&item->session->ingest->queue_bytes, memory);
        proto_frame_free(&item->frame);
        hf_buf_free(&item->message);
        lists_free(item->lists);
        blocks_free(item->blocks);
        session_unref(item->session);
    }
    event_free(&item->copy);
    hf_buf_free(&item->copy_memory);
    free(item);
}

/* Where the content is that a block was compressed against. */
static int find_chunk(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                      struct hf_error *error)
{
    struct ingest_worker *worker = context;
    struct hf_chunk_place found;
    int rc = catalog_chunk_locate(worker->catalog, id, &found, error);
    *out = found.place;
    return rc;
}

static int worker_open(struct ingest_worker *worker, const struct hf_ingest *ingest,
                       struct hf_error *error)
{
    struct hf_store_resolver resolver = {find_chunk, worker};
    worker->decompressor = hf_decompressor_new();
    worker->compressor = hf_compressor_new(INGEST_LEVEL);
    if (!worker->decompressor || !worker->compressor) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "out of memory");
    }
    int rc = catalog_reader_open(ingest->catalog_path, &worker->catalog, error);
    return rc == HF_OK ? store_reader_new(ingest->store, resolver, &worker->store, error) : rc;
}

static void worker_close(struct ingest_worker *worker)
{
    hf_buf_free(&worker->plain);
    hf_buf_free(&worker->aid);
    hf_block_builder_free(&worker->builder);
    hf_decompressor_free(worker->decompressor);
    hf_compressor_free(worker->compressor);
    store_reader_free(worker->store);
    catalog_reader_close(worker->catalog);
}

void *worker_main(void *arg)
{
    struct hf_ingest *ingest = arg;
    struct ingest_worker worker = {0};
    struct hf_error error = {0};
    if (worker_open(&worker, ingest, &error) != HF_OK) {
        hf_log_error("A worker can't start: %s", error.message);
        abort(); /* half the workers would be worse: the supervisor starts us again */
    }
    for (struct hf_queue_item *link; (link = hf_queue_pop(ingest->tasks, -1));) {
        struct ingest_task *task = (struct ingest_task *)link;
        switch (task->kind) {
        case TASK_VERIFY:
            verify_chunks(&worker, task->item);
            ring_make_ready(ingest, task->item);
            break;
        case TASK_HAVE:
            answer_have(task->item, worker.catalog);
            session_release(task->item);
            item_free(task->item);
            break;
        case TASK_LIST:
            answer_list(task->item, worker.catalog);
            session_release(task->item);
            item_free(task->item);
            break;
        case TASK_RUN:
            task->fn(task->arg, worker.catalog, worker.store);
            break;
        }
        free(task);
    }
    worker_close(&worker);
    return NULL;
}
