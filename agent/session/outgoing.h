/* Messages on their way out: encoded frames in the order in which the connection will carry them.
 * Control messages pass bulk ones, urgent bulk passes other bulk; bulk waits for credit and keeps
 * to a pace, control never does. The frame's sequence number is written only when a message is
 * taken, because that is when the order is settled.
 *
 * An hf_message may be made by any thread; an hf_outgoing belongs to the loop thread. */
#ifndef HF_AGENT_SESSION_OUTGOING_H
#define HF_AGENT_SESSION_OUTGOING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/session/pace.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/queue.h"
#include "proto/frame.h"

struct hf_message {
    struct hf_queue_item item;
    struct hf_message *next;
    uint64_t connection; /* which connection it is for; dropped on any other */
    bool bulk;
    bool urgent;   /* bulk of what is small and precious; set by who made it, before it is pushed */
    size_t offset; /* of the first byte to send in buf, at least HF_MESSAGE_HEADROOM_BYTES */
    atomic_size_t *counter; /* buf.size is taken off it when the message is freed; may be NULL */
    struct hf_buf buf;
};

/* In front of the frame: the longest sequence number, the longest head of a WebSocket's frame. */
#define HF_MESSAGE_HEADROOM_BYTES 64u

/* Encode frame (its seq is ignored). HF_ERR_LIMIT, HF_ERR_NO_MEMORY. */
int message_new(const struct hf_frame *frame, uint64_t connection, struct hf_message **out);
void message_free(struct hf_message *message);

struct hf_outgoing {
    struct hf_message *control_first, **control_last;
    struct hf_message *urgent_first, **urgent_last;
    struct hf_message *bulk_first, **bulk_last;
    struct hf_pace pace; /* of all bulk; the owner sets its rate, and it outlives outgoing_reset */
    uint64_t credit_bytes; /* running total that the collector granted */
    uint64_t sent_bytes;   /* running total of bulk bytes taken */
    uint64_t frames;       /* taken so far: the last sequence number */
};

/* Empty, with no credit and no limit. Holds pointers into itself: don't copy it. */
void outgoing_init(struct hf_outgoing *outgoing);
/* The same again; what was queued is released. */
void outgoing_reset(struct hf_outgoing *outgoing);
void outgoing_push(struct hf_outgoing *outgoing, struct hf_message *message);
/* A later CREDIT with a smaller total changes nothing: totals only grow. */
void outgoing_grant(struct hf_outgoing *outgoing, uint64_t total_bytes);
/* The next message that may be sent now (monotonic), its sequence number written; NULL when there
 * is none or only bulk that must wait. The caller owns it. */
struct hf_message *outgoing_take(struct hf_outgoing *outgoing, int64_t now_ns);
bool outgoing_ready(const struct hf_outgoing *outgoing, int64_t now_ns);
/* How long until there is a message that may be sent for all that is known now: 0 at once,
 * INT64_MAX when none is there or credit is missing. */
int64_t outgoing_wait_ns(const struct hf_outgoing *outgoing, int64_t now_ns);

static inline uint8_t *message_data(struct hf_message *message)
{
    return message->buf.data + message->offset;
}
static inline size_t message_size(const struct hf_message *message)
{
    return message->buf.size - message->offset;
}

#endif
