/* The collector's end of TLS on libwebsockets: the only file of the collector that knows the
 * library's TLS specifics. Client certificates fail open in several builds of the library, so what
 * matters is asked again once a connection stands (tls_peer). */
#ifndef HF_COLLECTOR_NET_TLS_H
#define HF_COLLECTOR_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include <libwebsockets.h>

#include "common/error.h"

struct hf_listen_options;

/* Fill in a listener's TLS: TLS 1.2 or newer, its certificate, and with a client CA the demand for
 * a client certificate of it. */
void tls_server_options(const struct hf_listen_options *options,
                        struct lws_context_creation_info *info);

/* Read a listener's certificate and key again, for new connections. When they can't be used the old
 * ones stay. */
int tls_reload(struct lws_context *context, const char *certificate_path, const char *key_path,
               struct hf_error *error);

/* Why a handshake is refused for the client's certificate. */
struct tls_refusal {
    bool refused;
    char reason[160]; /* "certificate has expired" */
    /* Whom the certificate names, when our authority did sign it and its time alone is wrong; else
     * "": anybody can write any name into one. */
    char common_name[64];
};
/* Of listener_callback, with the callback's own arguments: true when it was a TLS callback; *result
 * is then what to return, and *refusal says whether this is where the library turns a client away.
 */
bool tls_callback(enum lws_callback_reasons reason, void *user, const void *in, size_t length,
                  int *result, struct tls_refusal *refusal);

struct tls_peer {
    bool verified; /* chain and time, by the library's own record */
    char common_name[64];
    int64_t not_after_ns;
};
/* What the connection's client proved; false when it has no certificate, or one without exactly one
 * common name that fits. The common name means nothing unless verified. */
bool tls_peer(struct lws *wsi, struct tls_peer *out);

#endif
