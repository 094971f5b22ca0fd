#include "agent/session/effort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"

#define STEP_NS (HF_NS_PER_SECOND / 100)

/* A host with some cores free, by the test's own clock. */
static int64_t now_ns, idle_ns, free_cores;
static unsigned asked;

static int64_t read_fake(void)
{
    asked++;
    return free_cores < 0 ? -1 : idle_ns;
}

static void begin(struct hf_effort *effort, int64_t cores)
{
    now_ns = 1000 * HF_NS_PER_SECOND;
    idle_ns = 0;
    asked = 0;
    free_cores = cores;
    effort_init(effort, read_fake, now_ns);
}

/* full_of_ten: in so many of ten steps the link has no room. */
static void work(struct hf_effort *effort, double seconds, int full_of_ten)
{
    int steps = (int)(seconds * 100);
    for (int i = 0; i < steps; i++) {
        effort_note(effort, i % 10 < full_of_ten, now_ns);
        now_ns += STEP_NS;
        idle_ns += free_cores > 0 ? free_cores * STEP_NS : 0;
    }
}

static void while_the_link_keeps_up_the_level_is_the_lowest(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, 4);
    work(&effort, 10, 0);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MIN);
    assert_int_equal(asked, 0); /* and nobody reads what isn't needed */
}

static void a_slow_link_and_free_cores_raise_it_step_by_step(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, 2);
    work(&effort, 0.8, 9);
    assert_in_range(effort_level(&effort), HF_EFFORT_MIN + 1, HF_EFFORT_MAX - 1);
    work(&effort, 10, 9);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MAX);
}

static void it_comes_down_when_the_link_has_room_again(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, 2);
    work(&effort, 10, 9);
    work(&effort, 0.6, 0);
    assert_in_range(effort_level(&effort), HF_EFFORT_MIN + 1, HF_EFFORT_MAX - 1);
    work(&effort, 10, 0);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MIN);
}

static void it_stays_where_the_link_makes_it_wait_now_and_then(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, 2);
    work(&effort, 1.3, 9);
    int level = effort_level(&effort);
    work(&effort, 10, 3);
    assert_int_equal(effort_level(&effort), level);
}

static void a_host_that_needs_its_cores_gets_them(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, 0);
    work(&effort, 10, 10);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MIN);
    free_cores = 1;
    work(&effort, 10, 10);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MAX);
    free_cores = 0;
    work(&effort, 10, 10);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MIN);
}

static void where_idleness_cant_be_read_the_level_stays_the_lowest(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, -1);
    work(&effort, 10, 10);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MIN);
}

static void after_a_rest_it_begins_anew(void **state)
{
    (void)state;
    struct hf_effort effort;
    begin(&effort, 2);
    work(&effort, 10, 9);
    effort_note(&effort, false, now_ns);
    now_ns += 60 * HF_NS_PER_SECOND;
    effort_note(&effort, false, now_ns);
    assert_int_equal(effort_level(&effort), HF_EFFORT_MIN);
}

static void this_host_says_how_long_its_cores_were_idle(void **state)
{
    (void)state;
    assert_true(effort_read_idle() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_the_link_keeps_up_the_level_is_the_lowest),
        cmocka_unit_test(a_slow_link_and_free_cores_raise_it_step_by_step),
        cmocka_unit_test(it_comes_down_when_the_link_has_room_again),
        cmocka_unit_test(it_stays_where_the_link_makes_it_wait_now_and_then),
        cmocka_unit_test(a_host_that_needs_its_cores_gets_them),
        cmocka_unit_test(where_idleness_cant_be_read_the_level_stays_the_lowest),
        cmocka_unit_test(after_a_rest_it_begins_anew),
        cmocka_unit_test(this_host_says_how_long_its_cores_were_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
