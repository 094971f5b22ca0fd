/* What is JSON and what isn't, whole or in pieces, in little memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/capture/json_check.h"

static bool check(const char *text, size_t size, size_t piece)
{
    struct hf_json_check *json = json_check_new();
    assert_non_null(json);
    for (size_t at = 0; at < size; at += piece) {
        json_check_feed(json, (const uint8_t *)text + at, size - at < piece ? size - at : piece);
    }
    bool good = json_check_end(json);
    json_check_free(json);
    return good;
}

static void expect(const char *text, size_t size, bool good)
{
    for (size_t piece = 1; piece <= size; piece++) {
        if (check(text, size, piece) != good) {
            fail_msg("%.*s in pieces of %zu is%s JSON", (int)size, text, piece, good ? "" : " not");
        }
    }
}

static void test_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "0",
        "-1.5e+10",
        "123456789012345678901234567890",
        "\"\"",
        "null",
        "true",
        " [1, 2, {\"a\": [null, false]}]\n",
        "{\"a\": 1, \"a\": 2}",
        "\"\\u00e9\\ud83d\\ude00\\n\"",
        "\"\xc3\xa9\xf0\x9f\x98\x80\"",
        "[[[[[[[[[[]]]]]]]]]]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect(texts[i], strlen(texts[i]), true);
    }
}

static void test_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        " ",     "{",       "[1, 2",        "{\"a\": ", "{\"a\" 1}",    "[1,]", "{\"a\": 1,}",
        "{} {}", "nul",     "nulls",        "'a'",      "01",           "1.",   "+1",
        "\"a",   "\"\\x\"", "\"\xff\xfe\"", "\"\xc3\"", "// a\n1",      "]",    "[}",
        "NaN",   "{a: 1}",  "\"a\nb\"",     "[1 2]",    "\xef\xbb\xbf",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect(texts[i], strlen(texts[i]), false);
    }
    assert_false(check("", 0, 1));
    expect("[1]\0", 4, false);
    expect("{\"a\": 1}\0\0\0\0", 12, false);
}

/* A text of that size, begun and ended so, fed by the MiB. */
static bool check_long(const char *begin, const char *middle, const char *end, size_t size)
{
    enum { PIECE = 1 << 20 };
    char *piece = malloc(PIECE);
    assert_non_null(piece);
    size_t length = strlen(middle);
    for (size_t i = 0; i < PIECE; i++) {
        piece[i] = middle[i % length];
    }
    struct hf_json_check *json = json_check_new();
    assert_non_null(json);
    json_check_feed(json, (const uint8_t *)begin, strlen(begin));
    for (size_t at = 0; at < size; at += PIECE - PIECE % length) {
        json_check_feed(json, (const uint8_t *)piece, PIECE - PIECE % length);
    }
    json_check_feed(json, (const uint8_t *)end, strlen(end));
    bool good = json_check_end(json);
    json_check_free(json);
    free(piece);
    return good;
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* A sanitizer keeps what was freed: then only the answers are looked at. */
static bool memory_counts(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return false;
#else
    return true;
#endif
#else
    return true;
#endif
}

static void test_memory_is_bounded_whatever_the_text(void **state)
{
    (void)state;
    enum { SIZE = 24 << 20 };
    long before_kib = peak_kib();
    assert_true(check_long("[0", ",0", "]", SIZE));
    assert_false(check_long("[0", ",0", "", SIZE));
    assert_false(check_long("[0", ",0", "}", SIZE));
    assert_true(check_long("\"", "a", "\"", 1 << 20));
    assert_false(check_long("\"", "a", "", 1 << 20));
    /* Beyond what can be told: */
    assert_true(check_long("\"", "a", "", SIZE));
    assert_true(check_long("", "[", "", SIZE));
    assert_true(check_long("", "{\"a\":", "", SIZE));
    assert_true(!memory_counts() || peak_kib() - before_kib < 32 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_no_json),
        cmocka_unit_test(test_memory_is_bounded_whatever_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
