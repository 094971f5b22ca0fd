/* What other threads hand to sessions: one box for all, and the loop is woken once for what is in
 * it, for a commit answers hundreds. */
#include "collector/net/loop.h"
#include "collector/session/connection.h"
#include "common/log.h"

static void on_released(struct hf_session *session, const struct hf_ingest_reply *released)
{
    if (released->released_control > 0) {
        reading_control_out(session, released->kind == HF_REPLY_RELEASED ? released->frame.type : 0,
                            released->released_control);
    }
    if (released->released_bulk == 0) {
        return;
    }
    struct hf_ingest_reply *reply =
        credit_release(session, released->released_bulk) ? session_frame(HF_FRAME_CREDIT) : NULL;
    if (reply) {
        reply->frame.credit.total_bytes = session->credit_sent;
        session_send(session, reply);
    }
}

/* The ERROR frame says which frame was wrong, then the session ends. Audited where it was found. */
static void on_hostile(struct hf_session *session, struct hf_ingest_reply *reply)
{
    enum hf_wire_code code = reply->frame.refusal.code;
    hub_count_refusal(session->sessions->options.hub, code);
    hf_log_warning("Host %s at %s: %.*s", session->host_id, session->peer,
                   (int)reply->frame.refusal.message.size,
                   (const char *)reply->frame.refusal.message.data);
    session_send(session, reply);
    session_goaway(session, code, 60000, "The session ends because of what was sent before");
}

static void on_delivery(struct hf_ingest_reply *reply)
{
    struct hf_session *session = reply->to;
    __atomic_sub_fetch(&session->pending_work, 1, __ATOMIC_SEQ_CST);
    if (session->gone || session->state == SESSION_CLOSING) {
        ingest_reply_free(reply);
        session_free_if_done(session);
        return;
    }
    on_released(session, reply);
    switch (reply->kind) {
    case HF_REPLY_FRAME:
        if (reply->frame.type == HF_FRAME_RESTORE_OFFER) {
            reading_waited_for(session);
        }
        session_send(session, reply);
        return;
    case HF_REPLY_RELEASED:
        if (reply->frame.type == HF_FRAME_RESTORE_RESULT) {
            reading_resume(session, HOLD_RESTORE);
        }
        break;
    case HF_REPLY_STORAGE:
        session_goaway(session, HF_WIRE_STORAGE, 15000, (const char *)reply->memory.data);
        break;
    case HF_REPLY_HOSTILE:
        on_hostile(session, reply);
        return;
    }
    ingest_reply_free(reply);
}

static struct hf_ingest_reply *take_all(struct hf_sessions *sessions)
{
    pthread_mutex_lock(&sessions->mail_lock);
    struct hf_ingest_reply *first = sessions->mail_first;
    sessions->mail_first = sessions->mail_last = NULL;
    pthread_mutex_unlock(&sessions->mail_lock);
    return first;
}

static void hand_out(void *arg)
{
    struct hf_ingest_reply *reply = take_all(arg);
    while (reply) {
        struct hf_ingest_reply *next = reply->next;
        reply->next = NULL;
        on_delivery(reply);
        reply = next;
    }
}

/* Any thread. Called only before ingest_session_close or restore_close returned, so the session is
 * there; from then on the count keeps it until on_delivery ran. */
void mail_deliver(void *context, struct hf_ingest_reply *reply)
{
    struct hf_session *session = context;
    struct hf_sessions *sessions = session->sessions;
    __atomic_add_fetch(&session->pending_work, 1, __ATOMIC_SEQ_CST);
    reply->to = session;
    reply->next = NULL;
    pthread_mutex_lock(&sessions->mail_lock);
    bool was_empty = sessions->mail_first == NULL;
    *(was_empty ? &sessions->mail_first : &sessions->mail_last->next) = reply;
    sessions->mail_last = reply;
    pthread_mutex_unlock(&sessions->mail_lock);
    if (was_empty) {
        /* A loop that is closed for good takes nothing: mail_drop does then. */
        loop_post(sessions->options.loop, hand_out, sessions);
    }
}

void mail_drop(struct hf_sessions *sessions)
{
    struct hf_ingest_reply *reply = take_all(sessions);
    while (reply) {
        struct hf_ingest_reply *next = reply->next;
        ingest_reply_free(reply);
        reply = next;
    }
}
