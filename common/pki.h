/* Keys, certificate requests and certificates, on mbedTLS (2.28, and 3.x where names differ).
 *
 * P-256 keys throughout (FIPS 186-4), ECDSA with SHA-256, X.509 v3 (RFC 5280). Cold paths: nothing
 * here is fast. PEM texts are NUL-terminated struct hf_buf; those with keys are wiped by their
 * owner (hf_buf_wipe_free).
 */
#ifndef HF_COMMON_PKI_H
#define HF_COMMON_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"

#define HF_PKI_SERIAL_BYTES 16

/* A new P-256 key as PEM (SEC 1, "EC PRIVATE KEY"). */
int hf_pki_key_new(struct hf_buf *key_pem, struct hf_error *error);

/* A request (PKCS#10) signed by the key; the common name is for people and is not trusted by
 * anyone. */
int hf_pki_request_new(const char *key_pem, const char *common_name, struct hf_buf *der,
                       struct hf_error *error);
/* Check a request in DER or PEM: well-formed, a P-256 key, signed by that key. spki receives the
 * key (SubjectPublicKeyInfo, DER). Names and extensions in it are ignored. */
int hf_pki_request_check(const uint8_t *data, size_t size, struct hf_buf *spki,
                         struct hf_error *error);

enum hf_pki_kind { HF_PKI_ROOT, HF_PKI_ISSUING, HF_PKI_SERVER, HF_PKI_CLIENT };

struct hf_pki_issue {
    enum hf_pki_kind kind;
    const char *common_name;     /* at most 64 letters, digits, blanks, .:-_* */
    struct hf_bytes spki;        /* of the subject's key; for ROOT that of issuer_key_pem is used */
    const char *issuer_key_pem;  /* for ROOT: its own key */
    const char *issuer_cert_pem; /* NULL for ROOT */
    const char *const *names;    /* SERVER: DNS names and IP addresses */
    size_t name_count;
    int64_t not_before_ns, not_after_ns; /* whole seconds are used */
    uint8_t serial[HF_PKI_SERIAL_BYTES]; /* chosen by the caller; top bit is cleared */
};
/* Append the certificate as PEM. */
int hf_pki_issue(const struct hf_pki_issue *issue, struct hf_buf *cert_pem, struct hf_error *error);

struct hf_pki_info {
    char common_name[256];
    char serial[2 * 20 + 1];            /* lower-case hexadecimal, no leading zeros */
    uint8_t fingerprint[HF_HASH_BYTES]; /* SHA-256 of the DER */
    uint8_t key_hash[HF_HASH_BYTES];    /* SHA-256 of the SubjectPublicKeyInfo */
    int64_t not_before_ns, not_after_ns;
    bool for_servers, for_clients; /* extended key usage; both when it does not say */
};
/* Of the first certificate in pem; all of them must be readable. */
int hf_pki_info(const char *pem, struct hf_pki_info *out, struct hf_error *error);
/* Append the DNS names and IP addresses of the first certificate in pem to names, as text, each
 * ended by a NUL; *count receives how many. HF_ERR_INVALID when one could not be written again. */
int hf_pki_names(const char *pem, struct hf_buf *names, size_t *count, struct hf_error *error);
/* SubjectPublicKeyInfo (DER) of a private key. */
int hf_pki_key_spki(const char *key_pem, struct hf_buf *spki, struct hf_error *error);
/* Append the one certificate in pem, written anew: whoever trusts the result trusts what
 * hf_pki_info described and nothing that stood beside it. HF_ERR_INVALID when there are several. */
int hf_pki_single(const char *pem, struct hf_buf *out, struct hf_error *error);
/* Whether chain_pem (leaf first) leads to root_pem, now. HF_ERR_DENIED says why not. */
int hf_pki_verify(const char *chain_pem, const char *root_pem, struct hf_error *error);
/* The same whatever the time, for hosts whose clocks are wrong. */
int hf_pki_verify_any_time(const char *chain_pem, const char *root_pem, struct hf_error *error);
/* A serial's lower-case hexadecimal without leading zeros, as in hf_pki_info. */
void hf_pki_serial_text(const uint8_t serial[HF_PKI_SERIAL_BYTES], char out[2 * 20 + 1]);

#endif
