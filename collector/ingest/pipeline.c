/* The ring that keeps the order, and the workers. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>

#include "common/log.h"

int ring_push(struct hf_ingest *ingest, struct ingest_item *item)
{
    pthread_mutex_lock(&ingest->ring_lock);
    if (ingest->stopping && item->kind != ITEM_STOP) {
        pthread_mutex_unlock(&ingest->ring_lock);
        return HF_ERR_CLOSED;
    }
    item->next = NULL;
    if (ingest->ring_last) {
        ingest->ring_last->next = item;
    } else {
        ingest->ring_first = item;
    }
    ingest->ring_last = item;
    if (ingest->ring_first->ready) {
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

struct ingest_item *ring_take(struct hf_ingest *ingest, size_t max_bytes)
{
    pthread_mutex_lock(&ingest->ring_lock);
    while (!ingest->ring_first || !ingest->ring_first->ready) {
        pthread_cond_wait(&ingest->ring_ready, &ingest->ring_lock);
    }
    struct ingest_item *first = ingest->ring_first;
    struct ingest_item *last = first;
    size_t bytes = first->message.size;
    /* Events and the stop are groups of their own. */
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
    pthread_mutex_unlock(&ingest->ring_lock);
    return first;
}

void item_free(struct ingest_item *item)
{
    if (item->session) {
        size_t bytes = item->message.size;
        atomic_fetch_sub(&item->session->ingest->queue_bytes, bytes);
        proto_frame_free(&item->frame);
        hf_buf_free(&item->message);
        session_unref(item->session);
    }
    event_free(&item->copy);
    hf_buf_free(&item->copy_memory);
    free(item);
}

void *worker_main(void *arg)
{
    struct hf_ingest *ingest = arg;
    struct hf_catalog_reader *catalog = NULL;
    struct hf_store_reader *store = NULL;
    struct hf_error error = {0};
    struct hf_decompressor *decompressor = hf_decompressor_new();
    struct hf_buf scratch = {0};
    if (!decompressor || catalog_reader_open(ingest->catalog_path, &catalog, &error) != HF_OK ||
        store_reader_new(ingest->store, &store, &error) != HF_OK) {
        hf_log_error("A worker can't start: %s", error.message);
        abort(); /* half the workers would be worse: the supervisor starts us again */
    }
    for (struct hf_queue_item *link; (link = hf_queue_pop(ingest->tasks, -1));) {
        struct ingest_task *task = (struct ingest_task *)link;
        switch (task->kind) {
        case TASK_VERIFY:
            verify_chunks(task->item, decompressor, &scratch);
            ring_make_ready(ingest, task->item);
            break;
        case TASK_HAVE:
            answer_have(task->item, catalog);
            item_free(task->item);
            break;
        case TASK_LIST:
            answer_list(task->item, catalog);
            item_free(task->item);
            break;
        case TASK_RUN:
            task->fn(task->arg, catalog, store);
            break;
        }
        free(task);
    }
    hf_buf_free(&scratch);
    hf_decompressor_free(decompressor);
    store_reader_free(store);
    catalog_reader_close(catalog);
    return NULL;
}
