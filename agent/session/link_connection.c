/* The loop thread: one connection after the other, each dialled, greeted, served and hung up. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/session/link_private.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

/* TLS 1.3: a collector that refuses our certificate after the handshake may never be heard of
 * through the library, so an attempt that isn't open by then has failed. */
#define CONNECT_TIMEOUT_US (15 * LWS_US_PER_SEC)
#define HANG_UP_TIMEOUT_US (2 * LWS_US_PER_SEC)
/* A connection that lasted this long was a success: the next failure starts the back-off anew. */
#define STEADY_NS (10 * HF_NS_PER_SECOND)

/* A message is sent where it lies: its number and its head go in front. */
_Static_assert(HF_MESSAGE_HEADROOM_BYTES >= sizeof(uint64_t) + HF_TRANSPORT_HEADROOM_BYTES,
               "a message needs room for both");

static void dial_when_due(lws_sorted_usec_list_t *timer);

/* The first reason is the cause; what follows are its consequences. */
void link_set_reason(struct hf_link *link, const char *format, ...)
{
    if (link->reason[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(link->reason, sizeof(link->reason), format, arguments);
    va_end(arguments);
}

static void dial_after(struct hf_link *link, uint32_t wait_ms)
{
    lws_sul_schedule(link->context, 0, &link->timer_connect, dial_when_due,
                     (lws_usec_t)wait_ms * 1000 + 1);
}

/* Whether it was logged already, as one of the last two; notes it if not. */
static bool said_before(struct hf_link *link, const char *reason)
{
    if (!strcmp(reason, link->said[0]) || !strcmp(reason, link->said[1]))
        return true;
    memcpy(link->said[1], link->said[0], sizeof(link->said[0]));
    snprintf(link->said[0], sizeof(link->said[0]), "%s", reason);
    link->said_again = 0;
    return false;
}

void link_forget_said(struct hf_link *link)
{
    link->said[0][0] = link->said[1][0] = '\0';
}

/* Once for a cause, then only now and then while it lasts. */
static void log_down(struct hf_link *link, uint32_t wait_ms)
{
    const char *reason = link->reason[0] ? link->reason : "the connection was closed";
    if (said_before(link, reason) && ++link->said_again % 60)
        return;
    char wait[HF_TIME_TEXT_BYTES];
    hf_duration_text((int64_t)wait_ms * HF_NS_PER_MS, wait);
    hf_log_warning("no connection to the collector %s:%u: %s; trying again in %s (captured changes "
                   "are kept meanwhile)",
                   link->host, link->port, reason, wait);
}

/* What TLS says of a refused certificate differs from one attempt to the next, and never why. */
static void blame_certificate(struct hf_link *link)
{
    if (hf_clock_now_ns() <= link->certificate_ends_ns)
        return;
    char ends[HF_TIME_TEXT_BYTES];
    hf_time_local(link->certificate_ends_ns, ends);
    snprintf(link->reason, sizeof(link->reason),
             "this host's certificate in %s ended at %s; unless this host's clock is wrong, remove "
             "that directory and enrol again with a new token",
             link->agent_pem_path, ends);
}

/* The connection is over, whoever ended it. Its wsi is not touched any more. */
static void link_down(struct hf_link *link)
{
    bool was_open = link->phase == LINK_OPEN;
    if (link->phase == LINK_CONNECTING)
        blame_certificate(link);
    link->wsi = NULL;
    link->phase = LINK_WAITING;
    atomic_store(&link->open_connection, 0);
    lws_sul_cancel(&link->timer_watchdog);
    lws_sul_cancel(&link->timer_pace);
    lws_sul_cancel(&link->timer_silence);
    outgoing_reset(&link->outgoing);
    transport_free(link->transport);
    link->transport = NULL;
    link->hang_up = link->ping_due = false;
    if (was_open) {
        link_post(link->shipping, link_event_new(HF_LINK_CLOSED, link->connection));
        link_post(link->restoring, link_event_new(HF_LINK_CLOSED, link->connection));
        if (hf_clock_monotonic_ns() - link->opened_at_ns > STEADY_NS)
            backoff_reset(&link->backoff);
    }
    if (atomic_load(&link->stopping))
        return;
    if (link->reconnect_at_once) {
        link->reconnect_at_once = false;
        dial_after(link, 0);
        return;
    }
    uint32_t random;
    hf_random(&random, sizeof(random));
    uint32_t wait_ms = backoff_next_ms(&link->backoff, link->retry_after_ms, random);
    link->retry_after_ms = 0;
    log_down(link, wait_ms);
    dial_after(link, wait_ms);
}

static void watchdog_barks(lws_sorted_usec_list_t *timer)
{
    struct hf_link *link = lws_container_of(timer, struct hf_link, timer_watchdog);
    struct lws *wsi = link->wsi;
    link_set_reason(link, link->phase == LINK_CONNECTING
                              ? "no answer within 15 s (the collector may be down, a firewall in "
                                "between, or this host's certificate refused)"
                              : "no WELCOME within 15 s");
    link_down(link);
    if (wsi)
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

/* True when there was one. */
static bool take_new_certificate(struct hf_link *link)
{
    struct hf_error error;
    if (!atomic_exchange(&link->renewed, false))
        return false;
    if (link_read_credentials(link, &error)) {
        hf_log_error("the new certificate can't be used, the present one stays: %s", error.message);
        return false;
    }
    return true;
}

static void dial_when_due(lws_sorted_usec_list_t *timer)
{
    struct hf_link *link = lws_container_of(timer, struct hf_link, timer_connect);
    if (atomic_load(&link->stopping) || link->phase != LINK_WAITING)
        return;
    take_new_certificate(link); /* that came when the connection before was over already */
    link->connection++;
    link->reason[0] = '\0';
    link->phase = LINK_CONNECTING;
    lws_sul_schedule(link->context, 0, &link->timer_watchdog, watchdog_barks, CONNECT_TIMEOUT_US);
    struct lws_client_connect_info info = {
        .context = link->context,
        .address = link->host,
        .host = link->host,
        .port = link->port,
        .method = "RAW",
        .local_protocol_name = link_protocols[0].name,
        .pwsi = &link->wsi,
    };
    /* On failure the error callback may already have run, and with it link_down. */
    if (!lws_client_connect_via_info(&info) && link->phase == LINK_CONNECTING) {
        link_set_reason(link, "its name can't be looked up, or no connection be begun");
        link_down(link);
    }
}

/* Queue a frame of the loop thread's own. */
int link_queue_own(struct hf_link *link, const struct hf_frame *frame)
{
    struct hf_message *message;
    int result = message_new(frame, link->connection, &message);
    if (result)
        return result;
    outgoing_push(&link->outgoing, message);
    lws_callback_on_writable(link->wsi);
    return 0;
}

/* Ends the connection after the control messages that wait. */
static void hang_up(struct hf_link *link, enum hf_wire_code code, const char *message)
{
    if (!link->wsi || link->hang_up)
        return;
    struct hf_frame frame = {
        .type = HF_FRAME_GOAWAY,
        .refusal = {.code = code, .message = {(const uint8_t *)message, strlen(message)}},
    };
    link_set_reason(link, "%s", message);
    link->hang_up = true;
    if (link->phase >= LINK_GREETING)
        link_queue_own(link, &frame);
    lws_sul_schedule(link->context, 0, &link->timer_watchdog, watchdog_barks, HANG_UP_TIMEOUT_US);
    if (link->phase == LINK_CONNECTING)
        watchdog_barks(&link->timer_watchdog);
}

static void look_for_silence(lws_sorted_usec_list_t *timer)
{
    struct hf_link *link = lws_container_of(timer, struct hf_link, timer_silence);
    struct lws *wsi = link->wsi;
    int64_t ping_ns = link->silence_ns / 8 * 5;
    int64_t silence_ns = hf_clock_monotonic_ns() - link->heard_ns;
    if (silence_ns >= link->silence_ns) {
        link_set_reason(link, "the collector has said nothing for %lld s, nor answered a ping",
                        (long long)(link->silence_ns / HF_NS_PER_SECOND));
        link_down(link);
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        return;
    }
    if (silence_ns >= ping_ns && !link->pinged) {
        link->pinged = link->ping_due = true;
        lws_callback_on_writable(wsi);
    }
    lws_sul_schedule(link->context, 0, timer, look_for_silence,
                     ((silence_ns < ping_ns ? ping_ns : link->silence_ns) - silence_ns) / 1000 + 1);
}

void link_watch_silence(struct hf_link *link)
{
    look_for_silence(&link->timer_silence);
}

static void pace_allows(lws_sorted_usec_list_t *timer)
{
    struct hf_link *link = lws_container_of(timer, struct hf_link, timer_pace);
    if (link->phase == LINK_OPEN)
        link_write_when_ready(link);
}

/* At once, or when the pace allows; credit that is missing will be told. */
void link_write_when_ready(struct hf_link *link)
{
    int64_t wait_ns = outgoing_wait_ns(&link->outgoing, hf_clock_monotonic_ns());
    if (wait_ns == 0)
        lws_callback_on_writable(link->wsi);
    else if (wait_ns != INT64_MAX)
        lws_sul_schedule(link->context, 0, &link->timer_pace, pace_allows, wait_ns / 1000 + 1);
}

/* What waits to go out, as far as the socket takes it; the rest at the next WRITEABLE. Not by
 * lws_write: it keeps what the socket doesn't take, and the library reads nothing as long as it
 * keeps something, so that a collector slow to read would look silent and go unheard. */
static int write_outgoing(struct hf_link *link, struct lws *wsi)
{
    struct hf_bytes out;
    while ((out = transport_outgoing(link->transport)).size > 0) {
        ssize_t sent =
            send(lws_get_socket_fd(wsi), out.data, out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            transport_sent(link->transport, (size_t)sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            lws_callback_on_writable(wsi);
            return 0;
        } else if (errno != EINTR) {
            link_set_reason(link, "writing to the connection failed: %s", strerror(errno));
            return -1;
        }
    }
    return 0;
}

/* One last word: that we close, or TLS's of what is wrong. */
static int part(struct hf_link *link, struct lws *wsi)
{
    transport_close(link->transport, NULL);
    write_outgoing(link, wsi);
    return -1;
}

static int on_connected(struct hf_link *link, struct lws *wsi)
{
    struct hf_error error;
    if (transport_new(link->credentials, link->host, link->port, &link->transport, &error)) {
        link_set_reason(link, "%s", error.message);
        return -1;
    }
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_receive(struct hf_link *link, struct lws *wsi, const void *data, size_t size)
{
    enum hf_transport_event event = HF_TRANSPORT_NOTHING;
    struct hf_error error;
    link->heard_ns = hf_clock_monotonic_ns();
    link->pinged = false;
    transport_give(link->transport, data, size);
    do {
        if (transport_next(link->transport, &event, &error)) {
            link_set_reason(link, "%s", error.message);
            return part(link, wsi);
        }
        if (link->hang_up && event == HF_TRANSPORT_MESSAGE) {
            struct hf_buf late = transport_message(link->transport);
            hf_buf_free(&late);
        } else if (link_on_event(link, event)) {
            return part(link, wsi);
        }
    } while (event != HF_TRANSPORT_NOTHING);
    if (transport_outgoing(link->transport).size > 0)
        lws_callback_on_writable(wsi);
    return 0;
}

static void tell_of_room(struct hf_link *link, enum hf_link_lane lane)
{
    if (atomic_load(&link->room_wanted) && !link_bulk_full(link, lane) &&
        atomic_exchange(&link->room_wanted, false))
        link_post(link->shipping, link_event_new(HF_LINK_ROOM, link->connection));
}

/* What is to go out next, if anything may, to the transport. */
static int encode_next(struct hf_link *link, struct hf_error *error)
{
    int result = link->ping_due ? transport_ping(link->transport, error) : 0;
    link->ping_due = false;
    if (result || link->phase < LINK_GREETING || transport_is_closed(link->transport))
        return result;
    struct hf_message *message = outgoing_take(&link->outgoing, hf_clock_monotonic_ns());
    if (!message) /* the collector closes then, and with that the connection ends */
        return link->hang_up ? transport_close(link->transport, error) : 0;
    bool bulk = message->bulk;
    enum hf_link_lane lane = message->urgent ? HF_LINK_URGENT : HF_LINK_BULK;
    result = transport_send(link->transport, message_data(message), message_size(message), error);
    message_free(message);
    if (!result && bulk)
        tell_of_room(link, lane);
    return result;
}

static int on_writeable(struct hf_link *link, struct lws *wsi)
{
    struct hf_error error;
    if (write_outgoing(link, wsi))
        return -1;
    if (transport_outgoing(link->transport).size > 0)
        return 0;
    if (encode_next(link, &error)) {
        link_set_reason(link, "%s", error.message);
        return -1;
    }
    if (write_outgoing(link, wsi))
        return -1;
    if (link->phase < LINK_GREETING)
        return 0;
    if (!link->hang_up)
        link_write_when_ready(link);
    else if (!transport_is_closed(link->transport))
        lws_callback_on_writable(wsi);
    return 0;
}

static void take_messages(struct hf_link *link)
{
    struct hf_queue_item *item = hf_queue_pop_all(link->sending, 0);
    while (item) {
        struct hf_message *message = (struct hf_message *)(void *)item;
        item = item->next;
        if (link->phase == LINK_OPEN && message->connection == link->connection)
            outgoing_push(&link->outgoing, message);
        else
            message_free(message);
    }
    if (link->phase == LINK_OPEN)
        link_write_when_ready(link);
}

/* Another thread called lws_cancel_service. */
static void on_wake(struct hf_link *link)
{
    take_messages(link);
    if (link->phase == LINK_OPEN && take_new_certificate(link)) {
        link->reconnect_at_once = true;
        hang_up(link, HF_WIRE_SHUTDOWN, "coming back with a new certificate");
    }
    if (link->phase == LINK_OPEN && atomic_load(&link->drop_connection) == link->connection)
        hang_up(link, HF_WIRE_STATE, "the two ends disagree; starting over");
    if (atomic_load(&link->stopping))
        hang_up(link, HF_WIRE_SHUTDOWN, "the agent is stopping");
}

static int link_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t size)
{
    (void)user;
    struct hf_link *link = lws_context_user(lws_get_context(wsi));
    if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED) {
        on_wake(link);
        return 0;
    }
    if (!link || wsi != link->wsi)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_RAW_CONNECTED:
        return on_connected(link, wsi);
    case LWS_CALLBACK_RAW_RX:
        return link->transport ? on_receive(link, wsi, in, size) : -1;
    case LWS_CALLBACK_RAW_WRITEABLE:
        return link->transport ? on_writeable(link, wsi) : 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        link_set_reason(link, "%.*s", in ? (int)size : 7, in ? (const char *)in : "refused");
        link_down(link);
        return 0;
    case LWS_CALLBACK_RAW_CLOSE:
    case LWS_CALLBACK_WSI_DESTROY:
        link_set_reason(link, "the connection was cut");
        link_down(link);
        return 0;
    default:
        return 0;
    }
}

const struct lws_protocols link_protocols[] = {
    {.name = "collector", .callback = link_callback},
    {0},
};

int link_read_credentials(struct hf_link *link, struct hf_error *error)
{
    struct hf_tls_client *credentials;
    int result = tls_client_new(link->agent_pem_path, link->ca_pem_path, &credentials, error);
    if (result)
        return result;
    tls_client_free(link->credentials); /* a live connection holds its own reference */
    link->credentials = credentials;
    link->certificate_ends_ns = tls_client_ends_ns(credentials);
    return 0;
}

static void tick_when_due(lws_sorted_usec_list_t *timer)
{
    struct hf_link *link = lws_container_of(timer, struct hf_link, timer_tick);
    link->tick(link->tick_context);
    lws_sul_schedule(link->context, 0, timer, tick_when_due, link->tick_ns / 1000);
}

void link_start_timers(struct hf_link *link)
{
    dial_after(link, 0);
    if (link->tick && link->tick_ns > 0)
        lws_sul_schedule(link->context, 0, &link->timer_tick, tick_when_due, link->tick_ns / 1000);
}

void link_stop_timers(struct hf_link *link)
{
    lws_sul_cancel(&link->timer_connect);
    lws_sul_cancel(&link->timer_watchdog);
    lws_sul_cancel(&link->timer_pace);
    lws_sul_cancel(&link->timer_tick);
}
