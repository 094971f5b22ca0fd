#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>

#include "common/rate_limit.h"

static void a_burst_is_allowed_and_then_one_must_wait(void **state)
{
    (void)state;
    struct hf_rate_limit *limit = hf_rate_limit_new(5, 1);
    assert_non_null(limit);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hf_rate_limit_wait(limit, "192.0.2.1"), 0);
        assert_int_equal(hf_rate_limit_take(limit, "192.0.2.1"), 0);
    }
    uint32_t wait_s = hf_rate_limit_take(limit, "192.0.2.1");
    assert_in_range(wait_s, 50, 61);
    /* Being refused costs nothing: the wait does not grow. */
    for (int i = 0; i < 100; i++) {
        assert_in_range(hf_rate_limit_take(limit, "192.0.2.1"), 1, wait_s);
    }
    hf_rate_limit_free(limit);
}

static void one_address_does_not_use_up_anothers_tries(void **state)
{
    (void)state;
    struct hf_rate_limit *limit = hf_rate_limit_new(1, 1);
    assert_non_null(limit);
    assert_int_equal(hf_rate_limit_take(limit, "192.0.2.1"), 0);
    assert_int_not_equal(hf_rate_limit_take(limit, "192.0.2.1"), 0);
    assert_int_equal(hf_rate_limit_take(limit, "192.0.2.2"), 0);
    hf_rate_limit_free(limit);
}

static void asking_only_takes_nothing(void **state)
{
    (void)state;
    struct hf_rate_limit *limit = hf_rate_limit_new(1, 1);
    assert_non_null(limit);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(hf_rate_limit_wait(limit, "key"), 0);
    }
    assert_int_equal(hf_rate_limit_take(limit, "key"), 0);
    assert_int_not_equal(hf_rate_limit_wait(limit, "key"), 0);
    hf_rate_limit_free(limit);
}

/* Memory is one block of fixed size, so what is left to prove is that a flood of other addresses
 * neither breaks it nor shuts newcomers out. */
static void a_flood_of_addresses_shuts_nobody_out(void **state)
{
    (void)state;
    struct hf_rate_limit *limit = hf_rate_limit_new(1, 1);
    char key[32];
    assert_non_null(limit);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "10.%d.%d.%d", i >> 16, (i >> 8) & 255, i & 255);
        assert_int_equal(hf_rate_limit_take(limit, key), 0);
    }
    assert_int_equal(hf_rate_limit_take(limit, "192.0.2.1"), 0);
    assert_int_not_equal(hf_rate_limit_take(limit, "192.0.2.1"), 0);
    hf_rate_limit_free(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_allowed_and_then_one_must_wait),
        cmocka_unit_test(one_address_does_not_use_up_anothers_tries),
        cmocka_unit_test(asking_only_takes_nothing),
        cmocka_unit_test(a_flood_of_addresses_shuts_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
