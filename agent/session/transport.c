#include "agent/session/transport.h"

#include <stdlib.h>
#include <string.h>

#include "agent/session/websocket.h"
#include "proto/frame.h"

#define READ_BYTES   16384u /* what TLS carries in one record */
#define UNREAD_BYTES 4096u  /* a PONG behind that much waits, and only the last PING counts */
#define CLOSE_NORMAL 1000u  /* RFC 6455, section 7.4.1 */
/* The library answers on its own, to KeyUpdate for one: that must end somewhere. */
#define OUTGOING_MAX_BYTES (2u * HF_FRAME_MAX_BYTES)

_Static_assert(HF_TRANSPORT_HEADROOM_BYTES >= HF_WEBSOCKET_HEAD_BYTES, "a head needs its room");

struct hf_transport {
    struct hf_tls *tls;
    const char *host;
    uint16_t port;
    bool handshaken, opened, closed;
    char key[HF_WEBSOCKET_KEY_BYTES];
    struct hf_buf response; /* to the request, and what came with it */
    struct hf_bytes plain;  /* decrypted, not yet taken: in response or in buffer */
    struct hf_websocket_reader reader;
    bool pong_due; /* with what follows, once what is outgoing has gone */
    uint8_t pong[HF_WEBSOCKET_CONTROL_BYTES];
    size_t pong_size;
    uint8_t buffer[READ_BYTES];
};

int transport_new(struct hf_tls_client *credentials, const char *host, uint16_t port,
                  struct hf_transport **out, struct hf_error *error)
{
    struct hf_transport *transport = calloc(1, sizeof(*transport));
    if (!transport)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "out of memory");
    transport->host = host;
    transport->port = port;
    transport->reader.limit = HF_FRAME_MAX_BYTES;
    int result = tls_new(credentials, host, &transport->tls, error);
    if (!result)
        result = tls_handshake(transport->tls, error);
    if (result != HF_ERR_AGAIN) { /* it can't be done before anything came */
        transport_free(transport);
        return result ? result : hf_error_set(error, HF_ERR_PROTOCOL, 0, "TLS failed");
    }
    *out = transport;
    return 0;
}

void transport_free(struct hf_transport *transport)
{
    if (!transport)
        return;
    tls_free(transport->tls);
    hf_buf_free(&transport->response);
    websocket_reset(&transport->reader);
    free(transport);
}

void transport_give(struct hf_transport *transport, const void *data, size_t size)
{
    tls_give(transport->tls, data, size);
}

static int send_frame(struct hf_transport *transport, enum hf_websocket_opcode opcode,
                      uint8_t *data, size_t size, struct hf_error *error)
{
    size_t head = websocket_frame(opcode, data, size);
    return tls_write(transport->tls, data - head, head + size, error);
}

static int send_control(struct hf_transport *transport, enum hf_websocket_opcode opcode,
                        const void *data, size_t size, struct hf_error *error)
{
    uint8_t frame[HF_WEBSOCKET_HEAD_BYTES + HF_WEBSOCKET_CONTROL_BYTES];
    memcpy(frame + HF_WEBSOCKET_HEAD_BYTES, data, size);
    return send_frame(transport, opcode, frame + HF_WEBSOCKET_HEAD_BYTES, size, error);
}

/* --- what comes in --- */

static int shake_hands(struct hf_transport *transport, struct hf_error *error)
{
    struct hf_buf request = {0};
    int result = tls_handshake(transport->tls, error);
    if (result)
        return result;
    transport->handshaken = true;
    result = websocket_request(transport->host, transport->port, HF_PROTO_PATH,
                               HF_PROTO_SUBPROTOCOL, transport->key, &request);
    if (result)
        hf_error_set(error, result, 0, "out of memory");
    else
        result = tls_write(transport->tls, request.data, request.size, error);
    hf_buf_free(&request);
    return result;
}

static int read_plain(struct hf_transport *transport, struct hf_error *error)
{
    size_t got = 0;
    if (transport->opened)
        hf_buf_free(&transport->response);
    int result =
        tls_read(transport->tls, transport->buffer, sizeof(transport->buffer), &got, error);
    transport->plain = (struct hf_bytes){transport->buffer, got};
    return result;
}

/* Take what was read as more of the response. HF_ERR_AGAIN when it isn't whole. */
static int take_response(struct hf_transport *transport, struct hf_error *error)
{
    size_t used = 0;
    int result = hf_buf_append(&transport->response, transport->plain.data, transport->plain.size);
    transport->plain = (struct hf_bytes){0};
    if (result)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "out of memory");
    result =
        websocket_response((struct hf_bytes){transport->response.data, transport->response.size},
                           transport->key, HF_PROTO_SUBPROTOCOL, &used, error);
    if (result)
        return result;
    transport->opened = true;
    transport->plain =
        (struct hf_bytes){transport->response.data + used, transport->response.size - used};
    return 0;
}

static int send_pong(struct hf_transport *transport, struct hf_error *error)
{
    if (!transport->pong_due || transport->closed ||
        transport_outgoing(transport).size >= UNREAD_BYTES)
        return 0;
    transport->pong_due = false;
    return send_control(transport, HF_WEBSOCKET_PONG, transport->pong, transport->pong_size, error);
}

/* RFC 6455, section 5.5.3: of several PINGs only the last needs an answer. */
static int on_ping(struct hf_transport *transport, struct hf_error *error)
{
    const struct hf_websocket_reader *reader = &transport->reader;
    memcpy(transport->pong, reader->control, reader->control_size);
    transport->pong_size = reader->control_size;
    transport->pong_due = true;
    return send_pong(transport, error);
}

/* The next event of the WebSocket; what concerns only it is answered here. */
static int take_frames(struct hf_transport *transport, enum hf_transport_event *event,
                       struct hf_error *error)
{
    enum hf_websocket_event seen;
    int result = websocket_take(&transport->reader, &transport->plain, &seen, error);
    if (result)
        return result;
    if (seen == HF_WEBSOCKET_MESSAGE)
        *event = HF_TRANSPORT_MESSAGE;
    else if (seen == HF_WEBSOCKET_CLOSED)
        *event = HF_TRANSPORT_CLOSED;
    else if (seen == HF_WEBSOCKET_PINGED)
        result = on_ping(transport, error);
    return result;
}

static int step(struct hf_transport *transport, enum hf_transport_event *event,
                struct hf_error *error)
{
    if (!transport->handshaken)
        return shake_hands(transport, error);
    if (transport->plain.size == 0)
        return read_plain(transport, error);
    if (transport->opened)
        return take_frames(transport, event, error);
    int result = take_response(transport, error);
    if (!result)
        *event = HF_TRANSPORT_OPENED;
    return result == HF_ERR_AGAIN ? 0 : result;
}

int transport_next(struct hf_transport *transport, enum hf_transport_event *event,
                   struct hf_error *error)
{
    int result = 0;
    *event = HF_TRANSPORT_NOTHING;
    while (!result && *event == HF_TRANSPORT_NOTHING)
        result = step(transport, event, error);
    if ((!result || result == HF_ERR_AGAIN) &&
        transport_outgoing(transport).size > OUTGOING_MAX_BYTES)
        result = hf_error_set(error, HF_ERR_LIMIT, 0,
                              "it asks for answers without end and does not read them");
    return result == HF_ERR_AGAIN ? 0 : result;
}

struct hf_buf transport_message(struct hf_transport *transport)
{
    struct hf_buf message = transport->reader.message;
    transport->reader.message = (struct hf_buf){0};
    return message;
}

struct hf_bytes transport_reason(const struct hf_transport *transport)
{
    const struct hf_websocket_reader *reader = &transport->reader;
    size_t code = reader->control_size < 2 ? reader->control_size : 2;
    return (struct hf_bytes){reader->control + code, reader->control_size - code};
}

/* --- what goes out --- */

int transport_send(struct hf_transport *transport, uint8_t *data, size_t size,
                   struct hf_error *error)
{
    if (transport->closed)
        return hf_error_set(error, HF_ERR_CLOSED, 0, "the session is closed");
    return send_frame(transport, HF_WEBSOCKET_BINARY, data, size, error);
}

int transport_ping(struct hf_transport *transport, struct hf_error *error)
{
    return transport->closed ? 0 : send_control(transport, HF_WEBSOCKET_PING, "", 0, error);
}

int transport_close(struct hf_transport *transport, struct hf_error *error)
{
    static const uint8_t code[] = {CLOSE_NORMAL >> 8, CLOSE_NORMAL & 0xffu};
    if (transport->closed || !transport->opened)
        return 0;
    transport->closed = true;
    int result = send_control(transport, HF_WEBSOCKET_CLOSE, code, sizeof(code), error);
    if (!result)
        tls_finish(transport->tls);
    return result;
}

bool transport_is_closed(const struct hf_transport *transport)
{
    return transport->closed;
}

struct hf_bytes transport_outgoing(const struct hf_transport *transport)
{
    return tls_outgoing(transport->tls);
}

void transport_sent(struct hf_transport *transport, size_t size)
{
    tls_sent(transport->tls, size);
    send_pong(transport, NULL); /* what goes wrong will do so again with the next bytes */
}
