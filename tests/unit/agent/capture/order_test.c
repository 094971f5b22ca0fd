/* What a restore asks of capture: to look away from what it writes to and from nothing else, and
 * to take for restored what is as it was put there and nothing else. */
#include "capture_scene.h"

static void adopt(struct scene *scene, const char *content)
{
    char path[120];
    snprintf(path, sizeof path, "%s/f", scene->roots[DATA] + 1);
    struct hf_version version = {.type = HF_FILE_REGULAR,
                                 .mode = 0600,
                                 .mtime_ns = MTIME_NS,
                                 .size = strlen(content),
                                 .flags = HF_VERSION_UNPARSABLE};
    capture_adopt(scene->capture, DATA, path, &version, 7);
}

static void test_a_hold_is_of_the_sources_beneath_the_roots_alone(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    capture_hold(scene->capture, roots_of(scene, DATA), 1);
    write_file(scene, DATA, "held", 0);
    write_file(scene, OTHER, "one", 0);
    wait_for(scene, OTHER, 1);
    write_file(scene, OTHER, "two", 0);
    wait_for(scene, OTHER, 2);
    assert_int_equal(scene->seen[DATA], 0);
    capture_release(scene->capture, roots_of(scene, DATA), 1);
    wait_for(scene, DATA, 1);
}

static void test_a_root_above_the_sources_holds_them_all(void **state)
{
    struct scene *scene = *state;
    char above[80];
    const char *const roots[] = {above};
    snprintf(above, sizeof above, "%s/", scene->directory);
    flush(scene);
    capture_hold(scene->capture, roots, 1);
    write_file(scene, DATA, "held", 0);
    write_file(scene, OTHER, "held", 0);
    for (int i = 0; i < 100; i++) {
        pump(scene);
        usleep(500);
    }
    assert_int_equal(scene->seen[DATA] + scene->seen[OTHER], 0);
    capture_release(scene->capture, roots, 1);
    wait_for(scene, DATA, 1);
    wait_for(scene, OTHER, 1);
}

static void test_holds_count(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    capture_hold(scene->capture, roots_of(scene, DATA), 1);
    capture_hold(scene->capture, roots_of(scene, DATA), 1);
    capture_release(scene->capture, roots_of(scene, DATA), 1);
    write_file(scene, DATA, "held", 0);
    write_file(scene, OTHER, "one", 0);
    wait_for(scene, OTHER, 1);
    assert_int_equal(scene->seen[DATA], 0);
    capture_release(scene->capture, roots_of(scene, DATA), 1);
    wait_for(scene, DATA, 1);
}

static void test_what_is_as_the_restore_put_it_is_recorded_as_restored(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    capture_hold(scene->capture, roots_of(scene, DATA), 1);
    write_file(scene, DATA, "restored", MTIME_NS);
    adopt(scene, "restored");
    capture_release(scene->capture, roots_of(scene, DATA), 1);
    wait_for(scene, DATA, 1);
    flush(scene);
    assert_int_equal(scene->seen[DATA], 1);
    assert_int_equal(scene->flags[DATA], HF_VERSION_RESTORED);
    assert_int_equal(scene->job[DATA], 7);
}

static void test_what_was_changed_since_is_captured_as_a_change(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    capture_hold(scene->capture, roots_of(scene, DATA), 1);
    write_file(scene, DATA, "modified", 0); /* as long as what was restored */
    adopt(scene, "restored");
    capture_release(scene->capture, roots_of(scene, DATA), 1);
    wait_for(scene, DATA, 1);
    flush(scene);
    assert_int_equal(scene->seen[DATA], 1);
    assert_int_equal(scene->flags[DATA], 0);
    assert_int_equal(scene->job[DATA], 0);
}

static void test_what_is_gone_again_is_not_recorded(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    adopt(scene, "restored");
    flush(scene);
    assert_int_equal(scene->seen[DATA], 0);
}

static void test_orders_after_the_end_come_to_nothing_and_block_nobody(void **state)
{
    struct scene *scene = *state;
    atomic_bool done = false;
    capture_stop(scene->capture);
    for (int i = 0; i < 3000; i++) {
        adopt(scene, "restored");
    }
    capture_flush(scene->capture, NULL, 0, mark_done, &done);
    assert_true(atomic_load(&done));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_hold_is_of_the_sources_beneath_the_roots_alone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_root_above_the_sources_holds_them_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_holds_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_as_the_restore_put_it_is_recorded_as_restored,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_changed_since_is_captured_as_a_change, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_gone_again_is_not_recorded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orders_after_the_end_come_to_nothing_and_block_nobody,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
