/* What has to be looked at is, when it is due, once, and nothing of it is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

#define HOUR_NS (3600 * HF_NS_PER_SECOND)
#define FULL    4096u /* of paths: then a scan is cheaper */

enum { CONFIG, DATA, POINTS, SOURCES };

struct scene {
    struct hf_config_source sources[SOURCES];
    struct hf_config config;
    struct source_work work[SOURCES];
    struct hf_capture capture;
};

static int scene_make(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    static char *const classes[] = {"config", "data", "checkpoints"};
    if (!scene) {
        return 1;
    }
    for (size_t i = 0; i < SOURCES; i++) {
        scene->sources[i] = (struct hf_config_source){.name = classes[i], .class_name = classes[i]};
        scene->work[i].scan_due_ns = INT64_MAX;
    }
    scene->config = (struct hf_config){.sources = scene->sources, .source_count = SOURCES};
    scene->capture.config = &scene->config;
    scene->capture.work = scene->work;
    scene->capture.busy = NOT_BUSY;
    *state = scene;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *scene = *state;
    dirty_clear(&scene->capture);
    free(scene);
    return 0;
}

static void mark(struct scene *scene, size_t source, const char *path, int64_t delay_ns)
{
    mark_dirty(&scene->capture, source, path, delay_ns, 0);
}

/* Take the first, whenever it is due: is it that one? */
static bool takes(struct scene *scene, size_t source, const char *path)
{
    struct dirty *entry = dirty_take_due(&scene->capture, INT64_MAX);
    bool same = entry && entry->source == source && strcmp(entry->path, path) == 0;
    free(entry);
    return same;
}

static bool is_empty(struct scene *scene)
{
    int64_t since_ns = INT64_MAX;
    size_t count = 0;
    for (size_t i = 0; i < SOURCES; i++) {
        count += dirty_of(&scene->capture, i, &since_ns);
    }
    return count == 0 && scene->capture.dirty_count == 0 && since_ns == INT64_MAX &&
           !dirty_take_due(&scene->capture, INT64_MAX) &&
           dirty_due_ns(&scene->capture) == INT64_MAX;
}

static void what_is_due_first_comes_first(void **state)
{
    struct scene *scene = *state;
    mark(scene, DATA, "third", 3 * HOUR_NS);
    mark(scene, DATA, "first", 1 * HOUR_NS);
    mark(scene, CONFIG, "second", 2 * HOUR_NS);
    mark(scene, DATA, "last", 4 * HOUR_NS);
    assert_true(takes(scene, DATA, "first"));
    assert_true(takes(scene, CONFIG, "second"));
    assert_true(takes(scene, DATA, "third"));
    assert_true(takes(scene, DATA, "last"));
    assert_true(is_empty(scene));
}

static void what_is_due_at_once_comes_in_the_order_of_the_changes(void **state)
{
    struct scene *scene = *state;
    static const char *const paths[] = {"c", "a", "b", "e", "d"};
    for (size_t i = 0; i < 5; i++) {
        mark(scene, DATA, paths[i], 0);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_true(takes(scene, DATA, paths[i]));
    }
}

static void nothing_comes_before_it_is_due(void **state)
{
    struct scene *scene = *state;
    int64_t before_ns = hf_clock_monotonic_ns();
    mark(scene, DATA, "a", HOUR_NS);
    int64_t after_ns = hf_clock_monotonic_ns();
    int64_t due_ns = dirty_due_ns(&scene->capture);
    assert_true(due_ns >= before_ns + HOUR_NS && due_ns <= after_ns + HOUR_NS);
    assert_null(dirty_take_due(&scene->capture, due_ns - 1));
    struct dirty *entry = dirty_take_due(&scene->capture, due_ns);
    assert_non_null(entry);
    assert_int_equal(entry->due_ns, due_ns);
    free(entry);
    assert_true(is_empty(scene));
}

static void a_path_is_listed_once_and_another_sources_is_another(void **state)
{
    struct scene *scene = *state;
    mark(scene, DATA, "srv/a", 0);
    mark(scene, DATA, "srv/a", HOUR_NS);
    mark(scene, CONFIG, "srv/a", HOUR_NS);
    mark(scene, DATA, "srv/ab", 2 * HOUR_NS);
    mark(scene, DATA, "", 3 * HOUR_NS); /* the top of all */
    assert_int_equal(scene->capture.dirty_count, 4);
    assert_true(takes(scene, DATA, "srv/a"));
    assert_true(takes(scene, CONFIG, "srv/a"));
    assert_true(takes(scene, DATA, "srv/ab"));
    assert_true(takes(scene, DATA, ""));
    assert_true(is_empty(scene));
}

static void a_path_that_changes_again_is_looked_at_sooner_but_never_later(void **state)
{
    struct scene *scene = *state;
    mark(scene, DATA, "a", 2 * HOUR_NS);
    mark(scene, DATA, "b", 4 * HOUR_NS);
    mark(scene, DATA, "c", 6 * HOUR_NS);
    mark(scene, DATA, "c", 3 * HOUR_NS); /* from the end into the middle */
    mark(scene, DATA, "a", 9 * HOUR_NS); /* not put off */
    mark(scene, DATA, "b", HOUR_NS);     /* to the front */
    assert_int_equal(scene->capture.dirty_count, 3);
    assert_true(takes(scene, DATA, "b"));
    assert_true(takes(scene, DATA, "a"));
    assert_true(takes(scene, DATA, "c"));
    assert_true(is_empty(scene));
}

static void the_earliest_moment_since_which_it_may_have_changed_is_kept(void **state)
{
    struct scene *scene = *state;
    int64_t since_ns = 1000;
    scene->capture.since_ns = 500;
    mark(scene, DATA, "a", 0);
    scene->capture.since_ns = 700;
    mark(scene, DATA, "a", 0);
    assert_int_equal(dirty_of(&scene->capture, DATA, &since_ns), 1);
    assert_int_equal(since_ns, 500);
    scene->capture.since_ns = 300;
    mark(scene, DATA, "a", HOUR_NS); /* later, but for an older change */
    mark(scene, CONFIG, "b", 0);
    assert_int_equal(dirty_of(&scene->capture, DATA, &since_ns), 1);
    assert_int_equal(since_ns, 300);
    since_ns = 100; /* what the caller knows of already is older */
    assert_int_equal(dirty_of(&scene->capture, DATA, &since_ns), 1);
    assert_int_equal(since_ns, 100);
    assert_int_equal(dirty_of(&scene->capture, POINTS, &since_ns), 0);
    struct dirty *entry = dirty_take_due(&scene->capture, INT64_MAX);
    assert_non_null(entry);
    assert_int_equal(entry->since_ns, 300);
    free(entry);
}

static void how_long_it_did_not_parse_is_not_forgotten_with_the_next_change(void **state)
{
    struct scene *scene = *state;
    mark_dirty(&scene->capture, DATA, "a", HOUR_NS, 1234);
    mark(scene, DATA, "a", 0);
    struct dirty *entry = dirty_take_due(&scene->capture, INT64_MAX);
    assert_non_null(entry);
    assert_int_equal(entry->unsettled_ns, 1234);
    free(entry);
}

static void what_is_held_or_waits_for_a_large_file_lets_others_pass(void **state)
{
    struct scene *scene = *state;
    mark(scene, DATA, "d", HOUR_NS);
    mark(scene, POINTS, "p", 2 * HOUR_NS);
    mark(scene, CONFIG, "c", 3 * HOUR_NS);
    int64_t first_ns = dirty_due_ns(&scene->capture);
    scene->work[DATA].held = 1;
    assert_true(dirty_due_ns(&scene->capture) > first_ns);
    assert_null(dirty_take_due(&scene->capture, first_ns));
    scene->capture.busy = POINTS;
    assert_true(takes(scene, CONFIG, "c"));
    assert_null(dirty_take_due(&scene->capture, INT64_MAX));
    assert_true(dirty_due_ns(&scene->capture) == INT64_MAX);
    scene->work[DATA].held = 0; /* its class is none that may interrupt */
    assert_null(dirty_take_due(&scene->capture, INT64_MAX));
    assert_int_equal(scene->capture.dirty_count, 2);
    scene->capture.busy = NOT_BUSY;
    assert_true(dirty_due_ns(&scene->capture) == first_ns);
    assert_true(takes(scene, DATA, "d"));
    assert_true(takes(scene, POINTS, "p"));
    assert_true(is_empty(scene));
}

static void beyond_what_a_list_is_good_for_a_scan_is_wanted_soon(void **state)
{
    struct scene *scene = *state;
    char path[16];
    for (unsigned i = 0; i < FULL; i++) {
        snprintf(path, sizeof path, "f%u", i);
        mark(scene, DATA, path, HOUR_NS);
    }
    assert_false(scene->work[DATA].scan_wanted);
    mark(scene, DATA, "f7", 0); /* it has its place already */
    assert_false(scene->work[DATA].scan_wanted);
    int64_t now_ns = hf_clock_monotonic_ns();
    mark(scene, CONFIG, "one more", HOUR_NS);
    assert_int_equal(scene->capture.dirty_count, FULL);
    assert_true(scene->work[CONFIG].scan_wanted);
    assert_true(scene->work[CONFIG].scan_due_ns >= now_ns + HOUR_NS);
    assert_true(scene->work[CONFIG].scan_due_ns < INT64_MAX);
    assert_false(scene->work[DATA].scan_wanted);
    int64_t due_ns = scene->work[CONFIG].scan_due_ns;
    mark(scene, CONFIG, "another", 2 * HOUR_NS); /* doesn't put it off */
    assert_true(scene->work[CONFIG].scan_due_ns == due_ns);
    mark(scene, CONFIG, "another", 0);
    assert_true(scene->work[CONFIG].scan_due_ns < due_ns);
    assert_true(takes(scene, DATA, "f7"));
    mark(scene, POINTS, "has room", 0);
    assert_false(scene->work[POINTS].scan_wanted);
    assert_true(takes(scene, POINTS, "has room"));
}

static void what_was_cleared_can_be_filled_anew(void **state)
{
    struct scene *scene = *state;
    for (unsigned round = 0; round < 2; round++) {
        mark(scene, DATA, "a", 0);
        mark(scene, DATA, "b", HOUR_NS);
        mark(scene, CONFIG, "a", 0);
        assert_int_equal(scene->capture.dirty_count, 3);
        dirty_clear(&scene->capture);
        assert_true(is_empty(scene));
    }
    mark(scene, DATA, "b", 0);
    assert_true(takes(scene, DATA, "b"));
    dirty_clear(&scene->capture); /* of nothing */
    assert_true(is_empty(scene));
}

#define PATHS 300u

/* What is listed is what a plain table says, in the order of the times. */
static void assert_agrees(struct scene *scene, bool listed[SOURCES][PATHS])
{
    size_t expected = 0;
    size_t found = 0;
    const struct dirty *previous = NULL;
    for (size_t i = 0; i < SOURCES; i++) {
        int64_t since_ns = 0;
        size_t of_source = 0;
        for (size_t j = 0; j < PATHS; j++) {
            of_source += listed[i][j];
        }
        assert_int_equal(dirty_of(&scene->capture, i, &since_ns), of_source);
        expected += of_source;
    }
    for (const struct dirty *entry = scene->capture.dirty; entry; entry = entry->next) {
        assert_true(!previous || previous->due_ns <= entry->due_ns);
        assert_true(listed[entry->source][strtoul(entry->path, NULL, 10)]);
        previous = entry;
        found++;
    }
    assert_int_equal(found, expected);
    assert_int_equal(scene->capture.dirty_count, expected);
}

static void after_any_number_of_changes_and_looks_the_list_is_what_it_should_be(void **state)
{
    struct scene *scene = *state;
    static bool listed[SOURCES][PATHS];
    memset(listed, 0, sizeof listed);
    srand(1);
    for (unsigned round = 0; round < 20000; round++) {
        size_t source = (size_t)(rand() >> 3) % SOURCES;
        size_t number = (size_t)(rand() >> 3) % PATHS;
        int64_t delay_ns = (rand() >> 3) % 1000 * HF_NS_PER_SECOND;
        char path[16];
        if (round / 2000 % 2 == 0 || round % 3 == 0) { /* it grows, and then shrinks */
            snprintf(path, sizeof path, "%zu", number);
            mark(scene, source, path, delay_ns);
            listed[source][number] = true;
        } else {
            int64_t first_ns = dirty_due_ns(&scene->capture);
            struct dirty *entry =
                dirty_take_due(&scene->capture, hf_clock_monotonic_ns() + delay_ns);
            if (entry) {
                size_t taken = strtoul(entry->path, NULL, 10);
                assert_true(entry->due_ns == first_ns);
                assert_true(listed[entry->source][taken]);
                listed[entry->source][taken] = false;
                free(entry);
            }
        }
        if (round % 200 == 0) {
            assert_agrees(scene, listed);
        }
    }
    for (struct dirty *entry; (entry = dirty_take_due(&scene->capture, INT64_MAX));) {
        listed[entry->source][strtoul(entry->path, NULL, 10)] = false;
        free(entry);
    }
    assert_agrees(scene, listed);
    assert_true(is_empty(scene));
}

static void what_is_costly_to_look_at_is_not_hastened(void **state)
{
    struct scene *scene = *state;
    mark(scene, DATA, "log", 0);
    mark_unsettled(&scene->capture, DATA, "log", HOUR_NS, 7);
    mark(scene, DATA, "log", 0); /* written to once more */
    int64_t now = hf_clock_monotonic_ns();
    assert_null(dirty_take_due(&scene->capture, now + HOUR_NS / 2));
    struct dirty *entry = dirty_take_due(&scene->capture, now + HOUR_NS);
    assert_non_null(entry);
    assert_int_equal(entry->unsettled_ns, 7);
    free(entry);
    mark(scene, DATA, "log", 0); /* looked at since */
    assert_true(dirty_due_ns(&scene->capture) <= hf_clock_monotonic_ns());
    assert_true(takes(scene, DATA, "log"));
}

static void a_second_look_waits_for_the_next_change_if_there_is_one(void **state)
{
    struct scene *scene = *state;
    mark_again(&scene->capture, DATA, "state", 0);
    assert_true(takes(scene, DATA, "state"));
    mark_again(&scene->capture, DATA, "state", 0);
    mark(scene, DATA, "state", HOUR_NS); /* a burst: once in its debounce interval */
    int64_t now = hf_clock_monotonic_ns();
    assert_null(dirty_take_due(&scene->capture, now + HOUR_NS / 2));
    mark_again(&scene->capture, DATA, "state", 0);
    assert_null(dirty_take_due(&scene->capture, now + HOUR_NS / 2));
    mark(scene, DATA, "state", HOUR_NS / 4);
    struct dirty *entry = dirty_take_due(&scene->capture, now + HOUR_NS / 2);
    assert_non_null(entry);
    free(entry);
}

static void since_when_it_is_unsettled_is_known_whoever_marks_it_first(void **state)
{
    struct scene *scene = *state;
    mark(scene, DATA, "log", 0);
    mark_dirty(&scene->capture, DATA, "log", 0, 7);
    mark_dirty(&scene->capture, DATA, "log", 0, 9);
    mark(scene, DATA, "log", 0);
    struct dirty *entry = dirty_take_due(&scene->capture, INT64_MAX);
    assert_non_null(entry);
    assert_int_equal(entry->unsettled_ns, 7);
    free(entry);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_make, scene_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_costly_to_look_at_is_not_hastened),
        TEST(a_second_look_waits_for_the_next_change_if_there_is_one),
        TEST(since_when_it_is_unsettled_is_known_whoever_marks_it_first),
        TEST(what_is_due_first_comes_first),
        TEST(what_is_due_at_once_comes_in_the_order_of_the_changes),
        TEST(nothing_comes_before_it_is_due),
        TEST(a_path_is_listed_once_and_another_sources_is_another),
        TEST(a_path_that_changes_again_is_looked_at_sooner_but_never_later),
        TEST(the_earliest_moment_since_which_it_may_have_changed_is_kept),
        TEST(how_long_it_did_not_parse_is_not_forgotten_with_the_next_change),
        TEST(what_is_held_or_waits_for_a_large_file_lets_others_pass),
        TEST(beyond_what_a_list_is_good_for_a_scan_is_wanted_soon),
        TEST(what_was_cleared_can_be_filled_anew),
        TEST(after_any_number_of_changes_and_looks_the_list_is_what_it_should_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
