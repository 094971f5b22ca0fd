/* A whole message: decoded, judged by a table, handed on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/net/loop.h"
#include "collector/session/connection.h"
#include "common/log.h"

#define MARKS_WAIT_US (10 * LWS_US_PER_MS)

static void on_marks(lws_sorted_usec_list_t *timer)
{
    struct hf_sessions *sessions = lws_container_of(timer, struct hf_sessions, marks_timer);
    sessions->marks_wait = false;
    sessions->wake_due = true;
}

/* Nobody waits for a mark, and most of what an idle fleet sends are marks: they go together. */
static void note_for_ingest(struct hf_sessions *sessions, enum hf_frame_type type)
{
    if (type != HF_FRAME_MARK) {
        sessions->wake_due = true;
    } else if (!sessions->marks_wait) {
        sessions->marks_wait = true;
        lws_sul_schedule(loop_context(sessions->options.loop), 0, &sessions->marks_timer, on_marks,
                         MARKS_WAIT_US);
    }
}

void frames_wake_ingest(void *context)
{
    struct hf_sessions *sessions = context;
    if (sessions->wake_due) {
        sessions->wake_due = false;
        ingest_wake(sessions->options.ingest);
    }
}

void frames_stop(struct hf_sessions *sessions)
{
    lws_sul_cancel(&sessions->marks_timer);
}

static void to_ingest(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    size_t size = message->size;
    enum hf_frame_type type = frame->type;
    if (ingest_submit_quietly(session->ingest, message, frame) == HF_OK) {
        note_for_ingest(session->sessions, type);
        if (!proto_frame_is_bulk(type)) {
            reading_control_in(session, type, size);
        }
    } else {
        session_goaway(session, HF_WIRE_OVERLOADED, 5000, "The collector can't take more now");
    }
}

static void to_restore(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    if (restore_frame(session->restore, message, frame) != HF_OK) {
        session_refuse(session, HF_WIRE_TOO_LARGE,
                       "More restore requests are waiting than an agent needs");
    } else if (restore_pause(session->restore)) {
        reading_hold(session, HOLD_RESTORE);
    }
}

/* --- RENEW --- */

static void renew_work(struct session_work *work, struct hf_catalog_reader *catalog)
{
    (void)catalog;
    struct hf_session *session = work->session;
    work->rc = identity_renew(
        session->sessions->options.authority, session->sessions->options.ingest, session->host_id,
        (struct hf_bytes){work->in.data, work->in.size}, &work->out, &work->error);
}

/* Its agent waits for an answer: where none can be given, the session ends instead. */
static void refuse_renewal(struct hf_session *session, enum hf_wire_code code, const char *message)
{
    struct hf_ingest_reply *reply = session_frame(HF_FRAME_ERROR);
    if (!reply || hf_buf_append_str(&reply->memory, message) != HF_OK) {
        ingest_reply_free(reply);
        session_goaway(session, HF_WIRE_OVERLOADED, 5000, "The collector is out of memory");
        return;
    }
    /* About no source and no frame: by that the agent knows that it is the answer to RENEW. */
    reply->frame.refusal.code = code;
    reply->frame.refusal.message = (struct hf_bytes){reply->memory.data, reply->memory.size};
    session_send(session, reply);
}

static enum hf_wire_code renewal_code(int rc)
{
    return rc == HF_ERR_AGAIN                            ? HF_WIRE_OVERLOADED
           : rc == HF_ERR_INVALID || rc == HF_ERR_DENIED ? HF_WIRE_DENIED
                                                         : HF_WIRE_INTERNAL;
}

static void renew_done(struct session_work *work)
{
    struct hf_session *session = work->session;
    bool open = !session->gone && session->state == SESSION_OPEN;
    struct hf_ingest_reply *reply =
        open && work->rc == HF_OK ? session_frame(HF_FRAME_RENEWED) : NULL;
    if (reply) {
        reply->memory = work->out;
        work->out = (struct hf_buf){0};
        reply->frame.blob.data = (struct hf_bytes){reply->memory.data, reply->memory.size};
        session_send(session, reply);
    } else if (open) {
        refuse_renewal(session, renewal_code(work->rc),
                       work->rc == HF_OK ? "The collector is out of memory" : work->error.message);
    }
    hf_buf_free(&work->in);
    hf_buf_free(&work->out);
    free(work);
}

static void on_renew(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    (void)message;
    struct session_work *work = calloc(1, sizeof *work);
    if (work) {
        work->work = renew_work;
        work->done = renew_done;
    }
    if (!work || hf_buf_append(&work->in, frame->blob.data.data, frame->blob.data.size) != HF_OK ||
        session_run(session, work) != HF_OK) {
        if (work) {
            hf_buf_free(&work->in);
        }
        free(work);
        refuse_renewal(session, HF_WIRE_OVERLOADED, "The collector is too busy to renew now");
    }
}

static void on_goaway(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    (void)message;
    hf_log_debug("Host %s says goodbye: %.*s", session->host_id, (int)frame->refusal.message.size,
                 (const char *)frame->refusal.message.data);
    session_goaway(session, HF_WIRE_SHUTDOWN, 0, "Goodbye");
}

static void on_error(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    (void)message;
    hf_log_warning("Host %s complains of %s: %.*s", session->host_id,
                   proto_code_name(frame->refusal.code), (int)frame->refusal.message.size,
                   (const char *)frame->refusal.message.data);
}

static const struct {
    enum hf_frame_type type;
    void (*handle)(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame);
} handlers[] = {
    {HF_FRAME_SOURCE, to_ingest},
    {HF_FRAME_HAVE, to_ingest},
    {HF_FRAME_CHUNKS, to_ingest},
    {HF_FRAME_VERSIONS, to_ingest},
    {HF_FRAME_MARK, to_ingest},
    {HF_FRAME_LIST, to_ingest},
    {HF_FRAME_DICTIONARY_GET, to_ingest},
    {HF_FRAME_RENEW, on_renew},
    {HF_FRAME_ERROR, on_error},
    {HF_FRAME_GOAWAY, on_goaway},
    {HF_FRAME_RESTORE_ANSWER, to_restore},
    {HF_FRAME_RESTORE_NEXT, to_restore},
    {HF_FRAME_CHUNK_GET, to_restore},
    {HF_FRAME_RESTORE_RESULT, to_restore},
    {HF_FRAME_RESTORE_DONE, to_restore},
};

static void dispatch(struct hf_session *session, struct hf_buf *message, struct hf_frame *frame)
{
    char text[128];
    if (session->state == SESSION_GREETING) {
        if (frame->type == HF_FRAME_HELLO) {
            session_on_hello(session, frame);
        } else {
            session_refuse(session, HF_WIRE_STATE, "The first frame has to be HELLO");
        }
        return;
    }
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].type == frame->type) {
            handlers[i].handle(session, message, frame);
            return;
        }
    }
    snprintf(text, sizeof text, "An agent does not send %s%s", proto_frame_name(frame->type),
             frame->type == HF_FRAME_HELLO ? " twice" : "");
    session_refuse(session, HF_WIRE_STATE, text);
}

static enum hf_wire_code code_of(int rc)
{
    return rc == HF_ERR_LIMIT         ? HF_WIRE_TOO_LARGE
           : rc == HF_ERR_UNSUPPORTED ? HF_WIRE_UNKNOWN_TYPE
           : rc == HF_ERR_NO_MEMORY   ? HF_WIRE_OVERLOADED
                                      : HF_WIRE_MALFORMED;
}

void session_on_message(struct hf_session *session)
{
    struct hf_frame frame;
    struct hf_error error = {0};
    struct hf_buf message = session->incoming;
    session->incoming = (struct hf_buf){0};
    size_t size = message.size;
    reading_message_over(session, size);
    int rc = proto_decode(message.data, message.size, &frame, &error);
    if (rc != HF_OK) {
        session_refuse(session, code_of(rc), error.message);
    } else if (frame.seq != session->received_seq + 1) {
        session_refuse(session, HF_WIRE_MALFORMED, "Frames are not numbered one by one");
    } else if (proto_frame_is_bulk(frame.type) && !credit_spend(session, size)) {
        session_refuse(session, HF_WIRE_CREDIT, "More bulk bytes came than were granted");
    } else {
        session->received_seq = frame.seq;
        dispatch(session, &message, &frame);
    }
    proto_frame_free(&frame);
    hf_buf_free(&message);
}
