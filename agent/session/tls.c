#include "agent/session/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

void tls_prepare_context(struct lws_context_creation_info *info)
{
    info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                     LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
}

/* An SSL_CTX of our own rather than the library's options: the library gives a later vhost the
 * TLS context of an earlier one when the names of their files are equal, so that a renewed
 * certificate would never be used. */
struct hf_tls_client {
    SSL_CTX *ssl;
};

void tls_client_free(struct hf_tls_client *credentials)
{
    if (!credentials)
        return;
    SSL_CTX_free(credentials->ssl);
    free(credentials);
}

int64_t tls_client_ends_ns(const struct hf_tls_client *credentials)
{
    const X509 *certificate = SSL_CTX_get0_certificate(credentials->ssl);
    struct tm ends;
    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &ends) != 1)
        return INT64_MAX;
    return (int64_t)timegm(&ends) * HF_NS_PER_SECOND;
}

static int read_credentials(SSL_CTX *ssl, const char *agent_pem_path, const char *ca_pem_path,
                            struct hf_error *error)
{
    /* OpenSSL's own words would need OpenSSL's own manual; these say what is usually wrong. */
    const char *const paths[] = {agent_pem_path, ca_pem_path};
    for (size_t i = 0; i < 2; i++)
        if (access(paths[i], R_OK))
            return hf_error_set(error, HF_ERR_INVALID, errno,
                                "can't read %s; enrol this host with `holdfast-agent enroll`",
                                paths[i]);
    bool good = SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
                SSL_CTX_load_verify_file(ssl, ca_pem_path) == 1 &&
                SSL_CTX_use_certificate_chain_file(ssl, agent_pem_path) == 1 &&
                SSL_CTX_use_PrivateKey_file(ssl, agent_pem_path, SSL_FILETYPE_PEM) == 1 &&
                SSL_CTX_check_private_key(ssl) == 1;
    ERR_clear_error();
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return good ? 0
                : hf_error_set(error, HF_ERR_INVALID, 0,
                               "the key and certificate in %s or the authority in %s can't be "
                               "used; look with `openssl x509 -in FILE -text`, enrol again with "
                               "`holdfast-agent enroll`",
                               agent_pem_path, ca_pem_path);
}

int tls_client_vhost(struct lws_context *context, const char *name, const char *agent_pem_path,
                     const char *ca_pem_path, const struct lws_protocols *protocols,
                     struct lws_vhost **out, struct hf_tls_client **credentials,
                     struct hf_error *error)
{
    struct hf_tls_client *made = calloc(1, sizeof(*made));
    if (made)
        made->ssl = SSL_CTX_new(TLS_client_method());
    if (!made || !made->ssl) {
        tls_client_free(made);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for TLS");
    }
    int result = read_credentials(made->ssl, agent_pem_path, ca_pem_path, error);
    if (!result) {
        struct lws_context_creation_info info = {
            .port = CONTEXT_PORT_NO_LISTEN,
            .vhost_name = name,
            .protocols = protocols,
            .provided_client_ssl_ctx = made->ssl,
            .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        };
        *out = lws_create_vhost(context, &info);
        if (!*out)
            result = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "can't set TLS up for connecting");
    }
    if (result) {
        tls_client_free(made);
        return result;
    }
    *credentials = made;
    return 0;
}

int tls_client_flags(void)
{
    return LCCSCF_USE_SSL;
}

bool tls_peer_verified(struct lws *wsi)
{
    union lws_tls_cert_info_results result = {0};
    return !lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_VERIFIED, &result, sizeof(result.ns)) &&
           result.verified;
}
