#include "agent/session/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

/* Kept between two writes; what a large one took goes back. */
#define OUTGOING_KEPT_BYTES (16u * 1024u)

/* --- what is read from disk --- */

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
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return good ? 0
                : hf_error_set(error, HF_ERR_INVALID, 0,
                               "the key and certificate in %s or the authority in %s can't be "
                               "used; look with `openssl x509 -in FILE -text`, enrol again with "
                               "`holdfast-agent enroll`",
                               agent_pem_path, ca_pem_path);
}

int tls_client_new(const char *agent_pem_path, const char *ca_pem_path, struct hf_tls_client **out,
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
    if (result) {
        tls_client_free(made);
        return result;
    }
    *out = made;
    return 0;
}

/* --- a connection: the library reads and writes memory --- */

struct hf_tls {
    SSL *ssl;
    BIO_METHOD *method;
    struct hf_bytes given; /* and not yet used */
    struct hf_buf outgoing;
    size_t sent; /* of outgoing */
    bool over;   /* the library may not be asked any more */
};

static int bytes_read(BIO *bio, char *to, size_t size, size_t *got)
{
    struct hf_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *got = size < tls->given.size ? size : tls->given.size;
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, tls->given.data, *got);
    tls->given.data += *got;
    tls->given.size -= *got;
    return 1;
}

static int bytes_write(BIO *bio, const char *from, size_t size, size_t *put)
{
    struct hf_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *put = size;
    return hf_buf_append(&tls->outgoing, from, size) == 0;
}

static long bytes_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bytes_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "bytes");
    if (method && BIO_meth_set_read_ex(method, bytes_read) == 1 &&
        BIO_meth_set_write_ex(method, bytes_write) == 1 &&
        BIO_meth_set_ctrl(method, bytes_control) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* Whom to expect, and to say so where it is a name (RFC 6066, section 3: no addresses). */
static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *expected = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, host) == 1)
        return true;
    return X509_VERIFY_PARAM_set1_host(expected, host, strlen(host)) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool attach(struct hf_tls *tls)
{
    BIO *bio = BIO_new(tls->method);
    if (!bio)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio); /* which owns it */
    SSL_set_connect_state(tls->ssl);
    return true;
}

int tls_new(struct hf_tls_client *credentials, const char *host, struct hf_tls **out,
            struct hf_error *error)
{
    struct hf_tls *tls = calloc(1, sizeof(*tls));
    if (tls) {
        tls->method = bytes_method();
        tls->ssl = SSL_new(credentials->ssl);
    }
    if (!tls || !tls->method || !tls->ssl || !attach(tls)) {
        tls_free(tls);
        ERR_clear_error();
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for TLS");
    }
    if (!expect_host(tls->ssl, host)) {
        tls_free(tls);
        ERR_clear_error();
        return hf_error_set(error, HF_ERR_INVALID, 0, "%s is no name of a host", host);
    }
    *out = tls;
    return 0;
}

void tls_free(struct hf_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    BIO_meth_free(tls->method);
    hf_buf_free(&tls->outgoing);
    free(tls);
}

void tls_give(struct hf_tls *tls, const void *data, size_t size)
{
    tls->given = (struct hf_bytes){data, size};
}

struct hf_bytes tls_outgoing(const struct hf_tls *tls)
{
    size_t rest = tls->outgoing.size - tls->sent;
    return (struct hf_bytes){rest ? tls->outgoing.data + tls->sent : NULL, rest};
}

void tls_sent(struct hf_tls *tls, size_t size)
{
    tls->sent += size;
    if (tls->sent * 2 < tls->outgoing.size)
        return; /* moving the rest costs no more than was sent */
    hf_buf_consume(&tls->outgoing, tls->sent);
    tls->sent = 0;
    if (tls->outgoing.size == 0 && tls->outgoing.capacity > OUTGOING_KEPT_BYTES)
        hf_buf_free(&tls->outgoing);
}

/* The last error of the library in its own words. */
static const char *library_reason(unsigned long code)
{
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "the other end does not speak TLS as it should";
}

/* Why a call failed for good. */
static int failure(struct hf_tls *tls, struct hf_error *error)
{
    long verified = SSL_get_verify_result(tls->ssl);
    unsigned long code = ERR_peek_last_error();
    bool alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET;
    tls->over = true;
    if (verified != X509_V_OK)
        hf_error_set(error, HF_ERR_DENIED, 0,
                     "the collector's certificate is not good: %s (its name, its authority and "
                     "this host's clock have a say)",
                     X509_verify_cert_error_string(verified));
    else if (alert)
        hf_error_set(error, HF_ERR_DENIED, 0, "the other end ended TLS: %s", library_reason(code));
    else
        hf_error_set(error, HF_ERR_PROTOCOL, 0, "TLS failed: %s", library_reason(code));
    ERR_clear_error();
    return verified != X509_V_OK || alert ? HF_ERR_DENIED : HF_ERR_PROTOCOL;
}

static int result_of(struct hf_tls *tls, int returned, struct hf_error *error)
{
    switch (SSL_get_error(tls->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return HF_ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        tls->over = true;
        return hf_error_set(error, HF_ERR_CLOSED, 0, "the connection was closed");
    default:
        return failure(tls, error);
    }
}

static int check_over(const struct hf_tls *tls, struct hf_error *error)
{
    ERR_clear_error(); /* what is there is not ours */
    return tls->over ? hf_error_set(error, HF_ERR_CLOSED, 0, "the connection is over") : 0;
}

int tls_handshake(struct hf_tls *tls, struct hf_error *error)
{
    int result = check_over(tls, error);
    if (result)
        return result;
    int done = SSL_do_handshake(tls->ssl);
    if (done != 1)
        return result_of(tls, done, error);
    /* Asked again, for a library that was built or set up otherwise. */
    X509 *peer = SSL_get1_peer_certificate(tls->ssl);
    bool known = peer && SSL_get_verify_result(tls->ssl) == X509_V_OK;
    X509_free(peer);
    if (known)
        return 0;
    tls->over = true;
    return hf_error_set(error, HF_ERR_DENIED, 0,
                        "the collector's certificate could not be verified");
}

int tls_read(struct hf_tls *tls, void *to, size_t size, size_t *got, struct hf_error *error)
{
    int result = check_over(tls, error);
    if (result)
        return result;
    int done = SSL_read_ex(tls->ssl, to, size, got);
    return done == 1 ? 0 : result_of(tls, done, error);
}

int tls_write(struct hf_tls *tls, const void *data, size_t size, struct hf_error *error)
{
    size_t put;
    int result = check_over(tls, error);
    /* Records add less than this; once, instead of each time that one of them is appended. */
    if (!result && hf_buf_reserve(&tls->outgoing, size + size / 64 + 256))
        result = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for TLS");
    if (result)
        return result;
    int done = SSL_write_ex(tls->ssl, data, size, &put);
    if (done == 1)
        return 0;
    result = result_of(tls, done, error);
    if (result == HF_ERR_AGAIN) { /* only a renegotiation waits, and none is allowed */
        tls->over = true;
        return hf_error_set(error, HF_ERR_PROTOCOL, 0, "TLS failed: the other end wants it anew");
    }
    return result;
}

void tls_finish(struct hf_tls *tls)
{
    if (tls->over || !SSL_is_init_finished(tls->ssl))
        return;
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}
