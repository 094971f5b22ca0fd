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
/* 2026-11-22T10:31:00Z, a Sunday; 11:31 in Central Europe. */
#define NOW (INT64_C(1795343460) * SECOND)
/* Midnight of that day in Central Europe. */
#define TODAY (INT64_C(1795302000) * SECOND)

static int use_cet(void **state)
{
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    return 0;
}

struct moment {
    const char *text;
    int64_t ns;
};

static void assert_read(const struct moment *moments, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct hf_error error = {0};
        int64_t ns = 0;
        if (hf_moment_parse(moments[i].text, NOW, &ns, &error) != 0) {
            fail_msg("'%s': %s", moments[i].text, error.message);
        }
        if (ns != moments[i].ns) {
            fail_msg("'%s' gives %lld, not %lld", moments[i].text, (long long)ns,
                     (long long)moments[i].ns);
        }
    }
}
#define ASSERT_READ(moments) assert_read(moments, sizeof(moments) / sizeof((moments)[0]))

static void a_zone_in_the_text_decides(void **state)
{
    (void)state;
    static const struct moment moments[] = {
        {"2026-11-22T10:31:00Z", NOW},
        {"2026-11-22t10:31:00z", NOW},
        {"2026-11-22 10:31Z", NOW},
        {"2026-11-22 10:31 UTC", NOW},
        {"2026-11-22T11:31:00+01:00", NOW},
        {"2026-11-22T11:31:00+0100", NOW},
        {"2026-11-22T05:01:00-05:30", NOW},
        {"2026-11-23T00:31:00+14:00", NOW},
        {"2026-11-22T10:31:00.5Z", NOW + SECOND / 2},
        {"2026-11-22T10:31:00,25Z", NOW + SECOND / 4},
        {"2026-11-22T10:31:00.123456789Z", NOW + 123456789},
        {"2026-11-22T10:31:00.1234567899999Z", NOW + 123456789},
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00+01:00", -3600 * SECOND},
        {"2024-02-29T23:59:59Z", INT64_C(1709251199) * SECOND},
        {"2199-12-31T23:59:59Z", INT64_C(7258118399) * SECOND},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800) * SECOND},
    };
    ASSERT_READ(moments);
}

static void without_one_it_is_local_time(void **state)
{
    (void)state;
    static const struct moment moments[] = {
        {"2026-11-22 11:31", NOW},
        {"2026-11-22T11:31", NOW},
        {"  2026-11-22   11:31:00", NOW},
        {"2026-11-22 11:31:05.123", NOW + 5 * SECOND + 123 * HF_NS_PER_MS},
        {"2026-11-22", TODAY},
        {"2026-07-01 12:00", INT64_C(1782900000) * SECOND}, /* summer time */
    };
    ASSERT_READ(moments);
}

static void days_and_times_are_relative_to_now(void **state)
{
    (void)state;
    static const struct moment moments[] = {
        {"now", NOW},
        {"NOW", NOW},
        {"today", TODAY},
        {"11:31", NOW},
        {"today 11:31:05", NOW + 5 * SECOND},
        {"00:00", TODAY},
        {"23:59:59.999", TODAY + 86399 * SECOND + 999 * HF_NS_PER_MS},
        {"yesterday", TODAY - 86400 * SECOND},
        {"Yesterday 11:31", NOW - 86400 * SECOND},
    };
    ASSERT_READ(moments);
}

static void so_long_ago_is_understood(void **state)
{
    (void)state;
    static const struct moment moments[] = {
        {"10 minutes ago", NOW - 600 * SECOND},
        {"2h ago", NOW - 7200 * SECOND},
        {"1h30m ago", NOW - 5400 * SECOND},
        {"1 Day AGO", NOW - 86400 * SECOND},
        {"0s ago", NOW},
        {"250ms ago", NOW - 250 * HF_NS_PER_MS},
    };
    ASSERT_READ(moments);
}

static void seconds_since_the_epoch_are_marked_with_an_at(void **state)
{
    (void)state;
    static const struct moment moments[] = {
        {"@0", 0}, {"@1795343460", NOW}, {"@9223372036", INT64_C(9223372036) * SECOND}};
    ASSERT_READ(moments);
}

/* On the last Sunday of October 2026 02:30 comes twice and yesterday has 25 hours; on the last of
 * March 02:30 does not come. */
static void days_of_another_length_keep_their_clock_times(void **state)
{
    (void)state;
    int64_t after_change;
    int64_t ns;
    assert_int_equal(hf_moment_parse("2026-10-26T12:00:00+01:00", 0, &after_change, NULL), 0);
    assert_int_equal(hf_moment_parse("yesterday", after_change, &ns, NULL), 0);
    assert_int_equal(after_change - ns, (12 + 25) * INT64_C(3600) * SECOND);
    assert_int_equal(hf_moment_parse("yesterday 12:00", after_change, &ns, NULL), 0);
    assert_int_equal(after_change - ns, 24 * INT64_C(3600) * SECOND);

    int64_t before;
    int64_t after;
    assert_int_equal(hf_moment_parse("2026-03-29T00:30:00Z", 0, &before, NULL), 0);
    assert_int_equal(hf_moment_parse("2026-03-29T01:30:00Z", 0, &after, NULL), 0);
    assert_int_equal(hf_moment_parse("2026-03-29 02:30", 0, &ns, NULL), 0);
    assert_true(ns >= before && ns <= after);
}

static void nonsense_is_refused_with_examples(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "soon",
        "2026-02-30",
        "2025-02-29",
        "2100-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-11-00",
        "2026-11-31",
        "25:00",
        "24:00",
        "10:60",
        "10:31:61",
        "1:30",
        "10:3",
        "10",
        "10:31:",
        "10:31:05.",
        "10:31 pm",
        "2026-11-22T",
        "2026-11-22 ",
        "2026-11-22x",
        "2026-11-22 10:31 CET",
        "2026-11-22T10:31:00+",
        "2026-11-22T10:31:00+1",
        "2026-11-22T10:31:00+15:00",
        "2026-11-22T10:31:00+01:60",
        "2026-11-22T10:31:00Zx",
        "2026-11-22T10:31:00ZZ",
        "1969-12-31",
        "2200-01-01",
        "26-11-22",
        "2026/11/22",
        "+2026-11-22",
        "2026-1-2",
        "today10:31",
        "todays",
        "yesterday 25:00",
        "tomorrow",
        "ago",
        "10 ago",
        "5 ago",
        "-5m ago",
        "10 minutes",
        "minutes ago",
        "10 parsecs ago",
        "2h agog",
        "@",
        "@-1",
        "@x",
        "@12x",
        "@ 12",
        "@9223372037",
        "@99999999999999999999999999",
        "9999999999999999d ago",
        "10000000000000000000000000000000000000000000000000000000000000000000000000000s ago",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hf_error error = {0};
        int64_t ns;
        if (hf_moment_parse(bad[i], NOW, &ns, &error) != HF_ERR_INVALID) {
            fail_msg("'%s' was taken for a time", bad[i]);
        }
        assert_non_null(strstr(error.message, "yesterday 18:00"));
    }
}

static void a_time_before_all_times_is_refused(void **state)
{
    (void)state;
    int64_t ns;
    assert_int_equal(hf_moment_parse("7d ago", INT64_MIN + SECOND, &ns, NULL), HF_ERR_INVALID);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    for (int64_t ns = 0; ns < INT64_C(7258118400) * SECOND; ns += INT64_C(86399999999999) * 11) {
        char text[HF_TIME_TEXT_BYTES];
        int64_t back = -1;
        hf_time_rfc3339(ns, text);
        assert_int_equal(hf_moment_parse(text, 0, &back, NULL), 0);
        assert_int_equal(back, ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zone_in_the_text_decides),
        cmocka_unit_test(without_one_it_is_local_time),
        cmocka_unit_test(days_and_times_are_relative_to_now),
        cmocka_unit_test(so_long_ago_is_understood),
        cmocka_unit_test(seconds_since_the_epoch_are_marked_with_an_at),
        cmocka_unit_test(days_of_another_length_keep_their_clock_times),
        cmocka_unit_test(nonsense_is_refused_with_examples),
        cmocka_unit_test(a_time_before_all_times_is_refused),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, use_cet, NULL);
}
