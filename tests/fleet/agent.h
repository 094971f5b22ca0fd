/* A simulated agent: one host with one source of checkpoints, one file rewritten again and again.
 * It speaks as proto/PROTOCOL.md says and comes back as the real one does, with its back-off.
 * Everything on one thread.
 */
#ifndef HF_TESTS_FLEET_AGENT_H
#define HF_TESTS_FLEET_AGENT_H

#include "agent/session/backoff.h"
#include "tests/fleet/connection.h"
#include "tests/fleet/content.h"
#include "tests/fleet/figures.h"

#define AGENT_WINDOW 128u /* versions that one may have under way */
#define AGENT_BATCH  64u  /* versions in one frame, at most */

/* Violations of the collector's promises: any is a failure of the run. */
struct faults {
    uint64_t lost;    /* acknowledged, and not committed at the next connection */
    uint64_t unknown; /* committed, and never sent */
    uint64_t refused; /* ERROR frames */
    uint64_t garbled; /* frames that are none, or out of order */
};

/* After `storm`: how many are back. Who is lost meanwhile has to come back once more. */
struct storm {
    bool running;
    int64_t began_ns;
    uint32_t open, protected;
};

struct agent;

struct fleet {
    struct connection_target target;
    struct content *content;
    struct agent *agents;
    int64_t *retry_ns; /* monotonic, when each dials; 0: it does not */
    uint32_t count;
    uint32_t open;     /* with their source open */
    uint32_t dialling; /* connections that are not open yet */
    uint32_t dial_max; /* of these at a time, at the beginning; 0: any number */
    uint32_t reconnect_max_ms;
    unsigned batch; /* versions a frame */
    int epoll_fd;
    uint64_t in_flight; /* versions sent and not acknowledged */
    struct figures figures;
    struct faults faults;
    struct storm storm;
    struct hf_buf frame;             /* scratch */
    struct checkpoint *batch_memory; /* AGENT_BATCH of them */
};

struct agent {
    struct fleet *fleet;
    uint32_t index;
    uint32_t watched; /* epoll events asked for */
    struct identity identity;
    struct connection connection;
    struct hf_backoff backoff;
    uint32_t retry_after_ms; /* the collector's wish, of GOAWAY */
    int64_t dialled_ns;
    uint8_t instance[HF_INSTANCE_BYTES];
    bool open;
    int64_t opened_ns, protected_ns; /* monotonic, of the storm that runs; 0: not yet */
    bool began;                      /* the source was open once: acked and sent mean something */
    uint64_t frames_in, frames_out;
    uint64_t bulk_sent, credit;
    uint64_t acked, sent;         /* versions' sequence numbers */
    int64_t due_ns[AGENT_WINDOW]; /* monotonic, of those under way, by seq; 0: sent again */
};

void agent_dial(struct agent *agent, int64_t now_ns);
/* The socket has something, or room. */
void agent_on_ready(struct agent *agent);
/* Send `batch` new versions, due at due_ns; counts what holds them back. */
void agent_send(struct agent *agent, int64_t due_ns);
void agent_mark(struct agent *agent);
/* A storm has begun. Who is connected has its source open from then on, and sends a version if
 * none is under way: being back means that one is acknowledged. */
void agent_begin_storm(struct agent *agent, int64_t now_ns);
/* End the connection; it dials again after its back-off. */
void agent_lose(struct agent *agent, int64_t now_ns);
void agent_free(struct agent *agent);

#endif
