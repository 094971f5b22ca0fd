/* A mark never says more than is true, and comes as soon as it is (promise 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

struct scene {
    struct hf_config_source source;
    struct hf_config config;
    struct hf_capture capture;
    struct source_work work;
    struct hf_mark_state mark;
    bool known;
};

static void scene_new(struct scene *scene)
{
    *scene = (struct scene){.source = {.name = "data",
                                       .class_name = "config",
                                       .rescan_ns = 60 * HF_NS_PER_SECOND,
                                       .verify_ns = 6 * 3600 * HF_NS_PER_SECOND}};
    scene->config = (struct hf_config){.sources = &scene->source, .source_count = 1};
    scene->capture = (struct hf_capture){.config = &scene->config,
                                         .work = &scene->work,
                                         .marks = &scene->mark,
                                         .mark_known = &scene->known,
                                         .drained_ns = 1000,
                                         .busy = NOT_BUSY};
    pthread_mutex_init(&scene->capture.mark_lock, NULL);
    assert_int_equal(watch_new(&scene->capture.watch), HF_OK);
}

static void scene_free(struct scene *scene)
{
    dirty_clear(&scene->capture);
    watch_free(scene->capture.watch);
    pthread_mutex_destroy(&scene->capture.mark_lock);
}

/* Up to when the source is said to be protected; 0 while nothing is said. */
static int64_t said(struct scene *scene)
{
    struct hf_mark_state mark;
    update_mark(&scene->capture, 0);
    return capture_mark(&scene->capture, 0, &mark) ? mark.until_ns : 0;
}

static void look(struct scene *scene)
{
    free(dirty_take_due(&scene->capture, INT64_MAX));
}

static void nothing_is_said_before_the_first_scan_is_through(void **state)
{
    struct scene scene;
    (void)state;
    scene_new(&scene);
    assert_int_equal(said(&scene), 0);
    mark_scanned(&scene.capture, 0, 900);
    assert_int_equal(said(&scene), 1000); /* nothing was noticed since */
    scene_free(&scene);
}

static void what_is_not_acknowledged_is_not_protected(void **state)
{
    struct scene scene;
    (void)state;
    scene_new(&scene);
    scene.work.last_seq = 5;
    mark_scanned(&scene.capture, 0, 900);
    assert_int_equal(said(&scene), 0);
    scene.work.acked_seq = 4;
    assert_int_equal(said(&scene), 0);
    scene.work.acked_seq = 5;
    assert_true(said(&scene) >= 900);
    scene_free(&scene);
}

static void a_change_that_waits_to_be_looked_at_holds_the_mark_back(void **state)
{
    struct scene scene;
    (void)state;
    scene_new(&scene);
    mark_scanned(&scene.capture, 0, 500);
    scene.capture.since_ns = 600;
    mark_dirty(&scene.capture, 0, "data/b", 0, 0);
    scene.capture.since_ns = 550;
    mark_dirty(&scene.capture, 0, "data/a", 0, 0);
    scene.capture.since_ns = 700;
    mark_dirty(&scene.capture, 0, "data/a", 0, 0); /* again: since the first time */
    assert_int_equal(said(&scene), 550);
    assert_int_equal(scene.mark.pending_files, 2);
    look(&scene);
    look(&scene);
    assert_int_equal(said(&scene), 1000);
    scene_free(&scene);
}

static void a_scan_that_could_not_get_hold_of_a_file_promises_nothing_for_it(void **state)
{
    struct scene scene;
    (void)state;
    scene_new(&scene);
    scene.capture.since_ns = 0; /* what a first scan finds may be as old as can be */
    mark_dirty(&scene.capture, 0, "data/raced", 0, 0);
    mark_scanned(&scene.capture, 0, 900);
    assert_int_equal(said(&scene), 0);
    look(&scene);
    assert_int_equal(said(&scene), 1000);
    scene_free(&scene);
}

static void what_was_lost_holds_the_mark_back_until_a_scan_found_it(void **state)
{
    struct scene scene;
    (void)state;
    scene_new(&scene);
    mark_scanned(&scene.capture, 0, 900);
    assert_int_equal(said(&scene), 1000);
    scene.work.scan_wanted = true;
    scene.capture.drained_ns = 2000;
    assert_int_equal(said(&scene), 1000);
    scene.work.scan_wanted = false;
    mark_scanned(&scene.capture, 0, 1900);
    assert_true(said(&scene) >= 1900);
    scene_free(&scene);
}

static void numbers_that_are_used_anew_do_not_make_an_old_claim_true(void **state)
{
    struct scene scene;
    (void)state;
    scene_new(&scene);
    mark_scanned(&scene.capture, 0, 500);
    assert_int_equal(said(&scene), 1000);
    scene.work.last_seq = 5;
    scene.capture.drained_ns = 2000;
    assert_int_equal(said(&scene), 1000);
    mark_give_up_from(&scene.work, 3);
    scene.work.last_seq = 2;
    scene.work.scan_wanted = true; /* as giving up does */
    scene.work.last_seq = 6;       /* other files got these numbers */
    scene.work.acked_seq = 6;
    assert_int_equal(said(&scene), 1000);
    scene_free(&scene);
}

static void a_source_that_changes_all_the_time_still_gets_its_marks(void **state)
{
    struct scene scene;
    int64_t last = 0;
    (void)state;
    scene_new(&scene);
    mark_scanned(&scene.capture, 0, 500);
    for (uint64_t i = 1; i <= 20; i++) {
        scene.work.last_seq = 10 * i;
        scene.work.acked_seq = 10 * i - 5; /* always behind */
        scene.capture.drained_ns = 1000 * (int64_t)i;
        last = said(&scene);
    }
    assert_true(last >= 18000);
    scene_free(&scene);
}

static void where_inotify_does_not_tell_everything_only_scans_move_the_mark(void **state)
{
    struct scene scene;
    (void)state;
    for (int i = 0; i < 2; i++) {
        scene_new(&scene);
        scene.work.unwatched = i == 0;
        if (i == 1) {
            filesystem_name(0x6969, scene.work.untold);
        }
        mark_scanned(&scene.capture, 0, 900);
        scene.capture.drained_ns = 5000;
        assert_int_equal(said(&scene), 900);
        assert_int_equal(scene.mark.state, HF_SOURCE_DEGRADED);
        assert_non_null(strstr(scene.mark.note, i == 0 ? "1 directories" : "nfs"));
        assert_non_null(strstr(scene.mark.note, "every 1 min"));
        mark_scanned(&scene.capture, 0, 4000);
        assert_int_equal(said(&scene), 4000);
        begin_finding(&scene.work); /* the next scan finds it all right */
        assert_int_equal(said(&scene), 5000);
        assert_int_equal(scene.mark.state, HF_SOURCE_WATCHING);
        assert_string_equal(scene.mark.note, "");
        scene_free(&scene);
    }
}

static void what_is_told_is_compared_seldom_and_what_is_not_often(void **state)
{
    struct scene scene;
    int64_t now;
    (void)state;
    scene_new(&scene);
    for (int i = 0; i < 100; i++) {
        now = hf_clock_monotonic_ns();
        int64_t due_ns = next_scan_ns(&scene.capture, 0) - now;
        assert_true(due_ns > 4 * 3600 * HF_NS_PER_SECOND);
        assert_true(due_ns < 6 * 3600 * HF_NS_PER_SECOND + 60 * HF_NS_PER_SECOND);
    }
    for (int i = 0; i < 3; i++) {
        scene.work.unwatched = i == 0;
        scene.work.unreadable = i == 1;
        filesystem_name(0x6969, scene.work.untold);
        scene.work.untold[i == 2 ? 3 : 0] = '\0';
        now = hf_clock_monotonic_ns();
        assert_true(next_scan_ns(&scene.capture, 0) - now < 120 * HF_NS_PER_SECOND);
    }
    scene_free(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_before_the_first_scan_is_through),
        cmocka_unit_test(what_is_not_acknowledged_is_not_protected),
        cmocka_unit_test(a_change_that_waits_to_be_looked_at_holds_the_mark_back),
        cmocka_unit_test(a_scan_that_could_not_get_hold_of_a_file_promises_nothing_for_it),
        cmocka_unit_test(what_was_lost_holds_the_mark_back_until_a_scan_found_it),
        cmocka_unit_test(numbers_that_are_used_anew_do_not_make_an_old_claim_true),
        cmocka_unit_test(where_inotify_does_not_tell_everything_only_scans_move_the_mark),
        cmocka_unit_test(what_is_told_is_compared_seldom_and_what_is_not_often),
        cmocka_unit_test(a_source_that_changes_all_the_time_still_gets_its_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
