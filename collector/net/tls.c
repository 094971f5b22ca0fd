#include "collector/net/tls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>

#include "collector/net/loop.h"
#include "common/clock.h"

void tls_server_options(const struct hf_listen_options *options,
                        struct lws_context_creation_info *info)
{
    /* The library also makes each listener a context for clients: without the system's authorities,
     * which nobody asks here and which take a MiB. */
    info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    info->ssl_cert_filepath = options->certificate_pem_path;
    info->ssl_private_key_filepath = options->key_pem_path;
    info->ssl_options_set = SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 |
                            SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
    if (options->client_ca_pem_path) {
        info->options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
        info->ssl_ca_filepath = options->client_ca_pem_path;
        info->ssl_info_event_mask = SSL_CB_ALERT; /* see no_certificate */
    }
}

int tls_reload(struct lws_context *context, const char *certificate_path, const char *key_path,
               struct hf_error *error)
{
    /* Tried apart first: the library would leave a listener with half of it. */
    SSL_CTX *trial = SSL_CTX_new(TLS_server_method());
    bool good = trial && SSL_CTX_use_certificate_chain_file(trial, certificate_path) == 1 &&
                SSL_CTX_use_PrivateKey_file(trial, key_path, SSL_FILETYPE_PEM) == 1 &&
                SSL_CTX_check_private_key(trial) == 1;
    SSL_CTX_free(trial);
    ERR_clear_error();
    if (!good) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "The certificate %s and its key %s can't be used or don't belong "
                            "together: the ones from before stay in use",
                            certificate_path, key_path);
    }
    lws_tls_cert_updated(context, certificate_path, key_path, NULL, 0, NULL, 0);
    return HF_OK;
}

/* The only common name, if it fits and holds no NUL. */
static bool copy_common_name(const X509 *certificate, char *out, size_t size)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return false;
    }
    unsigned char *text = NULL;
    int length =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool fits = length > 0 && (size_t)length < size && !memchr(text, 0, (size_t)length);
    if (fits) {
        memcpy(out, text, (size_t)length);
        out[length] = '\0';
    }
    OPENSSL_free(text);
    return fits;
}

/* A certificate that OpenSSL refuses. Signatures are checked before times, from the authority down:
 * what is refused for its time is otherwise ours. */
static void judge(X509_STORE_CTX *verification, struct tls_refusal *refusal)
{
    int error = X509_STORE_CTX_get_error(verification);
    const X509 *leaf = X509_STORE_CTX_get0_cert(verification);
    refusal->refused = true;
    snprintf(refusal->reason, sizeof refusal->reason, "%s", X509_verify_cert_error_string(error));
    bool time_alone =
        (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID) &&
        X509_STORE_CTX_get_error_depth(verification) == 0;
    if (!time_alone || !leaf ||
        !copy_common_name(leaf, refusal->common_name, sizeof refusal->common_name)) {
        refusal->common_name[0] = '\0';
    }
}

/* A client without a certificate is never judged: it is seen by the alert that OpenSSL sends it. */
static bool no_certificate(const struct lws_ssl_info *info)
{
    return (info->where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT &&
           ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
}

/* No session is ever resumed: an agent's certificate is judged each time. So none is kept, and no
 * ticket is made, signed and sent to whom has no use for it. */
static void tune(SSL_CTX *tls)
{
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(tls, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(tls, 0);
}

bool tls_callback(enum lws_callback_reasons reason, void *user, const void *in, size_t length,
                  int *result, struct tls_refusal *refusal)
{
    *result = 0;
    *refusal = (struct tls_refusal){.refused = false};
    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {
        tune(user);
        return true;
    }
    if (reason == LWS_CALLBACK_SSL_INFO) {
        refusal->refused = no_certificate(in);
        snprintf(refusal->reason, sizeof refusal->reason, "it shows no certificate");
        return true;
    }
    if (reason != LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION) {
        return false;
    }
    /* length is OpenSSL's own verdict. Without this answer the library takes any certificate. */
    *result = !length;
    if (!length) {
        judge(user, refusal);
    }
    return true;
}

static bool copy_end(const X509 *certificate, int64_t *not_after_ns)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1) {
        return false;
    }
    *not_after_ns = (int64_t)timegm(&tm) * HF_NS_PER_SECOND;
    return true;
}

bool tls_peer(struct lws *wsi, struct tls_peer *out)
{
    union lws_tls_cert_info_results info;
    SSL *ssl = lws_get_ssl(wsi);
    X509 *certificate = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
    *out = (struct tls_peer){.verified = false};
    if (!certificate) {
        return false;
    }
    /* Name and time are asked of OpenSSL: the library's own answers cut long names, take the first
     * thing that looks like one, and put the end of validity a day too early and in local time. */
    out->verified = SSL_get_verify_result(ssl) == X509_V_OK &&
                    lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_VERIFIED, &info, 0) == 0 &&
                    info.verified != 0;
    bool complete = copy_common_name(certificate, out->common_name, sizeof out->common_name) &&
                    copy_end(certificate, &out->not_after_ns);
    X509_free(certificate);
    return complete;
}
