/* The loop thread: what the collector says, and whose business it is. */
#include <stdlib.h>
#include <string.h>

#include "agent/session/link_private.h"
#include "common/clock.h"
#include "common/log.h"

/* Beyond what its readers can have asked for, a collector is flooding us. */
#define INBOX_MAX_BYTES      (48u * 1024u * 1024u)
#define SKEW_WORTH_SAYING_NS (5 * HF_NS_PER_SECOND)

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
        link_set_reason(link,
                        "the collector speaks version %u with frames of %u bytes, this agent "
                        "version %u with frames of %u; update the older of the two",
                        welcome->version, welcome->frame_max_bytes, HF_PROTO_VERSION,
                        HF_FRAME_MAX_BYTES);
        return -1;
    }
    lws_sul_cancel(&link->timer_watchdog);
    link_watch_silence(link);
    outgoing_grant(&link->outgoing, welcome->credit_bytes);
    link->phase = LINK_OPEN;
    link->opened_at_ns = hf_clock_monotonic_ns();
    link_forget_said(link);
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
    link_set_reason(link, "the collector ended the session (%s): %.*s",
                    proto_code_name(refusal->code),
                    (int)(refusal->message.size < 300 ? refusal->message.size : 300),
                    (const char *)refusal->message.data);
    return -1;
}

static int on_credit(struct hf_link *link, struct hf_frame *frame)
{
    outgoing_grant(&link->outgoing, frame->credit.total_bytes);
    link_write_when_ready(link);
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
            link_set_reason(link, "the collector sent %s before WELCOME",
                            proto_frame_name(frame->type));
    } else if (frame->type == HF_FRAME_CREDIT) {
        result = on_credit(link, frame);
    } else {
        struct hf_queue *inbox = inbox_of(link, frame);
        if (inbox) {
            link_post(inbox, event);
            return 0;
        }
        link_set_reason(link, "the collector sent %s, which no agent takes",
                        proto_frame_name(frame->type));
    }
    link_event_free(event);
    return result;
}

static int on_message(struct hf_link *link)
{
    struct hf_link_event *event = link_event_new(HF_LINK_FRAME, link->connection);
    if (!event) {
        link_set_reason(link, "out of memory");
        return -1;
    }
    struct hf_error error;
    event->message = transport_message(link->transport);
    if (proto_decode(event->message.data, event->message.size, &event->frame, &error)) {
        link_set_reason(link, "a frame of the collector can't be read: %s", error.message);
        event->kind = HF_LINK_WAKE; /* there is no frame to free */
        link_event_free(event);
        return -1;
    }
    event->link = link;
    if (atomic_fetch_add(&link->inbox_bytes, event->message.size) > INBOX_MAX_BYTES) {
        link_set_reason(link, "the collector sends more than was asked for");
        link_event_free(event);
        return -1;
    }
    return on_frame(link, event);
}

static int on_opened(struct hf_link *link)
{
    link->phase = LINK_GREETING;
    struct hf_frame hello;
    hello_frame(&link->facts, &hello);
    if (link_queue_own(link, &hello)) {
        link_set_reason(link, "out of memory");
        return -1;
    }
    return 0;
}

static void on_closed(struct hf_link *link)
{
    struct hf_bytes reason = transport_reason(link->transport);
    if (reason.size > 0)
        link_set_reason(link, "the collector closed the session: %.*s", (int)reason.size,
                        (const char *)reason.data);
    else
        link_set_reason(link, "the collector closed the session");
}

int link_on_event(struct hf_link *link, enum hf_transport_event event)
{
    switch (event) {
    case HF_TRANSPORT_OPENED:
        return on_opened(link);
    case HF_TRANSPORT_MESSAGE:
        return on_message(link);
    case HF_TRANSPORT_CLOSED:
        on_closed(link);
        return -1;
    default:
        return 0;
    }
}
