/* What listeners' protocols have to hand on. Functions are for the loop's thread. */
#ifndef HF_COLLECTOR_NET_LISTENER_H
#define HF_COLLECTOR_NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include <libwebsockets.h>

#include "collector/net/tls.h"

/* For protocols[0] of every listener: pass each callback through this first, with its own
 * arguments. True when it was for this alone; *result is then what to return. refusal may be NULL;
 * else it says whether this is where a client is turned away for its certificate. */
bool listener_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
                       const void *in, size_t length, int *result, struct tls_refusal *refusal);
/* The connection's handshake is over, one way or the other: somebody else's may begin. Called by
 * listener_callback where that sees it; a protocol that an upgrade chooses calls it itself. */
void listener_settled(struct lws *wsi);

#endif
