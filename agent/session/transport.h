/* One connection to the collector as bytes in and messages out, and the other way: TLS (tls.h) with
 * a WebSocket (websocket.h) inside. It knows no socket and no clock; whoever has the socket gives
 * what came and sends what is outgoing. An hf_transport belongs to one thread. */
#ifndef HF_AGENT_SESSION_TRANSPORT_H
#define HF_AGENT_SESSION_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/session/tls.h"
#include "common/buf.h"
#include "common/error.h"

struct hf_transport;

enum hf_transport_event {
    HF_TRANSPORT_NOTHING = 0, /* all that was given is used up */
    HF_TRANSPORT_OPENED =
        1, /* the collector is verified and took the session: messages may be sent */
    HF_TRANSPORT_MESSAGE = 2, /* one is whole: transport_message */
    HF_TRANSPORT_CLOSED =
        3 /* the peer closes: transport_reason; transport_close, send what is outgoing, hang up */
};

/* How many bytes transport_send needs in front of a message. */
#define HF_TRANSPORT_HEADROOM_BYTES 14u

/* For host:port; the first bytes are outgoing at once. credentials and host must outlive it.
 * HF_ERR_NO_MEMORY, HF_ERR_INVALID (host). */
int transport_new(struct hf_tls_client *credentials, const char *host, uint16_t port,
                  struct hf_transport **out, struct hf_error *error);
void transport_free(struct hf_transport *transport);

/* Give what came; not copied, it must stay until transport_next said HF_TRANSPORT_NOTHING or
 * failed. */
void transport_give(struct hf_transport *transport, const void *data, size_t size);
/* Go on to the next event. An error ends the connection (HF_ERR_DENIED: a certificate;
 * HF_ERR_CLOSED, HF_ERR_PROTOCOL, HF_ERR_LIMIT, HF_ERR_NO_MEMORY); something may be outgoing even
 * then, an alert. HF_ERR_LIMIT also when what is outgoing has passed two frames of the largest
 * size: the peer makes us answer and doesn't read. */
int transport_next(struct hf_transport *transport, enum hf_transport_event *event,
                   struct hf_error *error);
/* Of HF_TRANSPORT_MESSAGE: the caller owns it from now on. */
struct hf_buf transport_message(struct hf_transport *transport);
/* Of HF_TRANSPORT_CLOSED: what the peer said why; until the next call, may be empty. */
struct hf_bytes transport_reason(const struct hf_transport *transport);

/* All append to what is outgoing. Errors as of tls_write, HF_ERR_CLOSED after transport_close. data
 * is masked in place and HF_TRANSPORT_HEADROOM_BYTES before it are written to: never send it twice.
 */
int transport_send(struct hf_transport *transport, uint8_t *data, size_t size,
                   struct hf_error *error);
int transport_ping(struct hf_transport *transport, struct hf_error *error);
/* Nothing may be sent after it; later calls do nothing. */
int transport_close(struct hf_transport *transport, struct hf_error *error);
bool transport_is_closed(const struct hf_transport *transport); /* by transport_close */

struct hf_bytes transport_outgoing(const struct hf_transport *transport);
void transport_sent(struct hf_transport *transport, size_t size); /* its first size bytes */

#endif
