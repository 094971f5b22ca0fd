/* The ring that keeps the order. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>

#include "common/clock.h"

#define GROUP_EVENTS_MAX 1024u
/* Of small frames so many take some tens of milliseconds, which is what the next ones wait. */
#define GROUP_FRAMES_MAX 2048u

static struct hf_error no_memory = {.code = HF_ERR_NO_MEMORY, .message = "Out of memory"};

/* Events have a line of their own: whoever waits for one may be the very worker that a frame at the
 * ring's head waits for. */
int ring_push(struct hf_ingest *ingest, struct ingest_item *item, enum ingest_wake wake)
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
    if (wake == INGEST_WAKE_NOW && (*first)->ready) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
    return HF_OK;
}

void ring_make_ready(struct hf_ingest *ingest, struct ingest_item *const *items, size_t count)
{
    pthread_mutex_lock(&ingest->ring_lock);
    for (size_t i = 0; i < count; i++) {
        items[i]->ready = true;
    }
    if (ingest->ring_first && ingest->ring_first->ready) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
}

void ring_wake(struct hf_ingest *ingest)
{
    pthread_mutex_lock(&ingest->ring_lock);
    if (ingest->ring_first && ingest->ring_first->ready) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
}

/* Single events, as many as may join a group; or the first with several, which is a group of its
 * own. */
static struct ingest_item *take_events(struct hf_ingest *ingest)
{
    struct ingest_item *first = ingest->events_first;
    struct ingest_item *last = first;
    size_t count = 1;
    while (first->events->count == 1 && last->next && last->next->events->count == 1 &&
           count < GROUP_EVENTS_MAX) {
        last = last->next;
        count++;
    }
    ingest->events_first = last->next;
    if (!ingest->events_first) {
        ingest->events_last = NULL;
    }
    last->next = NULL;
    return first;
}

static struct ingest_item *take_frames(struct hf_ingest *ingest, size_t max_bytes)
{
    struct ingest_item *first = ingest->ring_first;
    struct ingest_item *last = first;
    size_t bytes = first->message.size;
    size_t count = 1;
    /* The stop is a group of its own. */
    while (first->kind == ITEM_FRAME && last->next && last->next->ready &&
           last->next->kind == ITEM_FRAME && bytes + last->next->message.size <= max_bytes &&
           count < GROUP_FRAMES_MAX) {
        last = last->next;
        bytes += last->message.size;
        count++;
    }
    ingest->ring_first = last->next;
    if (!ingest->ring_first) {
        ingest->ring_last = NULL;
    }
    last->next = NULL;
    return first;
}

static bool something_is_ready(const struct hf_ingest *ingest)
{
    return ingest->events_first || (ingest->ring_first && ingest->ring_first->ready);
}

/* With the lock held. */
static void wait_for_something(struct hf_ingest *ingest, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / HF_NS_PER_SECOND,
                             .tv_nsec = until_ns % HF_NS_PER_SECOND};
    int rc = 0;
    while (!something_is_ready(ingest) && rc == 0) {
        rc = until_ns == INT64_MAX
                 ? pthread_cond_wait(&ingest->ring_ready, &ingest->ring_lock)
                 : pthread_cond_timedwait(&ingest->ring_ready, &ingest->ring_lock, &until);
    }
}

/* With the lock held. */
static struct ingest_item *take_group(struct hf_ingest *ingest, size_t max_bytes)
{
    bool frames =
        ingest->ring_first && ingest->ring_first->ready && ingest->ring_first->kind == ITEM_FRAME;
    bool several = ingest->events_first && ingest->events_first->events->count > 1;
    /* In turns, so that neither starves the other; the stop comes after both. */
    if (several && !(frames && ingest->several_were_last)) {
        ingest->several_were_last = true;
        return take_events(ingest);
    }
    ingest->several_were_last = false;
    struct ingest_item *group = ingest->events_first && !several ? take_events(ingest) : NULL;
    if (group && !frames) {
        return group;
    }
    struct ingest_item **end = &group;
    while (*end) {
        end = &(*end)->next;
    }
    *end = take_frames(ingest, max_bytes);
    return group;
}

struct ingest_item *ring_take(struct hf_ingest *ingest, size_t max_bytes, int64_t until_ns)
{
    pthread_mutex_lock(&ingest->ring_lock);
    if (until_ns > 0) {
        wait_for_something(ingest, until_ns);
    }
    struct ingest_item *group = something_is_ready(ingest) ? take_group(ingest, max_bytes) : NULL;
    pthread_mutex_unlock(&ingest->ring_lock);
    return group;
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
        blocks_free(item->blocks);
        lists_free(item->lists);
        session_unref(item->session);
    }
    if (item->events) {
        event_free(&item->events->copy);
        hf_buf_free(&item->events->copy_memory);
        free(item->events);
    }
    if (item->failure != &no_memory) {
        free(item->failure);
    }
    free(item);
}

void item_fail(struct ingest_item *item, enum hf_err code, const char *message)
{
    item->failure = malloc(sizeof *item->failure);
    if (item->failure) {
        hf_error_set(item->failure, code, 0, "%s", message);
    } else {
        item->failure = &no_memory;
    }
}
