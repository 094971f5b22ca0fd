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
    if (rc == HF_OK) {
        rc = store_append_journal(ingest->store, entry.data, entry.size, &location, error);
    }
    if (rc == HF_OK) {
        rc = catalog_apply(ingest->catalog, event, &location, error);
    }
    hf_buf_free(&entry);
    return rc;
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

/* Make the open group durable, then the catalog. */
static int end_group(struct hf_ingest *ingest, struct hf_error *error)
{
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
    catalog_rollback(ingest->catalog);
    store_discard(ingest->store);
}

/* --- frames --- */

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

static void finish_frames(struct ingest_item *first, const struct hf_error *failure)
{
    for (struct ingest_item *item = first; item;) {
        struct ingest_item *next = item->next;
        if (failure) {
            drop_replies(item);
            struct hf_ingest_reply *reply = reply_new(HF_REPLY_STORAGE);
            if (reply) {
                memcpy(reply->message, failure->message, sizeof reply->message);
            }
            session_deliver(item->session, reply);
        } else {
            deliver_replies(item);
            session_release(item);
        }
        item_free(item);
        item = next;
    }
}

static void commit_frames(struct hf_ingest *ingest, struct ingest_item *first)
{
    struct hf_error error = {0};
    int64_t start = hf_clock_monotonic_ns();
    first = lists_park(first);
    if (!first) {
        return;
    }
    int rc = catch_up(ingest, &error);
    rc = rc == HF_OK ? catalog_begin(ingest->catalog, &error) : rc;
    if (rc == HF_OK) {
        for (struct ingest_item *item = first; item && rc == HF_OK; item = item->next) {
            rc = commit_frame(ingest, item, &error);
        }
        if (rc == HF_OK) {
            rc = end_group(ingest, &error);
        } else {
            give_up_group(ingest);
        }
    }
    set_storage(ingest, rc == HF_OK ? NULL : &error);
    if (rc == HF_OK) {
        count_latency(ingest, hf_clock_monotonic_ns() - start);
    }
    finish_frames(first, rc == HF_OK ? NULL : &error);
}

/* --- events --- */

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

/* All or nothing needs to know first: a rehearsal in the catalog alone, which is rolled back.
 * Appending to the pack can't be taken back without giving up the pack. */
static int rehearse(struct hf_ingest *ingest, const struct ingest_item *item,
                    struct hf_error *error)
{
    struct hf_location location = {0};
    struct hf_event *events = calloc(item->event_count, sizeof *events);
    if (!events) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to commit events");
    }
    memcpy(events, item->events, item->event_count * sizeof *events);
    int rc = catalog_begin(ingest->catalog, error);
    for (size_t i = 0; rc == HF_OK && i < item->event_count; i++) {
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

static int commit_events(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    int rc = catch_up(ingest, error);
    if (rc == HF_OK && item->event_count > 1) {
        rc = rehearse(ingest, item, error);
    }
    rc = rc == HF_OK ? catalog_begin(ingest->catalog, error) : rc;
    if (rc != HF_OK) {
        return rc;
    }
    bool appended = false;
    for (size_t i = 0; rc == HF_OK && i < item->event_count; i++) {
        rc = commit_event(ingest, &item->events[i], error);
        appended = appended || rc == HF_OK;
        rc = rc == HF_ERR_EXISTS ? HF_OK : rc;
    }
    if (rc == HF_OK && appended) {
        return end_group(ingest, error);
    }
    if (rc == HF_OK || (!appended && is_refusal(rc))) {
        catalog_rollback(ingest->catalog); /* nothing was written */
    } else {
        give_up_group(ingest);
    }
    return rc;
}

static void finish_events(struct ingest_item *item)
{
    if (item->done) {
        item->done(item->done_context, item->events,
                   item->result.code == HF_OK ? NULL : &item->result);
    }
    struct ingest_waiter *waiter = item->waiter;
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

static void commit_one(struct hf_ingest *ingest, struct ingest_item *item)
{
    int rc = commit_events(ingest, item, &item->result);
    if (rc != HF_OK && item->result.message[0] == '\0') {
        hf_error_set(&item->result, (enum hf_err)rc, 0, "The change failed (%s)",
                     hf_error_name((enum hf_err)rc));
    }
    item->result.code = (enum hf_err)rc;
    if (rc == HF_OK || !is_refusal(rc)) {
        set_storage(ingest, rc == HF_OK ? NULL : &item->result);
    }
    finish_events(item);
}

void *committer_main(void *arg)
{
    struct hf_ingest *ingest = arg;
    for (;;) {
        struct ingest_item *first = ring_take(ingest, GROUP_BYTES_MAX, !lists_pending(ingest));
        if (first && first->kind == ITEM_STOP) {
            lists_drop(ingest);
            free(first);
            return NULL;
        }
        if (first && first->kind == ITEM_FRAME) {
            commit_frames(ingest, first);
        } else if (first) {
            commit_one(ingest, first);
        }
        struct ingest_item *looked_into = lists_pending(ingest) ? lists_work(ingest) : NULL;
        if (looked_into) {
            commit_frames(ingest, looked_into);
        }
    }
}
