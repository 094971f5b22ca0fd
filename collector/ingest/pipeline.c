/* The ring that keeps the order. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>

#include "common/clock.h"

#define GROUP_EVENTS_MAX 1024u
/* Of small frames so many take some tens of milliseconds, which is what the next ones wait. */
#define GROUP_FRAMES_MAX 2048u
#define HURRIED_SHARE    4u /* of a group: a quarter at most is of sessions that hurry */

static struct hf_error no_memory = {.code = HF_ERR_NO_MEMORY, .message = "Out of memory"};

static bool head_is_ready(const struct item_line *line)
{
    return line->first && line->first->ready;
}

/* The stop is the last of all. */
static bool something_is_ready(const struct hf_ingest *ingest)
{
    return ingest->events.first || head_is_ready(&ingest->hurried) ||
           (head_is_ready(&ingest->ring) &&
            !(ingest->ring.first->kind == ITEM_STOP && ingest->hurried.first));
}

static void append(struct item_line *line, struct ingest_item *item)
{
    item->next = NULL;
    *(line->last ? &line->last->next : &line->first) = item;
    line->last = item;
}

/* Events have a line of their own: whoever waits for one may be the very worker that a frame at the
 * ring's head waits for. */
int ring_push(struct hf_ingest *ingest, struct ingest_item *item, enum ingest_wake wake)
{
    pthread_mutex_lock(&ingest->ring_lock);
    struct item_line *line = item->kind == ITEM_EVENTS                 ? &ingest->events
                             : item->session && item->session->hurries ? &ingest->hurried
                                                                       : &ingest->ring;
    if (ingest->stopping && item->kind != ITEM_STOP) {
        pthread_mutex_unlock(&ingest->ring_lock);
        return HF_ERR_CLOSED;
    }
    append(line, item);
    if (wake == INGEST_WAKE_NOW && something_is_ready(ingest)) {
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
    if (something_is_ready(ingest)) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
}

void ring_wake(struct hf_ingest *ingest)
{
    pthread_mutex_lock(&ingest->ring_lock);
    if (something_is_ready(ingest)) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
}

/* The items of a host, taken out of a line: of the session at hand, and of those before it, which
 * stay before it. */
static struct item_line take_out(struct item_line *line, uint64_t host_row)
{
    struct item_line rest = {0}, taken = {0};
    for (struct ingest_item *item = line->first, *next; item; item = next) {
        next = item->next;
        bool of_host = item->session && item->session->host_row == host_row;
        append(of_host ? &taken : &rest, item);
    }
    *line = rest;
    return taken;
}

static void join(struct item_line *line, const struct item_line *more)
{
    if (more->first) {
        *(line->last ? &line->last->next : &line->first) = more->first;
        line->last = more->last;
    }
}

static void begin_to_hurry(struct hf_ingest *ingest, struct hf_ingest_session *session)
{
    struct item_line moved = take_out(&ingest->ring, session->host_row);
    join(&ingest->hurried, &moved);
    ingest->hurried_sessions++;
    session->hurries = true;
}

/* What waits came before all that the session sends from now on. */
static void end_to_hurry(struct hf_ingest *ingest, struct hf_ingest_session *session)
{
    struct item_line moved = take_out(&ingest->hurried, session->host_row);
    join(&moved, &ingest->ring);
    ingest->ring = moved;
    ingest->hurried_sessions--;
    session->hurries = false;
}

static void wait_to_hurry(struct hf_ingest *ingest, struct hf_ingest_session *session)
{
    session->waits_to_hurry = true;
    session->next_to_hurry = NULL;
    *(ingest->to_hurry_last ? &ingest->to_hurry_last->next_to_hurry : &ingest->to_hurry_first) =
        session;
    ingest->to_hurry_last = session;
}

static void wait_no_more(struct hf_ingest *ingest, struct hf_ingest_session *session)
{
    struct hf_ingest_session **at = &ingest->to_hurry_first, *before = NULL;
    while (*at != session) {
        before = *at;
        at = &before->next_to_hurry;
    }
    *at = session->next_to_hurry;
    ingest->to_hurry_last = *at ? ingest->to_hurry_last : before;
    session->waits_to_hurry = false;
}

void ring_hurry(struct hf_ingest *ingest, struct hf_ingest_session *session, bool on)
{
    pthread_mutex_lock(&ingest->ring_lock);
    if (on && !session->hurries && !session->waits_to_hurry) {
        wait_to_hurry(ingest, session);
    } else if (!on && session->waits_to_hurry) {
        wait_no_more(ingest, session);
    } else if (!on && session->hurries) {
        end_to_hurry(ingest, session);
    }
    while (ingest->to_hurry_first && ingest->hurried_sessions < HF_INGEST_HURRIED_MAX) {
        struct hf_ingest_session *next = ingest->to_hurry_first;
        wait_no_more(ingest, next);
        begin_to_hurry(ingest, next);
    }
    if (something_is_ready(ingest)) {
        pthread_cond_signal(&ingest->ring_ready);
    }
    pthread_mutex_unlock(&ingest->ring_lock);
}

/* Take the line's items up to last. */
static struct ingest_item *cut(struct item_line *line, struct ingest_item *last)
{
    struct ingest_item *first = line->first;
    line->first = last->next;
    line->last = line->first ? line->last : NULL;
    last->next = NULL;
    return first;
}

/* Single events, as many as may join a group; or the first with several, which is a group of its
 * own. */
static struct ingest_item *take_events(struct hf_ingest *ingest)
{
    struct ingest_item *first = ingest->events.first;
    struct ingest_item *last = first;
    size_t count = 1;
    while (first->events->count == 1 && last->next && last->next->events->count == 1 &&
           count < GROUP_EVENTS_MAX) {
        last = last->next;
        count++;
    }
    return cut(&ingest->events, last);
}

/* Ready frames, one at least. *room: how many bytes of messages may be in a group, and what is left
 * of that. */
static struct ingest_item *take_frames(struct item_line *line, size_t most, size_t *room)
{
    struct ingest_item *last = line->first;
    size_t bytes = last->message.size;
    size_t count = 1;
    while (last->next && last->next->ready && last->next->kind == ITEM_FRAME &&
           bytes + last->next->message.size <= *room && count < most) {
        last = last->next;
        bytes += last->message.size;
        count++;
    }
    *room -= bytes < *room ? bytes : *room;
    return cut(line, last);
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

static struct ingest_item **end_of(struct ingest_item **list)
{
    while (*list) {
        list = &(*list)->next;
    }
    return list;
}

/* With the lock held, and something ready. */
static struct ingest_item *take_group(struct hf_ingest *ingest, size_t max_bytes)
{
    bool hurried = head_is_ready(&ingest->hurried);
    bool ring = head_is_ready(&ingest->ring);
    bool stop = ring && ingest->ring.first->kind == ITEM_STOP;
    bool several = ingest->events.first && ingest->events.first->events->count > 1;
    ring = ring && !stop;
    /* In turns, so that neither starves the other; the stop comes after all, by itself. */
    if (several && !((hurried || ring) && ingest->several_were_last)) {
        ingest->several_were_last = true;
        return take_events(ingest);
    }
    ingest->several_were_last = false;
    struct ingest_item *group = NULL, **end = &group;
    if (ingest->events.first && !several) {
        *end = take_events(ingest);
        end = end_of(end);
    }
    size_t share = max_bytes / HURRIED_SHARE, room = max_bytes - share;
    if (hurried) {
        *end = take_frames(&ingest->hurried, GROUP_FRAMES_MAX / HURRIED_SHARE, &share);
        end = end_of(end);
    }
    room += share;
    if (ring) {
        *end = take_frames(&ingest->ring, GROUP_FRAMES_MAX, &room);
    }
    return group ? group : cut(&ingest->ring, ingest->ring.first);
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
