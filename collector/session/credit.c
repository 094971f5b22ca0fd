/* Credit: how many bulk bytes a session may have sent in all, out of one budget for all sessions.
 */
#include "collector/session/connection.h"

#define WINDOW_MAX_BYTES (4u * 1024u * 1024u)
#define WINDOW_MIN_BYTES (512u * 1024u)
#define GRANT_STEP_BYTES (256u * 1024u) /* a CREDIT frame for less isn't worth sending */

bool credit_begin(struct hf_session *session)
{
    struct hf_sessions *sessions = session->sessions;
    uint64_t left = sessions->options.memory_bytes > sessions->credit_held
                        ? sessions->options.memory_bytes - sessions->credit_held
                        : 0;
    /* A part of what is left: early sessions get wide windows, a crowd shares. */
    uint64_t window = left / 8;
    window = window > WINDOW_MAX_BYTES ? WINDOW_MAX_BYTES : window;
    window = window < WINDOW_MIN_BYTES ? WINDOW_MIN_BYTES : window;
    if (window > left) {
        return false;
    }
    session->credit_total = window;
    session->credit_sent = window;
    session->credit_held = window;
    sessions->credit_held += window;
    return true;
}

bool credit_spend(struct hf_session *session, size_t size)
{
    session->bulk_received += size;
    return session->bulk_received <= session->credit_total;
}

void credit_release(struct hf_session *session, size_t size)
{
    session->credit_total += size;
    if (session->credit_total - session->credit_sent < GRANT_STEP_BYTES &&
        session->credit_sent - session->bulk_received > GRANT_STEP_BYTES) {
        return;
    }
    struct hf_ingest_reply *reply = session_frame(HF_FRAME_CREDIT);
    if (reply) {
        reply->frame.credit.total_bytes = session->credit_total;
        session->credit_sent = session->credit_total;
        session_send(session, reply);
    }
}

void credit_end(struct hf_session *session)
{
    session->sessions->credit_held -= session->credit_held;
    session->credit_held = 0;
}
