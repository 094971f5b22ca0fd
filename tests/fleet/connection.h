/* One simulated agent's connection: TCP, mutual TLS and the WebSocket, without blocking. OpenSSL
 * and a WebSocket client of a page instead of libwebsockets: ten thousand of them share the machine
 * with the collector that is measured, so each has to cost as little as it can.
 *
 * One thread. A connection is plain data that its owner zeroes first.
 */
#ifndef HF_TESTS_FLEET_CONNECTION_H
#define HF_TESTS_FLEET_CONNECTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "common/buf.h"
#include "common/error.h"

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CONNECTING, /* TCP */
    CONNECTION_SHAKING,    /* TLS */
    CONNECTION_UPGRADING,  /* HTTP */
    CONNECTION_OPEN
};

/* What a host shows. Owned by whoever loaded it. */
struct identity {
    X509 *certificate;
    EVP_PKEY *key;
};

struct connection {
    int fd;
    SSL *ssl;
    enum connection_state state;
    bool wants_write;  /* the socket is to be watched for room */
    struct hf_buf in;  /* bytes of a message that is not whole */
    struct hf_buf out; /* bytes that did not fit the socket */
    size_t retry;      /* of out: what the last write was about, which OpenSSL wants repeated */
};

struct connection_target {
    struct sockaddr_in address;
    const char *name; /* as in the collector's certificate */
    SSL_CTX *tls;     /* connection_tls_new */
};

/* For all connections: the root that the collector has to prove, the issuing certificate that is
 * sent along with every host's. */
int connection_tls_new(const char *root_path, SSL_CTX **out, struct hf_error *error);
/* PEM: private key, leaf, issuing certificate, in one file. issuing may be NULL; else it receives a
 * new reference. */
int identity_load(const char *path, struct identity *out, X509 **issuing, struct hf_error *error);
void identity_free(struct identity *identity);

/* Begin, from an address of its own (host byte order, of 127.0.0.0/8), so that every agent is
 * another peer. HF_ERR_CLOSED when nothing listens, HF_ERR_IO. */
int connection_start(struct connection *connection, const struct connection_target *target,
                     const struct identity *identity, uint32_t source_address);
/* Go on with what is under way. on_message is called with each whole binary message. False when the
 * connection has ended: the caller closes it. */
bool connection_go_on(struct connection *connection, const struct connection_target *target,
                      void (*on_message)(void *context, const uint8_t *data, size_t size),
                      void *context);
/* Append a message to the bytes that the next flush sends. */
int connection_queue(struct connection *connection, const uint8_t *data, size_t size);
/* False when the connection has ended. */
bool connection_flush(struct connection *connection);
/* Without ado, as a cut would. */
void connection_close(struct connection *connection);

#endif
