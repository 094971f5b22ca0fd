#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "agent/session/renewal.h"
#include "common/clock.h"

#define S   HF_NS_PER_SECOND
#define DAY (86400 * S)

static struct hf_renewal of_life(int64_t life_ns)
{
    struct hf_renewal renewal;
    renewal_begin(&renewal, life_ns);
    return renewal;
}

static void what_is_due_is_asked_for_once(void **state)
{
    (void)state;
    struct hf_renewal renewal = of_life(30 * DAY);
    assert_int_equal(renewal_next(&renewal, false, false, 1000 * S), HF_RENEWAL_NOTHING);
    assert_int_equal(renewal_next(&renewal, true, false, 1000 * S), HF_RENEWAL_ASK);
    renewal_asked(&renewal, 1000 * S);
    assert_int_equal(renewal_next(&renewal, true, false, 1001 * S), HF_RENEWAL_NOTHING);
    renewal_begin(&renewal, 30 * DAY);
    assert_int_equal(renewal_next(&renewal, false, false, 1002 * S), HF_RENEWAL_NOTHING);
}

static void a_failure_is_followed_by_another_try_after_a_pause_that_doubles_up_to_an_hour(
    void **state)
{
    (void)state;
    static const int64_t pauses_s[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    struct hf_renewal renewal = of_life(30 * DAY);
    int64_t now = 1000 * S;
    for (size_t i = 0; i < sizeof(pauses_s) / sizeof(pauses_s[0]); i++) {
        renewal_asked(&renewal, now);
        assert_int_equal(renewal_failed(&renewal, now), pauses_s[i] * S);
        assert_int_equal(renewal_next(&renewal, true, false, now + pauses_s[i] * S - 1),
                         HF_RENEWAL_NOTHING);
        now += pauses_s[i] * S;
        assert_int_equal(renewal_next(&renewal, true, false, now), HF_RENEWAL_ASK);
    }
    renewal.failures = UINT32_MAX;
    assert_int_equal(renewal_failed(&renewal, now), 3600 * S);
    assert_int_equal(renewal.failures, UINT32_MAX);
    renewal_begin(&renewal, 30 * DAY); /* what was got makes the next pause a short one again */
    assert_int_equal(renewal_failed(&renewal, now), 60 * S);
}

static void a_certificate_of_seconds_still_has_time_for_several_tries(void **state)
{
    (void)state;
    struct hf_renewal renewal = of_life(12 * S);
    assert_int_equal(renewal_failed(&renewal, S), S);
    assert_int_equal(renewal_failed(&renewal, 2 * S), 2 * S);
    renewal = of_life(3200 * S);
    assert_int_equal(renewal_failed(&renewal, S), 50 * S);
}

static void silence_is_a_failure_after_a_while(void **state)
{
    (void)state;
    struct hf_renewal renewal = of_life(30 * DAY);
    assert_false(renewal_overdue(&renewal, 1 << 30));
    renewal_asked(&renewal, 1000 * S);
    assert_false(renewal_overdue(&renewal, 1120 * S - 1));
    assert_true(renewal_overdue(&renewal, 1120 * S));
    renewal_failed(&renewal, 1120 * S);
    assert_false(renewal_overdue(&renewal, 1130 * S));
}

static void an_answer_that_could_not_be_written_is_installed_and_not_asked_for_again(void **state)
{
    (void)state;
    struct hf_renewal renewal = of_life(30 * DAY);
    renewal_asked(&renewal, 1000 * S);
    renewal_failed(&renewal, 1001 * S);
    assert_int_equal(renewal_next(&renewal, true, true, 1060 * S), HF_RENEWAL_NOTHING);
    assert_int_equal(renewal_next(&renewal, true, true, 1061 * S), HF_RENEWAL_INSTALL);
    assert_int_equal(renewal_next(&renewal, false, true, 1061 * S), HF_RENEWAL_INSTALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_due_is_asked_for_once),
        cmocka_unit_test(
            a_failure_is_followed_by_another_try_after_a_pause_that_doubles_up_to_an_hour),
        cmocka_unit_test(a_certificate_of_seconds_still_has_time_for_several_tries),
        cmocka_unit_test(silence_is_a_failure_after_a_while),
        cmocka_unit_test(an_answer_that_could_not_be_written_is_installed_and_not_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
