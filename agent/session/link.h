/* The link: the agent's connection to its collector, from dialling to hang-up and over again.
 *
 * One thread (the loop thread, in link_run) owns sockets, timers and credit; it touches no file
 * and compresses nothing. Frames go out through link_send from any thread; frames that come in are
 * handed as events to the inbox of the thread whose business they are: `shipping` (what this host
 * protects) or `restoring`. Each connection has a number; events and messages carry it, and what
 * belongs to an earlier connection is dropped. */
#ifndef HF_AGENT_SESSION_LINK_H
#define HF_AGENT_SESSION_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/queue.h"
#include "proto/frame.h"

struct hf_link;

enum hf_link_event_kind {
    HF_LINK_OPENED = 1, /* WELCOME arrived: frames may be sent; frame and message are empty */
    HF_LINK_CLOSED = 2,
    HF_LINK_FRAME = 3,
    HF_LINK_ROOM = 4, /* bulk that waited has gone out (see link_bulk_full) */
    HF_LINK_WAKE = 5, /* for the owner of the inbox: look around; made by the owner itself */
    HF_LINK_STOP = 6
};

struct hf_link_event {
    struct hf_queue_item item;
    enum hf_link_event_kind kind;
    uint64_t connection;
    struct hf_link *link;  /* NULL unless kind is HF_LINK_FRAME */
    struct hf_buf message; /* the frame's bytes */
    struct hf_frame frame;
    uint8_t chunking[HF_CHUNKING_BYTES]; /* of HF_LINK_OPENED: as in WELCOME */
};

/* NULL when out of memory. */
struct hf_link_event *link_event_new(enum hf_link_event_kind kind, uint64_t connection);
void link_event_free(struct hf_link_event *event);
/* Hand event (NULL: nothing) to an inbox; freed when the inbox is closed. */
void link_post(struct hf_queue *inbox, struct hf_link_event *event);
void link_event_release(struct hf_queue_item *item); /* for hf_queue_free */

/* A collector that hears nothing either pings before that (proto/PROTOCOL.md): one of the two
 * does. */
#define HF_LINK_SILENCE_MS 40000u

struct hf_link_options {
    const char *host; /* the collector: name or address, as in its certificate */
    uint16_t port;
    const char *agent_pem_path, *ca_pem_path;
    struct hf_queue *shipping, *restoring; /* inboxes; outlive the link */
    void (*tick)(void *context);           /* called on the loop thread every tick_ns, or NULL */
    void *tick_context;
    int64_t tick_ns;
    uint64_t upload_limit;     /* bytes of bulk a second; 0: none */
    uint32_t reconnect_max_ms; /* the longest wait between tries; 0: HF_BACKOFF_CAP_MS */
    /* A connection on which the collector says nothing for that long, nor answers the ping that it
     * gets after five eighths of it, is given up; 0: HF_LINK_SILENCE_MS. */
    uint32_t silence_ms;
};

/* Reads the facts of HELLO (host name, system) and makes the event loop; connects only in link_run.
 * Strings are copied. */
int link_new(const struct hf_link_options *options, struct hf_link **out, struct hf_error *error);
void link_free(struct hf_link *link); /* after link_run returned and no thread uses it */

/* Serve until link_stop; the calling thread is the loop thread. */
void link_run(struct hf_link *link);
/* From any thread: say GOAWAY if connected, hang up and let link_run return. */
void link_stop(struct hf_link *link);

/* From any thread: encode and queue. HF_ERR_CLOSED when that connection is no longer open,
 * HF_ERR_LIMIT for a frame that is too large, HF_ERR_NO_MEMORY. Never blocks. */
int link_send(struct hf_link *link, uint64_t connection, const struct hf_frame *frame);

/* The same for bulk that goes ahead of all other bulk: that of what is small and precious. A
 * stream's frames go all this way or all the other. */
int link_send_urgent(struct hf_link *link, uint64_t connection, const struct hf_frame *frame);

enum hf_link_lane { HF_LINK_BULK = 0, HF_LINK_URGENT = 1 };
/* From any thread: whether so much waits that more should not be made now. When it says so, an
 * HF_LINK_ROOM event will come to the shipping inbox once there is room. */
bool link_bulk_full(struct hf_link *link, enum hf_link_lane lane);

/* From any thread: use the certificate as it is on disk now, from the next connection on; one that
 * is open is hung up and made anew at once. */
void link_renew(struct hf_link *link);
/* From any thread: the two ends disagree; hang up and connect again after the usual wait. */
void link_drop(struct hf_link *link, uint64_t connection, const char *reason);

#endif
