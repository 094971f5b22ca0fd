/* However the messages are and whenever they come, no stretch of time carries more than it may. By
 * a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>

#include "agent/session/pace.h"
#include "common/clock.h"

#define SECOND HF_NS_PER_SECOND
#define START  (INT64_C(1000) * SECOND)

static void without_a_limit_nothing_waits(void **state)
{
    (void)state;
    struct hf_pace pace = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pace_wait_ns(&pace, 1 << 20, START), 0);
        pace_take(&pace, 1 << 20, START);
    }
}

static void what_fits_into_the_bucket_goes_at_once_and_the_rest_waits_its_turn(void **state)
{
    (void)state;
    struct hf_pace pace = {.bytes_per_second = 1000000};
    int64_t now = START;
    unsigned sent = 0;
    while (pace_wait_ns(&pace, 10000, now) == 0) {
        pace_take(&pace, 10000, now);
        sent++;
    }
    assert_in_range(sent, 20, 25); /* a quarter of a second's worth, overhead counted */
    int64_t wait_ns = pace_wait_ns(&pace, 10000, now);
    assert_true(wait_ns > 0 && wait_ns < SECOND / 50);
    assert_true(pace_wait_ns(&pace, 10000, now + wait_ns - 1) > 0);
    assert_int_equal(pace_wait_ns(&pace, 10000, now + wait_ns), 0);
    assert_int_equal(pace_wait_ns(&pace, 10000, now + 3600 * SECOND), 0);
}

static void a_pause_saves_up_no_more_than_the_bucket_holds(void **state)
{
    (void)state;
    struct hf_pace pace = {.bytes_per_second = 1000000};
    pace_take(&pace, 10000, START);
    int64_t now = START + 86400 * SECOND;
    size_t sent = 0;
    while (pace_wait_ns(&pace, 1000, now) == 0) {
        pace_take(&pace, 1000, now);
        sent += 1000;
    }
    assert_true(sent <= 250000);
}

static void what_is_larger_than_the_bucket_goes_when_that_is_full_and_is_paid_for(void **state)
{
    (void)state;
    struct hf_pace pace = {.bytes_per_second = 100000};
    assert_int_equal(pace_wait_ns(&pace, 500000, START), 0);
    pace_take(&pace, 500000, START);
    int64_t wait_ns = pace_wait_ns(&pace, 1, START);
    assert_true(wait_ns > 4 * SECOND && wait_ns < 6 * SECOND);
    pace_take(&pace, 1, START + wait_ns);
    assert_true(pace_wait_ns(&pace, 500000, START + wait_ns) > 0);
}

/* Messages of all sizes as soon as they may go, with pauses: every stretch of time. */
static void no_stretch_of_time_carries_more_than_it_may(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static const uint64_t rates[] = {16384, 200000, 5000000, UINT64_C(1) << 40};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct hf_pace pace = {.bytes_per_second = rates[r]};
        static int64_t at[COUNT];
        static size_t sizes[COUNT];
        size_t largest = 0;
        int64_t now = START;
        unsigned dice = 7;
        for (int i = 0; i < COUNT; i++) {
            dice = dice * 1103515245u + 12345u;
            size_t size = 1 + (dice >> 8) % (i % 10 ? 3000u : 300000u);
            now += (dice & 0xff) == 0 ? 2 * SECOND : 0;
            now += pace_wait_ns(&pace, size, now);
            pace_take(&pace, size, now);
            at[i] = now;
            sizes[i] = size;
            largest = size > largest ? size : largest;
        }
        double spare = (double)rates[r] / 4;
        spare = spare < (double)largest ? (double)largest : spare;
        for (int first = 0; first < COUNT; first += 7) {
            double sent = 0;
            for (int i = first; i < COUNT; i++) {
                sent += (double)sizes[i];
                double seconds = (double)(at[i] - at[first]) / 1e9;
                assert_true(sent <= (double)rates[r] * seconds + spare + 1);
            }
        }
    }
}

static void the_rate_is_reached(void **state)
{
    (void)state;
    struct hf_pace pace = {.bytes_per_second = 1000000};
    int64_t now = START;
    for (int i = 0; i < 1000; i++) {
        now += pace_wait_ns(&pace, 20000, now);
        pace_take(&pace, 20000, now);
    }
    double seconds = (double)(now - START) / 1e9;
    assert_true(20e6 / seconds > 0.95e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_nothing_waits),
        cmocka_unit_test(what_fits_into_the_bucket_goes_at_once_and_the_rest_waits_its_turn),
        cmocka_unit_test(a_pause_saves_up_no_more_than_the_bucket_holds),
        cmocka_unit_test(what_is_larger_than_the_bucket_goes_when_that_is_full_and_is_paid_for),
        cmocka_unit_test(no_stretch_of_time_carries_more_than_it_may),
        cmocka_unit_test(the_rate_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
