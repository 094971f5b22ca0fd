/* Certificates are judged here by another implementation than the one that made them: openssl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/pki.h"

#define HOUR_NS (3600 * HF_NS_PER_SECOND)

static struct hf_error error;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != HF_OK) {                                                                     \
            fail_msg("%s: %s", #call, error.message);                                              \
        }                                                                                          \
    } while (0)

struct pair {
    struct hf_buf key, cert;
};

static const char *text(const struct hf_buf *buf)
{
    return (const char *)buf->data;
}

static void pair_free(struct pair *pair)
{
    hf_buf_wipe_free(&pair->key);
    hf_buf_free(&pair->cert);
}

struct wish {
    enum hf_pki_kind kind;
    const char *name;
    const char *const *names;
    size_t name_count;
    int64_t begins_ns, ends_ns; /* from now */
};

static struct pair make(const struct wish *wish, const struct pair *issuer)
{
    struct pair pair = {0};
    struct hf_buf spki = {0};
    int64_t now = hf_clock_now_ns();
    assert_ok(hf_pki_key_new(&pair.key, &error));
    assert_ok(hf_pki_key_spki(text(&pair.key), &spki, &error));
    struct hf_pki_issue issue = {
        .kind = wish->kind,
        .common_name = wish->name,
        .spki = {spki.data, spki.size},
        .issuer_key_pem = text(issuer ? &issuer->key : &pair.key),
        .issuer_cert_pem = issuer ? text(&issuer->cert) : NULL,
        .names = wish->names,
        .name_count = wish->name_count,
        .not_before_ns = now + (wish->begins_ns ? wish->begins_ns : -HOUR_NS),
        .not_after_ns = now + (wish->ends_ns ? wish->ends_ns : HOUR_NS),
    };
    hf_random(issue.serial, sizeof issue.serial);
    assert_ok(hf_pki_issue(&issue, &pair.cert, &error));
    hf_buf_free(&spki);
    return pair;
}

struct authority {
    struct pair root, issuing;
};

static struct authority make_authority(void)
{
    struct authority authority;
    authority.root = make(&(struct wish){.kind = HF_PKI_ROOT, .name = "Test root"}, NULL);
    authority.issuing =
        make(&(struct wish){.kind = HF_PKI_ISSUING, .name = "Test issuing"}, &authority.root);
    return authority;
}

static void authority_free(struct authority *authority)
{
    pair_free(&authority->root);
    pair_free(&authority->issuing);
}

static struct hf_buf join(const struct hf_buf *first, const struct hf_buf *second)
{
    struct hf_buf both = {0};
    assert_ok(hf_buf_append(&both, first->data, first->size));
    assert_ok(hf_buf_append(&both, second->data, second->size));
    assert_ok(hf_buf_terminate(&both));
    return both;
}

/* A directory of PEM files for openssl, removed at the end of a test. */
struct files {
    char directory[64];
};

static const char *const file_names[] = {"root.pem", "issuing.pem", "leaf.pem", "csr.der"};

static struct files files_new(void)
{
    struct files files = {"/tmp/hf-pki-XXXXXX"};
    assert_non_null(mkdtemp(files.directory));
    return files;
}

static void put(const struct files *files, const char *name, const struct hf_buf *buf)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", files->directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(buf->data, 1, buf->size, file), buf->size);
    assert_int_equal(fclose(file), 0);
}

static void files_remove(const struct files *files)
{
    for (size_t i = 0; i < sizeof file_names / sizeof file_names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", files->directory, file_names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(files->directory), 0);
}

/* Exit status of `openssl ARGUMENTS` in the directory; out (8 KiB) receives what it said. */
static int openssl(const struct files *files, const char *arguments, char *out)
{
    char command[512];
    snprintf(command, sizeof command, "cd %s && openssl %s 2>&1", files->directory, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(out, 1, 8191, pipe);
    out[size] = '\0';
    return pclose(pipe);
}

static void assert_openssl(const struct files *files, const char *arguments, int good)
{
    char out[8192];
    int status = openssl(files, arguments, out);
    if ((status == 0) != (good != 0)) {
        fail_msg("openssl %s: status %d: %s", arguments, status, out);
    }
}

static void openssl_accepts_the_chain_for_its_purpose_and_names_and_no_other(void **state)
{
    (void)state;
    static const char *const names[] = {"collector.example", "127.0.0.1", "2001:db8::7"};
    struct authority authority = make_authority();
    struct pair leaf = make(
        &(struct wish){
            .kind = HF_PKI_SERVER, .name = "Holdfast collector", .names = names, .name_count = 3},
        &authority.issuing);
    struct files files = files_new();
    put(&files, "root.pem", &authority.root.cert);
    put(&files, "issuing.pem", &authority.issuing.cert);
    put(&files, "leaf.pem", &leaf.cert);
#define VERIFY "verify -x509_strict -CAfile root.pem -untrusted issuing.pem "
    assert_openssl(&files, VERIFY "-purpose sslserver leaf.pem", 1);
    assert_openssl(&files, VERIFY "-purpose sslclient leaf.pem", 0);
    assert_openssl(&files, VERIFY "-verify_hostname collector.example leaf.pem", 1);
    assert_openssl(&files, VERIFY "-verify_hostname other.example leaf.pem", 0);
    assert_openssl(&files, VERIFY "-verify_ip 127.0.0.1 leaf.pem", 1);
    assert_openssl(&files, VERIFY "-verify_ip 2001:db8::7 leaf.pem", 1);
    assert_openssl(&files, VERIFY "-verify_ip 2001:db8::8 leaf.pem", 0);
    assert_openssl(&files, "verify -CAfile root.pem leaf.pem", 0); /* without the intermediate */
    files_remove(&files);
    pair_free(&leaf);
    authority_free(&authority);
}

static void a_hosts_certificate_is_for_clients_only_and_carries_what_rfc_5280_wants(void **state)
{
    (void)state;
    char out[8192];
    struct authority authority = make_authority();
    struct pair leaf = make(&(struct wish){.kind = HF_PKI_CLIENT, .name = "h-0123456789abcdef"},
                            &authority.issuing);
    struct files files = files_new();
    put(&files, "root.pem", &authority.root.cert);
    put(&files, "issuing.pem", &authority.issuing.cert);
    put(&files, "leaf.pem", &leaf.cert);
    assert_openssl(&files, VERIFY "-purpose sslclient leaf.pem", 1);
    assert_openssl(&files, VERIFY "-purpose sslserver leaf.pem", 0);
    assert_int_equal(openssl(&files, "x509 -in leaf.pem -noout -text", out), 0);
    static const char *const wanted[] = {"Version: 3",
                                         "ecdsa-with-SHA256",
                                         "NIST CURVE: P-256",
                                         "CN = h-0123456789abcdef",
                                         "Issuer: CN = Test issuing",
                                         "X509v3 Key Usage: critical",
                                         "Digital Signature",
                                         "TLS Web Client Authentication",
                                         "Subject Key Identifier",
                                         "Authority Key Identifier",
                                         "CA:FALSE"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!strstr(out, wanted[i])) {
            fail_msg("the certificate lacks '%s':\n%s", wanted[i], out);
        }
    }
    assert_int_equal(openssl(&files, "x509 -in root.pem -noout -text", out), 0);
    assert_non_null(strstr(out, "CA:TRUE, pathlen:1"));
    assert_int_equal(openssl(&files, "x509 -in issuing.pem -noout -text", out), 0);
    assert_non_null(strstr(out, "CA:TRUE, pathlen:0"));
    assert_non_null(strstr(out, "Basic Constraints: critical"));
    files_remove(&files);
    pair_free(&leaf);
    authority_free(&authority);
}

static void a_host_cannot_issue_certificates_and_issuing_cannot_make_authorities(void **state)
{
    (void)state;
    struct authority authority = make_authority();
    struct pair host =
        make(&(struct wish){.kind = HF_PKI_CLIENT, .name = "h-1"}, &authority.issuing);
    struct pair forged = make(&(struct wish){.kind = HF_PKI_CLIENT, .name = "h-2"}, &host);
    struct pair deeper =
        make(&(struct wish){.kind = HF_PKI_ISSUING, .name = "Deeper"}, &authority.issuing);
    struct pair below = make(&(struct wish){.kind = HF_PKI_CLIENT, .name = "h-3"}, &deeper);
    struct hf_buf part = join(&host.cert, &authority.issuing.cert);
    struct hf_buf by_host = join(&forged.cert, &part);
    struct hf_buf part_2 = join(&deeper.cert, &authority.issuing.cert);
    struct hf_buf too_deep = join(&below.cert, &part_2);
    assert_ok(hf_pki_verify(text(&part), text(&authority.root.cert), &error));
    assert_int_equal(hf_pki_verify(text(&by_host), text(&authority.root.cert), &error),
                     HF_ERR_DENIED);
    assert_int_equal(hf_pki_verify(text(&too_deep), text(&authority.root.cert), &error),
                     HF_ERR_DENIED);
    hf_buf_free(&part);
    hf_buf_free(&by_host);
    hf_buf_free(&part_2);
    hf_buf_free(&too_deep);
    pair_free(&host);
    pair_free(&forged);
    pair_free(&deeper);
    pair_free(&below);
    authority_free(&authority);
}

static void a_chain_of_another_root_or_another_time_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct authority ours = make_authority();
    struct authority theirs = make_authority(); /* with the very same names */
    const struct wish past = {
        .kind = HF_PKI_CLIENT, .name = "h-1", .begins_ns = -2 * HOUR_NS, .ends_ns = -HOUR_NS};
    const struct wish future = {
        .kind = HF_PKI_CLIENT, .name = "h-1", .begins_ns = HOUR_NS, .ends_ns = 2 * HOUR_NS};
    const struct wish present = {.kind = HF_PKI_CLIENT, .name = "h-1"};
    const struct {
        const struct wish *wish;
        const struct authority *authority;
        const char *reason;
        int any_time;
    } cases[] = {
        {&present, &ours, NULL, HF_OK},
        {&present, &theirs, "not correctly signed", HF_ERR_DENIED},
        {&past, &ours, "expired", HF_OK},
        {&future, &ours, "future", HF_OK},
        {&past, &theirs, "", HF_ERR_DENIED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair leaf = make(cases[i].wish, &cases[i].authority->issuing);
        struct hf_buf chain = join(&leaf.cert, &cases[i].authority->issuing.cert);
        int rc = hf_pki_verify(text(&chain), text(&ours.root.cert), &error);
        assert_int_equal(rc, cases[i].reason ? HF_ERR_DENIED : HF_OK);
        if (cases[i].reason && !strstr(error.message, cases[i].reason)) {
            fail_msg("case %zu: '%s' does not say '%s'", i, error.message, cases[i].reason);
        }
        assert_int_equal(hf_pki_verify_any_time(text(&chain), text(&ours.root.cert), &error),
                         cases[i].any_time);
        hf_buf_free(&chain);
        pair_free(&leaf);
    }
    authority_free(&ours);
    authority_free(&theirs);
}

static void what_a_certificate_says_of_itself_is_what_openssl_reads(void **state)
{
    (void)state;
    char out[8192];
    char serial[2 * 20 + 1];
    struct hf_pki_info info;
    struct hf_buf spki = {0};
    struct hf_buf cert = {0};
    uint8_t key_hash[HF_HASH_BYTES];
    char fingerprint[2 * HF_HASH_BYTES + 1];
    struct authority authority = make_authority();
    struct pair key = {0};
    struct files files = files_new();
    assert_ok(hf_pki_key_new(&key.key, &error));
    assert_ok(hf_pki_key_spki(text(&key.key), &spki, &error));
    struct hf_pki_issue issue = {.kind = HF_PKI_CLIENT,
                                 .common_name = "h-00ff00ff00ff00ff",
                                 .spki = {spki.data, spki.size},
                                 .issuer_key_pem = text(&authority.issuing.key),
                                 .issuer_cert_pem = text(&authority.issuing.cert),
                                 .not_before_ns = INT64_C(1790000000) * HF_NS_PER_SECOND,
                                 /* after 2049 dates are written in another form */
                                 .not_after_ns = INT64_C(2600000000) * HF_NS_PER_SECOND,
                                 /* leading zeros, and a first bit that would make it negative */
                                 .serial = {0x80, 0x00, 0x0a, 0xbc, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
    assert_ok(hf_pki_issue(&issue, &cert, &error));
    assert_ok(hf_pki_info(text(&cert), &info, &error));
    put(&files, "leaf.pem", &cert);
    assert_int_equal(openssl(&files, "x509 -in leaf.pem -noout -serial", out), 0);
    assert_string_equal(out, "serial=0ABC010203040506070809000000\n");
    assert_string_equal(info.serial, "abc010203040506070809000000");
    hf_pki_serial_text(issue.serial, serial);
    assert_string_equal(serial, info.serial);
    assert_string_equal(info.common_name, issue.common_name);
    assert_int_equal(info.not_before_ns, issue.not_before_ns);
    assert_int_equal(info.not_after_ns, issue.not_after_ns);
    assert_true(info.for_clients);
    assert_false(info.for_servers);
    hf_sha256(spki.data, spki.size, key_hash);
    assert_memory_equal(info.key_hash, key_hash, sizeof key_hash);
    assert_int_equal(openssl(&files, "x509 -in leaf.pem -outform der | sha256sum", out), 0);
    hf_hex_encode(info.fingerprint, HF_HASH_BYTES, fingerprint);
    assert_memory_equal(out, fingerprint, 2 * HF_HASH_BYTES);
    assert_int_equal(openssl(&files, "x509 -in leaf.pem -noout -enddate", out), 0);
    assert_string_equal(out, "notAfter=May 22 14:13:20 2052 GMT\n");
    files_remove(&files);
    hf_buf_free(&cert);
    hf_buf_free(&spki);
    pair_free(&key);
    authority_free(&authority);
}

static void a_request_is_believed_only_with_the_signature_of_its_own_key(void **state)
{
    (void)state;
    struct hf_buf key = {0};
    struct hf_buf der = {0};
    struct hf_buf spki = {0};
    struct hf_buf expected = {0};
    struct files files = files_new();
    assert_ok(hf_pki_key_new(&key, &error));
    assert_ok(hf_pki_request_new(text(&key), "holdfast-agent", &der, &error));
    assert_ok(hf_pki_key_spki(text(&key), &expected, &error));
    put(&files, "csr.der", &der);
    assert_openssl(&files, "req -inform der -in csr.der -noout -verify", 1);
    assert_ok(hf_pki_request_check(der.data, der.size, &spki, &error));
    assert_int_equal(spki.size, expected.size);
    assert_memory_equal(spki.data, expected.data, spki.size);
    /* Whatever byte is changed, and wherever it is cut: refused, or the same key after all. */
    for (size_t i = 0; i < der.size; i++) {
        struct hf_buf got = {0};
        der.data[i] ^= 0x01;
        int rc = hf_pki_request_check(der.data, der.size, &got, &error);
        assert_int_not_equal(rc, HF_OK);
        der.data[i] ^= 0x01;
        hf_buf_free(&got);
        assert_int_not_equal(hf_pki_request_check(der.data, i, &got, &error), HF_OK);
        hf_buf_free(&got);
    }
    files_remove(&files);
    hf_buf_wipe_free(&key);
    hf_buf_free(&der);
    hf_buf_free(&spki);
    hf_buf_free(&expected);
}

static void a_request_for_a_key_of_another_kind_is_refused(void **state)
{
    (void)state;
    static const char *const wishes[] = {
        "req -new -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=x -outform der -out csr.der",
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout /dev/null -subj /CN=x"
        " -outform der -out csr.der",
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha512 -nodes -keyout /dev/null"
        " -subj /CN=x -outform der -out csr.der",
    };
    static const char *const reasons[] = {"not P-256", "not P-256", "SHA-256"};
    for (size_t i = 0; i < 3; i++) {
        struct files files = files_new();
        struct hf_buf spki = {0};
        char path[128];
        uint8_t der[4096];
        assert_openssl(&files, wishes[i], 1);
        snprintf(path, sizeof path, "%s/csr.der", files.directory);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        size_t size = fread(der, 1, sizeof der, file);
        fclose(file);
        assert_int_equal(hf_pki_request_check(der, size, &spki, &error), HF_ERR_DENIED);
        assert_non_null(strstr(error.message, reasons[i]));
        assert_int_equal(spki.size, 0);
        files_remove(&files);
    }
}

static void a_single_certificate_is_taken_without_anything_that_stands_beside_it(void **state)
{
    (void)state;
    struct pair good = make(&(struct wish){.kind = HF_PKI_ROOT, .name = "Good"}, NULL);
    struct pair evil = make(&(struct wish){.kind = HF_PKI_ROOT, .name = "Evil"}, NULL);
    struct hf_buf both = join(&good.cert, &evil.cert);
    struct hf_buf out = {0};
    struct hf_buf disguised = {0};
    struct hf_pki_info info;
    struct hf_pki_info after;
    assert_int_equal(hf_pki_single(text(&both), &out, &error), HF_ERR_INVALID);
    assert_int_equal(out.size, 0);
    /* A certificate under the name that OpenSSL reads and mbedTLS skips. */
    const char *body = strchr(text(&evil.cert), '\n');
    const char *end = strstr(text(&evil.cert), "-----END");
    assert_ok(hf_buf_append_format(&disguised,
                                   "-----BEGIN X509 CERTIFICATE-----%.*s"
                                   "-----END X509 CERTIFICATE-----\n%s",
                                   (int)(end - body), body, text(&good.cert)));
    assert_ok(hf_pki_info(text(&disguised), &info, &error));
    assert_string_equal(info.common_name, "Good");
    assert_ok(hf_pki_single(text(&disguised), &out, &error));
    assert_null(strstr(text(&out), "X509"));
    assert_ok(hf_pki_info(text(&out), &after, &error));
    assert_memory_equal(info.fingerprint, after.fingerprint, HF_HASH_BYTES);
    assert_int_equal(hf_pki_verify(text(&evil.cert), text(&out), &error), HF_ERR_DENIED);
    hf_buf_free(&disguised);
    hf_buf_free(&out);
    hf_buf_free(&both);
    pair_free(&good);
    pair_free(&evil);
}

static void names_that_would_mean_something_to_the_library_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a,O=b", "a=b", "a\nb", "caf\xc3\xa9", "a+b", "a\\,b"};
    char longest[70];
    struct hf_buf key = {0};
    struct hf_buf der = {0};
    assert_ok(hf_pki_key_new(&key, &error));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(hf_pki_request_new(text(&key), names[i], &der, &error), HF_ERR_INVALID);
    }
    memset(longest, 'a', sizeof longest);
    longest[65] = '\0';
    assert_int_equal(hf_pki_request_new(text(&key), longest, &der, &error), HF_ERR_INVALID);
    longest[64] = '\0';
    assert_ok(hf_pki_request_new(text(&key), longest, &der, &error));
    hf_buf_free(&der);
    hf_buf_wipe_free(&key);
}

static void a_certificates_names_are_read_as_they_were_written(void **state)
{
    (void)state;
    static const char *const names[] = {"collector.example", "192.0.2.7", "2001:db8::7", "b"};
    static const char expected[] = "collector.example\000192.0.2.7\0002001:db8::7\0b";
    struct pair root = make(
        &(struct wish){
            .kind = HF_PKI_ROOT, .name = "Root", .begins_ns = -HOUR_NS, .ends_ns = HOUR_NS},
        NULL);
    struct pair server = make(&(struct wish){.kind = HF_PKI_SERVER,
                                             .name = "Server",
                                             .names = names,
                                             .name_count = 4,
                                             .begins_ns = -HOUR_NS,
                                             .ends_ns = HOUR_NS},
                              &root);
    struct hf_buf read = {0};
    size_t count = 99;
    assert_ok(hf_pki_names(text(&server.cert), &read, &count, &error));
    assert_int_equal(count, 4);
    assert_int_equal(read.size, sizeof expected);
    assert_memory_equal(read.data, expected, sizeof expected);
    hf_buf_free(&read);
    assert_ok(hf_pki_names(text(&root.cert), &read, &count, &error));
    assert_int_equal(count, 0);
    assert_int_not_equal(hf_pki_names("nonsense", &read, &count, &error), HF_OK);
    hf_buf_free(&read);
    pair_free(&server);
    pair_free(&root);
}

static void texts_that_are_no_certificates_are_refused(void **state)
{
    (void)state;
    struct hf_pki_info info;
    struct hf_buf out = {0};
    static const char *const texts[] = {
        "", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_not_equal(hf_pki_info(texts[i], &info, &error), HF_OK);
        assert_int_not_equal(hf_pki_single(texts[i], &out, &error), HF_OK);
        assert_int_not_equal(hf_pki_verify(texts[i], texts[i], &error), HF_OK);
        assert_int_not_equal(hf_pki_verify_any_time(texts[i], texts[i], &error), HF_OK);
        assert_int_not_equal(hf_pki_key_spki(texts[i], &out, &error), HF_OK);
    }
    assert_int_equal(out.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssl_accepts_the_chain_for_its_purpose_and_names_and_no_other),
        cmocka_unit_test(a_hosts_certificate_is_for_clients_only_and_carries_what_rfc_5280_wants),
        cmocka_unit_test(a_host_cannot_issue_certificates_and_issuing_cannot_make_authorities),
        cmocka_unit_test(a_chain_of_another_root_or_another_time_is_refused_with_the_reason),
        cmocka_unit_test(what_a_certificate_says_of_itself_is_what_openssl_reads),
        cmocka_unit_test(a_request_is_believed_only_with_the_signature_of_its_own_key),
        cmocka_unit_test(a_request_for_a_key_of_another_kind_is_refused),
        cmocka_unit_test(a_single_certificate_is_taken_without_anything_that_stands_beside_it),
        cmocka_unit_test(names_that_would_mean_something_to_the_library_are_refused),
        cmocka_unit_test(a_certificates_names_are_read_as_they_were_written),
        cmocka_unit_test(texts_that_are_no_certificates_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
