#include "identity_fixture.h"

static struct hf_error error;

struct host {
    char id[64];
    struct hf_buf key, request;
};

static struct host host_new(struct deployment *d)
{
    struct host host = {.key = key_new()};
    struct test_token token = token_new(d, 1, 0);
    struct reply reply = enrol(d, token.text);
    assert_int_equal(reply.status, 200);
    snprintf(host.id, sizeof host.id, "%s", reply_text(&reply, "host_id"));
    assert_ok(hf_pki_request_new(as_text(&host.key), "h-ffffffffffffffff", &host.request, &error));
    reply_free(&reply);
    return host;
}

static void host_free(struct host *host)
{
    hf_buf_wipe_free(&host->key);
    hf_buf_free(&host->request);
}

static int renew(struct deployment *d, const struct host *host, struct hf_buf *chain)
{
    return identity_renew(d->authority, d->ingest, host->id,
                          (struct hf_bytes){host->request.data, host->request.size}, chain, &error);
}

static void a_renewal_is_for_the_new_key_and_the_same_host_whatever_it_asks_for(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct host host = host_new(&d);
    struct hf_buf chain = {0};
    struct hf_buf spki = {0};
    struct hf_pki_info info;
    uint8_t key_hash[HF_HASH_BYTES];
    assert_ok(renew(&d, &host, &chain));
    assert_ok(hf_buf_terminate(&chain));
    assert_ok(hf_pki_verify(as_text(&chain), authority_root_pem(d.authority), &error));
    assert_ok(hf_pki_info(as_text(&chain), &info, &error));
    assert_string_equal(info.common_name, host.id);
    assert_ok(hf_pki_key_spki(as_text(&host.key), &spki, &error));
    hf_sha256(spki.data, spki.size, key_hash);
    assert_memory_equal(info.key_hash, key_hash, sizeof key_hash);
    hf_buf_free(&spki);
    hf_buf_free(&chain);
    host_free(&host);
    deployment_free(&d);
}

static void a_revoked_an_unknown_and_a_forging_host_get_no_certificate(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct host host = host_new(&d);
    struct hf_buf chain = {0};
    host.request.data[host.request.size - 1] ^= 1;
    assert_int_not_equal(renew(&d, &host, &chain), HF_OK);
    host.request.data[host.request.size - 1] ^= 1;
    struct host stranger = {.id = "h-ffffffffffffffff", .request = host.request};
    assert_int_not_equal(renew(&d, &stranger, &chain), HF_OK);
    assert_ok(renew(&d, &host, &chain));
    hf_buf_free(&chain);
    revoke_host(&d, host.id);
    assert_int_equal(renew(&d, &host, &chain), HF_ERR_DENIED);
    assert_int_equal(chain.size, 0);
    host_free(&host);
    deployment_free(&d);
}

static void a_host_cannot_fill_the_catalog_with_renewals(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct host host = host_new(&d);
    struct host other = host_new(&d);
    struct hf_buf chain = {0};
    int made = 0;
    int rc = HF_OK;
    while (made < 50 && (rc = renew(&d, &host, &chain)) == HF_OK) {
        hf_buf_free(&chain);
        made++;
    }
    assert_int_equal(rc, HF_ERR_AGAIN);
    assert_in_range(made, 5, 12);
    assert_says(error.message, host.id);
    assert_ok(renew(&d, &other, &chain)); /* its neighbour is not held up */
    hf_buf_free(&chain);
    host_free(&host);
    host_free(&other);
    deployment_free(&d);
}

/* Hosts renew between half and two thirds of a certificate's life: that has to lie ahead. */
static void half_of_a_certificates_life_is_ahead_when_it_is_issued_however_short_it_is(void **state)
{
    (void)state;
    static const int64_t validities[] = {10 * HF_NS_PER_SECOND, 20 * HF_NS_PER_SECOND,
                                         600 * HF_NS_PER_SECOND, HOUR_NS, 7 * DAY_NS};
    for (size_t i = 0; i < sizeof validities / sizeof validities[0]; i++) {
        struct deployment d = deployment_new(validities[i]);
        struct host host = host_new(&d);
        struct hf_buf chain = {0};
        struct hf_pki_info info;
        assert_ok(renew(&d, &host, &chain));
        int64_t now = hf_clock_now_ns();
        assert_ok(hf_buf_terminate(&chain));
        assert_ok(hf_pki_info(as_text(&chain), &info, &error));
        int64_t half = info.not_before_ns + (info.not_after_ns - info.not_before_ns) / 2;
        assert_true(info.not_before_ns <= now);
        assert_true(half > now);
        assert_true(half - now > validities[i] / 5);
        assert_true(info.not_after_ns <= now + validities[i]);
        assert_true(info.not_after_ns > now + validities[i] - 2 * HF_NS_PER_SECOND);
        hf_buf_free(&chain);
        host_free(&host);
        deployment_free(&d);
    }
}

static void no_certificate_outlives_the_one_that_issued_it(void **state)
{
    (void)state;
    struct deployment d = deployment_new(50 * 365 * DAY_NS);
    struct host host = host_new(&d);
    struct hf_buf chain = {0};
    struct hf_pki_info leaf;
    struct hf_pki_info issuing;
    assert_ok(renew(&d, &host, &chain));
    assert_ok(hf_buf_terminate(&chain));
    assert_ok(hf_pki_info(as_text(&chain), &leaf, &error));
    assert_ok(hf_pki_info(strstr(as_text(&chain) + 1, "-----BEGIN CERTIFICATE"), &issuing, &error));
    assert_string_equal(issuing.common_name, "Holdfast issuing");
    assert_int_equal(leaf.not_after_ns, issuing.not_after_ns);
    hf_buf_free(&chain);
    host_free(&host);
    deployment_free(&d);
}

static void ask_admit(struct question *q, struct hf_catalog_reader *catalog)
{
    q->rc = identity_admit(catalog, q->text, &q->number, &q->error);
}

static void only_hosts_that_enrolled_here_and_are_not_revoked_are_admitted(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct host first = host_new(&d);
    struct host second = host_new(&d);
    struct question question = {.ask = ask_admit, .text = second.id};
    ask(&d, &question);
    assert_int_equal(question.rc, HF_OK);
    uint64_t row = question.number;
    question.text = first.id;
    ask(&d, &question);
    assert_int_equal(question.rc, HF_OK);
    assert_int_not_equal(question.number, row);
    static const char *const strangers[] = {"h-ffffffffffffffff", "", "robot-01",
                                            "Holdfast collector", "h-' OR 1=1 --"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        question.text = strangers[i];
        ask(&d, &question);
        assert_int_equal(question.rc, HF_ERR_NOT_FOUND);
        assert_says(question.error.message, "enrol it with a token");
    }
    revoke_host(&d, first.id);
    question.text = first.id;
    ask(&d, &question);
    assert_int_equal(question.rc, HF_ERR_DENIED);
    assert_says(question.error.message, "revoked");
    question.text = second.id;
    ask(&d, &question);
    assert_int_equal(question.rc, HF_OK);
    host_free(&first);
    host_free(&second);
    deployment_free(&d);
}

static void copy_over(const char *from, const char *to)
{
    struct hf_buf text = {0};
    assert_ok(hf_read_file(from, 65536, &text, &error));
    assert_ok(hf_write_file_atomic(to, text.data, text.size, 0600, &error));
    hf_buf_wipe_free(&text);
}

static void an_authority_that_others_can_read_or_that_is_mixed_up_is_not_loaded(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct deployment other = deployment_new(7 * DAY_NS);
    struct hf_authority *authority = NULL;
    char key[160];
    char pem[160];
    char root[160];
    char kept[160];
    char others[160];
    snprintf(key, sizeof key, "%s/ca/issuing.key", d.data);
    snprintf(pem, sizeof pem, "%s/ca/issuing.pem", d.data);
    snprintf(root, sizeof root, "%s/ca/root.pem", d.data);
    snprintf(kept, sizeof kept, "%s/kept", d.directory);
    assert_ok(authority_load(d.data, DAY_NS, &authority, &error));
    authority_free(authority);

    assert_int_equal(chmod(key, 0640), 0);
    assert_int_equal(authority_load(d.data, DAY_NS, &authority, &error), HF_ERR_DENIED);
    assert_says(error.message, "chmod 600");
    assert_int_equal(chmod(key, 0600), 0);

    copy_over(key, kept);
    snprintf(others, sizeof others, "%s/ca/issuing.key", other.data);
    copy_over(others, key);
    assert_int_equal(authority_load(d.data, DAY_NS, &authority, &error), HF_ERR_DENIED);
    assert_says(error.message, "issuing.key is not the key of issuing.pem");
    copy_over(kept, key);

    copy_over(root, kept);
    snprintf(others, sizeof others, "%s/ca/root.pem", other.data);
    copy_over(others, root);
    assert_int_equal(authority_load(d.data, DAY_NS, &authority, &error), HF_ERR_DENIED);
    copy_over(kept, root);

    assert_int_equal(unlink(pem), 0);
    assert_int_equal(authority_load(d.data, DAY_NS, &authority, &error), HF_ERR_NOT_FOUND);
    assert_says(error.message, "issuing.pem");
    deployment_free(&other);
    deployment_free(&d);
}

static void the_fingerprint_is_what_openssl_says_it_is(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    uint8_t fingerprint[HF_HASH_BYTES];
    char text[2 * HF_HASH_BYTES + 1];
    char command[256];
    char out[2 * HF_HASH_BYTES + 1] = "";
    authority_fingerprint(d.authority, fingerprint);
    hf_hex_encode(fingerprint, sizeof fingerprint, text);
    snprintf(command, sizeof command, "openssl x509 -in %s/ca/root.pem -outform der | sha256sum",
             d.data);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fread(out, 1, 2 * HF_HASH_BYTES, pipe), 2 * HF_HASH_BYTES);
    while (fgetc(pipe) != EOF) {
    }
    assert_int_equal(pclose(pipe), 0);
    assert_string_equal(out, text);
    deployment_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_renewal_is_for_the_new_key_and_the_same_host_whatever_it_asks_for),
        cmocka_unit_test(a_revoked_an_unknown_and_a_forging_host_get_no_certificate),
        cmocka_unit_test(a_host_cannot_fill_the_catalog_with_renewals),
        cmocka_unit_test(
            half_of_a_certificates_life_is_ahead_when_it_is_issued_however_short_it_is),
        cmocka_unit_test(no_certificate_outlives_the_one_that_issued_it),
        cmocka_unit_test(only_hosts_that_enrolled_here_and_are_not_revoked_are_admitted),
        cmocka_unit_test(an_authority_that_others_can_read_or_that_is_mixed_up_is_not_loaded),
        cmocka_unit_test(the_fingerprint_is_what_openssl_says_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
