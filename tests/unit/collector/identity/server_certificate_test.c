#include "identity_fixture.h"

static struct hf_error error;

static struct hf_buf read_file(const char *data, const char *name)
{
    char path[160];
    struct hf_buf text = {0};
    snprintf(path, sizeof path, "%s/%s", data, name);
    assert_ok(hf_read_file(path, 65536, &text, &error));
    assert_ok(hf_buf_terminate(&text));
    return text;
}

static void write_file(const char *data, const char *name, const struct hf_buf *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", data, name);
    assert_ok(hf_write_file_atomic(path, text->data, text->size, 0600, &error));
}

struct life {
    int64_t begins_ns, ends_ns; /* from now */
};

/* Put a certificate of that life in the place of the collector's, for the key that is there and for
 * the name old.example. */
static void put_certificate(struct deployment *d, const char *issuer_pem, const char *issuer_key,
                            struct life life)
{
    static const char *const names[] = {"old.example", "192.0.2.9"};
    struct hf_buf key = read_file(d->data, "tls/collector.key");
    struct hf_buf spki = {0};
    struct hf_buf chain = {0};
    int64_t now = hf_clock_now_ns();
    assert_ok(hf_pki_key_spki(as_text(&key), &spki, &error));
    struct hf_pki_issue issue = {.kind = HF_PKI_SERVER,
                                 .common_name = "Holdfast collector",
                                 .spki = {spki.data, spki.size},
                                 .issuer_key_pem = issuer_key,
                                 .issuer_cert_pem = issuer_pem,
                                 .names = names,
                                 .name_count = 2,
                                 .not_before_ns = now + life.begins_ns,
                                 .not_after_ns = now + life.ends_ns,
                                 .serial = {7}};
    assert_ok(hf_pki_issue(&issue, &chain, &error));
    assert_ok(hf_buf_append_str(&chain, issuer_pem));
    write_file(d->data, "tls/collector.pem", &chain);
    hf_buf_free(&chain);
    hf_buf_free(&spki);
    hf_buf_wipe_free(&key);
}

static void put_own_certificate(struct deployment *d, struct life life)
{
    struct hf_buf issuing = read_file(d->data, "ca/issuing.pem");
    struct hf_buf key = read_file(d->data, "ca/issuing.key");
    put_certificate(d, as_text(&issuing), as_text(&key), life);
    hf_buf_wipe_free(&key);
    hf_buf_free(&issuing);
}

static bool renews(struct deployment *d)
{
    bool renewed = false;
    assert_ok(server_certificate_renew(d->authority, d->data, &renewed, &error));
    return renewed;
}

static struct hf_pki_info info_of(struct deployment *d)
{
    struct hf_pki_info info;
    struct hf_buf pem = read_file(d->data, "tls/collector.pem");
    assert_ok(hf_pki_info(as_text(&pem), &info, &error));
    hf_buf_free(&pem);
    return info;
}

static void it_is_issued_anew_for_its_key_and_names_once_two_thirds_of_its_life_are_over(
    void **state)
{
    (void)state;
    static const struct life lives[] = {
        {-67 * DAY_NS, 32 * DAY_NS}, {-90 * DAY_NS, HOUR_NS}, {-90 * DAY_NS, -HOUR_NS}};
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        struct deployment d = deployment_new(7 * DAY_NS);
        struct hf_buf names = {0};
        size_t count = 0;
        put_own_certificate(&d, lives[i]);
        struct hf_pki_info old = info_of(&d);
        assert_true(renews(&d));
        struct hf_pki_info info = info_of(&d);
        struct hf_buf pem = read_file(d.data, "tls/collector.pem");
        assert_ok(hf_pki_verify(as_text(&pem), authority_root_pem(d.authority), &error));
        assert_memory_equal(info.key_hash, old.key_hash, sizeof old.key_hash);
        assert_string_not_equal(info.serial, old.serial);
        assert_true(info.for_servers && !info.for_clients);
        assert_true(info.not_after_ns > hf_clock_now_ns() + 729 * DAY_NS);
        assert_ok(hf_pki_names(as_text(&pem), &names, &count, &error));
        assert_int_equal(count, 2);
        assert_memory_equal(names.data, "old.example\000192.0.2.9", 22);
        assert_false(renews(&d)); /* once is enough */
        hf_buf_free(&names);
        hf_buf_free(&pem);
        deployment_free(&d);
    }
}

static void one_with_more_than_a_third_of_its_life_left_stays(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct hf_pki_info first = info_of(&d);
    assert_false(renews(&d));
    assert_string_equal(info_of(&d).serial, first.serial);
    put_own_certificate(&d, (struct life){-60 * DAY_NS, 40 * DAY_NS});
    assert_false(renews(&d));
    deployment_free(&d);
}

static void one_issued_while_the_clock_was_ahead_is_replaced_by_one_that_is_valid_now(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    put_own_certificate(&d, (struct life){365 * DAY_NS, 1000 * DAY_NS});
    assert_true(renews(&d));
    assert_true(info_of(&d).not_before_ns <= hf_clock_now_ns());
    deployment_free(&d);
}

static void one_that_another_authority_issued_is_left_alone(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct deployment other = deployment_new(7 * DAY_NS);
    struct hf_buf issuing = read_file(other.data, "ca/issuing.pem");
    struct hf_buf key = read_file(other.data, "ca/issuing.key");
    put_certificate(&d, as_text(&issuing), as_text(&key), (struct life){-90 * DAY_NS, HOUR_NS});
    struct hf_pki_info foreign = info_of(&d);
    assert_false(renews(&d));
    assert_string_equal(info_of(&d).serial, foreign.serial);
    hf_buf_wipe_free(&key);
    hf_buf_free(&issuing);
    deployment_free(&other);
    deployment_free(&d);
}

/* Otherwise it would be issued anew every hour, to end at the same moment. */
static void one_that_ends_with_the_issuing_certificate_is_not_issued_again_and_again(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct hf_buf root = read_file(d.data, "ca/root.pem");
    struct hf_buf root_key = read_file(d.data, "ca/root.key");
    struct hf_buf key = read_file(d.data, "ca/issuing.key");
    struct hf_buf spki = {0};
    struct hf_buf issuing = {0};
    int64_t now = hf_clock_now_ns();
    assert_ok(hf_pki_key_spki(as_text(&key), &spki, &error));
    struct hf_pki_issue issue = {.kind = HF_PKI_ISSUING,
                                 .common_name = "Holdfast issuing",
                                 .spki = {spki.data, spki.size},
                                 .issuer_key_pem = as_text(&root_key),
                                 .issuer_cert_pem = as_text(&root),
                                 .not_before_ns = now - HOUR_NS,
                                 .not_after_ns = now + 20 * DAY_NS,
                                 .serial = {9}};
    assert_ok(hf_pki_issue(&issue, &issuing, &error));
    write_file(d.data, "ca/issuing.pem", &issuing);
    deployment_stop(&d);
    deployment_start(&d, 7 * DAY_NS);
    put_own_certificate(&d, (struct life){-90 * DAY_NS, DAY_NS});
    assert_true(renews(&d));
    int64_t end_ns = info_of(&d).not_after_ns;
    assert_true(end_ns <= now + 20 * DAY_NS && end_ns > now + 19 * DAY_NS);
    put_own_certificate(&d, (struct life){-90 * DAY_NS, 20 * DAY_NS - HF_NS_PER_SECOND});
    assert_false(renews(&d));
    hf_buf_free(&issuing);
    hf_buf_free(&spki);
    hf_buf_wipe_free(&key);
    hf_buf_wipe_free(&root_key);
    hf_buf_free(&root);
    deployment_free(&d);
}

static void a_certificate_that_cannot_be_read_or_written_is_said_and_stays(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    bool renewed = true;
    char path[160];
    put_own_certificate(&d, (struct life){-90 * DAY_NS, HOUR_NS});
    struct hf_pki_info old = info_of(&d);
    snprintf(path, sizeof path, "%s/tls/collector.key", d.data);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_not_equal(server_certificate_renew(d.authority, d.data, &renewed, &error), HF_OK);
    assert_false(renewed);
    assert_says(error.message, "The collector's certificate");
    assert_string_equal(info_of(&d).serial, old.serial);
    snprintf(path, sizeof path, "%s/tls/collector.pem", d.data);
    assert_int_equal(unlink(path), 0);
    assert_int_not_equal(server_certificate_renew(d.authority, d.data, &renewed, &error), HF_OK);
    assert_says(error.message, path);
    deployment_free(&d);
}

static int run_command(const char *data, const char *names)
{
    char *argv[] = {(char *)"certificate", (char *)"--data", (char *)data,
                    (char *)"--name",      (char *)names,    NULL};
    return certificate_command(names ? 5 : 3, argv);
}

static void the_command_issues_it_for_the_names_that_it_is_given_or_had(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct hf_pki_info first = info_of(&d);
    assert_int_equal(run_command(d.data, "new.example,2001:db8::9"), 0);
    struct hf_pki_info second = info_of(&d);
    assert_string_not_equal(second.serial, first.serial);
    assert_int_equal(run_command(d.data, NULL), 0);
    struct hf_buf pem = read_file(d.data, "tls/collector.pem");
    struct hf_buf names = {0};
    size_t count = 0;
    assert_ok(hf_pki_names(as_text(&pem), &names, &count, &error));
    assert_string_not_equal(info_of(&d).serial, second.serial);
    assert_int_equal(count, 2);
    assert_memory_equal(names.data, "new.example\0002001:db8::9", 24);
    assert_int_equal(run_command(d.data, "no name"), 2);
    assert_int_equal(run_command("/nonexistent", "new.example"), 1);
    hf_buf_free(&names);
    hf_buf_free(&pem);
    deployment_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            it_is_issued_anew_for_its_key_and_names_once_two_thirds_of_its_life_are_over),
        cmocka_unit_test(one_with_more_than_a_third_of_its_life_left_stays),
        cmocka_unit_test(one_issued_while_the_clock_was_ahead_is_replaced_by_one_that_is_valid_now),
        cmocka_unit_test(one_that_another_authority_issued_is_left_alone),
        cmocka_unit_test(one_that_ends_with_the_issuing_certificate_is_not_issued_again_and_again),
        cmocka_unit_test(a_certificate_that_cannot_be_read_or_written_is_said_and_stays),
        cmocka_unit_test(the_command_issues_it_for_the_names_that_it_is_given_or_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
