/* One session and what its files share. Private to session/. */
#ifndef HF_COLLECTOR_SESSION_CONNECTION_H
#define HF_COLLECTOR_SESSION_CONNECTION_H

#include <pthread.h>

#include <libwebsockets.h>

#include "collector/ingest/ingest.h"
#include "collector/net/tls.h"
#include "collector/restore/restore.h"
#include "collector/session/session.h"
#include "common/rate_limit.h"

#define PAGE_BYTES (512u * 1024u) /* at most, of a LISTING or RESTORE_PAGE */

struct hf_sessions {
    struct hf_sessions_options options;
    struct lws_protocols protocols[3];
    uint64_t next_id;
    uint64_t incoming_bytes; /* of messages that are arriving, over all sessions */
    uint32_t count;
    uint32_t crowded; /* sessions held with HOLD_MEMORY */
    bool shutting_down;
    struct hf_buf outgoing;    /* for one write; LWS_PRE bytes first */
    pthread_mutex_t mail_lock; /* protects the mail: what other threads hand to sessions */
    struct hf_ingest_reply *mail_first, *mail_last;
    struct hf_session *all;         /* doubly linked, newest first */
    struct hf_rate_limit *refusals; /* of certificates, in the log, by address */
    uint32_t privileged;            /* sessions with privileged_ns */
    int64_t privilege_ns;           /* monotonic: when one was last given */
    bool wake_due, marks_wait;      /* ingest is to be told of frames; only of marks, in a moment */
    lws_sorted_usec_list_t crowd_timer, round_timer, marks_timer;
};

enum session_state {
    SESSION_ADMITTING, /* a worker asks the catalog */
    SESSION_GREETING,  /* HELLO is expected */
    SESSION_OPEN,
    SESSION_CLOSING /* GOAWAY is queued; nothing more is read */
};

/* Why nothing is read from a session now. */
enum session_hold {
    HOLD_ADMISSION = 1, /* nobody knows yet whether it is welcome */
    HOLD_MEMORY = 2,    /* all sessions together use what they may */
    HOLD_CONTROL = 4,   /* its control frames wait for their answers */
    HOLD_UNREAD = 8,    /* it does not read its answers */
    HOLD_RESTORE = 16   /* its restore's frames wait for workers */
};

enum session_ping { PING_NONE, PING_DUE, PING_SENT };

struct hf_session {
    struct hf_sessions *sessions;
    struct hf_session *previous, *next;
    struct lws *wsi;
    uint64_t id;
    enum session_state state;
    unsigned pending_work; /* calls that will come back to the loop; keeps the memory; atomic */
    bool gone;             /* the connection has ended */

    char host_id[64];
    char peer[64];
    uint64_t host_row;
    int64_t certificate_ends_ns;
    uint8_t instance[HF_INSTANCE_BYTES];
    uint8_t chunking[HF_CHUNKING_BYTES]; /* as WELCOME has it */
    bool registered;

    struct hf_buf incoming;   /* the message that is arriving */
    int64_t message_began_ns; /* monotonic; while incoming holds something */
    int64_t privileged_ns;    /* monotonic: since when it may end its message although memory is
                               * used up; 0: it may not */
    unsigned held;            /* enum session_hold, or'ed */
    uint64_t control_bytes;   /* of control frames in ingest */
    int64_t heard_ns;         /* monotonic: when the agent last gave a sign of life */
    int64_t deadline_ns;      /* monotonic: for its HELLO, or for the end after GOAWAY */
    enum session_ping ping;
    uint64_t received_seq, sent_seq;
    uint64_t bulk_received, bulk_released, credit_total, credit_sent;

    struct hf_ingest_session *ingest;
    struct hf_restore *restore;

    struct hf_ingest_reply *control_first, *control_last; /* to be sent, before bulk */
    struct hf_ingest_reply *bulk_first, *bulk_last;
    uint64_t unread_bytes; /* of control frames that wait to be sent, about */
};

/* session.c: sending and ending */
/* Queue a frame; takes the reply. */
void session_send(struct hf_session *session, struct hf_ingest_reply *reply);
struct hf_ingest_reply *session_frame(enum hf_frame_type type);
/* GOAWAY, then the end. */
void session_goaway(struct hf_session *session, enum hf_wire_code code, uint32_t retry_after_ms,
                    const char *message);
/* The same for a peer that breaks the protocol: counted, audited. */
void session_refuse(struct hf_session *session, enum hf_wire_code code, const char *message);
void session_free_if_done(struct hf_session *session);
/* Run work that ends in done on the loop; the session lives until then. */
struct session_work {
    struct hf_session *session;
    void (*work)(struct session_work *work, struct hf_catalog_reader *catalog);
    void (*done)(struct session_work *work); /* frees what is its own; session may be gone */
    struct hf_error error;
    int rc;
    struct hf_buf in, out;
    uint64_t about_seq; /* of the frame that asked for it */
};
int session_run(struct hf_session *session, struct session_work *work);

/* mail.c: from ingest's and restore's threads to sessions */
/* For ingest_session_open and restore_open; context is the session. */
void mail_deliver(void *context, struct hf_ingest_reply *reply);
/* What nobody will take any more. After the loop's end. */
void mail_drop(struct hf_sessions *sessions);

/* open.c: admission, HELLO, the end of a certificate */
void session_admit(struct hf_session *session);
void session_on_hello(struct hf_session *session, const struct hf_frame *frame);
void session_close_parts(struct hf_session *session); /* ingest, restore, hub */

/* frames.c */
void session_on_message(struct hf_session *session);
/* After each round of the loop; context is the sessions. */
void frames_wake_ingest(void *context);
void frames_stop(struct hf_sessions *sessions);

/* refused.c: who doesn't get in */
/* Write a refusal to the audit log: at most one entry a host and minute, so that nobody fills the
 * journal; the next says how many were left out. */
void refused_audit(struct hf_sessions *sessions, const char *host_id, const char *action,
                   const char *detail);
/* The TLS handshake of a connection from that address ends for its certificate. Counted; logged,
 * but not every time; audited when the certificate names a host and our authority signed it. */
void refused_certificate(struct hf_sessions *sessions, const char *address,
                         const struct tls_refusal *refusal);

/* credit.c */
void credit_begin(struct hf_session *session);
/* Bulk of size bytes arrived; false when it was not granted. */
bool credit_spend(struct hf_session *session, size_t size);
/* It has left memory. True when the agent should hear of credit_total. */
bool credit_release(struct hf_session *session, size_t size);

/* reading.c */
void reading_hold(struct hf_session *session, enum session_hold why);
void reading_resume(struct hf_session *session, enum session_hold why);
/* The message that is arriving grew by size bytes. */
void reading_grew(struct hf_session *session, size_t size);
/* It is whole: the caller has taken it; or it will never be. */
void reading_message_over(struct hf_session *session, size_t size);
/* A control frame went into ingest, or came out of it: its answer is queued, or there is none. */
void reading_control_in(struct hf_session *session, enum hf_frame_type type, size_t size);
void reading_control_out(struct hf_session *session, enum hf_frame_type type, size_t size);
/* An answer waits to be sent, or has been. */
void reading_answer_queued(struct hf_session *session, size_t size);
void reading_answer_sent(struct hf_session *session, size_t size);
/* A restore of it began: it hurries now (ingest_session_hurry), and has to be read again if it was
 * not for memory's sake. */
void reading_waited_for(struct hf_session *session);
void reading_stop(struct hf_sessions *sessions);

/* rounds.c */
void rounds_start(struct hf_sessions *sessions);
void rounds_stop(struct hf_sessions *sessions);
/* Something came from the agent. */
void rounds_heard(struct hf_session *session);
/* Ask whether it lives: within 5 s it is heard, or its connection ends. */
void rounds_probe(struct hf_session *session);
void rounds_expect_hello(struct hf_session *session);
/* GOAWAY is queued. */
void rounds_expect_end(struct hf_session *session);

#endif
