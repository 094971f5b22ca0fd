/* The hub: which hosts have a session now. The loop registers and removes; anybody may ask. */
#ifndef HF_COLLECTOR_SESSION_HUB_H
#define HF_COLLECTOR_SESSION_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "proto/frame.h"

struct hf_hub;
struct hf_session;

#define HF_HUB_REASONS 24 /* indexed by enum hf_wire_code; 0: the TLS handshake or certificate */

struct hf_hub_state {
    bool online;
    int64_t since_ns;
    char address[64];
    uint64_t duplicates_refused;
};

struct hf_hub *hub_new(void);
void hub_free(struct hf_hub *hub);

/* Any thread. */
void hub_state(struct hf_hub *hub, const char *host_id, struct hf_hub_state *out);
uint64_t hub_count(struct hf_hub *hub);
void hub_count_refusal(struct hf_hub *hub, unsigned reason);
/* Whether a refusal of this host should be written to the audit log: one a minute. *suppressed: how
 * many were not since the last that was. */
bool hub_may_audit(struct hf_hub *hub, const char *host_id, uint64_t *suppressed);
void hub_refusals(struct hf_hub *hub, uint64_t out[HF_HUB_REASONS]);

/* A connection of that host begins (1) or has ended (-1), whether or not it became a session. */
void hub_connect(struct hf_hub *hub, const char *host_id, int change);
unsigned hub_connections(struct hf_hub *hub, const char *host_id);

/* Loop thread. The session of a host that is registered already is returned and nothing changes;
 * otherwise NULL and the host is online. */
struct hf_session *hub_register(struct hf_hub *hub, const char *host_id, struct hf_session *session,
                                const char *address);
void hub_remove(struct hf_hub *hub, const char *host_id, const struct hf_session *session);
void hub_note_duplicate(struct hf_hub *hub, const char *host_id);
struct hf_session *hub_find(struct hf_hub *hub, const char *host_id); /* NULL when offline */
/* Every session, in no order; fn may end the session it is given. */
void hub_each(struct hf_hub *hub, void (*fn)(struct hf_session *session, void *context),
              void *context);

#endif
