#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/join_token.h"

static struct hf_error error;

static struct hf_join_token example(void)
{
    struct hf_join_token token = {.enrol_address = "backup.example:7444",
                                  .agents_address = "[2001:db8::1]:7443",
                                  .id = "0123456789abcdef"};
    hf_random(token.ca_fingerprint, sizeof token.ca_fingerprint);
    hf_random(token.secret, sizeof token.secret);
    return token;
}

static void a_token_says_to_the_host_what_the_collector_put_in(void **state)
{
    (void)state;
    struct hf_join_token token = example();
    struct hf_join_token read;
    struct hf_buf text = {0};
    struct hf_buf padded = {0};
    assert_int_equal(join_token_format(&token, &text), HF_OK);
    assert_int_equal(strncmp((char *)text.data, "hf1.", 4), 0);
    assert_int_equal(join_token_parse((char *)text.data, &read, &error), HF_OK);
    assert_memory_equal(&token, &read, sizeof token);
    assert_int_equal(hf_buf_append_format(&padded, " \r\n%s\n\n", (char *)text.data), HF_OK);
    assert_int_equal(hf_buf_terminate(&padded), HF_OK);
    assert_int_equal(join_token_parse((char *)padded.data, &read, &error), HF_OK);
    assert_memory_equal(&token, &read, sizeof token);
    hf_buf_free(&text);
    hf_buf_free(&padded);
}

static void a_token_that_was_cut_is_refused_wherever_it_was_cut(void **state)
{
    (void)state;
    struct hf_join_token token = example();
    struct hf_join_token read;
    struct hf_buf text = {0};
    assert_int_equal(join_token_format(&token, &text), HF_OK);
    size_t length = strlen((char *)text.data);
    for (size_t i = length; i-- > 0;) {
        text.data[i] = '\0';
        assert_int_equal(join_token_parse((char *)text.data, &read, &error), HF_ERR_INVALID);
        assert_non_null(strstr(error.message, "holdfast token create"));
    }
    hf_buf_free(&text);
}

static void other_texts_are_refused_and_leave_nothing_behind(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "hf1.",
                                        "hf1...",
                                        "hfa.0123456789abcdef.AAAA",
                                        "hf2.AAAA.id.AAAA",
                                        "hf1.!!!!.id.AAAA",
                                        "hf1.QQ.0123456789012345678901234567890123456789.QQ"};
    static const struct hf_join_token nothing;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct hf_join_token read;
        memset(&read, 0x55, sizeof read);
        assert_int_equal(join_token_parse(texts[i], &read, &error), HF_ERR_INVALID);
        assert_memory_equal(&read, &nothing, sizeof read);
    }
}

static void addresses_are_split_at_the_port(void **state)
{
    (void)state;
    static const struct {
        const char *address, *host;
        uint16_t port;
    } good[] = {{"host:1", "host", 1},
                {"127.0.0.1:65535", "127.0.0.1", 65535},
                {"[::1]:7443", "::1", 7443},
                {"0.0.0.0:0", "0.0.0.0", 0}};
    static const char *const bad[] = {
        "",        "host",    ":1",    "host:", "host:65536", "host:-1",
        "host: 1", "host:1x", "[::1]", "[]:1",  "::1:7443",   "2001:db8::1"};
    char host[256];
    uint16_t port;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(join_address_split(good[i].address, host, &port, &error), HF_OK);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (join_address_split(bad[i], host, &port, &error) != HF_ERR_INVALID) {
            fail_msg("'%s' was taken for an address", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_to_the_host_what_the_collector_put_in),
        cmocka_unit_test(a_token_that_was_cut_is_refused_wherever_it_was_cut),
        cmocka_unit_test(other_texts_are_refused_and_leave_nothing_behind),
        cmocka_unit_test(addresses_are_split_at_the_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
