#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"

static void integers_are_written_least_byte_first(void **state)
{
    (void)state;
    uint8_t bytes[8];
    hf_put_le32(bytes, 0x01020384u);
    assert_memory_equal(bytes, "\x84\x03\x02\x01", 4);
    assert_int_equal(hf_get_le32(bytes), 0x01020384u);
    hf_put_le64(bytes, UINT64_C(0xf102030405060788));
    assert_memory_equal(bytes, "\x88\x07\x06\x05\x04\x03\x02\xf1", 8);
    assert_true(hf_get_le64(bytes) == UINT64_C(0xf102030405060788));
}

static void hexadecimal_comes_back_in_either_case(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x1f, 0xa0, 0xff};
    char text[2 * sizeof bytes + 1];
    uint8_t back[sizeof bytes];
    hf_hex_encode(bytes, sizeof bytes, text);
    assert_string_equal(text, "001fa0ff");
    assert_int_equal(hf_hex_decode(text, back, sizeof back), 0);
    assert_memory_equal(back, bytes, sizeof bytes);
    assert_int_equal(hf_hex_decode("001FA0fF", back, sizeof back), 0);
    assert_memory_equal(back, bytes, sizeof bytes);
    hf_hex_encode(bytes, 0, text);
    assert_string_equal(text, "");
}

static void other_lengths_and_digits_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "00",   "000",  "00000", "0g00",      "g000",
                                      " 000", "0x00", "00 0", "-000",  "00\xc3\xa9"};
    uint8_t out[2];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hf_hex_decode(bad[i], out, sizeof out), HF_ERR_INVALID);
    }
}

/* RFC 4648, section 10, without the padding; the last is what differs in the URL alphabet. */
static const struct {
    const char *bytes;
    const char *text;
} base64_vectors[] = {
    {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"},
};

static void base64url_follows_the_rfc_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof base64_vectors / sizeof base64_vectors[0]; i++) {
        const char *bytes = base64_vectors[i].bytes;
        const char *text = base64_vectors[i].text;
        struct hf_buf out = {0};
        hf_buf_append_str(&out, "before");
        assert_int_equal(hf_base64url_encode(&out, (const uint8_t *)bytes, strlen(bytes)), 0);
        assert_int_equal(out.size, 6 + strlen(text));
        assert_memory_equal(out.data + 6, text, strlen(text));
        hf_buf_clear(&out);
        assert_int_equal(hf_base64url_decode(&out, text, strlen(text)), 0);
        assert_int_equal(out.size, strlen(bytes));
        assert_memory_equal(out.data, bytes, strlen(bytes));
        hf_buf_free(&out);
    }
}

/* A token that could be written in two ways could be stored or compared as two. */
static void base64url_has_one_spelling_and_no_strangers(void **state)
{
    (void)state;
    static const struct hf_bytes bad[] = {
        {(const uint8_t *)"Z", 1},    {(const uint8_t *)"Zm9vY", 5},
        {(const uint8_t *)"Zh", 2},   {(const uint8_t *)"Zm9", 3},
        {(const uint8_t *)"Zg==", 4}, {(const uint8_t *)"Z g", 3},
        {(const uint8_t *)"+/+/", 4}, {(const uint8_t *)"Zg\n", 3},
        {(const uint8_t *)"Z\0g", 3}, {(const uint8_t *)"Zg\xff", 3},
        {(const uint8_t *)"A", 1},    {(const uint8_t *)"AAAAA", 5},
    };
    struct hf_buf out = {0};
    hf_buf_append_str(&out, "kept");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hf_base64url_decode(&out, (const char *)bad[i].data, bad[i].size),
                         HF_ERR_INVALID);
        assert_int_equal(out.size, 4);
    }
    hf_buf_free(&out);
}

static void every_length_comes_back(void **state)
{
    (void)state;
    uint8_t bytes[300];
    hf_random(bytes, sizeof bytes);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        struct hf_buf text = {0};
        struct hf_buf back = {0};
        assert_int_equal(hf_base64url_encode(&text, bytes, size), 0);
        assert_int_equal(hf_base64url_decode(&back, (const char *)text.data, text.size), 0);
        assert_int_equal(back.size, size);
        assert_int_equal(size == 0 ? 0 : memcmp(back.data, bytes, size), 0);
        hf_buf_free(&text);
        hf_buf_free(&back);
    }
}

static void secrets_are_equal_only_in_every_byte(void **state)
{
    (void)state;
    uint8_t a[32];
    uint8_t b[32];
    hf_random(a, sizeof a);
    memcpy(b, a, sizeof b);
    assert_true(hf_equal_secret(a, b, sizeof a));
    assert_true(hf_equal_secret(a, b, 0));
    for (size_t i = 0; i < 8 * sizeof a; i++) {
        b[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_false(hf_equal_secret(a, b, sizeof a));
        b[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
}

static void wiping_leaves_zeros_and_only_there(void **state)
{
    (void)state;
    uint8_t bytes[] = {1, 2, 3, 4};
    hf_wipe(bytes + 1, 2);
    assert_memory_equal(bytes, "\x01\x00\x00\x04", 4);
    hf_wipe(NULL, 0);
}

static void random_bytes_fill_everything_and_differ(void **state)
{
    (void)state;
    /* More than getrandom gives in one call that a signal may cut (256 bytes). */
    static uint8_t a[1 << 16];
    static uint8_t b[1 << 16];
    unsigned seen[256] = {0};
    hf_random(a, sizeof a);
    hf_random(b, sizeof b);
    assert_int_not_equal(memcmp(a, b, sizeof a), 0);
    for (size_t i = 0; i < sizeof a; i++) {
        seen[a[i]]++;
    }
    for (size_t i = 0; i < 256; i++) {
        /* 256 expected, standard deviation 16: ten of them either way is no accident. */
        assert_in_range(seen[i], 96, 416);
    }
    hf_random(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_written_least_byte_first),
        cmocka_unit_test(hexadecimal_comes_back_in_either_case),
        cmocka_unit_test(other_lengths_and_digits_are_refused),
        cmocka_unit_test(base64url_follows_the_rfc_both_ways),
        cmocka_unit_test(base64url_has_one_spelling_and_no_strangers),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(secrets_are_equal_only_in_every_byte),
        cmocka_unit_test(wiping_leaves_zeros_and_only_there),
        cmocka_unit_test(random_bytes_fill_everything_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
