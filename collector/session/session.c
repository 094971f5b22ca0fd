#include "collector/session/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/net/listener.h"
#include "collector/net/loop.h"
#include "collector/session/connection.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

/* Over how long the fleet comes back after a stop: some seconds, and what its handshakes take. */
#define SHUTDOWN_SPREAD_MS 5000u
#define HANDSHAKE_MS       1u
#define PING_S             20u
/* A TLS record. The library keeps so much for every session. */
#define RECEIVE_BYTES 16384
/* One lives, another may be refused beside it, some may be ending: more is nobody's honest need. */
#define CONNECTIONS_PER_HOST 8u
/* Lines of the log about certificates that are refused, an address. */
#define REFUSALS_BURST      5u
#define REFUSALS_PER_MINUTE 1u

/* --- sending --- */

struct hf_ingest_reply *session_frame(enum hf_frame_type type)
{
    struct hf_ingest_reply *reply = calloc(1, sizeof *reply);
    if (reply) {
        reply->kind = HF_REPLY_FRAME;
        reply->frame.type = type;
    }
    return reply;
}

/* What a control frame that waits costs in memory, about: rows are counted as the page's limit. */
static size_t cost_of(const struct hf_ingest_reply *reply)
{
    bool page = reply->frame.type == HF_FRAME_LISTING || reply->frame.type == HF_FRAME_RESTORE_PAGE;
    return sizeof *reply + reply->memory.size + (page ? PAGE_BYTES : 0);
}

void session_send(struct hf_session *session, struct hf_ingest_reply *reply)
{
    bool bulk = reply->frame.type == HF_FRAME_CHUNKS;
    struct hf_ingest_reply **first = bulk ? &session->bulk_first : &session->control_first;
    struct hf_ingest_reply **last = bulk ? &session->bulk_last : &session->control_last;
    reply->next = NULL;
    if (*last) {
        (*last)->next = reply;
    } else {
        *first = reply;
    }
    *last = reply;
    if (!bulk) {
        reading_answer_queued(session, cost_of(reply));
    }
    lws_callback_on_writable(session->wsi);
}

static struct hf_ingest_reply *take_next(struct hf_session *session)
{
    struct hf_ingest_reply *reply = session->control_first;
    if (reply) {
        session->control_first = reply->next;
        session->control_last = reply->next ? session->control_last : NULL;
        reading_answer_sent(session, cost_of(reply));
        return reply;
    }
    reply = session->bulk_first;
    if (reply) {
        session->bulk_first = reply->next;
        session->bulk_last = reply->next ? session->bulk_last : NULL;
    }
    return reply;
}

static int write_ping(struct hf_session *session)
{
    /* With something in it: the library does not tell of an answer that is empty. */
    uint8_t ping[LWS_PRE + 1];
    ping[LWS_PRE] = 'p';
    session->ping = PING_SENT;
    if (lws_write(session->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0) {
        return -1;
    }
    lws_callback_on_writable(session->wsi);
    return 0;
}

static int write_next(struct hf_session *session)
{
    if (session->ping == PING_DUE) {
        return write_ping(session);
    }
    struct hf_ingest_reply *reply = take_next(session);
    if (!reply && session->state == SESSION_CLOSING) {
        /* With a reason the library waits for the other side's close, reading on: a socket closed
         * at once, with data unread, resets the connection, and GOAWAY is lost with it. */
        lws_close_reason(session->wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    if (!reply) {
        return 0;
    }
    /* One buffer serves all: what does not fit the socket the library copies. */
    struct hf_buf *outgoing = &session->sessions->outgoing;
    reply->frame.seq = ++session->sent_seq;
    hf_buf_clear(outgoing);
    int rc = hf_buf_extend(outgoing, LWS_PRE, NULL);
    rc = rc == HF_OK ? proto_encode(&reply->frame, outgoing) : rc;
    size_t restore_bytes = reply->bytes; /* of restore's frames alone */
    enum hf_frame_type type = reply->frame.type;
    reply->frame.owned = NULL;
    ingest_reply_free(reply);
    if (rc != HF_OK) {
        hf_log_error("A %s frame for %s can't be encoded (%s)", proto_frame_name(type),
                     session->host_id, hf_error_name((enum hf_err)rc));
        return -1;
    }
    size_t size = outgoing->size - LWS_PRE;
    if (lws_write(session->wsi, outgoing->data + LWS_PRE, size, LWS_WRITE_BINARY) < (int)size) {
        return -1;
    }
    if (restore_bytes > 0 && session->restore) {
        rounds_heard(session); /* it reads */
        restore_sent(session->restore, restore_bytes);
    }
    if (session->control_first || session->bulk_first || session->state == SESSION_CLOSING) {
        lws_callback_on_writable(session->wsi);
    }
    return 0;
}

/* --- ending --- */

static void drop_incoming(struct hf_session *session)
{
    reading_message_over(session, session->incoming.size);
    hf_buf_free(&session->incoming);
}

void session_goaway(struct hf_session *session, enum hf_wire_code code, uint32_t retry_after_ms,
                    const char *message)
{
    if (session->gone || session->state == SESSION_CLOSING) {
        return;
    }
    session_close_parts(session);
    session->state = SESSION_CLOSING;
    drop_incoming(session);
    /* What still comes is read and dropped. */
    reading_resume(session, (enum session_hold) ~0u);
    rounds_expect_end(session);
    struct hf_ingest_reply *reply = session_frame(HF_FRAME_GOAWAY);
    size_t length = strlen(message);
    length = length < HF_TEXT_MAX_BYTES ? length : HF_TEXT_MAX_BYTES;
    if (reply && hf_buf_append(&reply->memory, message, length) == HF_OK) {
        reply->frame.refusal = (struct hf_refusal){.code = code,
                                                   .retry_after_ms = retry_after_ms,
                                                   .message = {reply->memory.data, length}};
        session_send(session, reply);
    } else {
        ingest_reply_free(reply);
        lws_callback_on_writable(session->wsi);
    }
}

void session_refuse(struct hf_session *session, enum hf_wire_code code, const char *message)
{
    char detail[400];
    hub_count_refusal(session->sessions->options.hub, code);
    hf_log_warning("Session of %s from %s ends (%s): %s", session->host_id, session->peer,
                   proto_code_name(code), message);
    snprintf(detail, sizeof detail, "%s from %s: %s", proto_code_name(code), session->peer,
             message);
    refused_audit(session->sessions, session->host_id, "session.refused", detail);
    session_goaway(session, code, 30000, message);
}

static void free_replies(struct hf_ingest_reply *reply)
{
    while (reply) {
        struct hf_ingest_reply *next = reply->next;
        ingest_reply_free(reply);
        reply = next;
    }
}

void session_free_if_done(struct hf_session *session)
{
    if (!session->gone || __atomic_load_n(&session->pending_work, __ATOMIC_SEQ_CST) > 0) {
        return;
    }
    if (session->previous) {
        session->previous->next = session->next;
    } else {
        session->sessions->all = session->next;
    }
    if (session->next) {
        session->next->previous = session->previous;
    }
    hf_buf_free(&session->incoming);
    free(session);
}

static void on_closed(struct hf_session *session)
{
    session_close_parts(session);
    free_replies(session->control_first);
    free_replies(session->bulk_first);
    session->control_first = session->control_last = NULL;
    session->bulk_first = session->bulk_last = NULL;
    session->gone = true;
    session->wsi = NULL;
    session->sessions->count--;
    hub_connect(session->sessions->options.hub, session->host_id, -1);
    drop_incoming(session);
    session_free_if_done(session);
}

/* --- work on workers --- */

static void work_back(void *arg)
{
    struct session_work *work = arg;
    struct hf_session *session = work->session;
    __atomic_sub_fetch(&session->pending_work, 1, __ATOMIC_SEQ_CST);
    work->done(work);
    session_free_if_done(session);
}

static void work_on_worker(void *arg, struct hf_catalog_reader *catalog,
                           struct hf_store_reader *store)
{
    struct session_work *work = arg;
    (void)store;
    work->work(work, catalog);
    loop_post(work->session->sessions->options.loop, work_back, work);
}

int session_run(struct hf_session *session, struct session_work *work)
{
    work->session = session;
    __atomic_add_fetch(&session->pending_work, 1, __ATOMIC_SEQ_CST);
    int rc = ingest_run(session->sessions->options.ingest, work_on_worker, work);
    if (rc != HF_OK) {
        __atomic_sub_fetch(&session->pending_work, 1, __ATOMIC_SEQ_CST);
    }
    return rc;
}

/* --- libwebsockets --- */

struct slot {
    struct hf_session *session;
};

/* The upgrade: the last moment before a session, and the second time that the certificate is
 * judged. */
static int filter(struct hf_sessions *sessions, struct lws *wsi)
{
    struct tls_peer peer;
    char path[64] = "";
    char address[64] = "";
    loop_peer_address(wsi, address, sizeof address);
    if (sessions->shutting_down || sessions->count >= sessions->options.sessions_max) {
        return -1;
    }
    if (!tls_peer(wsi, &peer) || !peer.verified || peer.not_after_ns <= hf_clock_now_ns()) {
        refused_certificate(
            sessions, address,
            &(struct tls_refusal){.refused = true, .reason = "its certificate is not valid"});
        return -1;
    }
    if (hub_connections(sessions->options.hub, peer.common_name) >= CONNECTIONS_PER_HOST) {
        hub_count_refusal(sessions->options.hub, HF_WIRE_OVERLOADED);
        hf_log_warning("A connection of %s from %s is refused: it has %u already", peer.common_name,
                       address, CONNECTIONS_PER_HOST);
        return -1;
    }
    if (lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI) < 0 ||
        strcmp(path, HF_PROTO_PATH) != 0) {
        hf_log_warning("A connection of %s from %s is refused: it asks for '%s'", peer.common_name,
                       address, path);
        return -1;
    }
    return 0;
}

static int on_established(struct hf_sessions *sessions, struct lws *wsi, struct slot *slot)
{
    struct tls_peer peer;
    struct hf_session *session = calloc(1, sizeof *session);
    if (!session || !tls_peer(wsi, &peer) || !peer.verified) {
        free(session);
        return -1;
    }
    session->sessions = sessions;
    session->wsi = wsi;
    session->id = ++sessions->next_id;
    session->certificate_ends_ns = peer.not_after_ns;
    memcpy(session->host_id, peer.common_name, sizeof session->host_id);
    loop_peer_address(wsi, session->peer, sizeof session->peer);
    session->next = sessions->all;
    if (sessions->all) {
        sessions->all->previous = session;
    }
    sessions->all = session;
    sessions->count++;
    hub_connect(sessions->options.hub, session->host_id, 1);
    slot->session = session;
    session_admit(session);
    return 0;
}

static int on_receive(struct hf_session *session, struct lws *wsi, const void *in, size_t length)
{
    if (session->state == SESSION_CLOSING) {
        return 0; /* the agent hears GOAWAY and hangs up */
    }
    if (session->state == SESSION_ADMITTING) {
        return -1; /* reading is paused: nothing of an honest agent gets here */
    }
    if (length > HF_FRAME_MAX_BYTES - session->incoming.size ||
        lws_remaining_packet_payload(wsi) > HF_FRAME_MAX_BYTES - session->incoming.size - length) {
        session_refuse(session, HF_WIRE_TOO_LARGE, "A message is longer than 1 MiB");
        return 0;
    }
    if (!lws_frame_is_binary(wsi)) {
        session_refuse(session, HF_WIRE_MALFORMED, "A message is text; frames are binary");
        return 0;
    }
    /* Memory is taken as it fills, never for what a header merely announces. */
    if (hf_buf_append(&session->incoming, in, length) != HF_OK) {
        return -1;
    }
    rounds_heard(session);
    reading_grew(session, length);
    if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0) {
        session_on_message(session);
    }
    return 0;
}

static int websocket_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
                              void *in, size_t length)
{
    struct slot *slot = user;
    struct hf_sessions *sessions =
        wsi && lws_get_protocol(wsi) ? lws_get_protocol(wsi)->user : NULL;
    switch (reason) {
    case LWS_CALLBACK_PROTOCOL_INIT:
        rounds_start(sessions);
        return 0;
    case LWS_CALLBACK_PROTOCOL_DESTROY:
        rounds_stop(sessions);
        reading_stop(sessions);
        frames_stop(sessions);
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        listener_settled(wsi);
        return sessions ? filter(sessions, wsi) : -1;
    case LWS_CALLBACK_ESTABLISHED:
        return sessions ? on_established(sessions, wsi, slot) : -1;
    case LWS_CALLBACK_RECEIVE:
        return slot->session ? on_receive(slot->session, wsi, in, length) : -1;
    case LWS_CALLBACK_RECEIVE_PONG:
        if (slot->session) {
            rounds_heard(slot->session);
        }
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return slot->session ? write_next(slot->session) : -1;
    case LWS_CALLBACK_CLOSED:
        if (slot->session) {
            on_closed(slot->session);
            slot->session = NULL;
        }
        return 0;
    default:
        return 0;
    }
}

/* Plain HTTP has no business here; its callback is where the library asks about certificates. */
static int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                         size_t length)
{
    int result = 0;
    struct tls_refusal refusal;
    if (listener_callback(wsi, reason, user, in, length, &result, &refusal)) {
        const struct lws_protocols *protocol = wsi ? lws_get_protocol(wsi) : NULL;
        if (refusal.refused && protocol && protocol->user) {
            char address[64] = "";
            loop_peer_address(wsi, address, sizeof address);
            refused_certificate(protocol->user, address, &refusal);
        }
        return result;
    }
    if (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION) {
        return -1; /* a WebSocket without our subprotocol */
    }
    if (reason == LWS_CALLBACK_HTTP) {
        lws_return_http_status(wsi, HTTP_STATUS_NOT_FOUND, NULL);
        return -1;
    }
    return 0;
}

int sessions_new(const struct hf_sessions_options *options, struct hf_sessions **out,
                 struct hf_error *error)
{
    struct hf_sessions *sessions = calloc(1, sizeof *sessions);
    if (!sessions) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for sessions");
    }
    pthread_mutex_init(&sessions->mail_lock, NULL);
    sessions->options = *options;
    sessions->options.ping_s = options->ping_s > 0 ? options->ping_s : PING_S;
    sessions->refusals = hf_rate_limit_new(REFUSALS_BURST, REFUSALS_PER_MINUTE);
    if (!sessions->refusals) {
        free(sessions);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for sessions");
    }
    sessions->protocols[0] =
        (struct lws_protocols){.name = "http", .callback = http_callback, .user = sessions};
    sessions->protocols[1] = (struct lws_protocols){
        .name = HF_PROTO_SUBPROTOCOL,
        .callback = websocket_callback,
        .per_session_data_size = sizeof(struct slot),
        .rx_buffer_size = RECEIVE_BYTES,
        .user = sessions,
    };
    loop_after_round(options->loop, frames_wake_ingest, sessions);
    *out = sessions;
    return HF_OK;
}

const struct lws_protocols *sessions_protocols(const struct hf_sessions *sessions)
{
    return sessions->protocols;
}

void sessions_shut_down(struct hf_sessions *sessions)
{
    uint32_t spread_ms = SHUTDOWN_SPREAD_MS + sessions->count * HANDSHAKE_MS;
    sessions->shutting_down = true;
    for (struct hf_session *session = sessions->all, *next; session; session = next) {
        uint32_t random;
        next = session->next;
        hf_random(&random, sizeof random);
        session_goaway(session, HF_WIRE_SHUTDOWN, 200 + random % spread_ms,
                       "The collector is stopping");
    }
}

void sessions_free(struct hf_sessions *sessions)
{
    if (sessions) {
        while (sessions->all) {
            struct hf_session *session = sessions->all;
            __atomic_store_n(&session->pending_work, 0, __ATOMIC_SEQ_CST);
            /* Nothing is before the first, so freeing it moves `all` on.
             * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
            session->gone = true;
            session_free_if_done(session);
        }
        mail_drop(sessions);
        pthread_mutex_destroy(&sessions->mail_lock);
        hf_buf_free(&sessions->outgoing);
        hf_rate_limit_free(sessions->refusals);
        free(sessions);
    }
}

/* --- from other threads --- */

struct order {
    struct hf_sessions *sessions;
    char host_id[128];
    enum hf_wire_code code; /* 0: wake, or cancel `job` */
    uint64_t job;
    char message[256];
};

/* Those too that haven't said HELLO: they were let in by what was true before. */
static void close_all_of(struct hf_sessions *sessions, const char *host_id, enum hf_wire_code code,
                         const char *message)
{
    for (struct hf_session *session = sessions->all; session; session = session->next) {
        if (strcmp(session->host_id, host_id) == 0) {
            session_goaway(session, code, 60000, message);
        }
    }
}

static void carry_out(void *arg)
{
    struct order *order = arg;
    struct hf_session *session = hub_find(order->sessions->options.hub, order->host_id);
    if (order->code != 0) {
        close_all_of(order->sessions, order->host_id, order->code, order->message);
    } else if (session && session->restore && order->job != 0) {
        restore_cancel(session->restore, order->job);
    } else if (session && session->restore) {
        restore_wake(session->restore);
    }
    free(order);
}

static void give_order(struct hf_sessions *sessions, const char *host_id, enum hf_wire_code code,
                       uint64_t job, const char *message)
{
    struct order *order = calloc(1, sizeof *order);
    if (!order) {
        return;
    }
    order->sessions = sessions;
    order->code = code;
    order->job = job;
    snprintf(order->host_id, sizeof order->host_id, "%s", host_id);
    snprintf(order->message, sizeof order->message, "%s", message);
    if (loop_post(sessions->options.loop, carry_out, order) != HF_OK) {
        free(order);
    }
}

void sessions_close_host(struct hf_sessions *sessions, const char *host_id, enum hf_wire_code code,
                         const char *message)
{
    give_order(sessions, host_id, code, 0, message);
}

void sessions_wake_host(struct hf_sessions *sessions, const char *host_id)
{
    give_order(sessions, host_id, (enum hf_wire_code)0, 0, "");
}

void sessions_cancel_job(struct hf_sessions *sessions, const char *host_id, uint64_t job)
{
    give_order(sessions, host_id, (enum hf_wire_code)0, job, "");
}
