/* Credit: how many bulk bytes a session may have sent in all.
 *
 * Windows follow from the budget and how many sessions there are. In a crowd they add up to more
 * than the budget, since few send at one time; that memory stays within it all the same is the
 * business of reading.c.
 */
#include "collector/session/connection.h"

#define GRANT_STEP_BYTES (256u * 1024u) /* a CREDIT frame for less isn't worth sending */
#define WINDOW_MAX_BYTES (4u * 1024u * 1024u)
/* With a step withheld there is room for the largest message, else a session could wait for ever.
 */
#define WINDOW_MIN_BYTES (HF_FRAME_MAX_BYTES + GRANT_STEP_BYTES)

static uint64_t window(const struct hf_sessions *sessions)
{
    uint64_t share = sessions->options.memory_bytes / (sessions->count ? sessions->count : 1) / 2;
    share = share > WINDOW_MAX_BYTES ? WINDOW_MAX_BYTES : share;
    return share < WINDOW_MIN_BYTES ? WINDOW_MIN_BYTES : share;
}

void credit_begin(struct hf_session *session)
{
    session->credit_total = window(session->sessions);
    session->credit_sent = session->credit_total;
}

bool credit_spend(struct hf_session *session, size_t size)
{
    session->bulk_received += size;
    return session->bulk_received <= session->credit_sent;
}

bool credit_release(struct hf_session *session, size_t size)
{
    session->bulk_released += size;
    uint64_t total = session->bulk_released + window(session->sessions);
    if (total > session->credit_total) {
        session->credit_total = total;
    }
    uint64_t unsaid = session->credit_total - session->credit_sent;
    uint64_t left = session->credit_sent - session->bulk_received;
    if (unsaid == 0 || (unsaid < GRANT_STEP_BYTES && left >= HF_FRAME_MAX_BYTES)) {
        return false;
    }
    session->credit_sent = session->credit_total;
    return true;
}
