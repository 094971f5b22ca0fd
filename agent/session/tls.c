#include "agent/session/tls.h"

#include <openssl/ssl.h>
#include <unistd.h>

void tls_prepare_context(struct lws_context_creation_info *info)
{
    info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                     LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
}

int tls_client_vhost(struct lws_context *context, const char *name, const char *agent_pem_path,
                     const char *ca_pem_path, const struct lws_protocols *protocols,
                     struct lws_vhost **out, struct hf_error *error)
{
    /* The library only says "failed"; these two are the usual reasons. */
    const char *const paths[] = {agent_pem_path, ca_pem_path};
    for (size_t i = 0; i < 2; i++)
        if (access(paths[i], R_OK))
            return hf_error_set(error, HF_ERR_INVALID, errno,
                                "can't read %s; enrol this host with `holdfast-agent enroll`",
                                paths[i]);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .vhost_name = name,
        .protocols = protocols,
        .client_ssl_cert_filepath = agent_pem_path,
        .client_ssl_private_key_filepath = agent_pem_path,
        .client_ssl_ca_filepath = ca_pem_path,
        .ssl_client_options_set =
            (long)(SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_RENEGOTIATION),
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
    };
    *out = lws_create_vhost(context, &info);
    if (!*out)
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "the key and certificate in %s or the authority in %s can't be used; "
                            "look with `openssl x509 -in FILE -text`, enrol again with "
                            "`holdfast-agent enroll`",
                            agent_pem_path, ca_pem_path);
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
