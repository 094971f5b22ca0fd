/* What link.c (the face to other threads), link_connection.c and link_frames.c (the loop thread)
 * share. */
#ifndef HF_AGENT_SESSION_LINK_PRIVATE_H
#define HF_AGENT_SESSION_LINK_PRIVATE_H

#include <libwebsockets.h>
#include <stdatomic.h>

#include "agent/session/backoff.h"
#include "agent/session/hello.h"
#include "agent/session/link.h"
#include "agent/session/outgoing.h"
#include "agent/session/transport.h"

#define LINK_REASON_BYTES 640

enum link_phase {
    LINK_WAITING = 0,    /* for the time of the next attempt */
    LINK_CONNECTING = 1, /* TCP, TLS, WebSocket handshake */
    LINK_GREETING = 2,   /* HELLO sent */
    LINK_OPEN = 3
};

struct hf_link {
    /* Constant after link_new. */
    char *host;
    uint16_t port;
    char *agent_pem_path, *ca_pem_path;
    struct hf_queue *shipping, *restoring;
    void (*tick)(void *context);
    void *tick_context;
    int64_t tick_ns;
    struct hf_hello_facts facts;
    size_t bulk_full_bytes;
    struct lws_context *context;
    struct hf_queue *sending; /* hf_message from any thread to the loop */

    /* Shared: read and written by any thread. */
    atomic_bool stopping;
    atomic_ullong open_connection; /* 0: none */
    atomic_bool renewed;           /* by link_renew: credentials are older */
    atomic_ullong drop_connection;
    atomic_size_t bulk_bytes[2]; /* by lane: encoded and not yet written */
    atomic_bool room_wanted;     /* somebody was told that bulk is full */
    atomic_size_t inbox_bytes;   /* received and not yet freed by its reader */

    /* The loop thread's own. */
    enum link_phase phase;
    struct hf_tls_client *credentials;
    int64_t certificate_ends_ns;    /* of credentials */
    struct lws *wsi;                /* the TCP connection */
    struct hf_transport *transport; /* once that stands */
    int64_t silence_ns;             /* how long it may last */
    int64_t heard_ns;               /* from the collector the last time; monotonic */
    bool pinged;                    /* since then */
    bool ping_due;                  /* at the next WRITEABLE */
    uint64_t connection;            /* number of the present attempt */
    struct hf_outgoing outgoing;
    struct hf_backoff backoff;
    uint32_t retry_after_ms;
    bool reconnect_at_once;
    bool hang_up; /* close after the control messages that wait */
    int64_t opened_at_ns;
    char reason[LINK_REASON_BYTES];  /* why this connection ends, as far as known */
    char said[2][LINK_REASON_BYTES]; /* the last reasons that were logged, the newest first: one
                                      * cause may be told in two ways by turns */
    unsigned said_again;             /* since one was */
    lws_sorted_usec_list_t timer_connect;  /* next attempt */
    lws_sorted_usec_list_t timer_watchdog; /* of an attempt that gives no sign */
    lws_sorted_usec_list_t timer_silence;  /* of an open connection */
    lws_sorted_usec_list_t timer_pace;     /* when bulk may go on */
    lws_sorted_usec_list_t timer_tick;
};

extern const struct lws_protocols link_protocols[];

/* link_connection.c; all on the loop thread. */
int link_read_credentials(struct hf_link *link, struct hf_error *error);
void link_start_timers(struct hf_link *link);
void link_stop_timers(struct hf_link *link);
/* Why this connection ends; the first reason is the cause, what follows are its consequences. */
void link_set_reason(struct hf_link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void link_forget_said(struct hf_link *link); /* what is logged next is news again */
/* Queue a frame of the loop thread's own. */
int link_queue_own(struct hf_link *link, const struct hf_frame *frame);
/* At once, or when the pace allows; credit that is missing will be told. */
void link_write_when_ready(struct hf_link *link);
/* From now on the connection is pinged when it is silent, and hung up when that doesn't help. */
void link_watch_silence(struct hf_link *link);

/* link_frames.c: deal with what came; -1 when that ends the connection. */
int link_on_event(struct hf_link *link, enum hf_transport_event event);

#endif
