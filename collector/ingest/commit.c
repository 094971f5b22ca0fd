/* The committer: groups, the journal, the disk, the catalog, the answers. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define GROUP_BYTES_MAX (8u * 1024u * 1024u)

void item_reply(struct ingest_item *item, struct hf_ingest_reply *reply)
{
    if (reply) {
        reply->next = item->reply;
        item->reply = reply;
    }
}

/* On a full disk something small still fits now and then: that is no room. */
#define ROOM_BYTES (16u * 1024u * 1024u)

static void set_storage(struct hf_ingest *ingest, const struct hf_error *error)
{
    pthread_mutex_lock(&ingest->state_lock);
    bool was_ok = ingest->storage_ok;
    if (!error && !was_ok && store_free_bytes(ingest->store) < ROOM_BYTES) {
        pthread_mutex_unlock(&ingest->state_lock);
        return;
    }
    ingest->storage_ok = error == NULL;
    ingest->message[0] = '\0';
    if (error) {
        memcpy(ingest->message, error->message, sizeof ingest->message);
    }
    pthread_mutex_unlock(&ingest->state_lock);
    if (error && was_ok) {
        hf_log_error("The repository can't take data: %s. Nothing is acknowledged until it can",
                     error->message);
    } else if (!error && !was_ok) {
        hf_log_info("The repository takes data again");
    }
}

/* After a failure between the journal's sync and the catalog's commit the catalog lacks what the
 * journal has: make it up before anything else happens. */
static int catch_up(struct hf_ingest *ingest, struct hf_error *error)
{
    if (!ingest->catalog_behind) {
        return HF_OK;
    }
    int rc = store_seal(ingest->store, error);
    rc = rc == HF_OK ? replay_journal(ingest, error) : rc;
    ingest->catalog_behind = rc != HF_OK;
    return rc;
}

/* Refusals of catalog_check, after which nothing is wrong with the storage. */
static bool is_refusal(int rc)
{
    switch (rc) {
    case HF_ERR_NOT_FOUND:
    case HF_ERR_EXISTS:
    case HF_ERR_DENIED:
    case HF_ERR_CONFLICT:
    case HF_ERR_INVALID:
    case HF_ERR_LIMIT:
    case HF_ERR_AGAIN:
        return true;
    default:
        return false;
    }
}

int group_begin(struct hf_ingest *ingest, struct hf_error *error)
{
    if (ingest->group_open) {
        return HF_OK;
    }
    int rc = catalog_begin(ingest->catalog, error);
    ingest->group_open = rc == HF_OK;
    return rc;
}

/* What was allowed and can't be applied is a contradiction, and its entry has been written: not the
 * event is given up but the group. */
static int not_a_refusal(int rc, struct hf_error *error)
{
    if (is_refusal(rc)) {
        error->code = HF_ERR_CORRUPT;
        return HF_ERR_CORRUPT;
    }
    return rc;
}

int commit_event(struct hf_ingest *ingest, struct hf_event *event, struct hf_error *error)
{
    struct hf_buf entry = {0};
    struct hf_location location;
    if (event->time_ns == 0) {
        event->time_ns = hf_clock_now_ns();
    }
    int rc = catalog_check(ingest->catalog, event, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = event_encode(event, &entry, error);
    rc = rc == HF_OK ? group_begin(ingest, error) : rc;
    if (rc == HF_OK) {
        rc = store_append_journal(ingest->store, entry.data, entry.size, &location, error);
    }
    if (rc == HF_OK) {
        rc = not_a_refusal(catalog_apply(ingest->catalog, event, &location, error), error);
    }
    hf_buf_free(&entry);
    return rc;
}

static void count_latency(struct hf_ingest *ingest, int64_t elapsed_ns)
{
    static const int64_t limits_ms[HF_INGEST_LATENCY_BUCKETS - 1] = {1, 2, 5, 10, 25, 100, 1000};
    size_t bucket = 0;
    while (bucket < HF_INGEST_LATENCY_BUCKETS - 1 &&
           elapsed_ns > limits_ms[bucket] * HF_NS_PER_MS) {
        bucket++;
    }
    atomic_fetch_add(&ingest->commit_buckets[bucket], 1);
    atomic_fetch_add(&ingest->commit_ns_sum, (uint64_t)elapsed_ns);
    atomic_fetch_add(&ingest->commits, 1);
    atomic_store(&ingest->last_commit_ns, hf_clock_now_ns());
}

/* Make what the group wrote durable, then the catalog. */
static int end_group(struct hf_ingest *ingest, struct hf_error *error)
{
    if (!ingest->group_open) {
        return HF_OK;
    }
    ingest->group_open = false;
    int rc = store_sync(ingest->store, error);
    if (rc != HF_OK) {
        catalog_rollback(ingest->catalog);
        return rc;
    }
    rc = catalog_commit(ingest->catalog, error);
    if (rc != HF_OK) {
        /* Durable but not known: it will be, by replay. Until then nothing is answered. */
        catalog_rollback(ingest->catalog);
        ingest->catalog_behind = true;
    }
    return rc;
}

static void give_up_group(struct hf_ingest *ingest)
{
    if (ingest->group_open) {
        ingest->group_open = false;
        catalog_rollback(ingest->catalog);
        store_discard(ingest->store);
    }
}

/* --- frames --- */

/* What a session's frames took is said once, with the first answer that goes to it. */
static void release(struct hf_ingest_session *session, struct hf_ingest_reply *reply)
{
    reply->released_bulk = session->released_bulk;
    reply->released_control = session->released_control;
    session->released_bulk = session->released_control = 0;
}

static void deliver_replies(struct ingest_item *item)
{
    struct hf_ingest_reply *reversed = NULL;
    while (item->reply) {
        struct hf_ingest_reply *reply = item->reply;
        item->reply = reply->next;
        reply->next = reversed;
        reversed = reply;
    }
    while (reversed) {
        struct hf_ingest_reply *reply = reversed;
        reversed = reply->next;
        reply->next = NULL;
        release(item->session, reply);
        session_deliver(item->session, reply);
    }
}

static void drop_replies(struct ingest_item *item)
{
    while (item->reply) {
        struct hf_ingest_reply *reply = item->reply;
        item->reply = reply->next;
        ingest_reply_free(reply);
    }
}

static void tell_of_failure(const struct ingest_item *item, const struct hf_error *failure)
{
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_STORAGE);
    if (reply &&
        hf_buf_append(&reply->memory, failure->message, strlen(failure->message) + 1) != HF_OK) {
        ingest_reply_free(reply);
        reply = NULL;
    }
    session_deliver(item->session, reply);
}

static void note_released(const struct ingest_item *item)
{
    struct hf_ingest_session *session = item->session;
    size_t *sum = proto_frame_is_bulk(item->frame.type) ? &session->released_bulk
                                                        : &session->released_control;
    *sum += item->message.size;
    if (item->frame.type == HF_FRAME_VERSIONS) {
        struct ingest_stream *stream = session_stream(session, item->frame.versions.stream);
        if (stream) {
            stream->group_ack = NULL; /* it goes now */
        }
    }
}

static void finish_frames(struct ingest_item *first, const struct hf_error *failure)
{
    for (struct ingest_item *item = first; item; item = item->next) {
        note_released(item);
    }
    for (struct ingest_item *item = first; item; item = item->next) {
        if (failure) {
            drop_replies(item);
            tell_of_failure(item, failure);
        } else {
            deliver_replies(item);
        }
    }
    for (struct ingest_item *item = first, *next; item; item = next) {
        struct hf_ingest_session *session = item->session;
        next = item->next;
        if (session->released_bulk + session->released_control > 0) {
            struct hf_ingest_reply *reply = reply_new(HF_REPLY_RELEASED);
            if (reply) {
                reply->frame.type = item->frame.type;
                release(session, reply);
            }
            session_deliver(session, reply);
        }
        item_free(item);
    }
}

/* --- events --- */

/* All or nothing needs to know first: a rehearsal in the catalog alone, which is rolled back.
 * Appending to the pack can't be taken back without giving up the pack. */
static int rehearse(struct hf_ingest *ingest, const struct ingest_item *item,
                    struct hf_error *error)
{
    struct hf_location location = {0};
    struct hf_event *events = calloc(item->events->count, sizeof *events);
    if (!events) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to commit events");
    }
    memcpy(events, item->events->events, item->events->count * sizeof *events);
    int rc = catalog_begin(ingest->catalog, error);
    for (size_t i = 0; rc == HF_OK && i < item->events->count; i++) {
        if (events[i].time_ns == 0) {
            events[i].time_ns = hf_clock_now_ns();
        }
        rc = catalog_check(ingest->catalog, &events[i], error);
        if (rc == HF_ERR_EXISTS) {
            rc = HF_OK;
            continue;
        }
        rc = rc == HF_OK ? catalog_apply(ingest->catalog, &events[i], &location, error) : rc;
    }
    catalog_rollback(ingest->catalog);
    free(events);
    return rc;
}

/* All or nothing. */
static int commit_several(struct hf_ingest *ingest, const struct ingest_item *item,
                          struct hf_error *error)
{
    int rc = catch_up(ingest, error);
    rc = rc == HF_OK ? rehearse(ingest, item, error) : rc;
    for (size_t i = 0; rc == HF_OK && i < item->events->count; i++) {
        rc = commit_event(ingest, &item->events->events[i], error);
        rc = rc == HF_ERR_EXISTS ? HF_OK : rc;
    }
    if (rc == HF_OK) {
        return end_group(ingest, error);
    }
    give_up_group(ingest);
    return rc;
}

static void finish_events(struct ingest_item *item, int rc)
{
    struct item_events *events = item->events;
    if (rc != HF_OK && events->result.message[0] == '\0') {
        hf_error_set(&events->result, (enum hf_err)rc, 0, "The change failed (%s)",
                     hf_error_name((enum hf_err)rc));
    }
    events->result.code = (enum hf_err)rc;
    if (events->done) {
        events->done(events->done_context, events->events, rc == HF_OK ? NULL : &events->result);
    }
    struct ingest_waiter *waiter = events->waiter;
    if (!waiter) {
        item_free(item);
        return;
    }
    pthread_mutex_lock(&waiter->lock);
    waiter->is_over = true;
    pthread_cond_signal(&waiter->over);
    pthread_mutex_unlock(&waiter->lock);
    /* The waiter frees the item. */
}

static void commit_alone(struct hf_ingest *ingest, struct ingest_item *item)
{
    int rc = commit_several(ingest, item, &item->events->result);
    if (rc == HF_OK || !is_refusal(rc)) {
        set_storage(ingest, rc == HF_OK ? NULL : &item->events->result);
    }
    finish_events(item, rc);
}

/* --- groups --- */

/* A refusal is the event's own affair. */
static int commit_single(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    struct hf_error *result = &item->events->result;
    int rc = commit_event(ingest, &item->events->events[0], result);
    result->code = rc == HF_ERR_EXISTS ? HF_OK : (enum hf_err)rc;
    if (rc == HF_OK || is_refusal(rc)) {
        return HF_OK;
    }
    *error = *result;
    return rc;
}

static bool is_content(const struct ingest_item *item)
{
    return item->kind == ITEM_FRAME && item->frame.type == HF_FRAME_CHUNKS;
}

/* Content first: the entries of the journal then follow each other, and go into the pack as few
 * large records instead of one after each frame of versions. */
static int commit_items(struct hf_ingest *ingest, struct ingest_item *first, struct hf_error *error)
{
    int rc = HF_OK;
    for (struct ingest_item *item = first; item && rc == HF_OK; item = item->next) {
        if (is_content(item)) {
            rc = commit_frame(ingest, item, error);
        }
    }
    for (struct ingest_item *item = first; item && rc == HF_OK; item = item->next) {
        if (item->kind == ITEM_EVENTS) {
            rc = commit_single(ingest, item, error);
        } else if (!is_content(item)) {
            rc = commit_frame(ingest, item, error);
        }
    }
    return rc;
}

static void finish_group(struct ingest_item *first, const struct hf_error *failure)
{
    struct ingest_item *frames = NULL;
    struct ingest_item **last = &frames;
    for (struct ingest_item *item = first, *next; item; item = next) {
        next = item->next;
        item->next = NULL;
        if (item->kind == ITEM_FRAME) {
            *last = item;
            last = &item->next;
            continue;
        }
        int rc = item->events->result.code;
        if (failure && !is_refusal(rc)) {
            item->events->result = *failure;
            rc = failure->code;
        }
        finish_events(item, rc);
    }
    finish_frames(frames, failure);
}

static void commit_group(struct hf_ingest *ingest, struct ingest_item *first, bool marks)
{
    struct hf_error error = {0};
    int64_t start = hf_clock_monotonic_ns();
    if (marks) {
        ingest->deferred_ns =
            start; /* also if it comes to nothing: else they are due at once again */
    }
    first = lists_park(first);
    int rc = catch_up(ingest, &error);
    rc = rc == HF_OK ? commit_items(ingest, first, &error) : rc;
    rc = rc == HF_OK && marks ? marks_journal(ingest, &error) : rc;
    bool wrote = ingest->group_open;
    if (rc == HF_OK) {
        rc = end_group(ingest, &error);
    } else {
        give_up_group(ingest);
    }
    if (rc != HF_OK || wrote) {
        set_storage(ingest, rc == HF_OK ? NULL : &error);
    }
    if (rc != HF_OK) {
        marks_doubt(ingest);
    }
    if (rc == HF_OK && wrote) {
        count_latency(ingest, hf_clock_monotonic_ns() - start);
    }
    finish_group(first, rc == HF_OK ? NULL : &error);
}

/* What is waited for next. */
static int64_t wait_until(const struct hf_ingest *ingest)
{
    return lists_pending(ingest) ? 0 : marks_due_ns(ingest);
}

void *committer_main(void *arg)
{
    struct hf_ingest *ingest = arg;
    pthread_setname_np(pthread_self(), "hf-committer");
    for (;;) {
        struct ingest_item *first = ring_take(ingest, GROUP_BYTES_MAX, wait_until(ingest));
        bool stop = first && first->kind == ITEM_STOP;
        bool marks =
            stop ? ingest->deferred_marks > 0 : marks_due_ns(ingest) <= hf_clock_monotonic_ns();
        if (first && first->kind == ITEM_EVENTS && first->events->count > 1) {
            commit_alone(ingest, first);
        } else if (first || marks) {
            commit_group(ingest, stop ? NULL : first, marks);
        }
        if (stop) {
            lists_drop(ingest);
            item_free(first);
            return NULL;
        }
        struct ingest_item *looked_into = lists_pending(ingest) ? lists_work(ingest) : NULL;
        if (looked_into) {
            commit_group(ingest, looked_into, false);
        }
    }
}
