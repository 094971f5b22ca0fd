#include "identity_fixture.h"

static struct hf_error error;

static const char *root_pem(struct deployment *d)
{
    return authority_root_pem(d->authority);
}

static void a_token_lets_a_host_in_under_an_id_that_the_collector_chose(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 1, 0);
    struct hf_pki_info info;
    struct hf_buf key = key_new();
    struct hf_buf spki = {0};
    uint8_t key_hash[HF_HASH_BYTES];
    struct reply reply = enrol_from(&d, token.text, &key, "192.0.2.1");
    if (reply.status != 200) {
        fail_msg("%d %s", reply.status, reply_error(&reply));
    }
    const char *id = reply_text(&reply, "host_id");
    const char *chain = reply_text(&reply, "chain");
    assert_int_equal(strlen(id), 18);
    assert_memory_equal(id, "h-", 2);
    assert_string_equal(reply_text(&reply, "agents"), "collector.example:7443");
    assert_string_equal(reply_text(&reply, "ca"), root_pem(&d));
    assert_ok(hf_pki_verify(chain, root_pem(&d), &error));
    assert_ok(hf_pki_info(chain, &info, &error));
    assert_string_equal(info.common_name, id); /* not the name that the request asked for */
    assert_true(info.for_clients);
    assert_false(info.for_servers);
    assert_ok(hf_pki_key_spki(as_text(&key), &spki, &error));
    hf_sha256(spki.data, spki.size, key_hash);
    assert_memory_equal(info.key_hash, key_hash, sizeof key_hash);
    assert_int_equal((info.not_after_ns - info.not_before_ns) / HF_NS_PER_SECOND,
                     7 * 86400 + 5 * 60);
    assert_int_equal(uses_left(&d, token.id), 0);
    hf_buf_free(&spki);
    hf_buf_wipe_free(&key);
    reply_free(&reply);
    deployment_free(&d);
}

struct joined {
    struct question question;
    struct hf_catalog_memory memory;
    struct hf_host_row host;
    struct hf_certificate_row certificate;
};

static void ask_joined(struct question *q, struct hf_catalog_reader *catalog)
{
    struct joined *joined = q->context;
    q->rc = catalog_host_by_id(catalog, q->text, &joined->memory, &joined->host, &q->error);
    if (q->rc == HF_OK) {
        q->rc = catalog_certificate_newest(catalog, joined->host.row, &joined->memory,
                                           &joined->certificate, &q->error);
    }
}

static void the_catalog_knows_the_host_its_labels_and_its_certificate_also_after_a_restart(
    void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 1, 0);
    struct hf_pki_info info;
    struct reply reply = enrol(&d, token.text);
    assert_int_equal(reply.status, 200);
    assert_ok(hf_pki_info(reply_text(&reply, "chain"), &info, &error));
    for (int restarted = 0; restarted < 2; restarted++) {
        struct joined joined = {
            .question = {.ask = ask_joined, .text = reply_text(&reply, "host_id")}};
        joined.question.context = &joined;
        ask(&d, &joined.question);
        assert_int_equal(joined.question.rc, HF_OK);
        assert_string_equal(joined.host.hostname, "robot-01");
        assert_int_equal(joined.host.label_count, 1);
        assert_string_equal(joined.host.labels[0].key, "site");
        assert_string_equal(joined.host.labels[0].value, "berlin");
        assert_string_equal(joined.certificate.serial, info.serial);
        assert_memory_equal(joined.certificate.key_hash, info.key_hash, HF_HASH_BYTES);
        assert_int_equal(joined.certificate.not_after_ns, info.not_after_ns);
        assert_int_equal(joined.certificate.not_before_ns, info.not_before_ns);
        assert_string_equal(joined.certificate.token_id, token.id);
        assert_string_equal(joined.certificate.certificate_pem, reply_text(&reply, "chain"));
        catalog_memory_free(&joined.memory);
        if (!restarted) {
            deployment_stop(&d);
            deployment_start(&d, 7 * DAY_NS);
        }
    }
    reply_free(&reply);
    deployment_free(&d);
}

static void the_same_token_with_the_same_key_gets_the_same_certificate_and_costs_one_use(
    void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 2, 0);
    struct hf_buf key = key_new();
    struct reply first = enrol_from(&d, token.text, &key, "192.0.2.1");
    struct reply second = enrol_from(&d, token.text, &key, "192.0.2.2");
    assert_int_equal(first.status, 200);
    assert_int_equal(second.status, 200);
    assert_true(json_equal(first.json, second.json));
    assert_int_equal(uses_left(&d, token.id), 1);
    assert_int_equal(host_count(&d), 1);
    /* Also once it is used up, for the answer may be lost of the last use too. */
    struct reply other = enrol(&d, token.text);
    assert_int_equal(other.status, 200);
    assert_int_equal(uses_left(&d, token.id), 0);
    struct reply third = enrol_from(&d, token.text, &key, "192.0.2.3");
    assert_int_equal(third.status, 200);
    assert_true(json_equal(first.json, third.json));
    assert_int_equal(host_count(&d), 2);
    reply_free(&first);
    reply_free(&second);
    reply_free(&third);
    reply_free(&other);
    hf_buf_wipe_free(&key);
    deployment_free(&d);
}

static void a_token_of_n_uses_lets_n_hosts_in(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 3, 0);
    for (int i = 0; i < 5; i++) {
        struct reply reply = enrol(&d, token.text);
        assert_int_equal(reply.status, i < 3 ? 200 : 403);
        if (i >= 3) {
            assert_says(reply_error(&reply), "used up");
        }
        reply_free(&reply);
    }
    /* A refusal leaves no half of itself. */
    assert_int_equal(host_count(&d), 3);
    deployment_free(&d);
}

struct runner {
    struct deployment *d;
    const char *token;
    const struct hf_buf *key; /* NULL: one of its own */
    unsigned accepted, refused, other;
    char host_id[64];
};

static void *run_enrolments(void *arg)
{
    struct runner *runner = arg;
    for (int i = 0; i < 6; i++) {
        struct reply reply = runner->key
                                 ? enrol_from(runner->d, runner->token, runner->key, "192.0.2.9")
                                 : enrol(runner->d, runner->token);
        runner->accepted += reply.status == 200;
        runner->refused += reply.status == 403;
        runner->other += reply.status != 200 && reply.status != 403;
        if (reply.status == 200) {
            snprintf(runner->host_id, sizeof runner->host_id, "%s", reply_text(&reply, "host_id"));
        }
        reply_free(&reply);
    }
    return NULL;
}

#define RUNNERS 8

static void concurrent_uses_never_exceed_the_limit(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 7, 0);
    struct runner runners[RUNNERS];
    pthread_t threads[RUNNERS];
    unsigned accepted = 0;
    unsigned refused = 0;
    for (size_t i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){.d = &d, .token = token.text};
        assert_int_equal(pthread_create(&threads[i], NULL, run_enrolments, &runners[i]), 0);
    }
    for (size_t i = 0; i < RUNNERS; i++) {
        pthread_join(threads[i], NULL);
        accepted += runners[i].accepted;
        refused += runners[i].refused;
        assert_int_equal(runners[i].other, 0);
    }
    assert_int_equal(accepted, 7);
    assert_int_equal(refused, RUNNERS * 6 - 7);
    assert_int_equal(uses_left(&d, token.id), 0);
    assert_int_equal(host_count(&d), 7);
    deployment_free(&d);
}

static void one_key_that_asks_many_times_at_once_becomes_one_host(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 100, 0);
    struct hf_buf key = key_new();
    struct runner runners[3];
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) { /* 18 tries: fewer than an address may make at once */
        runners[i] = (struct runner){.d = &d, .token = token.text, .key = &key};
        assert_int_equal(pthread_create(&threads[i], NULL, run_enrolments, &runners[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(runners[i].accepted, 6);
        assert_string_equal(runners[i].host_id, runners[0].host_id);
    }
    assert_int_equal(uses_left(&d, token.id), 99);
    assert_int_equal(host_count(&d), 1);
    hf_buf_wipe_free(&key);
    deployment_free(&d);
}

static void assert_refused(struct deployment *d, const char *token, const char *saying)
{
    struct reply reply = enrol(d, token);
    if (reply.status != 403 || !strstr(reply_error(&reply), saying)) {
        fail_msg("%d '%s', not '%s'", reply.status, reply_error(&reply), saying);
    }
    reply_free(&reply);
}

static void a_wrong_secret_is_refused_as_an_unknown_token_is(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 1, 0);
    struct test_token other = token_new(&d, 1, 0);
    char text[192];
    struct reply reply;
    snprintf(text, sizeof text, "%s%s", token.id, strchr(other.text, '.'));
    assert_refused(&d, text, "is not known here");
    snprintf(text, sizeof text, "ffffffffffffffff%s", strchr(token.text, '.'));
    assert_refused(&d, text, "is not known here");
    /* A good start of the secret is no better. */
    snprintf(text, sizeof text, "%.*s", (int)strlen(token.text) - 4, token.text);
    assert_refused(&d, text, "is not known here");
    snprintf(text, sizeof text, "%s.", token.id);
    assert_refused(&d, text, "is not known here");
    assert_int_equal(uses_left(&d, token.id), 1);
    assert_int_equal(host_count(&d), 0);
    reply = enrol(&d, token.text);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    deployment_free(&d);
}

static void an_expired_and_a_revoked_token_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token expiring = token_new(&d, 9, hf_clock_now_ns() + 300 * HF_NS_PER_MS);
    struct test_token revoked = token_new(&d, 9, 0);
    struct hf_event event = {.type = HF_EVENT_TOKEN_REVOKED,
                             .actor = event_text("test"),
                             .token_revoked = {.token_id = event_text(revoked.id)}};
    assert_ok(ingest_commit(d.ingest, &event, 1, &error));
    assert_refused(&d, revoked.text, "revoked");
    usleep(310 * 1000);
    assert_refused(&d, expiring.text, "expired");
    assert_int_equal(host_count(&d), 0);
    deployment_free(&d);
}

static void what_was_issued_is_not_given_out_again_once_it_is_worth_nothing(void **state)
{
    (void)state;
    struct deployment d = deployment_new(2 * HF_NS_PER_SECOND);
    struct test_token token = token_new(&d, 9, 0);
    struct hf_buf key = key_new();
    struct reply first = enrol_from(&d, token.text, &key, "192.0.2.1");
    assert_int_equal(first.status, 200);
    usleep(2100 * 1000);
    struct reply late = enrol_from(&d, token.text, &key, "192.0.2.1");
    assert_int_equal(late.status, 403);
    assert_says(reply_error(&late), "has expired");
    reply_free(&first);
    reply_free(&late);
    hf_buf_wipe_free(&key);

    struct hf_buf other = key_new();
    first = enrol_from(&d, token.text, &other, "192.0.2.1");
    assert_int_equal(first.status, 200);
    revoke_host(&d, reply_text(&first, "host_id"));
    late = enrol_from(&d, token.text, &other, "192.0.2.1");
    assert_int_equal(late.status, 403);
    assert_says(reply_error(&late), "revoked");
    reply_free(&first);
    reply_free(&late);
    hf_buf_wipe_free(&other);
    deployment_free(&d);
}

static unsigned tries_until_limited(struct deployment *d, const char *const *peers, size_t count)
{
    for (unsigned i = 0; i < 60; i++) {
        struct reply reply = http_call(d, "POST", "/v1/enrol", peers[i % count], "{}");
        int status = reply.status;
        uint32_t retry_after_s = reply.retry_after_s;
        reply_free(&reply);
        if (status == 429) {
            assert_in_range(retry_after_s, 1, 60);
            return i;
        }
        assert_int_equal(status, 400);
    }
    return 60;
}

static void tries_are_limited_for_each_address_and_for_each_ipv6_network(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 9, 0);
    const char *v4[] = {"192.0.2.1"};
    const char *other_v4[] = {"192.0.2.2"};
    const char *network[] = {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::77"};
    const char *other_network[] = {"2001:db8:1:3::1"};
    const char *mapped[] = {"::ffff:198.51.100.1"};
    const char *other_mapped[] = {"::ffff:198.51.100.2"};
    assert_in_range(tries_until_limited(&d, v4, 1), 20, 21);
    assert_in_range(tries_until_limited(&d, other_v4, 1), 20, 21);
    assert_in_range(tries_until_limited(&d, network, 3), 20, 21);
    assert_in_range(tries_until_limited(&d, other_network, 1), 20, 21);
    assert_in_range(tries_until_limited(&d, mapped, 1), 20, 21);
    assert_in_range(tries_until_limited(&d, other_mapped, 1), 20, 21);
    /* A good token does not help against the limit, and waits unused. */
    struct hf_buf key = key_new();
    struct reply reply = enrol_from(&d, token.text, &key, "192.0.2.1");
    assert_int_equal(reply.status, 429);
    assert_int_equal(uses_left(&d, token.id), 9);
    reply_free(&reply);
    hf_buf_wipe_free(&key);
    deployment_free(&d);
}

static void requests_that_are_none_are_refused_and_use_nothing(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 9, 0);
    struct hf_buf key = key_new();
    char *good = enrol_body(token.text, as_text(&key), "robot-01");
    char *body = malloc(strlen(good) + 256);
    assert_non_null(body);
    static const char *const bodies[] = {"",
                                         "nonsense",
                                         "[]",
                                         "{}",
                                         "null",
                                         "{\"token\": 5}",
                                         "{\"token\": \"\"}",
                                         "{\"token\": \".\"}",
                                         "{\"token\": \"a\"}",
                                         "{\"token\": \"a.b\", \"token\": \"c.d\"}",
                                         "[[[[[[[[[[[[[[[[[[[[[[[["};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct reply reply = http_call(&d, "POST", "/v1/enrol", "192.0.2.1", bodies[i]);
        if (reply.status != 400) {
            fail_msg("%s: %d", bodies[i], reply.status);
        }
        reply_free(&reply);
    }
    static const char *const requests[] = {"", "AAAA", "!!!!", "null"};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        sprintf(body, "{\"token\": \"%s\", \"csr\": \"%s\"}", token.text, requests[i]);
        struct reply reply = http_call(&d, "POST", "/v1/enrol", "192.0.2.2", body);
        assert_int_equal(reply.status, 400);
        assert_true(strlen(reply_error(&reply)) > 0);
        reply_free(&reply);
    }
    /* A request whose signature was tampered with: the last characters are in it. */
    char *end = strstr(good, "\", \"hostname");
    end = end ? end : strstr(good, "\",\"hostname");
    assert_non_null(end);
    end[-6] = end[-6] == 'A' ? 'B' : 'A';
    struct reply reply = http_call(&d, "POST", "/v1/enrol", "192.0.2.3", good);
    assert_int_equal(reply.status, 400);
    reply_free(&reply);
    assert_int_equal(uses_left(&d, token.id), 9);
    assert_int_equal(host_count(&d), 0);
    free(good);
    free(body);
    hf_buf_wipe_free(&key);
    deployment_free(&d);
}

static void a_name_longer_than_any_host_has_is_left_out(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 9, 0);
    struct hf_buf key = key_new();
    char *name = malloc(100001);
    assert_non_null(name);
    memset(name, 'n', 100000);
    name[100000] = '\0';
    char *body = enrol_body(token.text, as_text(&key), name);
    struct reply reply = http_call(&d, "POST", "/v1/enrol", "192.0.2.1", body);
    assert_int_equal(reply.status, 200);
    struct joined joined = {.question = {.ask = ask_joined, .text = reply_text(&reply, "host_id")}};
    joined.question.context = &joined;
    ask(&d, &joined.question);
    assert_int_equal(joined.question.rc, HF_OK);
    assert_string_equal(joined.host.hostname, "");
    catalog_memory_free(&joined.memory);
    reply_free(&reply);
    free(body);
    free(name);
    hf_buf_wipe_free(&key);
    deployment_free(&d);
}

static void anybody_may_ask_for_the_root_and_other_paths_are_not_there(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct reply reply = http_call(&d, "GET", "/v1/ca", "192.0.2.1", NULL);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body.size, strlen(root_pem(&d)));
    assert_memory_equal(reply.body.data, root_pem(&d), reply.body.size);
    reply_free(&reply);
    static const char *const others[][2] = {{"GET", "/v1/enrol"},
                                            {"POST", "/v1/ca"},
                                            {"GET", "/"},
                                            {"GET", "/v1/tokens"},
                                            {"POST", "/v1/enrol/"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        reply = http_call(&d, others[i][0], others[i][1], "192.0.2.1", NULL);
        assert_int_equal(reply.status, 404);
        reply_free(&reply);
    }
    deployment_free(&d);
}

struct audit {
    struct question question;
    unsigned joined, refused;
};

static void ask_audit(struct question *q, struct hf_catalog_reader *catalog)
{
    struct audit *audit = q->context;
    struct hf_catalog_memory memory = {0};
    const struct hf_audit_row *rows = NULL;
    size_t count = 0;
    q->rc = catalog_audit_list(catalog, 0, 1000, &memory, &rows, &count, &q->error);
    for (size_t i = 0; q->rc == HF_OK && i < count; i++) {
        if (strcmp(rows[i].action, "host.enrol") == 0) {
            audit->joined += rows[i].outcome == HF_AUDIT_OK;
            audit->refused += rows[i].outcome == HF_AUDIT_REFUSED;
        }
    }
    catalog_memory_free(&memory);
}

static void who_joined_and_who_was_refused_is_in_the_audit_log(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct test_token token = token_new(&d, 1, 0);
    struct reply reply = enrol(&d, token.text);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    assert_refused(&d, token.text, "used up");
    assert_refused(&d, "ffffffffffffffff.AAAA", "not known");
    struct audit audit = {.question = {.ask = ask_audit}};
    audit.question.context = &audit;
    ask(&d, &audit.question);
    assert_int_equal(audit.question.rc, HF_OK);
    assert_int_equal(audit.joined, 1);
    assert_int_equal(audit.refused, 2);
    deployment_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_lets_a_host_in_under_an_id_that_the_collector_chose),
        cmocka_unit_test(
            the_catalog_knows_the_host_its_labels_and_its_certificate_also_after_a_restart),
        cmocka_unit_test(
            the_same_token_with_the_same_key_gets_the_same_certificate_and_costs_one_use),
        cmocka_unit_test(a_token_of_n_uses_lets_n_hosts_in),
        cmocka_unit_test(concurrent_uses_never_exceed_the_limit),
        cmocka_unit_test(one_key_that_asks_many_times_at_once_becomes_one_host),
        cmocka_unit_test(a_wrong_secret_is_refused_as_an_unknown_token_is),
        cmocka_unit_test(an_expired_and_a_revoked_token_are_refused_with_the_reason),
        cmocka_unit_test(what_was_issued_is_not_given_out_again_once_it_is_worth_nothing),
        cmocka_unit_test(tries_are_limited_for_each_address_and_for_each_ipv6_network),
        cmocka_unit_test(requests_that_are_none_are_refused_and_use_nothing),
        cmocka_unit_test(a_name_longer_than_any_host_has_is_left_out),
        cmocka_unit_test(anybody_may_ask_for_the_root_and_other_paths_are_not_there),
        cmocka_unit_test(who_joined_and_who_was_refused_is_in_the_audit_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
