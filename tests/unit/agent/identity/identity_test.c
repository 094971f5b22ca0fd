#include "agent/identity/identity.h"

#include "test_authority.h"

#define HOST "h-0123456789abcdef"

static struct hf_error error;

struct host {
    char parent[64], directory[80];
    struct test_authority authority;
    struct hf_buf key, chain;
};

static const struct test_wish host_wish = {.kind = HF_PKI_CLIENT, .name = HOST};

static struct host host_new(void)
{
    struct host host = {.parent = "/tmp/hf-identity-XXXXXX", .authority = test_authority_new()};
    assert_non_null(mkdtemp(host.parent));
    snprintf(host.directory, sizeof host.directory, "%s/identity", host.parent);
    return host;
}

static int create(struct host *host, const struct test_wish *wish)
{
    hf_buf_wipe_free(&host->key);
    hf_buf_free(&host->chain);
    assert_ok(identity_prepare(host->directory, &host->key, &error));
    test_chain_for_key(&host->authority, wish, &host->key, &host->chain);
    return identity_create(host->directory, HOST, "collector.example:7443", as_text(&host->key),
                           as_text(&host->chain), as_text(&host->authority.root), &error);
}

static struct host joined_host(void)
{
    struct host host = host_new();
    assert_ok(create(&host, &host_wish));
    return host;
}

static void host_free(struct host *host)
{
    hf_buf_wipe_free(&host->key);
    hf_buf_free(&host->chain);
    test_authority_free(&host->authority);
    if (access(host->directory, F_OK) == 0) {
        remove_identity(host->directory);
    }
    assert_int_equal(rmdir(host->parent), 0);
}

static const char *in(const struct host *host, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", host->directory, name);
    return path;
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void write_over(const char *path, const char *text, mode_t mode)
{
    assert_ok(hf_write_file_atomic(path, text, strlen(text), mode, &error));
}

static void assert_open_fails(const struct host *host, int code, const char *saying)
{
    struct hf_identity *identity = NULL;
    assert_int_equal(identity_open(host->directory, &identity, &error), code);
    assert_null(identity);
    if (!strstr(error.message, saying)) {
        fail_msg("'%s' does not say '%s'", error.message, saying);
    }
}

static void what_was_joined_is_opened_again(void **state)
{
    (void)state;
    struct host host = joined_host();
    struct hf_identity *identity = NULL;
    assert_ok(identity_open(host.directory, &identity, &error));
    assert_string_equal(identity_host_id(identity), HOST);
    assert_string_equal(identity_collector_host(identity), "collector.example");
    assert_int_equal(identity_collector_port(identity), 7443);
    assert_string_equal(identity_agent_pem_path(identity), in(&host, "agent.pem"));
    assert_string_equal(identity_ca_pem_path(identity), in(&host, "ca.pem"));
    assert_int_equal(mode_of(host.directory), 0700);
    assert_int_equal(mode_of(in(&host, "agent.pem")), 0600);
    assert_int_not_equal(access(in(&host, "pending.key"), F_OK), 0);
    identity_free(identity);
    host_free(&host);
}

static void a_host_that_has_not_joined_is_told_how_to(void **state)
{
    (void)state;
    struct host host = host_new();
    assert_open_fails(&host, HF_ERR_NOT_FOUND, "holdfast-agent enroll --token-file");
    host_free(&host);
}

static void a_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0604, 0620, 0601};
    struct host host = joined_host();
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(in(&host, "agent.pem"), modes[i]), 0);
        assert_open_fails(&host, HF_ERR_DENIED, "can be read by others");
    }
    host_free(&host);
}

static void a_second_identity_does_not_replace_the_first(void **state)
{
    (void)state;
    struct host host = joined_host();
    struct hf_buf before = {0};
    struct hf_buf after = {0};
    struct hf_buf key = {0};
    assert_ok(hf_read_file(in(&host, "agent.pem"), 65536, &before, &error));
    assert_int_equal(identity_prepare(host.directory, &key, &error), HF_ERR_EXISTS);
    assert_int_equal(identity_create(host.directory, HOST, "other.example:7443", as_text(&host.key),
                                     as_text(&host.chain), as_text(&host.authority.root), &error),
                     HF_ERR_EXISTS);
    assert_non_null(strstr(error.message, "holdfast host revoke"));
    assert_ok(hf_read_file(in(&host, "agent.pem"), 65536, &after, &error));
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    hf_buf_wipe_free(&before);
    hf_buf_wipe_free(&after);
    host_free(&host);
}

static void parts_that_do_not_belong_together_are_refused_with_the_remedy(void **state)
{
    (void)state;
    static const char *const damages[] = {"other root", "other key", "no certificate",
                                          "half a file", "other host"};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct host host = joined_host();
        struct test_authority other = test_authority_new();
        struct hf_buf text = {0};
        struct hf_buf key = {0};
        assert_ok(hf_pki_key_new(&key, &error));
        if (i == 0) {
            write_over(in(&host, "ca.pem"), as_text(&other.root), 0644);
        } else if (i == 1) {
            assert_ok(hf_buf_append_format(&text, "%s%s", as_text(&key), as_text(&host.chain)));
        } else if (i == 2) {
            assert_ok(hf_buf_append_str(&text, as_text(&host.key)));
        } else if (i == 3) {
            assert_ok(
                hf_buf_append_format(&text, "%s%.300s", as_text(&host.key), as_text(&host.chain)));
        } else {
            write_over(in(&host, "identity.ini"),
                       "[identity]\nhost = h-ffffffffffffffff\ncollector = a:1\n", 0600);
        }
        if (text.size > 0) {
            assert_ok(hf_buf_terminate(&text));
            write_over(in(&host, "agent.pem"), as_text(&text), 0600);
        }
        struct hf_identity *identity = NULL;
        int rc = identity_open(host.directory, &identity, &error);
        if (rc == HF_OK || !strstr(error.message, "enrol again")) {
            fail_msg("%s: %d '%s'", damages[i], rc, error.message);
        }
        hf_buf_wipe_free(&text);
        hf_buf_wipe_free(&key);
        test_authority_free(&other);
        host_free(&host);
    }
}

static void an_ended_certificate_still_opens_for_the_clock_may_be_wrong(void **state)
{
    (void)state;
    struct host host = host_new();
    struct hf_identity *identity = NULL;
    assert_ok(create(&host, &(struct test_wish){.kind = HF_PKI_CLIENT,
                                                .name = HOST,
                                                .begins_ns = -3 * HOUR_NS,
                                                .ends_ns = -2 * HOUR_NS}));
    assert_ok(identity_open(host.directory, &identity, &error));
    assert_true(identity_renewal_due(identity, hf_clock_now_ns()));
    identity_free(identity);
    host_free(&host);
}

static void only_an_identity_of_this_root_key_and_kind_is_created(void **state)
{
    (void)state;
    const struct test_wish server = {.kind = HF_PKI_SERVER, .name = HOST};
    const struct test_wish other_host = {.kind = HF_PKI_CLIENT, .name = "h-ffffffffffffffff"};
    struct host host = host_new();
    struct test_authority other = test_authority_new();
    struct hf_buf key = {0};
    assert_int_equal(create(&host, &server), HF_ERR_DENIED);
    assert_int_equal(create(&host, &other_host), HF_ERR_DENIED);
    assert_int_equal(identity_create(host.directory, HOST, "a:1", as_text(&host.key),
                                     as_text(&host.chain), as_text(&other.root), &error),
                     HF_ERR_DENIED);
    assert_ok(hf_pki_key_new(&key, &error));
    assert_int_equal(identity_create(host.directory, HOST, "a:1", as_text(&key),
                                     as_text(&host.chain), as_text(&host.authority.root), &error),
                     HF_ERR_DENIED);
    assert_int_not_equal(access(in(&host, "agent.pem"), F_OK), 0);
    assert_open_fails(&host, HF_ERR_NOT_FOUND, "has not joined");
    hf_buf_wipe_free(&key);
    test_authority_free(&other);
    host_free(&host);
}

static void an_answer_cannot_write_lines_of_its_own_into_the_settings(void **state)
{
    (void)state;
    static const char *const collectors[] = {"a:1\nhost = h-1", "a:1\r", "a b:1", "a", "a:1;x"};
    struct host host = joined_host();
    assert_int_equal(unlink(in(&host, "agent.pem")), 0);
    for (size_t i = 0; i < sizeof collectors / sizeof collectors[0]; i++) {
        assert_int_not_equal(identity_create(host.directory, HOST, collectors[i],
                                             as_text(&host.key), as_text(&host.chain),
                                             as_text(&host.authority.root), &error),
                             HF_OK);
    }
    assert_int_equal(identity_create(host.directory, "h-1\nx = y", "a:1", as_text(&host.key),
                                     as_text(&host.chain), as_text(&host.authority.root), &error),
                     HF_ERR_PROTOCOL);
    host_free(&host);
}

static void asking_again_asks_with_the_same_key_until_the_host_has_joined(void **state)
{
    (void)state;
    struct host host = host_new();
    struct hf_buf first = {0};
    struct hf_buf second = {0};
    struct hf_buf third = {0};
    assert_ok(identity_prepare(host.directory, &first, &error));
    assert_int_equal(mode_of(in(&host, "pending.key")), 0600);
    assert_ok(identity_prepare(host.directory, &second, &error));
    assert_string_equal(as_text(&first), as_text(&second));
    /* One that can't be read (a full disk, long ago) does not stand in the way. */
    write_over(in(&host, "pending.key"), "-----BEGIN EC PRIVATE KEY-----\n", 0600);
    assert_ok(identity_prepare(host.directory, &third, &error));
    assert_string_not_equal(as_text(&first), as_text(&third));
    hf_buf_wipe_free(&first);
    hf_buf_wipe_free(&second);
    hf_buf_wipe_free(&third);
    host_free(&host);
}

static void renewal_falls_due_between_half_and_two_thirds_of_life_and_not_at_one_moment(
    void **state)
{
    (void)state;
    int64_t earliest = INT64_MAX;
    int64_t latest = 0;
    for (int i = 0; i < 12; i++) {
        struct host host = host_new();
        struct hf_identity *identity = NULL;
        struct hf_identity *again = NULL;
        struct hf_pki_info info;
        int64_t low = 0;
        assert_ok(create(&host, &(struct test_wish){.kind = HF_PKI_CLIENT,
                                                    .name = HOST,
                                                    .begins_ns = -HF_NS_PER_SECOND,
                                                    .ends_ns = 168 * HOUR_NS}));
        assert_ok(hf_pki_info(as_text(&host.chain), &info, &error));
        int64_t life = info.not_after_ns - info.not_before_ns;
        assert_ok(identity_open(host.directory, &identity, &error));
        assert_ok(identity_open(host.directory, &again, &error));
        assert_false(identity_renewal_due(identity, info.not_before_ns + life / 2 - 1));
        assert_true(identity_renewal_due(identity, info.not_before_ns + life / 3 * 2 + 1));
        for (int64_t step = life; step > 0; step /= 2) {
            if (!identity_renewal_due(identity, info.not_before_ns + low + step)) {
                low += step;
            }
        }
        assert_false(identity_renewal_due(again, info.not_before_ns + low));
        /* Each halving of the step may lose a nanosecond. */
        assert_true(identity_renewal_due(again, info.not_before_ns + low + 64));
        earliest = low < earliest ? low : earliest;
        latest = low > latest ? low : latest;
        identity_free(identity);
        identity_free(again);
        host_free(&host);
    }
    assert_true(latest - earliest > HOUR_NS);
}

static void a_renewed_certificate_replaces_key_and_chain_in_one_step(void **state)
{
    (void)state;
    struct host host = joined_host();
    struct hf_identity *identity = NULL;
    struct hf_buf request = {0};
    struct hf_buf spki = {0};
    struct hf_buf chain = {0};
    struct hf_buf before = {0};
    struct hf_buf after = {0};
    struct hf_pki_info info;
    assert_ok(identity_open(host.directory, &identity, &error));
    assert_ok(hf_read_file(in(&host, "agent.pem"), 65536, &before, &error));
    assert_ok(identity_make_request(identity, &request, &error));
    assert_ok(hf_pki_request_check(request.data, request.size, &spki, &error));
    test_chain(&host.authority, &host_wish, (struct hf_bytes){spki.data, spki.size}, &chain);
    assert_ok(identity_install(identity, (struct hf_bytes){chain.data, chain.size}, &error));
    assert_ok(hf_read_file(in(&host, "agent.pem"), 65536, &after, &error));
    assert_ok(hf_buf_terminate(&before));
    assert_ok(hf_buf_terminate(&after));
    assert_string_not_equal(as_text(&before), as_text(&after));
    assert_int_equal(mode_of(in(&host, "agent.pem")), 0600);
    identity_free(identity);
    assert_ok(identity_open(host.directory, &identity, &error)); /* key and chain belong together */
    assert_ok(hf_pki_info(as_text(&after), &info, &error));
    /* What was asked for once is installed once. */
    assert_int_equal(identity_install(identity, (struct hf_bytes){chain.data, chain.size}, &error),
                     HF_ERR_CONFLICT);
    identity_free(identity);
    hf_buf_free(&request);
    hf_buf_free(&spki);
    hf_buf_free(&chain);
    hf_buf_wipe_free(&before);
    hf_buf_wipe_free(&after);
    host_free(&host);
}

static void a_renewal_that_is_not_what_was_asked_for_changes_nothing(void **state)
{
    (void)state;
    struct host host = joined_host();
    struct test_authority other = test_authority_new();
    struct hf_identity *identity = NULL;
    struct hf_buf request = {0};
    struct hf_buf spki = {0};
    struct hf_buf before = {0};
    struct hf_buf after = {0};
    assert_ok(identity_open(host.directory, &identity, &error));
    assert_ok(hf_read_file(in(&host, "agent.pem"), 65536, &before, &error));
    assert_ok(identity_make_request(identity, &request, &error));
    assert_ok(hf_pki_request_check(request.data, request.size, &spki, &error));
    const struct hf_bytes key = {spki.data, spki.size};
    const struct test_wish stranger = {.kind = HF_PKI_CLIENT, .name = "h-ffffffffffffffff"};
    const struct test_wish server = {.kind = HF_PKI_SERVER, .name = HOST};
    struct hf_buf chains[5] = {0};
    test_chain(&host.authority, &stranger, key, &chains[0]);
    test_chain(&host.authority, &server, key, &chains[1]);
    test_chain(&other, &host_wish, key, &chains[2]);
    test_chain_for_key(&host.authority, &host_wish, &host.key, &chains[3]); /* the old key */
    assert_ok(hf_buf_append_str(&chains[4], "nonsense"));
    for (size_t i = 0; i < 5; i++) {
        assert_int_not_equal(
            identity_install(identity, (struct hf_bytes){chains[i].data, chains[i].size}, &error),
            HF_OK);
        hf_buf_free(&chains[i]);
    }
    assert_ok(hf_read_file(in(&host, "agent.pem"), 65536, &after, &error));
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    /* The right one is still welcome afterwards. */
    struct hf_buf good = {0};
    test_chain(&host.authority, &host_wish, key, &good);
    assert_ok(identity_install(identity, (struct hf_bytes){good.data, good.size}, &error));
    identity_free(identity);
    hf_buf_free(&good);
    hf_buf_free(&request);
    hf_buf_free(&spki);
    hf_buf_wipe_free(&before);
    hf_buf_wipe_free(&after);
    test_authority_free(&other);
    host_free(&host);
}

static void a_certificate_that_could_not_be_written_is_kept_and_installed_later(void **state)
{
    (void)state;
    struct host host = joined_host();
    struct hf_identity *identity = NULL;
    struct hf_buf request = {0};
    struct hf_buf spki = {0};
    struct hf_buf chain = {0};
    assert_ok(identity_open(host.directory, &identity, &error));
    assert_ok(identity_make_request(identity, &request, &error));
    assert_ok(hf_pki_request_check(request.data, request.size, &spki, &error));
    test_chain(&host.authority, &host_wish, (struct hf_bytes){spki.data, spki.size}, &chain);
    assert_false(identity_install_waits(identity));
    assert_int_equal(identity_install_again(identity, &error), HF_ERR_CONFLICT);
    /* No file can be renamed over a directory. */
    assert_int_equal(unlink(in(&host, "agent.pem")), 0);
    assert_int_equal(mkdir(in(&host, "agent.pem"), 0700), 0);
    assert_int_not_equal(
        identity_install(identity, (struct hf_bytes){chain.data, chain.size}, &error), HF_OK);
    assert_true(identity_install_waits(identity));
    assert_int_not_equal(identity_install_again(identity, &error), HF_OK);
    assert_non_null(strstr(error.message, "agent.pem"));
    assert_true(identity_install_waits(identity));
    assert_int_equal(rmdir(in(&host, "agent.pem")), 0);
    assert_ok(identity_install_again(identity, &error));
    assert_false(identity_install_waits(identity));
    identity_free(identity);
    assert_ok(identity_open(host.directory, &identity, &error));
    assert_true(identity_life_ns(identity) > 0);
    identity_free(identity);
    hf_buf_free(&request);
    hf_buf_free(&spki);
    hf_buf_free(&chain);
    host_free(&host);
}

static void asking_again_for_a_renewal_asks_for_the_same_key_until_it_is_installed(void **state)
{
    (void)state;
    struct host host = joined_host();
    struct hf_identity *identity = NULL;
    struct hf_buf spki[3] = {0};
    struct hf_buf chain = {0};
    assert_ok(identity_open(host.directory, &identity, &error));
    for (size_t i = 0; i < 3; i++) {
        struct hf_buf request = {0};
        assert_ok(identity_make_request(identity, &request, &error));
        assert_ok(hf_pki_request_check(request.data, request.size, &spki[i], &error));
        hf_buf_free(&request);
        if (i == 1) { /* the answer to the first, that came late */
            test_chain(&host.authority, &host_wish, (struct hf_bytes){spki[0].data, spki[0].size},
                       &chain);
            assert_ok(
                identity_install(identity, (struct hf_bytes){chain.data, chain.size}, &error));
        }
    }
    assert_int_equal(spki[0].size, spki[1].size);
    assert_memory_equal(spki[0].data, spki[1].data, spki[1].size);
    assert_memory_not_equal(spki[0].data, spki[2].data, spki[2].size);
    identity_free(identity);
    for (size_t i = 0; i < 3; i++) {
        hf_buf_free(&spki[i]);
    }
    hf_buf_free(&chain);
    host_free(&host);
}

static void a_host_whose_clock_is_hours_off_can_still_renew(void **state)
{
    (void)state;
    static const int64_t skews_h[] = {-5, 5};
    for (size_t i = 0; i < 2; i++) {
        struct host host = joined_host();
        struct hf_identity *identity = NULL;
        struct hf_buf request = {0};
        struct hf_buf spki = {0};
        struct hf_buf chain = {0};
        const struct test_wish wish = {.kind = HF_PKI_CLIENT,
                                       .name = HOST,
                                       .begins_ns = skews_h[i] * HOUR_NS,
                                       .ends_ns = (skews_h[i] + 1) * HOUR_NS};
        assert_ok(identity_open(host.directory, &identity, &error));
        assert_ok(identity_make_request(identity, &request, &error));
        assert_ok(hf_pki_request_check(request.data, request.size, &spki, &error));
        test_chain(&host.authority, &wish, (struct hf_bytes){spki.data, spki.size}, &chain);
        assert_ok(identity_install(identity, (struct hf_bytes){chain.data, chain.size}, &error));
        identity_free(identity);
        hf_buf_free(&request);
        hf_buf_free(&spki);
        hf_buf_free(&chain);
        host_free(&host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_joined_is_opened_again),
        cmocka_unit_test(a_host_that_has_not_joined_is_told_how_to),
        cmocka_unit_test(a_key_that_others_can_read_is_refused),
        cmocka_unit_test(a_second_identity_does_not_replace_the_first),
        cmocka_unit_test(parts_that_do_not_belong_together_are_refused_with_the_remedy),
        cmocka_unit_test(an_ended_certificate_still_opens_for_the_clock_may_be_wrong),
        cmocka_unit_test(only_an_identity_of_this_root_key_and_kind_is_created),
        cmocka_unit_test(an_answer_cannot_write_lines_of_its_own_into_the_settings),
        cmocka_unit_test(asking_again_asks_with_the_same_key_until_the_host_has_joined),
        cmocka_unit_test(
            renewal_falls_due_between_half_and_two_thirds_of_life_and_not_at_one_moment),
        cmocka_unit_test(a_renewed_certificate_replaces_key_and_chain_in_one_step),
        cmocka_unit_test(a_renewal_that_is_not_what_was_asked_for_changes_nothing),
        cmocka_unit_test(a_certificate_that_could_not_be_written_is_kept_and_installed_later),
        cmocka_unit_test(asking_again_for_a_renewal_asks_for_the_same_key_until_it_is_installed),
        cmocka_unit_test(a_host_whose_clock_is_hours_off_can_still_renew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
