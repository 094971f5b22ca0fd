/* That a clock was set, or the host slept, is told from what the clocks say, by clocks of our own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "agent/capture/clock_watch.h"
#include "common/clock.h"

#define SECOND HF_NS_PER_SECOND

struct host {
    struct hf_clock_reading now;
    struct hf_clock_watch watch;
    struct hf_clock_change change;
};

static struct host host_new(void)
{
    struct host host = {.now = {.wall_ns = 1800000000 * SECOND,
                                .monotonic_ns = 1000 * SECOND,
                                .boot_ns = 5000 * SECOND}};
    clock_watch_look(&host.watch, &host.now, &host.change);
    assert_false(host.change.notable);
    assert_int_equal(host.change.set_ns, 0);
    return host;
}

static void look(struct host *host)
{
    host->change = (struct hf_clock_change){0};
    clock_watch_look(&host->watch, &host->now, &host->change);
}

static void pass(struct host *host, int64_t ns)
{
    host->now.wall_ns += ns;
    host->now.monotonic_ns += ns;
    host->now.boot_ns += ns;
}

static void sleep_for(struct host *host, int64_t ns)
{
    host->now.wall_ns += ns;
    host->now.boot_ns += ns;
}

static void time_that_just_passes_is_nothing_to_tell_of(void **state)
{
    struct host host = host_new();
    (void)state;
    static const int64_t steps[] = {1, SECOND, 86400 * SECOND, 0};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        pass(&host, steps[i]);
        look(&host);
        assert_false(host.change.notable);
        assert_int_equal(host.change.set_ns, 0);
        assert_int_equal(host.change.slept_ns, 0);
    }
}

static void a_clock_that_is_set_is_noticed_either_way_once_and_by_how_much(void **state)
{
    struct host host = host_new();
    (void)state;
    static const int64_t sets[] = {3600 * SECOND, -3600 * SECOND, 2 * SECOND, -2 * SECOND,
                                   -1700000000 * SECOND};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        pass(&host, 5 * SECOND);
        host.now.wall_ns += sets[i];
        look(&host);
        assert_true(host.change.notable);
        assert_int_equal(host.change.set_ns, sets[i]);
        assert_int_equal(host.change.slept_ns, 0);
        pass(&host, 5 * SECOND);
        look(&host);
        assert_false(host.change.notable);
    }
}

static void a_clock_that_is_steered_is_not_notable_but_what_it_lost_is_known(void **state)
{
    struct host host = host_new();
    (void)state;
    /* As fast as chrony slews, for an hour in which nobody looked; then a little step. */
    pass(&host, 3600 * SECOND);
    host.now.wall_ns -= 300 * SECOND;
    look(&host);
    assert_false(host.change.notable);
    assert_int_equal(host.change.set_ns, -300 * SECOND);
    pass(&host, SECOND);
    host.now.wall_ns -= SECOND;
    look(&host);
    assert_false(host.change.notable);
    assert_int_equal(host.change.set_ns, -SECOND);
}

static void a_host_that_slept_is_noticed_and_its_clock_was_not_set(void **state)
{
    struct host host = host_new();
    (void)state;
    pass(&host, SECOND);
    sleep_for(&host, 8 * 3600 * SECOND);
    pass(&host, SECOND);
    look(&host);
    assert_true(host.change.notable);
    assert_int_equal(host.change.slept_ns, 8 * 3600 * SECOND);
    assert_int_equal(host.change.set_ns, 0);
}

static void a_clock_that_was_corrected_while_the_host_slept_is_both(void **state)
{
    struct host host = host_new();
    (void)state;
    sleep_for(&host, 600 * SECOND);
    host.now.wall_ns -= 90 * SECOND;
    look(&host);
    assert_true(host.change.notable);
    assert_int_equal(host.change.slept_ns, 600 * SECOND);
    assert_int_equal(host.change.set_ns, -90 * SECOND);
}

static void what_happened_between_two_reckonings_adds_up(void **state)
{
    struct host host = host_new();
    (void)state;
    host.now.wall_ns += 10 * SECOND;
    clock_watch_look(&host.watch, &host.now, &host.change);
    host.now.wall_ns -= 30 * SECOND;
    clock_watch_look(&host.watch, &host.now, &host.change);
    pass(&host, SECOND);
    clock_watch_look(&host.watch, &host.now, &host.change);
    assert_true(host.change.notable);
    assert_int_equal(host.change.set_ns, -20 * SECOND);
}

static void the_clocks_of_this_host_are_read_as_they_go(void **state)
{
    struct hf_clock_watch watch = {0};
    struct hf_clock_change change = {0};
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct hf_clock_reading now = clock_watch_read();
        assert_true(now.boot_ns >= now.monotonic_ns || now.monotonic_ns - now.boot_ns < SECOND);
        clock_watch_look(&watch, &now, &change);
    }
    assert_int_equal(change.slept_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_that_just_passes_is_nothing_to_tell_of),
        cmocka_unit_test(a_clock_that_is_set_is_noticed_either_way_once_and_by_how_much),
        cmocka_unit_test(a_clock_that_is_steered_is_not_notable_but_what_it_lost_is_known),
        cmocka_unit_test(a_host_that_slept_is_noticed_and_its_clock_was_not_set),
        cmocka_unit_test(a_clock_that_was_corrected_while_the_host_slept_is_both),
        cmocka_unit_test(what_happened_between_two_reckonings_adds_up),
        cmocka_unit_test(the_clocks_of_this_host_are_read_as_they_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
