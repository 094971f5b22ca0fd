/* The loop thread: one connection after the other, each dialled, greeted, served and hung up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/link_private.h"
#include "agent/session/tls.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

/* TLS 1.3: a collector that refuses our certificate after the handshake may never be heard of
 * through the library, so an attempt that isn't open by then has failed. */
#define CONNECT_TIMEOUT_US   (15 * LWS_US_PER_SEC)
#define HANG_UP_TIMEOUT_US   (2 * LWS_US_PER_SEC)
#define PING_SECONDS         20
#define PING_HANG_UP_SECONDS 40
/* A connection that lasted this long was a success: the next failure starts the back-off anew. */
#define STEADY_NS (10 * HF_NS_PER_SECOND)
/* Beyond what its readers can have asked for, a collector is flooding us. */
#define INBOX_MAX_BYTES      (48u * 1024u * 1024u)
#define SKEW_WORTH_SAYING_NS (5 * HF_NS_PER_SECOND)

static const lws_retry_bo_t idle_policy = {
    .secs_since_valid_ping = PING_SECONDS,
    .secs_since_valid_hangup = PING_HANG_UP_SECONDS,
};

static void dial_when_due(lws_sorted_usec_list_t *timer);

static void set_reason(struct hf_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first reason is the cause; what follows are its consequences. */
static void set_reason(struct hf_link *link, const char *format, ...)
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

static void forget_said(struct hf_link *link)
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
    outgoing_reset(&link->outgoing);
    hf_buf_free(&link->incoming);
    link->hang_up = false;
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
    set_reason(link, link->phase == LINK_CONNECTING
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
    if (link_make_vhost(link, &error)) {
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
        .vhost = link->vhost,
        .address = link->host,
        .host = link->host,
        .origin = link->host,
        .port = link->port,
        .path = HF_PROTO_PATH,
        .protocol = HF_PROTO_SUBPROTOCOL,
        .ssl_connection = tls_client_flags(),
        .retry_and_idle_policy = &idle_policy,
        .alpn = "http/1.1",
        .pwsi = &link->wsi,
    };
    /* On failure the error callback may already have run, and with it link_down. */
    if (!lws_client_connect_via_info(&info) && link->phase == LINK_CONNECTING) {
        set_reason(link, "the connection could not be started");
        link_down(link);
    }
}

/* Queue a frame of the loop thread's own. */
static int loop_send(struct hf_link *link, const struct hf_frame *frame)
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
    set_reason(link, "%s", message);
    link->hang_up = true;
    if (link->phase >= LINK_GREETING)
        loop_send(link, &frame);
    lws_sul_schedule(link->context, 0, &link->timer_watchdog, watchdog_barks, HANG_UP_TIMEOUT_US);
    if (link->phase == LINK_CONNECTING)
        watchdog_barks(&link->timer_watchdog);
}

static void post_opened(struct hf_link *link, struct hf_queue *inbox,
                        const struct hf_welcome *welcome)
{
    struct hf_link_event *event = link_event_new(HF_LINK_OPENED, link->connection);
    if (event)
        memcpy(event->chunking, welcome->chunking.data, sizeof(event->chunking));
    link_post(inbox, event);
}

static int on_welcome(struct hf_link *link, struct hf_frame *frame)
{
    const struct hf_welcome *welcome = &frame->welcome;
    if (welcome->version != HF_PROTO_VERSION || welcome->frame_max_bytes < HF_FRAME_MAX_BYTES) {
        set_reason(link,
                   "the collector speaks version %u with frames of %u bytes, this agent "
                   "version %u with frames of %u; update the older of the two",
                   welcome->version, welcome->frame_max_bytes, HF_PROTO_VERSION,
                   HF_FRAME_MAX_BYTES);
        return -1;
    }
    lws_sul_cancel(&link->timer_watchdog);
    outgoing_grant(&link->outgoing, welcome->credit_bytes);
    link->phase = LINK_OPEN;
    link->opened_at_ns = hf_clock_monotonic_ns();
    forget_said(link);
    hf_log_info("connected to the collector %s:%u as %.*s (session %llu)", link->host, link->port,
                (int)welcome->host_id.size, (const char *)welcome->host_id.data,
                (unsigned long long)welcome->session);
    int64_t skew_ns = hf_clock_now_ns() - welcome->now_ns;
    if (skew_ns > SKEW_WORTH_SAYING_NS || skew_ns < -SKEW_WORTH_SAYING_NS) {
        char skew[HF_TIME_TEXT_BYTES];
        hf_duration_text(skew_ns < 0 ? -skew_ns : skew_ns, skew);
        hf_log_warning("this host's clock is %s %s the collector's; times of capture are corrected "
                       "there, but see that the clocks are set",
                       skew, skew_ns < 0 ? "behind" : "ahead of");
    }
    atomic_store(&link->open_connection, link->connection);
    post_opened(link, link->shipping, welcome);
    post_opened(link, link->restoring, welcome);
    if (atomic_load(&link->renewed)) /* while this connection was being made with the old one */
        lws_cancel_service(link->context);
    return 0;
}

static int on_goaway(struct hf_link *link, struct hf_frame *frame)
{
    const struct hf_refusal *refusal = &frame->refusal;
    link->retry_after_ms = refusal->retry_after_ms;
    set_reason(link, "the collector ended the session (%s): %.*s", proto_code_name(refusal->code),
               (int)(refusal->message.size < 300 ? refusal->message.size : 300),
               (const char *)refusal->message.data);
    return -1;
}

static void write_when_ready(struct hf_link *link);

static void pace_allows(lws_sorted_usec_list_t *timer)
{
    struct hf_link *link = lws_container_of(timer, struct hf_link, timer_pace);
    if (link->phase == LINK_OPEN)
        write_when_ready(link);
}

/* At once, or when the pace allows; credit that is missing will be told. */
static void write_when_ready(struct hf_link *link)
{
    int64_t wait_ns = outgoing_wait_ns(&link->outgoing, hf_clock_monotonic_ns());
    if (wait_ns == 0)
        lws_callback_on_writable(link->wsi);
    else if (wait_ns != INT64_MAX)
        lws_sul_schedule(link->context, 0, &link->timer_pace, pace_allows, wait_ns / 1000 + 1);
}

static int on_credit(struct hf_link *link, struct hf_frame *frame)
{
    outgoing_grant(&link->outgoing, frame->credit.total_bytes);
    write_when_ready(link);
    return 0;
}

static struct hf_queue *inbox_of_error(struct hf_link *link, const struct hf_refusal *refusal)
{
    hf_log_warning("the collector refused a frame (%s): %.*s", proto_code_name(refusal->code),
                   (int)refusal->message.size, (const char *)refusal->message.data);
    /* About no source and no frame: the answer to RENEW. */
    return refusal->stream || !refusal->about_seq ? link->shipping : link->restoring;
}

/* Whose business a frame is; NULL for none of an agent's. */
static struct hf_queue *inbox_of(struct hf_link *link, const struct hf_frame *frame)
{
    switch (frame->type) {
    case HF_FRAME_SOURCE_STATE:
    case HF_FRAME_NEED:
    case HF_FRAME_ACK:
    case HF_FRAME_LISTING:
    case HF_FRAME_RENEWED:
    case HF_FRAME_DICTIONARY:
        return link->shipping;
    case HF_FRAME_CHUNKS:
    case HF_FRAME_RESTORE_OFFER:
    case HF_FRAME_RESTORE_PAGE:
    case HF_FRAME_RESTORE_DONE:
    case HF_FRAME_RESTORE_CANCEL:
        return link->restoring;
    case HF_FRAME_ERROR:
        return inbox_of_error(link, &frame->refusal);
    default:
        return NULL;
    }
}

/* Takes over event. */
static int on_frame(struct hf_link *link, struct hf_link_event *event)
{
    struct hf_frame *frame = &event->frame;
    int result = -1;
    if (frame->type == HF_FRAME_GOAWAY) {
        result = on_goaway(link, frame);
    } else if (link->phase == LINK_GREETING) {
        if (frame->type == HF_FRAME_WELCOME)
            result = on_welcome(link, frame);
        else
            set_reason(link, "the collector sent %s before WELCOME", proto_frame_name(frame->type));
    } else if (frame->type == HF_FRAME_CREDIT) {
        result = on_credit(link, frame);
    } else {
        struct hf_queue *inbox = inbox_of(link, frame);
        if (inbox) {
            link_post(inbox, event);
            return 0;
        }
        set_reason(link, "the collector sent %s, which no agent takes",
                   proto_frame_name(frame->type));
    }
    link_event_free(event);
    return result;
}

/* One whole message lies in link->incoming. */
static int on_message(struct hf_link *link)
{
    struct hf_link_event *event = link_event_new(HF_LINK_FRAME, link->connection);
    if (!event) {
        set_reason(link, "out of memory");
        return -1;
    }
    struct hf_error error;
    event->message = link->incoming;
    link->incoming = (struct hf_buf){0};
    if (proto_decode(event->message.data, event->message.size, &event->frame, &error)) {
        set_reason(link, "a frame of the collector can't be read: %s", error.message);
        event->kind = HF_LINK_WAKE; /* there is no frame to free */
        link_event_free(event);
        return -1;
    }
    event->link = link;
    if (atomic_fetch_add(&link->inbox_bytes, event->message.size) > INBOX_MAX_BYTES) {
        set_reason(link, "the collector sends more than was asked for");
        link_event_free(event);
        return -1;
    }
    return on_frame(link, event);
}

static int on_receive(struct hf_link *link, struct lws *wsi, const void *data, size_t size)
{
    size_t rest = lws_remaining_packet_payload(wsi);
    if (!lws_frame_is_binary(wsi)) {
        set_reason(link, "the collector sent a text message");
        return -1;
    }
    if (size > HF_FRAME_MAX_BYTES || rest > HF_FRAME_MAX_BYTES ||
        link->incoming.size + size + rest > HF_FRAME_MAX_BYTES) {
        set_reason(link, "the collector sent a frame over %u bytes", HF_FRAME_MAX_BYTES);
        return -1;
    }
    /* The first piece says how long this message is at least: one allocation for all of it. */
    if (hf_buf_reserve(&link->incoming, size + rest) ||
        hf_buf_append(&link->incoming, data, size)) {
        set_reason(link, "out of memory");
        return -1;
    }
    if (rest || !lws_is_final_fragment(wsi))
        return 0;
    return on_message(link);
}

static int on_writeable(struct hf_link *link, struct lws *wsi)
{
    struct hf_message *message = outgoing_take(&link->outgoing, hf_clock_monotonic_ns());
    if (!message) {
        if (!link->hang_up)
            write_when_ready(link);
        return link->hang_up ? -1 : 0;
    }
    size_t size = message_size(message);
    int written = lws_write(wsi, message_data(message), size, LWS_WRITE_BINARY);
    bool bulk = message->bulk;
    enum hf_link_lane lane = message->urgent ? HF_LINK_URGENT : HF_LINK_BULK;
    message_free(message);
    if (written < (int)size) {
        set_reason(link, "writing to the connection failed");
        return -1;
    }
    if (bulk && atomic_load(&link->room_wanted) && !link_bulk_full(link, lane) &&
        atomic_exchange(&link->room_wanted, false))
        link_post(link->shipping, link_event_new(HF_LINK_ROOM, link->connection));
    if (link->hang_up)
        lws_callback_on_writable(wsi);
    else
        write_when_ready(link);
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
        write_when_ready(link);
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

static int on_established(struct hf_link *link, struct lws *wsi)
{
    if (!tls_peer_verified(wsi)) {
        set_reason(link, "the collector's certificate could not be verified");
        return -1;
    }
    link->phase = LINK_GREETING;
    struct hf_frame hello;
    hello_frame(&link->facts, &hello);
    if (loop_send(link, &hello)) {
        set_reason(link, "out of memory");
        return -1;
    }
    return 0;
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
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        return on_established(link, wsi);
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return link->hang_up ? 0 : on_receive(link, wsi, in, size);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return on_writeable(link, wsi);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        set_reason(link, "%.*s", in ? (int)size : 7, in ? (const char *)in : "refused");
        link_down(link);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (size > 2)
            set_reason(link, "the collector closed the session: %.*s", (int)(size - 2),
                       (const char *)in + 2);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        set_reason(link, "the connection was cut");
        link_down(link);
        return 0;
    default:
        return 0;
    }
}

const struct lws_protocols link_protocols[] = {
    {.name = HF_PROTO_SUBPROTOCOL, .callback = link_callback, .rx_buffer_size = 64 * 1024},
    {0},
};

int link_make_vhost(struct hf_link *link, struct hf_error *error)
{
    char name[32];
    struct lws_vhost *vhost;
    struct hf_tls_client *credentials;
    snprintf(name, sizeof(name), "agent-%u", ++link->vhost_number);
    int result = tls_client_vhost(link->context, name, link->agent_pem_path, link->ca_pem_path,
                                  link_protocols, &vhost, &credentials, error);
    if (result)
        return result;
    /* The old one can't go while its connection lives: the context frees it in the end. A renewal
     * every few days makes this a few kilobytes a year. */
    tls_client_free(link->credentials); /* a live connection holds its own reference */
    link->vhost = vhost;
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
