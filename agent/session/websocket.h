/* A client's end of a WebSocket (RFC 6455, HTTP/1.1, no extensions) as bytes in and bytes out; it
 * knows no socket. It is ours because the library's client takes payload apart byte by byte, both
 * ways, at a tenth of what TLS carries. Functions with a loop over payload go eight bytes at a time
 * or copy whole runs.
 *
 * Nothing here allocates but a message that comes in, and that only as far as its frames announce
 * and the limit allows. */
#ifndef HF_AGENT_SESSION_WEBSOCKET_H
#define HF_AGENT_SESSION_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

enum hf_websocket_opcode {
    HF_WEBSOCKET_CONTINUATION = 0,
    HF_WEBSOCKET_TEXT = 1,
    HF_WEBSOCKET_BINARY = 2,
    HF_WEBSOCKET_CLOSE = 8,
    HF_WEBSOCKET_PING = 9,
    HF_WEBSOCKET_PONG = 10
};

#define HF_WEBSOCKET_KEY_BYTES      25u  /* 16 random bytes in base64, NUL */
#define HF_WEBSOCKET_HEAD_BYTES     14u  /* the longest head of a frame that a client sends */
#define HF_WEBSOCKET_CONTROL_BYTES  125u /* the longest payload of a control frame */
#define HF_WEBSOCKET_RESPONSE_BYTES 4096u

/* --- opening (section 4) --- */

/* Append the request for path on host (a name or an address) to out; key (a new one) is what
 * websocket_response wants. HF_ERR_NO_MEMORY. */
int websocket_request(const char *host, uint16_t port, const char *path, const char *subprotocol,
                      char key[HF_WEBSOCKET_KEY_BYTES], struct hf_buf *out);

/* Look at what came back so far. 0: the session is open, and the first *used bytes were the
 * response. HF_ERR_AGAIN: it isn't whole yet. HF_ERR_PROTOCOL: it is over
 * HF_WEBSOCKET_RESPONSE_BYTES, or no acceptance of this request; the error says what it is. */
int websocket_response(struct hf_bytes in, const char key[HF_WEBSOCKET_KEY_BYTES],
                       const char *subprotocol, size_t *used, struct hf_error *error);

/* --- sending --- */

/* Write the head of a final, masked frame with size bytes of payload in front of data and mask the
 * payload in place, with a mask that is new and random (section 5.3). There must be room for
 * HF_WEBSOCKET_HEAD_BYTES before data. Returns how many bytes the head took. */
size_t websocket_frame(enum hf_websocket_opcode opcode, uint8_t *data, size_t size);

/* --- receiving --- */

enum hf_websocket_event {
    HF_WEBSOCKET_NOTHING = 0, /* more bytes are needed */
    HF_WEBSOCKET_MESSAGE = 1, /* a binary message is whole: reader.message; take it or clear it */
    HF_WEBSOCKET_PINGED = 2,  /* PONG with reader.control is wanted */
    HF_WEBSOCKET_PONGED = 3,
    HF_WEBSOCKET_CLOSED = 4 /* CLOSE: reader.control is empty or begins with a code of 2 bytes */
};

/* Plain data, all 0 but limit at the beginning. */
struct hf_websocket_reader {
    size_t limit;                                /* bytes of a message, all its frames together */
    struct hf_buf message;                       /* what is there of the present message */
    uint8_t control[HF_WEBSOCKET_CONTROL_BYTES]; /* payload of the last control frame */
    size_t control_size;
    uint8_t head[10];
    size_t head_size;
    uint64_t rest;   /* of the payload of the present frame */
    bool in_payload; /* of the frame in head */
    bool fragmented; /* a message has begun, and its last frame has not */
    bool broken;     /* an error was returned: what follows would be taken for what it isn't */
};

/* Take bytes from the front of *in, up to the next event or to the end. HF_ERR_PROTOCOL for what a
 * server may not send (masked, reserved, text, a long control frame, fragments out of order, a
 * CLOSE of one byte), HF_ERR_LIMIT, HF_ERR_NO_MEMORY; the connection is to be ended then, and all
 * later calls are HF_ERR_PROTOCOL. */
int websocket_take(struct hf_websocket_reader *reader, struct hf_bytes *in,
                   enum hf_websocket_event *event, struct hf_error *error);
/* Release what is held and begin anew; the limit stays. */
void websocket_reset(struct hf_websocket_reader *reader);

#endif
