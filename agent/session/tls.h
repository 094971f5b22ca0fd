/* The agent's end of mutual TLS on libwebsockets. The only file of the agent's session that knows
 * the library's TLS options, so that a build on another TLS library changes nothing else.
 * All functions belong to the loop thread. */
#ifndef HF_AGENT_SESSION_TLS_H
#define HF_AGENT_SESSION_TLS_H

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* What a context needs to be told before any TLS happens; call on the zeroed info. */
void tls_prepare_context(struct lws_context_creation_info *info);

/* A key, its certificate and whom to trust, as they were read from disk. */
struct hf_tls_client;

/* A vhost that connects with the key and chain in agent_pem_path (one file) and trusts
 * ca_pem_path alone: the system's certificate authorities have no say. The files are read here and
 * now, so a new certificate needs a new vhost. *credentials belongs to the caller: free it with
 * tls_client_free when nothing will connect through the vhost any more. HF_ERR_INVALID when the
 * files can't be used. */
int tls_client_vhost(struct lws_context *context, const char *name, const char *agent_pem_path,
                     const char *ca_pem_path, const struct lws_protocols *protocols,
                     struct lws_vhost **out, struct hf_tls_client **credentials,
                     struct hf_error *error);
void tls_client_free(struct hf_tls_client *credentials);
/* When the certificate that was read ends, in nanoseconds since 1970; INT64_MAX when it can't be
 * told. */
int64_t tls_client_ends_ns(const struct hf_tls_client *credentials);

/* lws_client_connect_info.ssl_connection for a server that is verified by chain, time and name. */
int tls_client_flags(void);

/* Whether the peer's certificate really was verified: asked again once connected, because a
 * library built otherwise may have let it pass. */
bool tls_peer_verified(struct lws *wsi);

#endif
