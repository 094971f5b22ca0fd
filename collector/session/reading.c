/* When to stop reading from an agent, so that memory stays bounded whatever agents do.
 *
 * What can't be held is left in the kernel's buffers, where TCP tells the sender to wait. Credit
 * keeps honest agents from ever noticing; this is for crowds and for the others.
 */
#include "collector/net/loop.h"
#include "collector/session/connection.h"
#include "common/clock.h"

#define CONTROL_MAX_BYTES (256u * 1024u) /* PROTOCOL.md: unanswered control frames */
#define UNREAD_MAX_BYTES  (4u * 1024u * 1024u)
#define CROWD_RETRY_US    (10 * LWS_US_PER_MS)
/* With memory used up: one session more goes on in this time, and is given up after that. So many
 * messages can be above the budget at a time, and not more. */
#define PRIVILEGE_INTERVAL_NS (100 * HF_NS_PER_MS)
#define PRIVILEGE_LIMIT_NS    (3 * HF_NS_PER_SECOND)

void reading_hold(struct hf_session *session, enum session_hold why)
{
    if (session->held == 0 && session->wsi) {
        lws_rx_flow_control(session->wsi, 0);
    }
    session->held |= why;
}

void reading_resume(struct hf_session *session, enum session_hold why)
{
    if (!(session->held & why)) {
        return;
    }
    session->held &= ~(unsigned)why;
    if (session->held == 0 && session->wsi) {
        lws_rx_flow_control(session->wsi, 1);
    }
}

/* --- the memory of all sessions --- */

static uint64_t memory_used(const struct hf_sessions *sessions)
{
    return sessions->incoming_bytes + ingest_queue_bytes(sessions->options.ingest);
}

static void leave_crowd(struct hf_session *session)
{
    if (session->held & HOLD_MEMORY) {
        session->sessions->crowded--;
        reading_resume(session, HOLD_MEMORY);
    }
}

static void give_privilege(struct hf_session *session, int64_t now_ns)
{
    session->privileged_ns = now_ns;
    session->sessions->privileged++;
    session->sessions->privilege_ns = now_ns;
    leave_crowd(session);
}

static void end_privilege(struct hf_session *session)
{
    session->sessions->privileged -= session->privileged_ns != 0;
    session->privileged_ns = 0;
}

/* Whose message began first: to end it frees the most. */
static struct hf_session *oldest_of_crowd(const struct hf_sessions *sessions)
{
    struct hf_session *oldest = NULL;
    for (struct hf_session *session = sessions->all; session; session = session->next) {
        bool older = !oldest || oldest->message_began_ns == 0 ||
                     (session->message_began_ns != 0 &&
                      session->message_began_ns < oldest->message_began_ns);
        if (session->held & HOLD_MEMORY && older) {
            oldest = session;
        }
    }
    return oldest;
}

static void end_idle_privileges(struct hf_sessions *sessions, int64_t now_ns)
{
    for (struct hf_session *session = sessions->all, *next; session; session = next) {
        next = session->next;
        if (session->privileged_ns != 0 && now_ns - session->privileged_ns > PRIVILEGE_LIMIT_NS) {
            session_goaway(session, HF_WIRE_OVERLOADED, 10000,
                           "The collector's memory is in use and this message did not end");
        }
    }
}

static void watch_crowd(struct hf_sessions *sessions);

/* It may go on although memory is used up; there are few such sessions at a time, and each has no
 * more under way than its credit. */
static bool is_waited_for(const struct hf_session *session)
{
    return session->ingest && ingest_session_hurries(session->ingest);
}

void reading_waited_for(struct hf_session *session)
{
    if (is_waited_for(session)) {
        leave_crowd(session);
    }
}

/* Let the crowd go on when there is room. When all memory is in messages that are not whole, let
 * one after the other go on, so that somebody gets on; who then does not is sent away. */
static void on_crowd_timer(lws_sorted_usec_list_t *timer)
{
    struct hf_sessions *sessions = lws_container_of(timer, struct hf_sessions, crowd_timer);
    int64_t now_ns = hf_clock_monotonic_ns();
    uint64_t low = sessions->options.memory_bytes - sessions->options.memory_bytes / 4;
    bool room = memory_used(sessions) < low;
    for (struct hf_session *session = sessions->all, *next; session; session = next) {
        next = session->next;
        if (room || is_waited_for(session)) { /* since it was its turn, for one */
            leave_crowd(session);
        }
    }
    if (!room && sessions->incoming_bytes >= low &&
        now_ns - sessions->privilege_ns >= PRIVILEGE_INTERVAL_NS) {
        struct hf_session *oldest = oldest_of_crowd(sessions);
        if (oldest) {
            give_privilege(oldest, now_ns);
        }
    }
    if (sessions->privileged > 0) {
        end_idle_privileges(sessions, now_ns);
    }
    if (sessions->crowded > 0 || sessions->privileged > 0) {
        watch_crowd(sessions);
    }
}

static void watch_crowd(struct hf_sessions *sessions)
{
    lws_sul_schedule(loop_context(sessions->options.loop), 0, &sessions->crowd_timer,
                     on_crowd_timer, CROWD_RETRY_US);
}

void reading_grew(struct hf_session *session, size_t size)
{
    struct hf_sessions *sessions = session->sessions;
    if (session->incoming.size == size) {
        session->message_began_ns = hf_clock_monotonic_ns();
    }
    sessions->incoming_bytes += size;
    if (memory_used(sessions) <= sessions->options.memory_bytes || session->privileged_ns != 0 ||
        session->held & HOLD_MEMORY || is_waited_for(session)) {
        return;
    }
    reading_hold(session, HOLD_MEMORY);
    if (sessions->crowded++ == 0 && sessions->privileged == 0) {
        watch_crowd(sessions);
    }
}

void reading_message_over(struct hf_session *session, size_t size)
{
    session->sessions->incoming_bytes -= size;
    session->message_began_ns = 0;
    end_privilege(session);
    if (session->gone || session->state == SESSION_CLOSING) {
        leave_crowd(session);
    }
}

/* --- one session's --- */

/* A LIST of eight bytes is answered with a page. */
static size_t charge_of(enum hf_frame_type type, size_t size)
{
    return size + (type == HF_FRAME_LIST ? PAGE_BYTES : 0);
}

void reading_control_in(struct hf_session *session, enum hf_frame_type type, size_t size)
{
    session->control_bytes += charge_of(type, size);
    if (session->control_bytes > CONTROL_MAX_BYTES) {
        reading_hold(session, HOLD_CONTROL);
    }
}

void reading_control_out(struct hf_session *session, enum hf_frame_type type, size_t size)
{
    size = charge_of(type, size);
    session->control_bytes -= size < session->control_bytes ? size : session->control_bytes;
    if (session->control_bytes <= CONTROL_MAX_BYTES) {
        reading_resume(session, HOLD_CONTROL);
    }
}

void reading_answer_queued(struct hf_session *session, size_t size)
{
    session->unread_bytes += size;
    if (session->unread_bytes > UNREAD_MAX_BYTES) {
        reading_hold(session, HOLD_UNREAD);
    }
}

void reading_answer_sent(struct hf_session *session, size_t size)
{
    session->unread_bytes -= size;
    if (session->held & HOLD_UNREAD) {
        rounds_heard(session); /* it reads */
    }
    if (session->unread_bytes <= UNREAD_MAX_BYTES / 2) {
        reading_resume(session, HOLD_UNREAD);
    }
}

void reading_stop(struct hf_sessions *sessions)
{
    lws_sul_cancel(&sessions->crowd_timer);
}
