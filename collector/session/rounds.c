/* One look a second at every session: who is silent, whose time is up.
 *
 * Not a timer each: the library keeps timers in one sorted list, and ten thousand sessions that
 * move theirs whenever they are heard would do nothing but walk it.
 */
#include "collector/net/loop.h"
#include "collector/session/connection.h"
#include "common/clock.h"
#include "common/log.h"

#define ROUND_US         LWS_US_PER_SEC
#define HELLO_LIMIT_NS   (10 * HF_NS_PER_SECOND)
#define CLOSE_LIMIT_NS   (5 * HF_NS_PER_SECOND)
#define MESSAGE_LIMIT_NS (60 * HF_NS_PER_SECOND)
#define PROBE_LIMIT_NS   (5 * HF_NS_PER_SECOND)

static int64_t ping_ns(const struct hf_session *session)
{
    return session->sessions->options.ping_s * HF_NS_PER_SECOND;
}

static int64_t hang_up_ns(const struct hf_session *session)
{
    return 2 * ping_ns(session);
}

void rounds_heard(struct hf_session *session)
{
    session->heard_ns = hf_clock_monotonic_ns();
    session->ping = PING_NONE;
}

void rounds_probe(struct hf_session *session)
{
    int64_t latest_ns = hf_clock_monotonic_ns() - hang_up_ns(session) + PROBE_LIMIT_NS;
    if (session->heard_ns > latest_ns) {
        session->heard_ns = latest_ns;
    }
    session->ping = PING_DUE;
    lws_callback_on_writable(session->wsi);
}

void rounds_expect_hello(struct hf_session *session)
{
    session->deadline_ns = hf_clock_monotonic_ns() + HELLO_LIMIT_NS;
}

void rounds_expect_end(struct hf_session *session)
{
    session->deadline_ns = hf_clock_monotonic_ns() + CLOSE_LIMIT_NS;
}

/* Whether it isn't read because of this end, and not because it does not read itself. */
static bool waits_for_us(const struct hf_session *session)
{
    unsigned held = session->held & ~(unsigned)HOLD_UNREAD;
    if ((held & HOLD_RESTORE) && session->restore && restore_is_full(session->restore)) {
        held &= ~(unsigned)HOLD_RESTORE;
    }
    return held != 0;
}

/* True when the connection is to be ended without a word. Who isn't read because of this end can't
 * be heard; who does not read what it is sent is heard by its leaving. */
static bool is_dead(struct hf_session *session, int64_t now_ns)
{
    if (waits_for_us(session)) {
        session->heard_ns = now_ns;
        return false;
    }
    int64_t silence_ns = now_ns - session->heard_ns;
    if (silence_ns >= ping_ns(session) && session->ping == PING_NONE) {
        session->ping = PING_DUE;
        lws_callback_on_writable(session->wsi);
    }
    return silence_ns >= hang_up_ns(session);
}

static void hang_up(struct hf_session *session)
{
    lws_set_timeout(session->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
}

static void look_at_open(struct hf_session *session, int64_t now_ns, int64_t wall_ns)
{
    if (session->certificate_ends_ns <= wall_ns) {
        session_goaway(
            session, HF_WIRE_EXPIRED, 1000,
            "The host's certificate has ended and was not renewed: the agent's log says why. "
            "Enrol the host again with a token ('holdfast token create')");
    } else if (session->message_began_ns != 0 && session->held == 0 &&
               session->message_began_ns < now_ns - MESSAGE_LIMIT_NS) {
        session_refuse(session, HF_WIRE_IDLE, "A message did not end within 60 s");
    } else if (is_dead(session, now_ns)) {
        hf_log_info("Host %s at %s does not answer: its connection ends", session->host_id,
                    session->peer);
        hang_up(session);
    }
}

static void look_at(struct hf_session *session, int64_t now_ns, int64_t wall_ns)
{
    switch (session->state) {
    case SESSION_ADMITTING:
        break; /* the catalog's worker comes back in any case */
    case SESSION_GREETING:
        if (session->deadline_ns <= now_ns) {
            session_goaway(session, HF_WIRE_IDLE, 1000, "No HELLO came within 10 s");
        }
        break;
    case SESSION_OPEN:
        look_at_open(session, now_ns, wall_ns);
        break;
    case SESSION_CLOSING:
        if (session->deadline_ns <= now_ns) {
            hang_up(session);
        }
        break;
    }
}

static void on_round(lws_sorted_usec_list_t *timer)
{
    struct hf_sessions *sessions = lws_container_of(timer, struct hf_sessions, round_timer);
    int64_t now_ns = hf_clock_monotonic_ns();
    int64_t wall_ns = hf_clock_now_ns();
    for (struct hf_session *session = sessions->all, *next; session; session = next) {
        next = session->next;
        if (!session->gone) {
            look_at(session, now_ns, wall_ns);
        }
    }
    lws_sul_schedule(loop_context(sessions->options.loop), 0, timer, on_round, ROUND_US);
}

void rounds_start(struct hf_sessions *sessions)
{
    lws_sul_schedule(loop_context(sessions->options.loop), 0, &sessions->round_timer, on_round,
                     ROUND_US);
}

void rounds_stop(struct hf_sessions *sessions)
{
    lws_sul_cancel(&sessions->round_timer);
}
