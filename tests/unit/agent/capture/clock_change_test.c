/* Once the clock was set, no mark claims what is yet to come, and no time of a file is trusted that
 * can be given twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/common/scratch.h"

#define SECOND HF_NS_PER_SECOND
#define HOUR   (3600 * SECOND)

struct scene {
    struct hf_config_source source;
    struct hf_config config;
    struct hf_capture capture;
    struct source_work work;
    int64_t began_ns;
};

/* A source that is complete up to now. */
static void scene_new(struct scene *scene, void **state)
{
    struct scratch *scratch = *state;
    struct hf_error error = {0};
    *scene = (struct scene){.source = {.name = "data", .class_name = "config"}};
    scene->began_ns = hf_clock_now_ns();
    scene->config =
        (struct hf_config){.state = scratch->path, .sources = &scene->source, .source_count = 1};
    scene->work = (struct source_work){.scanned = true,
                                       .complete_until_ns = scene->began_ns,
                                       .marked_until_ns = scene->began_ns - SECOND,
                                       .scan_due_ns = INT64_MAX};
    scene->capture = (struct hf_capture){.config = &scene->config,
                                         .work = &scene->work,
                                         .drained_ns = scene->began_ns,
                                         .busy = NOT_BUSY};
    assert_int_equal(state_open(&scene->config, &scene->capture.state, &error), HF_OK);
}

static void scene_free(struct scene *scene)
{
    dirty_clear(&scene->capture);
    state_close(scene->capture.state);
}

static void put(struct scene *scene, const char *name, int64_t ctime_ns)
{
    struct state_print print = {.dev = 1, .ino = 2, .size = 3, .mtime_ns = 4, .ctime_ns = ctime_ns};
    struct hf_version version = {.seq = 1, .type = HF_FILE_REGULAR, .size = 3};
    assert_int_equal(state_put(scene->capture.state, 0, "srv", name, &print, &version), HF_OK);
}

static int64_t ctime_of(struct scene *scene, const char *name)
{
    struct state_row row = {0};
    assert_true(state_get(scene->capture.state, 0, "srv", name, &row));
    int64_t ctime_ns = row.print.ctime_ns;
    state_row_free(&row);
    return ctime_ns;
}

static void set_clock(struct scene *scene, int64_t by_ns)
{
    scene->capture.clock_change = (struct hf_clock_change){.set_ns = by_ns, .notable = true};
    deal_with_clocks(&scene->capture);
}

static void a_clock_set_back_takes_all_moments_with_it(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    scene.capture.since_ns = scene.began_ns - 7 * SECOND;
    mark_dirty(&scene.capture, 0, "srv/f", 0, 0);
    scene.capture.since_ns = 0; /* as old as can be stays so */
    mark_dirty(&scene.capture, 0, "srv/old", 0, 0);
    set_clock(&scene, -HOUR);
    assert_int_equal(scene.work.complete_until_ns, scene.began_ns - HOUR);
    assert_int_equal(scene.work.marked_until_ns, scene.began_ns - SECOND - HOUR);
    assert_int_equal(scene.capture.drained_ns, scene.began_ns - HOUR);
    struct dirty *first = dirty_take_due(&scene.capture, INT64_MAX);
    struct dirty *second = dirty_take_due(&scene.capture, INT64_MAX);
    assert_int_equal(first->since_ns + second->since_ns, scene.began_ns - 7 * SECOND - HOUR);
    assert_int_equal(first->since_ns < second->since_ns ? first->since_ns : second->since_ns, 0);
    free(first);
    free(second);
    scene_free(&scene);
}

static void a_clock_set_forward_leaves_what_was_complete_where_it_was(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    set_clock(&scene, HOUR);
    assert_int_equal(scene.work.complete_until_ns, scene.began_ns);
    assert_int_equal(scene.work.marked_until_ns, scene.began_ns - SECOND);
    scene_free(&scene);
}

static void everything_is_compared_at_once_after_either_and_after_sleep(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct scene scene;
        scene_new(&scene, state);
        scene.capture.clock_change = (struct hf_clock_change){.set_ns = i == 0   ? HOUR
                                                                        : i == 1 ? -HOUR
                                                                                 : 0,
                                                              .slept_ns = i == 2 ? HOUR : 0,
                                                              .notable = true};
        deal_with_clocks(&scene.capture);
        assert_true(scene.work.scan_wanted);
        assert_true(scene.work.scan_due_ns <= hf_clock_monotonic_ns());
        scene.work.scan_wanted = false;
        deal_with_clocks(&scene.capture); /* once */
        assert_false(scene.work.scan_wanted);
        scene_free(&scene);
    }
}

static void what_a_steered_clock_loses_costs_no_scan(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    scene.capture.clock_change = (struct hf_clock_change){.set_ns = -SECOND / 3};
    deal_with_clocks(&scene.capture);
    assert_int_equal(scene.work.complete_until_ns, scene.began_ns - SECOND / 3);
    assert_false(scene.work.scan_wanted);
    assert_false(may_repeat(&scene.capture, hf_clock_now_ns() + SECOND));
    scene_free(&scene);
}

static void what_the_reading_of_clocks_loses_moves_nothing_until_it_adds_up(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    for (int i = 0; i < 9; i++) {
        scene.capture.clock_change.set_ns -= HF_NS_PER_MS / 10;
        deal_with_clocks(&scene.capture);
        assert_int_equal(scene.work.complete_until_ns, scene.began_ns);
    }
    scene.capture.clock_change.set_ns -= HF_NS_PER_MS / 10;
    deal_with_clocks(&scene.capture);
    assert_int_equal(scene.work.complete_until_ns, scene.began_ns - HF_NS_PER_MS);
    assert_int_equal(scene.capture.clock_change.set_ns, 0);
    scene_free(&scene);
}

static void a_time_that_can_be_given_twice_vouches_for_nothing(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    int64_t future_ns = hf_clock_now_ns() + HOUR / 2;
    int64_t past_ns = hf_clock_now_ns() - HOUR / 2;
    put(&scene, "past", past_ns);
    put(&scene, "future", future_ns);
    assert_false(may_repeat(&scene.capture, future_ns));
    set_clock(&scene, -HOUR);
    assert_int_equal(ctime_of(&scene, "past"), past_ns);
    assert_int_equal(ctime_of(&scene, "future"), 0); /* read again at the next look */
    assert_true(may_repeat(&scene.capture, future_ns));
    assert_false(may_repeat(&scene.capture, past_ns));
    /* Beyond what the clock ever told, only somebody's touch can have set it. */
    assert_false(may_repeat(&scene.capture, hf_clock_now_ns() + 2 * HOUR));
    scene_free(&scene);
}

static void a_clock_set_forward_puts_no_file_in_doubt(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    int64_t future_ns = hf_clock_now_ns() + HOUR;
    put(&scene, "future", future_ns);
    set_clock(&scene, HOUR);
    assert_int_equal(ctime_of(&scene, "future"), future_ns);
    assert_false(may_repeat(&scene.capture, future_ns));
    scene_free(&scene);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_clock_set_back_takes_all_moments_with_it),
        TEST(a_clock_set_forward_leaves_what_was_complete_where_it_was),
        TEST(everything_is_compared_at_once_after_either_and_after_sleep),
        TEST(what_a_steered_clock_loses_costs_no_scan),
        TEST(what_the_reading_of_clocks_loses_moves_nothing_until_it_adds_up),
        TEST(a_time_that_can_be_given_twice_vouches_for_nothing),
        TEST(a_clock_set_forward_puts_no_file_in_doubt),
    };
    hf_log_set_level(HF_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
