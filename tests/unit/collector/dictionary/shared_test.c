/* Nothing but what three hosts have is shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/dictionary/shared.h"
#include "common/bytes.h"

static struct hf_bytes text(const char *string)
{
    return (struct hf_bytes){(const uint8_t *)string, strlen(string)};
}

static void assert_extracts(const struct hf_shared *shared, const char *content,
                            const char *expected)
{
    struct hf_buf out = {0};
    assert_int_equal(shared_extract(shared, text(content), &out), HF_OK);
    assert_int_equal(hf_buf_terminate(&out), HF_OK);
    assert_string_equal((const char *)out.data, expected);
    hf_buf_free(&out);
}

static void what_three_hosts_have_is_shared_and_what_two_have_is_not(void **state)
{
    struct hf_shared *shared = shared_new(1000, HF_SHARED_HOSTS);
    (void)state;
    shared_add(shared, 7, text("listen on port 7443 of all addresses; zone = north-east-by-north"));
    shared_add(shared, 5, text("listen on port 7443 of all addresses; zone = north-east-by-north"));
    assert_extracts(shared, "listen on port 7443 of all addresses", "");
    shared_add(shared, 9, text("listen on port 7443 of all addresses; zone = elsewhere"));
    assert_extracts(shared, "listen on port 7443 of all addresses",
                    "listen on port 7443 of all addresses");
    assert_extracts(shared, "listen on port 7443 of all addresses; zone = north-east-by-north",
                    "listen on port 7443 of all addresses; zone = ");
    shared_free(shared);
}

static void more_hosts_may_be_asked_for(void **state)
{
    struct hf_shared *shared = shared_new(1000, HF_SHARED_HOSTS_MAX);
    (void)state;
    for (uint64_t host = 1; host < HF_SHARED_HOSTS_MAX; host++) {
        shared_add(shared, host, text("listen on port 7443"));
    }
    assert_extracts(shared, "listen on port 7443", "");
    shared_add(shared, 100, text("listen on port 7443"));
    shared_add(shared, 101, text("listen on port 7443"));
    assert_extracts(shared, "listen on port 7443", "listen on port 7443");
    shared_free(shared);
}

static void what_one_host_has_again_and_again_is_not_shared(void **state)
{
    struct hf_shared *shared = shared_new(1000, HF_SHARED_HOSTS);
    (void)state;
    for (int i = 0; i < 10; i++) {
        shared_add(shared, 7, text("password = correct horse battery staple"));
    }
    assert_extracts(shared, "password = correct horse battery staple", "");
    shared_free(shared);
}

static void a_secret_between_what_is_shared_is_left_out_whole(void **state)
{
    char content[256];
    char secret[33];
    uint8_t bytes[16];
    struct hf_shared *shared = shared_new(4096, HF_SHARED_HOSTS);
    (void)state;
    for (uint64_t host = 1; host <= 8; host++) {
        hf_random(bytes, sizeof bytes);
        hf_hex_encode(bytes, sizeof bytes, secret);
        snprintf(content, sizeof content,
                 "[database]\nuser = holdfast\npassword = %s\ntimeout = 30 seconds\n", secret);
        shared_add(shared, host, text(content));
    }
    struct hf_buf out = {0};
    assert_int_equal(shared_extract(shared, text(content), &out), HF_OK);
    assert_int_equal(hf_buf_terminate(&out), HF_OK);
    assert_non_null(strstr((char *)out.data, "[database]\nuser = holdfast\npassword = "));
    assert_non_null(strstr((char *)out.data, "\ntimeout = 30 seconds\n"));
    /* A digit or two beside what is shared may be the same on three hosts, by chance. */
    secret[28] = '\0';
    assert_null(strstr((char *)out.data, secret + 4));
    for (size_t i = 4; i + 8 < 28; i++) {
        char piece[9];
        memcpy(piece, secret + i, 8);
        piece[8] = '\0';
        assert_null(strstr((char *)out.data, piece));
    }
    hf_buf_free(&out);
    shared_free(shared);
}

static void what_is_shorter_than_a_window_is_not_shared(void **state)
{
    struct hf_shared *shared = shared_new(1000, HF_SHARED_HOSTS);
    (void)state;
    for (uint64_t host = 1; host <= 5; host++) {
        shared_add(shared, host, text("short"));
        shared_add(shared, host, (struct hf_bytes){0});
    }
    assert_extracts(shared, "short", "");
    assert_extracts(shared, "", "");
    shared_free(shared);
}

/* A full table loses windows and makes none shared. */
static void more_than_was_planned_for_makes_nothing_shared_that_is_not(void **state)
{
    enum { SIZE = 200000 };
    struct hf_shared *shared = shared_new(100, HF_SHARED_HOSTS);
    uint8_t *noise = malloc(SIZE);
    struct hf_buf out = {0};
    (void)state;
    for (uint64_t host = 1; host <= 5; host++) {
        hf_random(noise, SIZE);
        shared_add(shared, host, (struct hf_bytes){noise, SIZE});
    }
    assert_int_equal(shared_extract(shared, (struct hf_bytes){noise, SIZE}, &out), HF_OK);
    assert_int_equal(out.size, 0);
    hf_buf_free(&out);
    free(noise);
    shared_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_three_hosts_have_is_shared_and_what_two_have_is_not),
        cmocka_unit_test(more_hosts_may_be_asked_for),
        cmocka_unit_test(what_one_host_has_again_and_again_is_not_shared),
        cmocka_unit_test(a_secret_between_what_is_shared_is_left_out_whole),
        cmocka_unit_test(what_is_shorter_than_a_window_is_not_shared),
        cmocka_unit_test(more_than_was_planned_for_makes_nothing_shared_that_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
