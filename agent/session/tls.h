/* The agent's end of mutual TLS as bytes in and bytes out; it knows no socket. The only files of
 * the agent's session that know the TLS library, so that a build on another changes nothing else.
 * What an hf_tls does belongs to one thread. */
#ifndef HF_AGENT_SESSION_TLS_H
#define HF_AGENT_SESSION_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

/* A key, its certificate and whom to trust, as they were read from disk. */
struct hf_tls_client;

/* Read the key and chain in agent_pem_path (one file), and ca_pem_path, which alone is trusted: the
 * system's certificate authorities have no say. The files are read here and now. HF_ERR_INVALID
 * when they can't be used, HF_ERR_NO_MEMORY. */
int tls_client_new(const char *agent_pem_path, const char *ca_pem_path, struct hf_tls_client **out,
                   struct hf_error *error);
/* Connections made with it go on. */
void tls_client_free(struct hf_tls_client *credentials);
/* When the certificate that was read ends, in nanoseconds since 1970; INT64_MAX when it can't be
 * told. */
int64_t tls_client_ends_ns(const struct hf_tls_client *credentials);

/* One connection. */
struct hf_tls;

/* For a server that is to be verified by chain, time and name; host is a name or an address.
 * HF_ERR_NO_MEMORY, HF_ERR_INVALID for a host that can be neither. */
int tls_new(struct hf_tls_client *credentials, const char *host, struct hf_tls **out,
            struct hf_error *error);
void tls_free(struct hf_tls *tls);

/* Give what came from the peer. The bytes are not copied: they must stay until tls_handshake and
 * tls_read said HF_ERR_AGAIN, which means that they are used up. */
void tls_give(struct hf_tls *tls, const void *data, size_t size);
/* What is to go to the peer, in order. Only the functions below add to it. */
struct hf_bytes tls_outgoing(const struct hf_tls *tls);
void tls_sent(struct hf_tls *tls, size_t size); /* its first size bytes */

/* Go on with the handshake; there may be something outgoing after it, an alert on failure too.
 * 0: it is done and the peer verified. HF_ERR_AGAIN: more must be given. HF_ERR_DENIED: the peer's
 * certificate is not good, or ours is not to the peer; HF_ERR_PROTOCOL, HF_ERR_NO_MEMORY. */
int tls_handshake(struct hf_tls *tls, struct hf_error *error);
/* Up to size bytes of what the peer said to `to`, and how many to *got (at least 1).
 * HF_ERR_AGAIN: more must be given. HF_ERR_CLOSED: the peer has said its last. HF_ERR_DENIED,
 * HF_ERR_PROTOCOL, HF_ERR_NO_MEMORY: the connection is over. */
int tls_read(struct hf_tls *tls, void *to, size_t size, size_t *got, struct hf_error *error);
/* Encrypt all of size bytes (1 at least). HF_ERR_NO_MEMORY, HF_ERR_PROTOCOL: the connection is
 * over. */
int tls_write(struct hf_tls *tls, const void *data, size_t size, struct hf_error *error);
/* Say that nothing more will be written. */
void tls_finish(struct hf_tls *tls);

#endif
