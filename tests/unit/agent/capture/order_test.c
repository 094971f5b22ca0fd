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

static void assert_data_alone_is_held(struct scene *scene, const struct hf_capture_area *area)
{
    capture_hold(scene->capture, area);
    write_file(scene, DATA, "held", 0);
    write_file(scene, OTHER, "one", 0);
    wait_for(scene, OTHER, 1);
    write_file(scene, OTHER, "two", 0);
    wait_for(scene, OTHER, 2);
    assert_int_equal(scene->seen[DATA], 0);
    capture_release(scene->capture, area);
    wait_for(scene, DATA, 1);
}

static void test_a_hold_is_of_the_sources_beneath_the_roots_alone(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    assert_data_alone_is_held(scene, AREA(scene, DATA));
}

static void test_a_root_above_the_sources_holds_them_all(void **state)
{
    struct scene *scene = *state;
    char above[80];
    const char *const roots[] = {above};
    snprintf(above, sizeof above, "%s/", scene->directory);
    flush(scene);
    capture_hold(scene->capture, &(struct hf_capture_area){.roots = roots, .root_count = 1});
    write_file(scene, DATA, "held", 0);
    write_file(scene, OTHER, "held", 0);
    for (int i = 0; i < 100; i++) {
        pump(scene);
        usleep(500);
    }
    assert_int_equal(scene->seen[DATA] + scene->seen[OTHER], 0);
    capture_release(scene->capture, &(struct hf_capture_area){.roots = roots, .root_count = 1});
    wait_for(scene, DATA, 1);
    wait_for(scene, OTHER, 1);
}

static void test_a_root_that_leads_to_a_source_by_a_link_holds_it(void **state)
{
    struct scene *scene = *state;
    char link[80];
    const char *const roots[] = {link};
    const struct hf_capture_area area = {.roots = roots, .root_count = 1};
    snprintf(link, sizeof link, "%s/link", scene->directory);
    assert_int_equal(symlink(scene->roots[DATA], link), 0);
    flush(scene);
    assert_data_alone_is_held(scene, &area);
}

static void test_holds_count(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    capture_hold(scene->capture, AREA(scene, DATA));
    capture_hold(scene->capture, AREA(scene, DATA));
    capture_release(scene->capture, AREA(scene, DATA));
    write_file(scene, DATA, "held", 0);
    write_file(scene, OTHER, "one", 0);
    wait_for(scene, OTHER, 1);
    assert_int_equal(scene->seen[DATA], 0);
    capture_release(scene->capture, AREA(scene, DATA));
    wait_for(scene, DATA, 1);
}

static void test_what_is_as_the_restore_put_it_is_recorded_as_restored(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    capture_hold(scene->capture, AREA(scene, DATA));
    write_file(scene, DATA, "restored", MTIME_NS);
    adopt(scene, "restored");
    capture_release(scene->capture, AREA(scene, DATA));
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
    capture_hold(scene->capture, AREA(scene, DATA));
    write_file(scene, DATA, "modified", 0); /* as long as what was restored */
    adopt(scene, "restored");
    capture_release(scene->capture, AREA(scene, DATA));
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

/* With that for the source, from the start. */
static void configure(struct scene *scene, const struct hf_config_source *data)
{
    struct hf_error error = {0};
    capture_free(scene->capture);
    scene->sources[DATA] = *data;
    assert_int_equal(capture_start(&scene->config, scene->outbox, &scene->capture, &error), HF_OK);
    capture_set_chunking(scene->capture, scene_chunking);
}

/* A file of the source with a name outside of it too: who writes by that is not told of. */
struct twin {
    char path[80], outside[80];
};

static void twin_make(struct twin *twin, struct scene *scene, const char *name)
{
    snprintf(twin->path, sizeof twin->path, "%s/%s", scene->roots[DATA], name);
    snprintf(twin->outside, sizeof twin->outside, "%s/%s", scene->directory, name);
    close(open(twin->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(link(twin->path, twin->outside), 0);
}

/* What was captured as young as a clock's tick is looked at again. */
static void settle(struct scene *scene)
{
    flush(scene);
    usleep(100000);
    flush(scene);
}

static void append_to(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "more", 4), 4);
    close(fd);
}

static struct hf_capture_area area_at(const struct scene *scene, const char *const *path)
{
    return (struct hf_capture_area){.roots = (const char *const *)&scene->paths[DATA],
                                    .root_count = 1,
                                    .paths = path,
                                    .path_count = 1};
}

static void test_a_flush_for_paths_looks_at_those_and_at_nothing_else(void **state)
{
    struct scene *scene = *state;
    struct twin f, log, g;
    twin_make(&f, scene, "f");
    twin_make(&log, scene, "f-wal");
    twin_make(&g, scene, "g");
    settle(scene);
    const char *const path[] = {f.path + 1};
    struct hf_capture_area area = area_at(scene, path);
    unsigned seen = scene->seen[DATA], before = scene->versions[DATA];
    append_to(f.outside);
    append_to(g.outside);
    flush_for(scene, &area);
    assert_int_equal(scene->seen[DATA], seen + 1);
    assert_int_equal(scene->newest[DATA]->versions[0].size, 4);
    assert_int_equal(scene->versions[DATA], before + 1);
    append_to(log.outside); /* would go away with a database */
    flush_for(scene, &area);
    assert_int_equal(scene->versions[DATA], before + 2);
    flush(scene);
    assert_int_equal(scene->versions[DATA], before + 3);
}

/* By itself it would be looked at again for half a minute first. */
static void test_what_is_about_to_be_replaced_is_recorded_sound_or_not(void **state)
{
    struct scene *scene = *state;
    char path[120];
    struct hf_config_source source = scene->sources[DATA];
    source.validate = HF_VALIDATE_JSON;
    configure(scene, &source);
    settle(scene);
    unsigned before = scene->versions[DATA];
    snprintf(path, sizeof path, "%s/half.json", scene->roots[DATA]);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "{\"a\":", 5), 5);
    close(fd);
    const char *const paths[] = {path + 1};
    struct hf_capture_area area = area_at(scene, paths);
    flush_for(scene, &area);
    assert_true(scene->versions[DATA] > before);
    assert_int_equal(scene->unparsable[DATA], 1);
}

static void test_after_a_restore_of_paths_those_are_looked_at(void **state)
{
    struct scene *scene = *state;
    struct twin f, g;
    twin_make(&f, scene, "f");
    twin_make(&g, scene, "g");
    settle(scene);
    const char *const path[] = {f.path + 1};
    struct hf_capture_area area = area_at(scene, path);
    unsigned seen = scene->seen[DATA], before = scene->versions[DATA];
    capture_hold(scene->capture, &area);
    append_to(f.outside);
    append_to(g.outside);
    capture_release(scene->capture, &area);
    wait_for(scene, DATA, seen + 1);
    flush_for(scene, &area);
    assert_int_equal(scene->versions[DATA], before + 1);
}

static void test_what_lies_in_directories_that_nobody_looked_at_yet_is_found(void **state)
{
    struct scene *scene = *state;
    char path[120];
    struct hf_config_source source = scene->sources[DATA];
    source.debounce_ns = 3600 * HF_NS_PER_SECOND; /* what is told waits */
    configure(scene, &source);
    flush(scene);
    unsigned before = scene->versions[DATA];
    snprintf(path, sizeof path, "%s/a", scene->roots[DATA]);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/b");
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/f");
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const char *const paths[] = {path + 1};
    struct hf_capture_area area = area_at(scene, paths);
    flush_for(scene, &area);
    assert_int_equal(scene->seen[DATA], 1);
    assert_int_equal(scene->versions[DATA], before + 3); /* by no scan: the root would be too */
    assert_int_equal(unlink(path), 0);
    flush_for(scene, &area);
    assert_int_equal(scene->deletions[DATA], 1);
}

static void test_a_flush_waits_for_the_sources_of_its_area_alone(void **state)
{
    struct scene *scene = *state;
    capture_set_chunking(scene->capture, scene_chunking);
    assert_int_equal(outbox_online(scene->outbox, DATA, 0, 0), HF_OUTBOX_RESUME);
    write_file(scene, DATA, "needed", 0);
    write_file(scene, OTHER, "is acknowledged by nobody", 0);
    flush_for(scene, AREA(scene, DATA));
    assert_int_equal(scene->seen[DATA], 1);
}

static void test_orders_after_the_end_come_to_nothing_and_block_nobody(void **state)
{
    struct scene *scene = *state;
    atomic_bool done = false;
    capture_stop(scene->capture);
    for (int i = 0; i < 3000; i++) {
        adopt(scene, "restored");
    }
    capture_flush(scene->capture, NULL, mark_done, &done);
    assert_true(atomic_load(&done));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_hold_is_of_the_sources_beneath_the_roots_alone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_root_above_the_sources_holds_them_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_root_that_leads_to_a_source_by_a_link_holds_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_holds_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_as_the_restore_put_it_is_recorded_as_restored,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_changed_since_is_captured_as_a_change, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_gone_again_is_not_recorded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flush_for_paths_looks_at_those_and_at_nothing_else,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_about_to_be_replaced_is_recorded_sound_or_not,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_a_restore_of_paths_those_are_looked_at, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_what_lies_in_directories_that_nobody_looked_at_yet_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flush_waits_for_the_sources_of_its_area_alone,
                                        setup_unconnected, teardown),
        cmocka_unit_test_setup_teardown(test_orders_after_the_end_come_to_nothing_and_block_nobody,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
