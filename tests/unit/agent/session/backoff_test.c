#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "agent/session/backoff.h"

static void the_bound_doubles_up_to_the_cap(void **state)
{
    (void)state;
    struct hf_backoff backoff = {0};
    static const uint32_t bounds[] = {500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
        assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), bounds[i]);
}

static void the_cap_can_be_another_one(void **state)
{
    (void)state;
    struct hf_backoff backoff = {.cap_ms = 700};
    static const uint32_t bounds[] = {500, 700, 700};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
        assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), bounds[i]);
    backoff = (struct hf_backoff){.cap_ms = 3600000, .failures = 19};
    assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), 3600000);
}

static void a_wait_may_be_anything_from_nothing_to_the_bound(void **state)
{
    (void)state;
    struct hf_backoff backoff = {.failures = 3};
    assert_int_equal(backoff_next_ms(&backoff, 0, 0), 0);
    backoff.failures = 3;
    uint32_t middle = backoff_next_ms(&backoff, 0, UINT32_MAX / 2);
    assert_in_range(middle, 1999, 2001);
}

static void a_thousand_failures_overflow_nothing(void **state)
{
    (void)state;
    struct hf_backoff backoff = {.failures = UINT32_MAX};
    assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), HF_BACKOFF_CAP_MS);
    assert_int_equal(backoff.failures, UINT32_MAX);
}

static void what_the_collector_asks_for_is_the_least(void **state)
{
    (void)state;
    struct hf_backoff backoff = {0};
    assert_int_equal(backoff_next_ms(&backoff, 5000, 0), 5000);
    assert_true(backoff_next_ms(&backoff, 5000, UINT32_MAX) > 5000);
    /* but no hostile number keeps an agent away for long */
    assert_int_equal(backoff_next_ms(&backoff, UINT32_MAX, 0), 10 * 60 * 1000);
    assert_true(backoff_next_ms(&backoff, UINT32_MAX, UINT32_MAX) <=
                10 * 60 * 1000 + HF_BACKOFF_CAP_MS);
}

static void a_reset_begins_anew(void **state)
{
    (void)state;
    struct hf_backoff backoff = {.failures = 9};
    backoff_reset(&backoff);
    assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), HF_BACKOFF_BASE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_doubles_up_to_the_cap),
        cmocka_unit_test(the_cap_can_be_another_one),
        cmocka_unit_test(a_wait_may_be_anything_from_nothing_to_the_bound),
        cmocka_unit_test(a_thousand_failures_overflow_nothing),
        cmocka_unit_test(what_the_collector_asks_for_is_the_least),
        cmocka_unit_test(a_reset_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
