#include "agent/session/link.h"

#include <stdlib.h>
#include <string.h>

#include "agent/session/link_private.h"
#include "common/clock.h"
#include "common/log.h"

/* More than this need not be ready: it only takes memory that the collector hasn't asked for. With
 * a limit it is half a second's worth, so that the order of what is ready can still change. */
#define BULK_FULL_BYTES     (4u * 1024u * 1024u)
#define BULK_FULL_MIN_BYTES (256u * 1024u)

struct hf_link_event *link_event_new(enum hf_link_event_kind kind, uint64_t connection)
{
    struct hf_link_event *event = calloc(1, sizeof(*event));
    if (!event)
        return NULL;
    event->kind = kind;
    event->connection = connection;
    return event;
}

void link_event_free(struct hf_link_event *event)
{
    if (!event)
        return;
    if (event->link)
        atomic_fetch_sub(&event->link->inbox_bytes, event->message.size);
    if (event->kind == HF_LINK_FRAME)
        proto_frame_free(&event->frame);
    hf_buf_free(&event->message);
    free(event);
}

void link_event_release(struct hf_queue_item *item)
{
    link_event_free((struct hf_link_event *)(void *)item);
}

void link_post(struct hf_queue *inbox, struct hf_link_event *event)
{
    if (event && !hf_queue_push(inbox, &event->item))
        link_event_free(event);
}

static void release_message(struct hf_queue_item *item)
{
    message_free((struct hf_message *)(void *)item);
}

static void wake_loop(void *context)
{
    lws_cancel_service(context);
}

/* The library repeats what our own lines say better; its words are for debugging. */
static void emit_lws_line(int level, const char *line)
{
    (void)level;
    size_t length = strlen(line);
    while (length > 0 && line[length - 1] == '\n')
        length--;
    hf_log_debug("libwebsockets: %.*s", (int)length, line);
}

static size_t bulk_full_bytes(uint64_t upload_limit)
{
    if (upload_limit == 0 || upload_limit / 2 > BULK_FULL_BYTES)
        return BULK_FULL_BYTES;
    return upload_limit / 2 < BULK_FULL_MIN_BYTES ? BULK_FULL_MIN_BYTES
                                                  : (size_t)(upload_limit / 2);
}

int link_new(const struct hf_link_options *options, struct hf_link **out, struct hf_error *error)
{
    struct hf_link *link = calloc(1, sizeof(*link));
    if (!link)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the connection");
    outgoing_init(&link->outgoing);
    link->outgoing.pace.bytes_per_second = options->upload_limit;
    link->bulk_full_bytes = bulk_full_bytes(options->upload_limit);
    link->host = strdup(options->host);
    link->port = options->port;
    link->agent_pem_path = strdup(options->agent_pem_path);
    link->ca_pem_path = strdup(options->ca_pem_path);
    link->shipping = options->shipping;
    link->restoring = options->restoring;
    link->tick = options->tick;
    link->tick_context = options->tick_context;
    link->tick_ns = options->tick_ns;
    link->backoff.cap_ms = options->reconnect_max_ms;
    link->silence_ns =
        HF_NS_PER_MS * (int64_t)(options->silence_ms ? options->silence_ms : HF_LINK_SILENCE_MS);
    link->sending = hf_queue_new();
    hello_read_facts(&link->facts);

    int result = HF_ERR_NO_MEMORY;
    if (!link->host || !link->agent_pem_path || !link->ca_pem_path || !link->sending) {
        hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the connection");
        goto fail;
    }
    lws_set_log_level(LLL_ERR | LLL_WARN, emit_lws_line);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .user = link,
        .pt_serv_buf_size = 64 * 1024,
        .fd_limit_per_thread = 64, /* one connection, its resolver, the wake-up pipe */
        .protocols = link_protocols,
    };
    link->context = lws_create_context(&info);
    if (!link->context) {
        result = hf_error_set(error, HF_ERR_IO, 0, "can't start the event loop");
        goto fail;
    }
    result = link_read_credentials(link, error);
    if (result)
        goto fail;
    hf_queue_set_wake(link->sending, wake_loop, link->context);
    *out = link;
    return 0;
fail:
    link_free(link);
    return result;
}

void link_free(struct hf_link *link)
{
    if (!link)
        return;
    if (link->context)
        lws_context_destroy(link->context);
    transport_free(link->transport);
    tls_client_free(link->credentials);
    outgoing_reset(&link->outgoing);
    if (link->sending)
        hf_queue_free(link->sending, release_message);
    free(link->host);
    free(link->agent_pem_path);
    free(link->ca_pem_path);
    free(link);
}

void link_run(struct hf_link *link)
{
    link_start_timers(link);
    /* After link_stop the loop goes on until the connection has closed behind its GOAWAY. */
    while (!atomic_load(&link->stopping) || link->wsi)
        lws_service(link->context, 0);
    link_stop_timers(link);
}

void link_stop(struct hf_link *link)
{
    atomic_store(&link->stopping, true);
    lws_cancel_service(link->context);
}

static int queue_frame(struct hf_link *link, uint64_t connection, const struct hf_frame *frame,
                       enum hf_link_lane lane)
{
    if (connection == 0 || atomic_load(&link->open_connection) != connection)
        return HF_ERR_CLOSED;
    struct hf_message *message;
    int result = message_new(frame, connection, &message);
    if (result)
        return result;
    if (message->bulk) {
        message->urgent = lane == HF_LINK_URGENT;
        message->counter = &link->bulk_bytes[lane];
        atomic_fetch_add(message->counter, message->buf.size);
    }
    hf_queue_push(link->sending, &message->item);
    return 0;
}

int link_send(struct hf_link *link, uint64_t connection, const struct hf_frame *frame)
{
    return queue_frame(link, connection, frame, HF_LINK_BULK);
}

int link_send_urgent(struct hf_link *link, uint64_t connection, const struct hf_frame *frame)
{
    return queue_frame(link, connection, frame, HF_LINK_URGENT);
}

bool link_bulk_full(struct hf_link *link, enum hf_link_lane lane)
{
    if (atomic_load(&link->bulk_bytes[lane]) < link->bulk_full_bytes)
        return false;
    atomic_store(&link->room_wanted, true);
    /* Room made between the two lines above would otherwise go unnoticed. */
    return atomic_load(&link->bulk_bytes[lane]) >= link->bulk_full_bytes;
}

void link_renew(struct hf_link *link)
{
    atomic_store(&link->renewed, true);
    lws_cancel_service(link->context);
}

void link_drop(struct hf_link *link, uint64_t connection, const char *reason)
{
    hf_log_warning("hanging up to start over: %s", reason);
    atomic_store(&link->drop_connection, connection);
    lws_cancel_service(link->context);
}
