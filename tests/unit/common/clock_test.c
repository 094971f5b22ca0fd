#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"

#define SECOND HF_NS_PER_SECOND
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

/* The rules of Central Europe in POSIX form: needs no zone database. */
static int use_cet(void **state)
{
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    return 0;
}

static void use_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static void the_clocks_go_forward(void **state)
{
    (void)state;
    int64_t first = hf_clock_monotonic_ns();
    int64_t second = hf_clock_monotonic_ns();
    assert_true(second >= first);
    assert_true(hf_clock_now_ns() / SECOND >= (int64_t)time(NULL) - 1);
    assert_true(hf_clock_now_ns() / SECOND <= (int64_t)time(NULL) + 1);
}

static void moments_are_written_as_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {INT64_C(1795343460) * SECOND, "2026-11-22T10:31:00Z"},
        {INT64_C(1795343460) * SECOND + 123456789, "2026-11-22T10:31:00.123456789Z"},
        {INT64_C(1795343460) * SECOND + 1, "2026-11-22T10:31:00.000000001Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {-SECOND, "1969-12-31T23:59:59Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[HF_TIME_TEXT_BYTES];
        hf_time_rfc3339(cases[i].ns, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void people_are_told_the_zone(void **state)
{
    (void)state;
    char text[HF_TIME_TEXT_BYTES];
    hf_time_local(INT64_C(1795343460) * SECOND + 123 * HF_NS_PER_MS, text);
    assert_string_equal(text, "2026-11-22 11:31:00.123 CET");
    hf_time_local(INT64_C(1782900000) * SECOND, text);
    assert_string_equal(text, "2026-07-01 12:00:00.000 CEST");
    use_zone("ANAMETHATISMUCHTOOLONGTOSHOW0");
    hf_time_local(0, text);
    assert_string_equal(text, "1970-01-01 00:00:00.000 local");
    use_cet(state);
}

static void durations_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"250ms", 250 * HF_NS_PER_MS},
        {"5s", 5 * SECOND},
        {"5", 5 * SECOND},
        {"0", 0},
        {"0s", 0},
        {"10m", 600 * SECOND},
        {"10 min", 600 * SECOND},
        {"2h", 2 * HOUR},
        {"7d", 7 * DAY},
        {"2 weeks", 14 * DAY},
        {"1h30m", HOUR + 1800 * SECOND},
        {" 1 hour 30 minutes ", HOUR + 1800 * SECOND},
        {"1d 2h 3m 4s 5ms", DAY + 2 * HOUR + 184 * SECOND + 5 * HF_NS_PER_MS},
        {"9223372036s", INT64_C(9223372036) * SECOND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t ns = -1;
        assert_int_equal(hf_duration_parse(cases[i].text, &ns, NULL), 0);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void what_is_no_duration_is_refused_with_an_example(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "s",
        "-5s",
        "+5s",
        "5x",
        "5 s x",
        "1.5h",
        "1h30",
        "0h 5",
        "5S",
        "ms",
        "5 5",
        "0x10s",
        "1h,2m",
        "5s\n",
        "9223372037s",
        "106752d",
        "18446744073709551616",
        "18446744073709551615s",
        "1e3s",
        "9223372036s 1s",
        "99999999999999999999999999999999999999w",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hf_error error = {0};
        int64_t ns = 77;
        assert_int_equal(hf_duration_parse(bad[i], &ns, &error), HF_ERR_INVALID);
        assert_int_equal(ns, 77);
        assert_non_null(strstr(error.message, "250ms"));
    }
}

static void durations_are_told_in_two_units_at_most(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0 ms"},
        {999999, "0 ms"},
        {250 * HF_NS_PER_MS, "250 ms"},
        {1500 * HF_NS_PER_MS, "1.5 s"},
        {42 * SECOND, "42 s"},
        {180 * SECOND, "3 min"},
        {185 * SECOND, "3 min 5 s"},
        {2 * HOUR + 300 * SECOND, "2 h 5 min"},
        {7 * DAY, "7 d"},
        {DAY + HOUR + 59 * SECOND, "1 d 1 h"},
        {-5 * SECOND, "0 ms"},
        {INT64_MAX, "106751 d 23 h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[HF_TIME_TEXT_BYTES];
        hf_duration_text(cases[i].ns, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void sizes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"17", 17},
        {"17B", 17},
        {"512k", 512u << 10},
        {"512K", 512u << 10},
        {"64MiB", 64u << 20},
        {"64MB", 64u << 20},
        {"10 GB", UINT64_C(10) << 30},
        {"2TiB", UINT64_C(2) << 40},
        {"16777215T", UINT64_C(16777215) << 40},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 1;
        assert_int_equal(hf_size_parse(cases[i].text, &bytes, NULL), 0);
        assert_true(bytes == cases[i].bytes);
    }
}

static void what_is_no_size_is_refused_with_an_example(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "k",
        "-1",
        "1.5G",
        "5 x",
        "5kk",
        "5iB",
        "5MiBs",
        "0x10",
        "5 M B x",
        "16777216T",
        "18446744073709551616",
        "9999999999999999999T",
        "1 2",
        "5P",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hf_error error = {0};
        uint64_t bytes = 77;
        assert_int_equal(hf_size_parse(bad[i], &bytes, &error), HF_ERR_INVALID);
        assert_int_equal(bytes, 77);
        assert_non_null(strstr(error.message, "64MiB"));
    }
}

static void sizes_are_told_in_binary_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1288490189, "1.2 GiB"},
        {UINT64_C(300) << 20, "300 MiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[HF_TIME_TEXT_BYTES];
        hf_size_text(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clocks_go_forward),
        cmocka_unit_test(moments_are_written_as_rfc_3339),
        cmocka_unit_test(people_are_told_the_zone),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(what_is_no_duration_is_refused_with_an_example),
        cmocka_unit_test(durations_are_told_in_two_units_at_most),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(what_is_no_size_is_refused_with_an_example),
        cmocka_unit_test(sizes_are_told_in_binary_units),
    };
    return cmocka_run_group_tests(tests, use_cet, NULL);
}
