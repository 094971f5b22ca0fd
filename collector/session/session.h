/* Agents' sessions: the wire protocol's server side (proto/PROTOCOL.md).
 *
 * A connection becomes a session in steps, and nothing is decoded before the third: the TLS
 * handshake (client certificate of our authority), the upgrade (path, subprotocol, the certificate
 * judged again), admission (a worker finds the host in the catalog, not revoked), then HELLO.
 *
 * All on the loop thread but for what says otherwise.
 */
#ifndef HF_COLLECTOR_SESSION_SESSION_H
#define HF_COLLECTOR_SESSION_SESSION_H

#include <stdint.h>

#include "collector/identity/identity.h"
#include "collector/session/hub.h"
#include "common/error.h"

struct hf_ingest;
struct hf_loop;
struct hf_sessions;
struct lws_protocols;

struct hf_sessions_options {
    struct hf_loop *loop;
    struct hf_ingest *ingest;
    struct hf_authority *authority; /* for renewals */
    struct hf_hub *hub;
    uint64_t memory_bytes; /* credit that all sessions together may hold */
    uint32_t sessions_max;
    uint32_t ping_s; /* of silence, then a ping; twice that, then the end. 0: 20 */
};

int sessions_new(const struct hf_sessions_options *options, struct hf_sessions **out,
                 struct hf_error *error);
/* For loop_listen. */
const struct lws_protocols *sessions_protocols(const struct hf_sessions *sessions);
/* Say GOAWAY to all, each with its own random wait, and refuse new ones. */
void sessions_shut_down(struct hf_sessions *sessions);
/* After loop_free. */
void sessions_free(struct hf_sessions *sessions);

/* From any thread. */
void sessions_close_host(struct hf_sessions *sessions, const char *host_id, enum hf_wire_code code,
                         const char *message);
void sessions_wake_host(struct hf_sessions *sessions, const char *host_id);
void sessions_cancel_job(struct hf_sessions *sessions, const char *host_id, uint64_t job);

#endif
