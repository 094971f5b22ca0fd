/* A certificate authority for tests of identity, made with the same functions as the real one. */
#ifndef HF_TESTS_TEST_AUTHORITY_H
#define HF_TESTS_TEST_AUTHORITY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/pki.h"

#define HOUR_NS (3600 * HF_NS_PER_SECOND)

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != HF_OK) {                                                                     \
            fail_msg("%s: %s", #call, error.message);                                              \
        }                                                                                          \
    } while (0)

struct test_authority {
    struct hf_buf root_key, root, issuing_key, issuing;
};

struct test_wish {
    enum hf_pki_kind kind;
    const char *name;
    const char *const *names; /* of a server */
    size_t name_count;
    int64_t begins_ns, ends_ns; /* from now; 0: an hour ago, in an hour */
};

static inline const char *as_text(const struct hf_buf *buf)
{
    return (const char *)buf->data;
}

static inline void issue_for(const struct test_wish *wish, struct hf_bytes spki,
                             const struct hf_buf *issuer_key, const struct hf_buf *issuer,
                             struct hf_buf *cert)
{
    struct hf_error error;
    int64_t now = hf_clock_now_ns();
    struct hf_pki_issue issue = {
        .kind = wish->kind,
        .common_name = wish->name,
        .spki = spki,
        .issuer_key_pem = as_text(issuer_key),
        .issuer_cert_pem = issuer ? as_text(issuer) : NULL,
        .names = wish->names,
        .name_count = wish->name_count,
        .not_before_ns = now + (wish->begins_ns ? wish->begins_ns : -HOUR_NS),
        .not_after_ns = now + (wish->ends_ns ? wish->ends_ns : HOUR_NS),
    };
    hf_random(issue.serial, sizeof issue.serial);
    assert_ok(hf_pki_issue(&issue, cert, &error));
}

static inline struct test_authority test_authority_new(void)
{
    struct hf_error error;
    struct test_authority a = {0};
    struct hf_buf spki = {0};
    assert_ok(hf_pki_key_new(&a.root_key, &error));
    assert_ok(hf_pki_key_new(&a.issuing_key, &error));
    assert_ok(hf_pki_key_spki(as_text(&a.issuing_key), &spki, &error));
    issue_for(&(struct test_wish){.kind = HF_PKI_ROOT, .name = "Test root"}, (struct hf_bytes){0},
              &a.root_key, NULL, &a.root);
    issue_for(&(struct test_wish){.kind = HF_PKI_ISSUING, .name = "Test issuing"},
              (struct hf_bytes){spki.data, spki.size}, &a.root_key, &a.root, &a.issuing);
    hf_buf_free(&spki);
    return a;
}

static inline void test_authority_free(struct test_authority *a)
{
    hf_buf_wipe_free(&a->root_key);
    hf_buf_wipe_free(&a->issuing_key);
    hf_buf_free(&a->root);
    hf_buf_free(&a->issuing);
}

/* Leaf and issuing certificate for a public key. */
static inline void test_chain(const struct test_authority *a, const struct test_wish *wish,
                              struct hf_bytes spki, struct hf_buf *chain)
{
    issue_for(wish, spki, &a->issuing_key, &a->issuing, chain);
    assert_int_equal(hf_buf_append(chain, a->issuing.data, a->issuing.size), HF_OK);
    assert_int_equal(hf_buf_terminate(chain), HF_OK);
}

static inline void test_chain_for_key(const struct test_authority *a, const struct test_wish *wish,
                                      const struct hf_buf *key, struct hf_buf *chain)
{
    struct hf_error error;
    struct hf_buf spki = {0};
    assert_ok(hf_pki_key_spki(as_text(key), &spki, &error));
    test_chain(a, wish, (struct hf_bytes){spki.data, spki.size}, chain);
    hf_buf_free(&spki);
}

/* A directory for one test; what identities may hold is removed with it. */
static inline void remove_identity(const char *directory)
{
    static const char *const names[] = {"agent.pem",  "ca.pem",     "identity.ini", "pending.key",
                                        "server.key", "server.pem", "token",        "said"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    if (rmdir(directory) != 0) {
        fail_msg("something was left in %s", directory);
    }
}

#endif
