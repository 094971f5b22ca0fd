/* One path against what is on record. The thread is stopped: what it would look at is looked at
 * here, in the order that the test is about. */
#include "capture_scene.h"

#include "agent/capture/capture_private.h"
#include "tests/unit/agent/access_time.h"

static int setup_stopped(void **state)
{
    setup(state);
    struct scene *scene = *state;
    flush(scene); /* the roots are on record, and watched */
    capture_stop(scene->capture);
    scene->capture->stopping = false; /* what scans does not end at once */
    return 0;
}

static const char *place(const struct scene *scene, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", scene->roots[DATA], name);
    return path;
}

static void make_link(const struct scene *scene, const char *name)
{
    assert_int_equal(symlink("x", place(scene, name)), 0);
}

static void look_at(const struct scene *scene, const char *name)
{
    examine_path(scene->capture, DATA, place(scene, name) + 1, EXAMINE_ONE, 0);
}

/* As the thread does: what has to be looked at, soon. */
static void look_at_due(const struct scene *scene)
{
    struct dirty *entry;
    while ((entry = dirty_take_due(scene->capture, INT64_MAX))) {
        examine_path(scene->capture, entry->source, entry->path, EXAMINE_ONE, 0);
        free(entry);
    }
}

static bool is_on_record(const struct scene *scene, const char *name)
{
    struct state_row row = {0};
    bool known = on_record(scene->capture, DATA, place(scene, name) + 1, &row);
    state_row_free(&row);
    return known;
}

static void test_what_came_in_a_new_directory_is_on_record_with_it(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(mkdir(place(scene, "sub"), 0700), 0);
    assert_int_equal(mkdir(place(scene, "sub/deep"), 0700), 0);
    make_link(scene, "sub/deep/f");
    look_at(scene, "sub/deep/f");
    assert_false(is_on_record(scene, "sub/deep/f"));
    look_at_due(scene);
    assert_true(is_on_record(scene, "sub"));
    assert_true(is_on_record(scene, "sub/deep"));
    assert_true(is_on_record(scene, "sub/deep/f"));
}

static void test_nothing_stays_on_record_of_a_directory_that_came_and_went(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(mkdir(place(scene, "sub"), 0700), 0);
    make_link(scene, "sub/f");
    look_at(scene, "sub/f");
    assert_int_equal(unlink(place(scene, "sub/f")), 0);
    assert_int_equal(rmdir(place(scene, "sub")), 0);
    look_at_due(scene);
    look_at(scene, "sub");
    assert_false(is_on_record(scene, "sub"));
    assert_false(is_on_record(scene, "sub/f"));
}

static void test_a_directory_with_the_inode_number_of_the_one_before_is_looked_into(void **state)
{
    struct scene *scene = *state;
    struct stat status;
    assert_int_equal(mkdir(place(scene, "sub"), 0700), 0);
    look_at(scene, "sub");
    assert_int_equal(rmdir(place(scene, "sub")), 0);
    assert_int_equal(mkdir(place(scene, "sub"), 0700), 0);
    make_link(scene, "sub/f");
    /* File systems like to give the number that has just become free; others are helped along. */
    assert_int_equal(stat(place(scene, "sub"), &status), 0);
    struct state_print print = state_print_of(&status);
    state_begin(scene->capture->state);
    assert_int_equal(
        state_touch(scene->capture->state, DATA, scene->roots[DATA] + 1, "sub", &print), HF_OK);
    look_at(scene, "sub");
    assert_true(is_on_record(scene, "sub/f"));
    make_link(scene, "sub/g");
    struct watch_event event;
    bool told = false;
    watch_gather(scene->capture->watch);
    while (watch_next(scene->capture->watch, &event)) {
        told = told || strcmp(event.path, place(scene, "sub/g") + 1) == 0;
    }
    assert_true(told);
}

static void test_a_directory_that_is_known_and_watched_is_not_looked_into_again(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(mkdir(place(scene, "sub"), 0700), 0);
    look_at(scene, "sub");
    make_link(scene, "sub/f");
    look_at(scene, "sub");
    assert_false(is_on_record(scene, "sub/f"));
}

static void test_content_that_is_read_once_more_and_is_on_record_is_not_sent_again(void **state)
{
    struct scene *scene = *state;
    struct source_work *work = &scene->capture->work[DATA];
    write_file(scene, DATA, "content", 0);
    look_at(scene, "f"); /* so new that it is read again: another write may have the same time */
    assert_non_null(work->unit);
    assert_int_equal(work->unit->chunk_count, 1);
    uint64_t seq = work->last_seq;
    look_at(scene, "f");
    assert_int_equal(work->last_seq, seq);
    assert_int_equal(work->unit->chunk_count, 1);
    write_file(scene, DATA, "changed", 0);
    look_at(scene, "f");
    assert_int_equal(work->last_seq, seq + 1);
    assert_int_equal(work->unit->chunk_count, 2);
    /* What was handed over meanwhile is not touched. */
    struct unit_mark mark = mark_unit(scene->capture, DATA);
    assert_int_equal(flush_unit(scene->capture, DATA), HF_OK);
    write_file(scene, DATA, "changed again", 0);
    look_at(scene, "f");
    mark.chunk_count = 0;
    mark.version_count = work->unit->version_count;
    rewind_unit(scene->capture, DATA, &mark);
    assert_int_equal(work->unit->chunk_count, 1);
}

static void test_looking_leaves_no_time_of_access(void **state)
{
    struct scene *scene = *state;
    write_file(scene, DATA, "content", 0);
    if (!access_times_are_kept(place(scene, "f")))
        skip();
    assert_int_equal(mkdir(place(scene, "sub"), 0700), 0);
    make_link(scene, "sub/link");
    static const char *const names[] = {"f", "sub"};
    for (size_t i = 0; i < 2; i++) {
        access_time_set(place(scene, names[i]));
        look_at(scene, names[i]);
        assert_true(access_time_is_as_set(place(scene, names[i])));
    }
    assert_int_equal(scene->capture->work[DATA].unit->chunk_count, 1); /* it was read */
    assert_true(is_on_record(scene, "sub/link"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_came_in_a_new_directory_is_on_record_with_it,
                                        setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(
            test_nothing_stays_on_record_of_a_directory_that_came_and_went, setup_stopped,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_a_directory_with_the_inode_number_of_the_one_before_is_looked_into, setup_stopped,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_a_directory_that_is_known_and_watched_is_not_looked_into_again, setup_stopped,
            teardown),
        cmocka_unit_test_setup_teardown(
            test_content_that_is_read_once_more_and_is_on_record_is_not_sent_again, setup_stopped,
            teardown),
        cmocka_unit_test_setup_teardown(test_looking_leaves_no_time_of_access, setup_stopped,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
