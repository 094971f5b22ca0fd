/* When it is quiet, by the clock on the wall, whatever that does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/config/quiet.h"
#include "common/clock.h"

/* Two hours ahead in summer: from 29 March to 25 October 2026. */
#define ZONE "CET-1CEST,M3.5.0,M10.5.0/3"

static int set_zone(void **state)
{
    (void)state;
    setenv("TZ", ZONE, 1);
    tzset();
    return 0;
}

static struct hf_quiet_span parsed(const char *text)
{
    struct hf_quiet_span span;
    struct hf_error error = {0};
    if (quiet_parse(text, &span, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
    return span;
}

static int64_t utc(const char *text)
{
    int64_t ns = 0;
    struct hf_error error = {0};
    assert_int_equal(hf_moment_parse(text, 0, &ns, &error), HF_OK);
    return ns;
}

/* Whether it is quiet then, and that it stays so until `change`. */
static void assert_quiet(const char *spans[], const char *at, bool expected, const char *change)
{
    struct hf_quiet_span list[4];
    struct hf_quiet quiet = {.spans = list};
    int64_t change_ns = 0;
    for (; spans[quiet.count]; quiet.count++) {
        list[quiet.count] = parsed(spans[quiet.count]);
    }
    bool now = quiet_at(&quiet, utc(at), &change_ns);
    char text[HF_TIME_TEXT_BYTES];
    hf_time_rfc3339(change_ns, text);
    if (now != expected || change_ns != utc(change)) {
        fail_msg("at %s %s until %s, not %s until %s", at, now ? "quiet" : "not quiet", text,
                 expected ? "quiet" : "not quiet", change);
    }
}

#define SPANS(...) ((const char *[]){__VA_ARGS__, NULL})

static void a_span_is_written_as_people_would(void **state)
{
    (void)state;
    static const struct {
        const char *text, *means;
    } spans[] = {{"09:00-17:30", "09:00-17:30"},
                 {"  9:05-10:00 ", "09:05-10:00"},
                 {"mon-fri 09:00-17:30", "mon,tue,wed,thu,fri 09:00-17:30"},
                 {"sat,sun 00:00-24:00", "sat,sun 00:00-24:00"},
                 {"Fri-Mon\t22:00-06:00", "mon,fri,sat,sun 22:00-06:00"},
                 {"mon,wed-thu 1:00-2:00", "mon,wed,thu 01:00-02:00"},
                 {"sun-sun 01:00-02:00", "sun 01:00-02:00"},
                 {"mon-sun 01:00-02:00", "01:00-02:00"}};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        struct hf_quiet_span span = parsed(spans[i].text);
        char text[HF_QUIET_TEXT_BYTES];
        quiet_text(&span, text);
        assert_string_equal(text, spans[i].means);
        struct hf_quiet_span again = parsed(text);
        assert_memory_equal(&again.days, &span.days, sizeof span.days);
        assert_int_equal(again.from_min, span.from_min);
        assert_int_equal(again.to_min, span.to_min);
    }
}

static void what_is_no_span_is_refused_with_an_example(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "09:00",
                                        "09:00-",
                                        "09:00-25:00",
                                        "9-17",
                                        "09:60-10:00",
                                        "24:00-25:00",
                                        "24:00-06:00",
                                        "09:00-17:30 mon",
                                        "mon 09:00",
                                        "mon-",
                                        "mon,",
                                        "mo 09:00-10:00",
                                        "monday 09:00-10:00",
                                        "mon09:00-10:00",
                                        "9:0-10:00",
                                        "-09:00-10:00",
                                        "09:00-24:01",
                                        "mon fri 09:00-10:00",
                                        "09:00-17:30x",
                                        "009:00-10:00"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct hf_quiet_span span;
        struct hf_error error = {0};
        if (quiet_parse(texts[i], &span, &error) != HF_ERR_INVALID) {
            fail_msg("'%s' was taken", texts[i]);
        }
        assert_non_null(strstr(error.message, "mon-fri 09:00-17:30"));
    }
    struct hf_quiet_span span;
    struct hf_error error = {0};
    assert_int_equal(quiet_parse("09:00-09:00", &span, &error), HF_ERR_INVALID);
    assert_non_null(strstr(error.message, "00:00-24:00"));
}

static void it_is_quiet_from_the_first_minute_to_before_the_last(void **state)
{
    (void)state;
    const char **office = SPANS("mon-fri 09:00-17:30"); /* 1 June 2026 is a Monday */
    assert_quiet(office, "2026-06-01T06:59:59.999Z", false, "2026-06-01T07:00:00Z");
    assert_quiet(office, "2026-06-01T07:00:00Z", true, "2026-06-01T15:30:00Z");
    assert_quiet(office, "2026-06-01T15:29:59.5Z", true, "2026-06-01T15:30:00Z");
    assert_quiet(office, "2026-06-01T15:30:00Z", false, "2026-06-02T07:00:00Z");
    assert_quiet(office, "2026-06-05T16:00:00Z", false, "2026-06-08T07:00:00Z"); /* the weekend */
}

static void a_night_belongs_to_the_day_on_which_it_begins(void **state)
{
    (void)state;
    const char **night = SPANS("fri 22:00-06:00");
    assert_quiet(night, "2026-06-05T19:59:00Z", false, "2026-06-05T20:00:00Z");
    assert_quiet(night, "2026-06-05T20:00:00Z", true, "2026-06-06T04:00:00Z");
    assert_quiet(night, "2026-06-06T03:59:00Z", true, "2026-06-06T04:00:00Z");
    assert_quiet(night, "2026-06-06T20:30:00Z", false, "2026-06-12T20:00:00Z");
    /* From the last day of the week into the first. */
    assert_quiet(SPANS("sat 23:00-01:00"), "2026-06-06T22:30:00Z", true, "2026-06-06T23:00:00Z");
}

static void spans_that_touch_or_overlap_are_one(void **state)
{
    (void)state;
    assert_quiet(SPANS("08:00-12:00", "12:00-13:00", "12:30-14:00"), "2026-06-01T07:00:00Z", true,
                 "2026-06-01T12:00:00Z");
    assert_quiet(SPANS("sat,sun 00:00-24:00", "mon 00:00-07:00"), "2026-06-06T10:00:00Z", true,
                 "2026-06-08T05:00:00Z");
}

static void a_clock_that_is_set_forward_leaves_out_what_it_never_shows(void **state)
{
    (void)state;
    /* At 02:00 on 29 March 2026 (01:00 UTC) it becomes 03:00. */
    assert_quiet(SPANS("02:15-02:45"), "2026-03-29T00:30:00Z", false, "2026-03-30T00:15:00Z");
    assert_quiet(SPANS("01:30-02:30"), "2026-03-29T00:30:00Z", true, "2026-03-29T01:00:00Z");
    assert_quiet(SPANS("02:30-04:00"), "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z");
    assert_quiet(SPANS("22:00-06:00"), "2026-03-28T22:00:00Z", true, "2026-03-29T04:00:00Z");
}

static void a_clock_that_is_set_back_is_quiet_twice(void **state)
{
    (void)state;
    /* At 03:00 on 25 October 2026 (01:00 UTC) it becomes 02:00. */
    const char **span = SPANS("02:15-02:45");
    assert_quiet(span, "2026-10-25T00:20:00Z", true, "2026-10-25T00:45:00Z");
    assert_quiet(span, "2026-10-25T00:50:00Z", false, "2026-10-25T01:15:00Z");
    assert_quiet(span, "2026-10-25T01:20:00Z", true, "2026-10-25T01:45:00Z");
    assert_quiet(SPANS("22:00-06:00"), "2026-10-24T21:00:00Z", true, "2026-10-25T05:00:00Z");
}

static void without_any_it_is_never_quiet_and_never_changes(void **state)
{
    (void)state;
    struct hf_quiet quiet = {0};
    int64_t change_ns = 0;
    assert_false(quiet_at(&quiet, utc("2026-06-01T07:00:00Z"), &change_ns));
    assert_int_equal(change_ns, INT64_MAX);
    assert_false(quiet_is_always(&quiet));
}

static void a_week_with_no_minute_left_is_told(void **state)
{
    (void)state;
    struct hf_quiet_span spans[] = {parsed("00:00-24:00")};
    assert_true(quiet_is_always(&(struct hf_quiet){spans, 1}));
    struct hf_quiet_span parts[] = {parsed("08:00-20:00"), parsed("20:00-08:00")};
    assert_true(quiet_is_always(&(struct hf_quiet){parts, 2}));
    parts[1] = parsed("20:01-08:00");
    assert_false(quiet_is_always(&(struct hf_quiet){parts, 2}));
}

static void the_end_is_named_with_its_day_if_that_is_another(void **state)
{
    (void)state;
    char text[HF_QUIET_TEXT_BYTES];
    quiet_end_text(utc("2026-06-01T07:00:00Z"), utc("2026-06-01T15:30:00Z"), text);
    assert_string_equal(text, "17:30");
    quiet_end_text(utc("2026-06-05T20:00:00Z"), utc("2026-06-06T04:00:00Z"), text);
    assert_string_equal(text, "Sat 06:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_is_written_as_people_would),
        cmocka_unit_test(what_is_no_span_is_refused_with_an_example),
        cmocka_unit_test(it_is_quiet_from_the_first_minute_to_before_the_last),
        cmocka_unit_test(a_night_belongs_to_the_day_on_which_it_begins),
        cmocka_unit_test(spans_that_touch_or_overlap_are_one),
        cmocka_unit_test(a_clock_that_is_set_forward_leaves_out_what_it_never_shows),
        cmocka_unit_test(a_clock_that_is_set_back_is_quiet_twice),
        cmocka_unit_test(without_any_it_is_never_quiet_and_never_changes),
        cmocka_unit_test(a_week_with_no_minute_left_is_told),
        cmocka_unit_test(the_end_is_named_with_its_day_if_that_is_another),
    };
    return cmocka_run_group_tests(tests, set_zone, NULL);
}
