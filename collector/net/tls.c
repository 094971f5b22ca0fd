#include "collector/net/tls.h"

#include <stdalign.h>
#include <string.h>
#include <time.h>

#include <openssl/ssl.h>

#include "collector/net/loop.h"
#include "common/clock.h"

void tls_server_options(const struct hf_listen_options *options,
                        struct lws_context_creation_info *info)
{
    info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info->ssl_cert_filepath = options->certificate_pem_path;
    info->ssl_private_key_filepath = options->key_pem_path;
    info->ssl_options_set = SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 |
                            SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
    if (options->client_ca_pem_path) {
        info->options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
        info->ssl_ca_filepath = options->client_ca_pem_path;
    }
}

bool tls_callback(enum lws_callback_reasons reason, size_t length, int *result)
{
    if (reason != LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION) {
        return false;
    }
    /* length is OpenSSL's own verdict. Without this answer the library takes any certificate. */
    *result = !length;
    return true;
}

/* Asked of OpenSSL: libwebsockets 4.1.6 (LWS_TLS_CERT_INFO_VALIDITY_TO) reads a date as local time
 * and a day early. 0, which is long over, when there is none. */
static int64_t certificate_end_ns(struct lws *wsi)
{
    SSL *ssl = lws_get_ssl(wsi);
    X509 *certificate = ssl ? SSL_get0_peer_certificate(ssl) : NULL;
    struct tm utc;
    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &utc) != 1) {
        return 0;
    }
    return (int64_t)timegm(&utc) * HF_NS_PER_SECOND;
}

bool tls_peer(struct lws *wsi, struct tls_peer *out)
{
    union lws_tls_cert_info_results *info;
    /* The union's name is short; longer answers need room behind it. */
    alignas(8) char memory[sizeof *info + 256];
    info = (union lws_tls_cert_info_results *)(void *)memory;
    *out = (struct tls_peer){.verified = false};
    if (lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_VERIFIED, info, 0) != 0) {
        return false;
    }
    out->verified = info->verified != 0;
    out->not_after_ns = certificate_end_ns(wsi);
    memset(memory, 0, sizeof memory);
    if (lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_COMMON_NAME, info,
                               sizeof out->common_name - 1) != 0 ||
        info->ns.len <= 0 || (size_t)info->ns.len >= sizeof out->common_name) {
        return false;
    }
    memcpy(out->common_name, info->ns.name, (size_t)info->ns.len);
    out->common_name[info->ns.len] = '\0';
    return strlen(out->common_name) == (size_t)info->ns.len; /* no NUL smuggled in */
}
