/* In quiet hours a source is noticed and not read, unless a restore needs it; and nobody is told
 * that it is protected any further than it is. */
#include "capture_scene.h"

#include <time.h>

#include "common/log.h"

static struct hf_quiet_span now_span;

/* From an hour ago to hours from now. */
static struct hf_quiet_span around_now(void)
{
    time_t seconds = time(NULL);
    struct tm wall;
    localtime_r(&seconds, &wall);
    unsigned minute = (unsigned)(wall.tm_hour * 60 + wall.tm_min);
    return (struct hf_quiet_span){.days = 0x7f,
                                  .from_min = (uint16_t)((minute + 1440 - 60) % 1440),
                                  .to_min = (uint16_t)((minute + 240) % 1440)};
}

/* As setup, but in quiet hours of the source DATA. */
static int setup_quiet(void **state)
{
    struct hf_error error = {0};
    int rc = setup(state);
    struct scene *scene = *state;
    capture_free(scene->capture);
    outbox_free(scene->outbox);
    now_span = around_now();
    scene->sources[DATA].quiet = (struct hf_quiet){.spans = &now_span, .count = 1};
    assert_int_equal(outbox_open(&scene->config, &scene->outbox, &error), HF_OK);
    assert_int_equal(capture_start(&scene->config, scene->outbox, &scene->capture, &error), HF_OK);
    for (size_t i = 0; i < SOURCES; i++) {
        assert_int_equal(outbox_online(scene->outbox, i, 0, 0), HF_OUTBOX_RESUME);
    }
    return rc;
}

static struct hf_mark_state mark_of(struct scene *scene, size_t source, enum hf_source_state state)
{
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    struct hf_mark_state mark;
    while (!capture_mark(scene->capture, source, &mark) || mark.state != state) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
        pump(scene);
        usleep(500);
    }
    return mark;
}

static void test_a_source_waits_and_says_so_and_others_go_on(void **state)
{
    struct scene *scene = *state;
    write_file(scene, DATA, "waits", 0);
    write_file(scene, OTHER, "goes on", 0);
    wait_for(scene, OTHER, 1);
    struct hf_mark_state mark = mark_of(scene, DATA, HF_SOURCE_WAITING);
    assert_non_null(strstr(mark.note, "waits for the end of quiet hours at "));
    assert_int_equal(mark.until_ns, 0); /* nothing is known since the start */
    mark_of(scene, OTHER, HF_SOURCE_WATCHING);
    assert_int_equal(scene->versions[DATA], 0);
}

static void test_a_restore_elsewhere_does_not_wait_for_it_nor_read_it(void **state)
{
    struct scene *scene = *state;
    write_file(scene, DATA, "waits", 0);
    write_file(scene, OTHER, "is captured", 0);
    flush_for(scene, AREA(scene, OTHER));
    assert_int_equal(scene->seen[OTHER], 1);
    flush(scene);
    assert_int_equal(scene->versions[DATA], 0);
    assert_string_not_equal(mark_of(scene, DATA, HF_SOURCE_WAITING).note, "");
}

static void test_what_a_restore_replaces_is_captured_first_quiet_or_not(void **state)
{
    struct scene *scene = *state;
    write_file(scene, DATA, "first", 0);
    flush_for(scene, AREA(scene, DATA));
    assert_int_equal(scene->seen[DATA], 1);
    write_file(scene, DATA, "second", 0); /* and afterwards it is quiet again */
    mark_of(scene, DATA, HF_SOURCE_WAITING);
    assert_int_equal(scene->seen[DATA], 1);
    flush_for(scene, AREA(scene, DATA));
    assert_int_equal(scene->seen[DATA], 2);
}

static void test_a_source_in_which_nothing_happens_is_protected_up_to_now(void **state)
{
    struct scene *scene = *state;
    flush_for(scene, AREA(scene, DATA));
    int64_t since_ns = hf_clock_now_ns();
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    while (mark_of(scene, DATA, HF_SOURCE_WATCHING).until_ns < since_ns) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
    }
}

static void test_what_was_noticed_holds_the_mark_back_to_before_it(void **state)
{
    struct scene *scene = *state;
    flush_for(scene, AREA(scene, DATA));
    write_file(scene, DATA, "waits", 0);
    int64_t after_ns = hf_clock_now_ns();
    struct hf_mark_state mark = mark_of(scene, DATA, HF_SOURCE_WAITING);
    assert_true(mark.until_ns > 0 && mark.until_ns <= after_ns);
    assert_true(mark.pending_files > 0);
    for (int i = 0; i < 5; i++) {
        usleep(150000); /* more than a mark's interval */
        assert_true(mark_of(scene, DATA, HF_SOURCE_WAITING).until_ns <= after_ns);
    }
    flush_for(scene, AREA(scene, DATA));
    assert_true(mark_of(scene, DATA, HF_SOURCE_WATCHING).until_ns > after_ns);
}

/* More than a list of paths is kept for. */
static void test_any_number_of_changes_waits_and_none_is_lost(void **state)
{
    struct scene *scene = *state;
    enum { COUNT = 5000 };
    flush_for(scene, AREA(scene, DATA));
    unsigned before = scene->versions[DATA];
    for (int i = 0; i < COUNT; i++) {
        char path[120];
        snprintf(path, sizeof path, "%s/%d", scene->roots[DATA], i);
        assert_int_equal(symlink("x", path), 0);
    }
    write_file(scene, OTHER, "is not held up by that", 0);
    wait_for(scene, OTHER, 1);
    mark_of(scene, DATA, HF_SOURCE_WAITING);
    assert_int_equal(scene->versions[DATA], before);
    flush_for(scene, AREA(scene, DATA));
    assert_true(scene->versions[DATA] >= before + COUNT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_quiet, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_source_waits_and_says_so_and_others_go_on),
        TEST(test_a_restore_elsewhere_does_not_wait_for_it_nor_read_it),
        TEST(test_what_a_restore_replaces_is_captured_first_quiet_or_not),
        TEST(test_a_source_in_which_nothing_happens_is_protected_up_to_now),
        TEST(test_what_was_noticed_holds_the_mark_back_to_before_it),
        TEST(test_any_number_of_changes_waits_and_none_is_lost),
    };
    hf_log_set_level(HF_LOG_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
