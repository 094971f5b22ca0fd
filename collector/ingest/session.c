#include "collector/ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

struct hf_ingest_reply *reply_new(enum hf_ingest_reply_kind kind)
{
    struct hf_ingest_reply *reply = calloc(1, sizeof *reply);
    if (reply) {
        reply->kind = kind;
    }
    return reply;
}

void ingest_reply_free(struct hf_ingest_reply *reply)
{
    if (reply) {
        hf_buf_free(&reply->memory);
        catalog_memory_free(&reply->rows);
        free(reply);
    }
}

struct hf_ingest_session *ingest_session_open(
    struct hf_ingest *ingest, uint64_t host_row, const char *host_id, int64_t skew_ns,
    void (*deliver)(void *context, struct hf_ingest_reply *reply), void *context)
{
    struct hf_ingest_session *session = calloc(1, sizeof *session);
    if (!session) {
        return NULL;
    }
    session->ingest = ingest;
    session->host_row = host_row;
    strncpy(session->host_id, host_id, sizeof session->host_id - 1);
    /* Below a second it is the network's delay as likely as the clock's error. */
    session->skew_ns =
        skew_ns > INT64_C(1000000000) || skew_ns < -INT64_C(1000000000) ? skew_ns : 0;
    session->deliver = deliver;
    session->context = context;
    atomic_store(&session->references, 1);
    pthread_mutex_init(&session->lock, NULL);
    return session;
}

struct ingest_stream *session_stream(struct hf_ingest_session *session, uint32_t number)
{
    struct ingest_stream *block = atomic_load(&session->streams[number / INGEST_STREAM_BLOCK]);
    return block ? &block[number % INGEST_STREAM_BLOCK] : NULL;
}

struct ingest_stream *session_stream_open(struct hf_ingest_session *session, uint32_t number)
{
    struct ingest_stream *stream = session_stream(session, number);
    if (!stream) {
        struct ingest_stream *block = calloc(INGEST_STREAM_BLOCK, sizeof *block);
        atomic_store(&session->streams[number / INGEST_STREAM_BLOCK], block);
        stream = block ? &block[number % INGEST_STREAM_BLOCK] : NULL;
    }
    return stream;
}

bool session_has_open(struct hf_ingest_session *session, uint64_t source_row)
{
    for (uint32_t i = 0; i < INGEST_STREAM_BLOCKS * INGEST_STREAM_BLOCK; i++) {
        const struct ingest_stream *stream = session_stream(session, i);
        if (stream && stream->source_row == source_row) {
            return true;
        }
    }
    return false;
}

void ingest_session_take_dictionaries(struct hf_ingest_session *session)
{
    session->dictionaries = true;
}

void ingest_session_hurry(struct hf_ingest_session *session, bool on)
{
    ring_hurry(session->ingest, session, on);
}

bool ingest_session_hurries(const struct hf_ingest_session *session)
{
    return session->hurries;
}

bool session_is_open(struct hf_ingest_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool open = session->deliver != NULL;
    pthread_mutex_unlock(&session->lock);
    return open;
}

void session_unref(struct hf_ingest_session *session)
{
    if (atomic_fetch_sub(&session->references, 1) == 1) {
        pthread_mutex_destroy(&session->lock);
        for (size_t i = 0; i < INGEST_STREAM_BLOCKS; i++) {
            free(atomic_load(&session->streams[i]));
        }
        free(session);
    }
}

void ingest_session_close(struct hf_ingest_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->deliver = NULL;
    pthread_mutex_unlock(&session->lock);
    ring_hurry(session->ingest, session, false);
    session_unref(session);
}

void session_deliver(struct hf_ingest_session *session, struct hf_ingest_reply *reply)
{
    if (!reply) {
        return;
    }
    /* deliver only enqueues; the lock makes ingest_session_close wait for it. */
    pthread_mutex_lock(&session->lock);
    if (session->deliver) {
        session->deliver(session->context, reply);
        reply = NULL;
    }
    pthread_mutex_unlock(&session->lock);
    ingest_reply_free(reply);
}

void session_release(const struct ingest_item *item)
{
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_RELEASED);
    if (reply) {
        reply->frame.type = item->frame.type;
        reply->released_control = item->message.size; /* workers answer nothing that is bulk */
    }
    session_deliver(item->session, reply);
}

/* Where a frame goes: through the ring to the committer, or straight to a worker. */
static int route(struct hf_ingest *ingest, struct ingest_item *item, enum ingest_wake wake)
{
    bool to_ring = true;
    bool to_worker = true;
    switch (item->frame.type) {
    case HF_FRAME_CHUNKS:
        item->task.kind = TASK_VERIFY;
        break;
    case HF_FRAME_HAVE:
        item->task.kind = TASK_HAVE;
        to_ring = false;
        break;
    case HF_FRAME_LIST:
        item->task.kind = TASK_LIST;
        to_ring = false;
        break;
    case HF_FRAME_DICTIONARY_GET:
        item->task.kind = TASK_DICTIONARY;
        to_ring = false;
        break;
    case HF_FRAME_VERSIONS:
    case HF_FRAME_MARK:
    case HF_FRAME_SOURCE:
        item->ready = true;
        to_worker = false;
        break;
    default:
        return HF_ERR_INVALID;
    }
    item->task.item = item;
    int rc = to_ring ? ring_push(ingest, item, wake) : HF_OK;
    if (rc == HF_OK && to_worker && !task_push(ingest, &item->task, wake)) {
        if (!to_ring) {
            return HF_ERR_CLOSED;
        }
        /* It is in the ring already: let the committer drop it rather than wait for it. */
        item_fail(item, HF_ERR_CLOSED, "The collector is stopping");
        ring_make_ready(ingest, &item, 1);
    }
    return rc;
}

static int submit(struct hf_ingest_session *session, struct hf_buf *message, struct hf_frame *frame,
                  enum ingest_wake wake)
{
    struct hf_ingest *ingest = session->ingest;
    struct ingest_item *item = calloc(1, sizeof *item);
    if (!item) {
        return HF_ERR_NO_MEMORY;
    }
    item->kind = ITEM_FRAME;
    item->session = session;
    item->message = *message;
    item->frame = *frame;
    size_t bytes = message->size;
    size_t memory = item_memory(item);
    atomic_fetch_add(&session->references, 1);
    atomic_fetch_add(&ingest->queue_bytes, memory);
    bool bulk = proto_frame_is_bulk(frame->type);
    int rc = route(ingest, item, wake);
    if (rc != HF_OK) {
        atomic_fetch_sub(&ingest->queue_bytes, memory);
        atomic_fetch_sub(&session->references, 1); /* the caller's own is left */
        free(item);
        return rc;
    }
    *message = (struct hf_buf){0};
    *frame = (struct hf_frame){0};
    atomic_fetch_add(&ingest->bytes, bulk ? bytes : 0);
    return HF_OK;
}

int ingest_submit(struct hf_ingest_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    return submit(session, message, frame, INGEST_WAKE_NOW);
}

int ingest_submit_quietly(struct hf_ingest_session *session, struct hf_buf *message,
                          struct hf_frame *frame)
{
    return submit(session, message, frame, INGEST_WAKE_LATER);
}

void ingest_wake(struct hf_ingest *ingest)
{
    tasks_wake(ingest);
    ring_wake(ingest);
}
