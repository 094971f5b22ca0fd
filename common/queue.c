#include "common/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct hf_queue {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t arrived;
    struct hf_queue_item *first, *last;
    size_t count;
    bool closed;
    void (*wake)(void *context);
    void *wake_context;
};

struct hf_queue *hf_queue_new(void)
{
    struct hf_queue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->arrived, &attributes);
    pthread_condattr_destroy(&attributes);
    return queue;
}

void hf_queue_free(struct hf_queue *queue, void (*release)(struct hf_queue_item *item))
{
    if (!queue) {
        return;
    }
    struct hf_queue_item *item = queue->first;
    while (item) {
        struct hf_queue_item *next = item->next;
        if (release) {
            release(item);
        }
        item = next;
    }
    pthread_cond_destroy(&queue->arrived);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

bool hf_queue_push(struct hf_queue *queue, struct hf_queue_item *item)
{
    item->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->closed) {
        pthread_mutex_unlock(&queue->lock);
        return false;
    }
    bool was_empty = queue->first == NULL;
    if (was_empty) {
        queue->first = item;
    } else {
        queue->last->next = item;
    }
    queue->last = item;
    queue->count++;
    void (*wake)(void *) = was_empty ? queue->wake : NULL;
    void *wake_context = queue->wake_context;
    pthread_cond_signal(&queue->arrived);
    pthread_mutex_unlock(&queue->lock);
    if (wake) {
        wake(wake_context);
    }
    return true;
}

void hf_queue_set_wake(struct hf_queue *queue, void (*wake)(void *context), void *context)
{
    pthread_mutex_lock(&queue->lock);
    queue->wake = wake;
    queue->wake_context = context;
    pthread_mutex_unlock(&queue->lock);
}

/* With the lock held: wait until there is an item, the queue is closed, or the time is up. */
static void wait_for_item(struct hf_queue *queue, int timeout_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (deadline.tv_nsec >= 1000000000L) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000L;
    }
    int rc = 0;
    while (!queue->first && !queue->closed && timeout_ms != 0 && rc == 0) {
        rc = timeout_ms < 0 ? pthread_cond_wait(&queue->arrived, &queue->lock)
                            : pthread_cond_timedwait(&queue->arrived, &queue->lock, &deadline);
    }
}

struct hf_queue_item *hf_queue_pop(struct hf_queue *queue, int timeout_ms)
{
    pthread_mutex_lock(&queue->lock);
    wait_for_item(queue, timeout_ms);
    struct hf_queue_item *item = queue->first;
    if (item) {
        queue->first = item->next;
        queue->last = queue->first ? queue->last : NULL;
        queue->count--;
        item->next = NULL;
    }
    pthread_mutex_unlock(&queue->lock);
    return item;
}

struct hf_queue_item *hf_queue_pop_all(struct hf_queue *queue, int timeout_ms)
{
    pthread_mutex_lock(&queue->lock);
    wait_for_item(queue, timeout_ms);
    struct hf_queue_item *items = queue->first;
    queue->first = NULL;
    queue->last = NULL;
    queue->count = 0;
    pthread_mutex_unlock(&queue->lock);
    return items;
}

void hf_queue_close(struct hf_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->arrived);
    pthread_mutex_unlock(&queue->lock);
}

size_t hf_queue_count(struct hf_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t count = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}
