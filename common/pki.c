#include "common/pki.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/asn1write.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>

#include "common/bytes.h"
#include "common/clock.h"

#define PEM_BYTES 8192
#define CN_MAX    64 /* ub-common-name, RFC 5280 */

/* mbedTLS wants a generator; the kernel's is the one used everywhere here. */
static int random_bytes(void *context, unsigned char *out, size_t size)
{
    (void)context;
    hf_random(out, size);
    return 0;
}

static int tls_error(struct hf_error *error, int code, const char *doing)
{
    char text[128] = "";
    mbedtls_strerror(code, text, sizeof text);
    return hf_error_set(error, HF_ERR_CRYPTO, 0, "%s failed: %s", doing, text);
}

static int parse_key(const char *pem, mbedtls_pk_context *key, struct hf_error *error)
{
    mbedtls_pk_init(key);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    int code = mbedtls_pk_parse_key(key, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0,
                                    random_bytes, NULL);
#else
    int code = mbedtls_pk_parse_key(key, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0);
#endif
    return code ? tls_error(error, code, "Reading a private key") : HF_OK;
}

static bool is_p256(const mbedtls_pk_context *key)
{
    if (!mbedtls_pk_can_do(key, MBEDTLS_PK_ECKEY)) {
        return false;
    }
#if MBEDTLS_VERSION_NUMBER >= 0x03060000
    return mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(*key)) == MBEDTLS_ECP_DP_SECP256R1;
#else
    return mbedtls_pk_ec(*key)->grp.id == MBEDTLS_ECP_DP_SECP256R1;
#endif
}

static int append_pem(struct hf_buf *out, const unsigned char *pem)
{
    /* Room for all of it at once: growing would leave a copy of a key in freed memory. */
    int rc = hf_buf_reserve(out, strlen((const char *)pem) + 1);
    rc = rc == HF_OK ? hf_buf_append_str(out, (const char *)pem) : rc;
    return rc == HF_OK ? hf_buf_terminate(out) : rc;
}

int hf_pki_key_new(struct hf_buf *key_pem, struct hf_error *error)
{
    mbedtls_pk_context key;
    unsigned char pem[PEM_BYTES];
    mbedtls_pk_init(&key);
    int code = mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (code == 0) {
        code =
            mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), random_bytes, NULL);
    }
    code = code == 0 ? mbedtls_pk_write_key_pem(&key, pem, sizeof pem) : code;
    int rc = code ? tls_error(error, code, "Making a key") : append_pem(key_pem, pem);
    hf_wipe(pem, sizeof pem);
    mbedtls_pk_free(&key);
    return rc;
}

static int write_spki(const mbedtls_pk_context *key, struct hf_buf *spki, struct hf_error *error)
{
    unsigned char der[512];
    int length = mbedtls_pk_write_pubkey_der((mbedtls_pk_context *)key, der, sizeof der);
    if (length < 0) {
        return tls_error(error, length, "Writing a public key");
    }
    return hf_buf_append(spki, der + sizeof der - (size_t)length, (size_t)length); /* at its end */
}

int hf_pki_key_spki(const char *key_pem, struct hf_buf *spki, struct hf_error *error)
{
    mbedtls_pk_context key;
    int rc = parse_key(key_pem, &key, error);
    rc = rc == HF_OK ? write_spki(&key, spki, error) : rc;
    mbedtls_pk_free(&key);
    return rc;
}

/* mbedTLS takes names as text in which , and = mean something: nothing that could mean anything. */
static int set_subject(char subject[CN_MAX + 4], const char *common_name, struct hf_error *error)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .:-_*";
    size_t length = strlen(common_name);
    if (length == 0 || length > CN_MAX || strspn(common_name, plain) != length) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "A certificate's common name has 1 to %d letters, digits, blanks and "
                            ".:-_*, which '%.80s' does not",
                            CN_MAX, common_name);
    }
    snprintf(subject, CN_MAX + 4, "CN=%s", common_name);
    return HF_OK;
}

int hf_pki_request_new(const char *key_pem, const char *common_name, struct hf_buf *der,
                       struct hf_error *error)
{
    mbedtls_pk_context key;
    mbedtls_x509write_csr csr;
    unsigned char bytes[2048];
    char subject[CN_MAX + 4];
    mbedtls_x509write_csr_init(&csr);
    int rc = parse_key(key_pem, &key, error);
    rc = rc == HF_OK ? set_subject(subject, common_name, error) : rc;
    if (rc == HF_OK) {
        mbedtls_x509write_csr_set_key(&csr, &key);
        mbedtls_x509write_csr_set_md_alg(&csr, MBEDTLS_MD_SHA256);
        int code = mbedtls_x509write_csr_set_subject_name(&csr, subject);
        code = code == 0 ? mbedtls_x509write_csr_der(&csr, bytes, sizeof bytes, random_bytes, NULL)
                         : code;
        rc = code < 0 ? tls_error(error, code, "Making a certificate request")
                      : hf_buf_append(der, bytes + sizeof bytes - (size_t)code, (size_t)code);
    }
    mbedtls_x509write_csr_free(&csr);
    mbedtls_pk_free(&key);
    return rc;
}

/* mbedTLS parses a request and leaves its signature to us. */
static int check_signature(const mbedtls_x509_csr *csr, struct hf_error *error)
{
    uint8_t hash[HF_HASH_BYTES];
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    const mbedtls_x509_buf *signature = &csr->MBEDTLS_PRIVATE(sig);
    mbedtls_md_type_t algorithm = csr->MBEDTLS_PRIVATE(sig_md);
#else
    const mbedtls_x509_buf *signature = &csr->sig;
    mbedtls_md_type_t algorithm = csr->sig_md;
#endif
    if (algorithm != MBEDTLS_MD_SHA256) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "The certificate request is not signed with ECDSA and SHA-256");
    }
    hf_sha256(csr->cri.p, csr->cri.len, hash);
    int code = mbedtls_pk_verify((mbedtls_pk_context *)&csr->pk, MBEDTLS_MD_SHA256, hash,
                                 sizeof hash, signature->p, signature->len);
    if (code != 0) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "The certificate request is not signed by the key in it");
    }
    return HF_OK;
}

int hf_pki_request_check(const uint8_t *data, size_t size, struct hf_buf *spki,
                         struct hf_error *error)
{
    mbedtls_x509_csr csr;
    mbedtls_x509_csr_init(&csr);
    int code = mbedtls_x509_csr_parse(&csr, data, size);
    int rc = HF_OK;
    if (code != 0) {
        rc = hf_error_set(error, HF_ERR_INVALID, 0, "That is not a certificate request (PKCS#10)");
    } else if (!is_p256(&csr.pk)) {
        rc = hf_error_set(error, HF_ERR_DENIED, 0, "The certificate request's key is not P-256");
    }
    rc = rc == HF_OK ? check_signature(&csr, error) : rc;
    rc = rc == HF_OK ? write_spki(&csr.pk, spki, error) : rc;
    mbedtls_x509_csr_free(&csr);
    return rc;
}

/* --- issuing --- */

static void asn1_time(int64_t ns, char out[16])
{
    time_t seconds = (time_t)(ns / HF_NS_PER_SECOND);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(out, 16, "%Y%m%d%H%M%S", &utc);
}

/* SubjectAltName (RFC 5280, 4.2.1.6): mbedTLS 2.28 has no function for it, so its DER is written
 * here, from the end to the front as mbedTLS's writers do. */
static int set_names(mbedtls_x509write_cert *cert, const char *const *names, size_t count)
{
    unsigned char der[4096];
    unsigned char *p = der + sizeof der;
    size_t total = 0;
    int code = 0;
    for (size_t i = count; i > 0 && code >= 0; i--) {
        unsigned char address[16];
        const unsigned char *value = (const unsigned char *)names[i - 1];
        size_t length = strlen(names[i - 1]);
        unsigned char tag = MBEDTLS_ASN1_CONTEXT_SPECIFIC | 2; /* dNSName */
        if (inet_pton(AF_INET, names[i - 1], address) == 1) {
            value = address;
            length = 4;
            tag = MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7; /* iPAddress */
        } else if (inet_pton(AF_INET6, names[i - 1], address) == 1) {
            value = address;
            length = 16;
            tag = MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7;
        }
        code = mbedtls_asn1_write_raw_buffer(&p, der, value, length);
        total += code > 0 ? (size_t)code : 0;
        code = code >= 0 ? mbedtls_asn1_write_len(&p, der, length) : code;
        total += code > 0 ? (size_t)code : 0;
        code = code >= 0 ? mbedtls_asn1_write_tag(&p, der, tag) : code;
        total += code > 0 ? (size_t)code : 0;
    }
    if (code >= 0) {
        code = mbedtls_asn1_write_len(&p, der, total);
        total += code > 0 ? (size_t)code : 0;
    }
    if (code >= 0) {
        code = mbedtls_asn1_write_tag(&p, der, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE);
        total += code > 0 ? (size_t)code : 0;
    }
    if (code < 0) {
        return code;
    }
    return mbedtls_x509write_crt_set_extension(cert, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, p,
                                               total);
}

/* ExtendedKeyUsage (RFC 5280, 4.2.1.12) with one purpose: "SEQUENCE { OID }". */
static int set_purpose(mbedtls_x509write_cert *cert, enum hf_pki_kind kind)
{
    static const unsigned char server[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                           0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
    static const unsigned char client[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                           0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
    return mbedtls_x509write_crt_set_extension(
        cert, MBEDTLS_OID_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0,
        kind == HF_PKI_SERVER ? server : client, sizeof server);
}

static int set_extensions(mbedtls_x509write_cert *cert, const struct hf_pki_issue *issue)
{
    bool authority = issue->kind == HF_PKI_ROOT || issue->kind == HF_PKI_ISSUING;
    int path_length = issue->kind == HF_PKI_ROOT ? 1 : issue->kind == HF_PKI_ISSUING ? 0 : -1;
    int code = mbedtls_x509write_crt_set_basic_constraints(cert, authority, path_length);
    if (code == 0) {
        code = mbedtls_x509write_crt_set_key_usage(
            cert, authority ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN
                            : MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
    }
    code = code == 0 ? mbedtls_x509write_crt_set_subject_key_identifier(cert) : code;
    code = code == 0 ? mbedtls_x509write_crt_set_authority_key_identifier(cert) : code;
    code = code == 0 && !authority ? set_purpose(cert, issue->kind) : code;
    code = code == 0 && issue->name_count > 0 ? set_names(cert, issue->names, issue->name_count)
                                              : code;
    return code;
}

static int set_serial(mbedtls_x509write_cert *cert, const uint8_t serial[HF_PKI_SERIAL_BYTES])
{
    uint8_t positive[HF_PKI_SERIAL_BYTES];
    memcpy(positive, serial, sizeof positive);
    positive[0] &= 0x7f;
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    return mbedtls_x509write_crt_set_serial_raw(cert, positive, sizeof positive);
#else
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    int code = mbedtls_mpi_read_binary(&number, positive, sizeof positive);
    code = code == 0 ? mbedtls_x509write_crt_set_serial(cert, &number) : code;
    mbedtls_mpi_free(&number);
    return code;
#endif
}

struct issuing {
    mbedtls_pk_context issuer_key, subject_key;
    mbedtls_x509_crt issuer;
    mbedtls_x509write_cert cert;
};

static int fill(struct issuing *s, const struct hf_pki_issue *issue, const char *subject)
{
    char issuer_name[512];
    char not_before[16];
    char not_after[16];
    asn1_time(issue->not_before_ns, not_before);
    asn1_time(issue->not_after_ns, not_after);
    if (issue->issuer_cert_pem) {
        int length = mbedtls_x509_dn_gets(issuer_name, sizeof issuer_name, &s->issuer.subject);
        if (length < 0) {
            return length;
        }
    } else {
        snprintf(issuer_name, sizeof issuer_name, "%s", subject);
    }
    mbedtls_x509write_crt_set_version(&s->cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&s->cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_issuer_key(&s->cert, &s->issuer_key);
    mbedtls_x509write_crt_set_subject_key(&s->cert, issue->kind == HF_PKI_ROOT ? &s->issuer_key
                                                                               : &s->subject_key);
    int code = mbedtls_x509write_crt_set_subject_name(&s->cert, subject);
    code = code == 0 ? mbedtls_x509write_crt_set_issuer_name(&s->cert, issuer_name) : code;
    code = code == 0 ? mbedtls_x509write_crt_set_validity(&s->cert, not_before, not_after) : code;
    code = code == 0 ? set_serial(&s->cert, issue->serial) : code;
    return code == 0 ? set_extensions(&s->cert, issue) : code;
}

int hf_pki_issue(const struct hf_pki_issue *issue, struct hf_buf *cert_pem, struct hf_error *error)
{
    struct issuing s;
    unsigned char pem[PEM_BYTES];
    char subject[CN_MAX + 4];
    mbedtls_pk_init(&s.subject_key);
    mbedtls_x509_crt_init(&s.issuer);
    mbedtls_x509write_crt_init(&s.cert);
    int rc = parse_key(issue->issuer_key_pem, &s.issuer_key, error);
    rc = rc == HF_OK ? set_subject(subject, issue->common_name, error) : rc;
    int code = 0;
    if (rc == HF_OK && issue->kind != HF_PKI_ROOT) {
        code = mbedtls_pk_parse_public_key(&s.subject_key, issue->spki.data, issue->spki.size);
        code = code == 0 ? mbedtls_x509_crt_parse(&s.issuer,
                                                  (const unsigned char *)issue->issuer_cert_pem,
                                                  strlen(issue->issuer_cert_pem) + 1)
                         : code;
    }
    if (rc == HF_OK) {
        code = code == 0 ? fill(&s, issue, subject) : code;
        code = code == 0 ? mbedtls_x509write_crt_pem(&s.cert, pem, sizeof pem, random_bytes, NULL)
                         : code;
        rc = code ? tls_error(error, code, "Issuing a certificate") : append_pem(cert_pem, pem);
    }
    mbedtls_x509write_crt_free(&s.cert);
    mbedtls_x509_crt_free(&s.issuer);
    mbedtls_pk_free(&s.subject_key);
    mbedtls_pk_free(&s.issuer_key);
    return rc;
}

/* --- reading --- */

static int64_t time_ns(const mbedtls_x509_time *time)
{
    struct tm utc = {.tm_year = time->year - 1900,
                     .tm_mon = time->mon - 1,
                     .tm_mday = time->day,
                     .tm_hour = time->hour,
                     .tm_min = time->min,
                     .tm_sec = time->sec};
    return (int64_t)timegm(&utc) * HF_NS_PER_SECOND;
}

static void serial_text(const uint8_t *bytes, size_t size, char out[2 * 20 + 1])
{
    while (size > 1 && *bytes == 0) {
        bytes++;
        size--;
    }
    hf_hex_encode(bytes, size < 20 ? size : 20, out);
    if (out[0] == '0' && out[1] != '\0') {
        memmove(out, out + 1, strlen(out));
    }
}

void hf_pki_serial_text(const uint8_t serial[HF_PKI_SERIAL_BYTES], char out[2 * 20 + 1])
{
    uint8_t positive[HF_PKI_SERIAL_BYTES];
    memcpy(positive, serial, sizeof positive);
    positive[0] &= 0x7f;
    serial_text(positive, sizeof positive, out);
}

static void copy_common_name(const mbedtls_x509_name *name, char out[256])
{
    out[0] = '\0';
    for (; name; name = name->next) {
        /* One with a NUL inside would read as another name: it has none. */
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &name->oid) == 0 && name->val.len < 256 &&
            !memchr(name->val.p, '\0', name->val.len)) {
            memcpy(out, name->val.p, name->val.len);
            out[name->val.len] = '\0';
        }
    }
}

/* All certificates in a text. One that can't be read spoils it: mbedTLS would skip it, other
 * readers might not. */
static int parse_certificates(const char *pem, mbedtls_x509_crt *out, struct hf_error *error)
{
    mbedtls_x509_crt_init(out);
    int code = mbedtls_x509_crt_parse(out, (const unsigned char *)pem, strlen(pem) + 1);
    if (code > 0) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "Reading certificates failed: %d of them can't be understood", code);
    }
    return code < 0 ? tls_error(error, code, "Reading a certificate") : HF_OK;
}

static bool may_be(const mbedtls_x509_crt *cert, const char *purpose, size_t size)
{
    return mbedtls_x509_crt_check_extended_key_usage(cert, purpose, size) == 0;
}

int hf_pki_info(const char *pem, struct hf_pki_info *out, struct hf_error *error)
{
    mbedtls_x509_crt cert;
    struct hf_buf spki = {0};
    int rc = parse_certificates(pem, &cert, error);
    rc = rc == HF_OK ? write_spki(&cert.pk, &spki, error) : rc;
    if (rc == HF_OK) {
        *out = (struct hf_pki_info){.not_before_ns = time_ns(&cert.valid_from),
                                    .not_after_ns = time_ns(&cert.valid_to)};
        out->for_servers =
            may_be(&cert, MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH));
        out->for_clients =
            may_be(&cert, MBEDTLS_OID_CLIENT_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH));
        copy_common_name(&cert.subject, out->common_name);
        serial_text(cert.serial.p, cert.serial.len, out->serial);
        hf_sha256(cert.raw.p, cert.raw.len, out->fingerprint);
        hf_sha256(spki.data, spki.size, out->key_hash);
    }
    hf_buf_free(&spki);
    mbedtls_x509_crt_free(&cert);
    return rc;
}

/* One entry of SubjectAltName as set_names takes it; kinds that it does not write are left out. */
static int append_name(const mbedtls_x509_buf *entry, struct hf_buf *names, size_t *count)
{
    char address[INET6_ADDRSTRLEN];
    int kind = entry->tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
    int rc = HF_OK;
    if (kind == 2) { /* dNSName */
        if (entry->len == 0 || memchr(entry->p, '\0', entry->len)) {
            return HF_ERR_INVALID;
        }
        rc = hf_buf_append(names, entry->p, entry->len);
    } else if (kind == 7 && (entry->len == 4 || entry->len == 16)) { /* iPAddress */
        inet_ntop(entry->len == 4 ? AF_INET : AF_INET6, entry->p, address, sizeof address);
        rc = hf_buf_append_str(names, address);
    } else {
        return HF_OK;
    }
    rc = rc == HF_OK ? hf_buf_append_byte(names, '\0') : rc;
    *count += rc == HF_OK;
    return rc;
}

int hf_pki_names(const char *pem, struct hf_buf *names, size_t *count, struct hf_error *error)
{
    mbedtls_x509_crt cert;
    int rc = parse_certificates(pem, &cert, error);
    *count = 0;
    const mbedtls_x509_sequence *entry = rc == HF_OK ? &cert.subject_alt_names : NULL;
    for (; entry && rc == HF_OK; entry = entry->next) {
        if (entry->buf.p) {
            rc = append_name(&entry->buf, names, count);
        }
        if (rc != HF_OK) {
            hf_error_set(error, (enum hf_err)rc, 0, "A name in the certificate can't be read");
        }
    }
    mbedtls_x509_crt_free(&cert);
    return rc;
}

int hf_pki_single(const char *pem, struct hf_buf *out, struct hf_error *error)
{
    mbedtls_x509_crt cert;
    unsigned char text[PEM_BYTES];
    size_t length = 0;
    int rc = parse_certificates(pem, &cert, error);
    if (rc == HF_OK && cert.next) {
        rc = hf_error_set(error, HF_ERR_INVALID, 0,
                          "There is more than the one certificate that was expected");
    }
    if (rc == HF_OK) {
        int code =
            mbedtls_pem_write_buffer("-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n",
                                     cert.raw.p, cert.raw.len, text, sizeof text, &length);
        rc = code ? tls_error(error, code, "Writing a certificate") : append_pem(out, text);
    }
    mbedtls_x509_crt_free(&cert);
    return rc;
}

static int verify(const char *chain_pem, const char *root_pem, uint32_t ignored,
                  struct hf_error *error)
{
    mbedtls_x509_crt chain;
    mbedtls_x509_crt root;
    uint32_t flags = 0;
    char text[256] = "";
    mbedtls_x509_crt_init(&root);
    int rc = parse_certificates(chain_pem, &chain, error);
    rc = rc == HF_OK ? parse_certificates(root_pem, &root, error) : rc;
    if (rc == HF_OK) {
        int code = mbedtls_x509_crt_verify(&chain, &root, NULL, NULL, &flags, NULL, NULL);
        if (code != 0 && code != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
            rc = tls_error(error, code, "Checking a certificate chain");
        } else if (flags & ~ignored) {
            mbedtls_x509_crt_verify_info(text, sizeof text, "", flags & ~ignored);
            text[strcspn(text, "\n")] = '\0';
            rc = hf_error_set(error, HF_ERR_DENIED, 0, "The certificate chain is not valid: %s",
                              text);
        }
    }
    mbedtls_x509_crt_free(&root);
    mbedtls_x509_crt_free(&chain);
    return rc;
}

int hf_pki_verify(const char *chain_pem, const char *root_pem, struct hf_error *error)
{
    return verify(chain_pem, root_pem, 0, error);
}

int hf_pki_verify_any_time(const char *chain_pem, const char *root_pem, struct hf_error *error)
{
    return verify(chain_pem, root_pem, MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE,
                  error);
}
