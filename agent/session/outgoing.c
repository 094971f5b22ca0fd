#include "agent/session/outgoing.h"

#include <stdlib.h>
#include <string.h>

/* A frame encoded with sequence number 0 begins with its array header, its type and one byte 0. */
#define PREFIX_BYTES 3u

int message_new(const struct hf_frame *frame, uint64_t connection, struct hf_message **out)
{
    struct hf_message *message = calloc(1, sizeof(*message));
    if (!message)
        return HF_ERR_NO_MEMORY;
    message->connection = connection;
    message->bulk = proto_frame_is_bulk(frame->type);
    message->offset = HF_MESSAGE_HEADROOM_BYTES;
    struct hf_frame numbered = *frame;
    numbered.seq = 0;
    int result = hf_buf_extend(&message->buf, HF_MESSAGE_HEADROOM_BYTES, NULL);
    if (!result)
        result = proto_encode(&numbered, &message->buf);
    if (!result && (message_size(message) < PREFIX_BYTES || message_data(message)[2] != 0 ||
                    message_size(message) + sizeof(uint64_t) > HF_FRAME_MAX_BYTES))
        result = HF_ERR_LIMIT;
    if (result) {
        message_free(message);
        return result;
    }
    *out = message;
    return 0;
}

void message_free(struct hf_message *message)
{
    if (!message)
        return;
    if (message->counter)
        atomic_fetch_sub(message->counter, message->buf.size);
    hf_buf_free(&message->buf);
    free(message);
}

/* Replace the sequence number 0 by seq in msgpack's shortest form. */
static void message_number(struct hf_message *message, uint64_t seq)
{
    const uint8_t *old = message_data(message);
    uint8_t prefix[PREFIX_BYTES + sizeof(uint64_t)] = {old[0], old[1]};
    size_t size = 2;
    unsigned bytes;
    if (seq < 0x80) {
        prefix[size++] = (uint8_t)seq;
        bytes = 0;
    } else if (seq <= UINT8_MAX) {
        prefix[size++] = 0xcc;
        bytes = 1;
    } else if (seq <= UINT16_MAX) {
        prefix[size++] = 0xcd;
        bytes = 2;
    } else if (seq <= UINT32_MAX) {
        prefix[size++] = 0xce;
        bytes = 4;
    } else {
        prefix[size++] = 0xcf;
        bytes = 8;
    }
    for (unsigned i = bytes; i > 0; i--)
        prefix[size++] = (uint8_t)(seq >> (8 * (i - 1)));
    message->offset -= size - PREFIX_BYTES;
    memcpy(message_data(message), prefix, size);
}

void outgoing_init(struct hf_outgoing *outgoing)
{
    *outgoing = (struct hf_outgoing){0};
    outgoing->control_last = &outgoing->control_first;
    outgoing->urgent_last = &outgoing->urgent_first;
    outgoing->bulk_last = &outgoing->bulk_first;
}

static void release_all(struct hf_message *message)
{
    while (message) {
        struct hf_message *next = message->next;
        message_free(message);
        message = next;
    }
}

void outgoing_reset(struct hf_outgoing *outgoing)
{
    struct hf_pace pace = outgoing->pace; /* a new connection is no new allowance */
    release_all(outgoing->control_first);
    release_all(outgoing->urgent_first);
    release_all(outgoing->bulk_first);
    outgoing_init(outgoing);
    outgoing->pace = pace;
}

void outgoing_push(struct hf_outgoing *outgoing, struct hf_message *message)
{
    struct hf_message ***last = !message->bulk    ? &outgoing->control_last
                                : message->urgent ? &outgoing->urgent_last
                                                  : &outgoing->bulk_last;
    message->next = NULL;
    **last = message;
    *last = &message->next;
}

void outgoing_grant(struct hf_outgoing *outgoing, uint64_t total_bytes)
{
    if (total_bytes > outgoing->credit_bytes)
        outgoing->credit_bytes = total_bytes;
}

/* What the message will cost once it is numbered. */
static uint64_t message_cost(const struct hf_outgoing *outgoing, const struct hf_message *message)
{
    uint64_t seq = outgoing->frames + 1;
    size_t extra = seq < 0x80          ? 0
                   : seq <= UINT8_MAX  ? 1
                   : seq <= UINT16_MAX ? 2
                   : seq <= UINT32_MAX ? 4
                                       : 8;
    return message_size(message) + extra;
}

/* The next of all bulk. What is small does not slip past it: it would wait for ever. */
static struct hf_message *next_bulk(const struct hf_outgoing *outgoing)
{
    return outgoing->urgent_first ? outgoing->urgent_first : outgoing->bulk_first;
}

int64_t outgoing_wait_ns(const struct hf_outgoing *outgoing, int64_t now_ns)
{
    const struct hf_message *bulk = next_bulk(outgoing);
    if (outgoing->control_first)
        return 0;
    /* sent_bytes never passes credit_bytes, so the difference can't wrap. */
    if (!bulk || message_cost(outgoing, bulk) > outgoing->credit_bytes - outgoing->sent_bytes)
        return INT64_MAX;
    return pace_wait_ns(&outgoing->pace, message_size(bulk), now_ns);
}

bool outgoing_ready(const struct hf_outgoing *outgoing, int64_t now_ns)
{
    return outgoing_wait_ns(outgoing, now_ns) == 0;
}

static struct hf_message *take_first(struct hf_message **first, struct hf_message ***last)
{
    struct hf_message *message = *first;
    *first = message->next;
    if (!*first)
        *last = first;
    message->next = NULL;
    return message;
}

struct hf_message *outgoing_take(struct hf_outgoing *outgoing, int64_t now_ns)
{
    struct hf_message *message;
    if (!outgoing_ready(outgoing, now_ns))
        return NULL;
    if (outgoing->control_first)
        message = take_first(&outgoing->control_first, &outgoing->control_last);
    else if (outgoing->urgent_first)
        message = take_first(&outgoing->urgent_first, &outgoing->urgent_last);
    else
        message = take_first(&outgoing->bulk_first, &outgoing->bulk_last);
    message_number(message, ++outgoing->frames);
    if (message->bulk) {
        outgoing->sent_bytes += message_size(message);
        pace_take(&outgoing->pace, message_size(message), now_ns);
    }
    return message;
}
