/* What can't be looked at is not taken for deleted, and is complained about. */
#include "capture_scene.h"

#include <sys/resource.h>

/* The kernel takes no limit above fs.nr_open, not even one that is in force. */
static rlim_t highest_limit(void)
{
    struct rlimit now;
    unsigned long long most = 0;
    FILE *file = fopen("/proc/sys/fs/nr_open", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu", &most), 1); /* NOLINT(cert-err34-c): the kernel's */
    fclose(file);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    return now.rlim_max < most ? now.rlim_max : most;
}

static void let_open(rlim_t files, rlim_t most)
{
    assert_int_equal(
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = files, .rlim_max = most}), 0);
}

static void wait_for_state(struct scene *scene, size_t source, enum hf_source_state state)
{
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    struct hf_mark_state mark;
    while (!capture_mark(scene->capture, source, &mark) || mark.state != state) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
        pump(scene);
        usleep(500);
    }
}

static void test_a_scan_that_can_not_open_anything_deletes_nothing(void **state)
{
    struct scene *scene = *state;
    rlim_t most = highest_limit();
    write_file(scene, DATA, "here", 0);
    flush(scene);
    assert_int_equal(scene->seen[DATA], 1);
    let_open(0, most);
    flush(scene);
    wait_for_state(scene, DATA, HF_SOURCE_FAILING);
    let_open(most < 1024 ? most : 1024, most);
    assert_int_equal(scene->deletions[DATA], 0);
    flush(scene);
    wait_for_state(scene, DATA, HF_SOURCE_WATCHING);
    assert_int_equal(scene->seen[DATA], 1);
}

static void test_an_event_that_can_not_be_followed_deletes_nothing(void **state)
{
    struct scene *scene = *state;
    char path[120];
    rlim_t most = highest_limit();
    write_file(scene, DATA, "here", 0);
    flush(scene);
    snprintf(path, sizeof path, "%s/f", scene->roots[DATA]);
    let_open(0, most);
    assert_int_equal(chmod(path, 0640), 0);
    wait_for_state(scene, DATA, HF_SOURCE_FAILING);
    let_open(most < 1024 ? most : 1024, most);
    assert_int_equal(scene->deletions[DATA], 0);
    flush(scene);
    assert_int_equal(scene->deletions[DATA], 0);
    assert_int_equal(scene->seen[DATA], 2);
}

static void test_what_is_gone_is_recorded_as_gone(void **state)
{
    struct scene *scene = *state;
    char path[120];
    write_file(scene, DATA, "here", 0);
    flush(scene);
    snprintf(path, sizeof path, "%s/f", scene->roots[DATA]);
    assert_int_equal(unlink(path), 0);
    flush(scene);
    assert_int_equal(scene->deletions[DATA], 1);
}

static void test_of_a_long_list_of_names_each_is_compared_with_its_own_row(void **state)
{
    struct scene *scene = *state;
    enum { COUNT = 1500 }; /* pages of rows */
    char path[120];
    for (int i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "%s/d%04d", scene->roots[DATA], i);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/d%04d/f", scene->roots[DATA], i);
        assert_int_equal(symlink("x", path), 0);
    }
    flush(scene);
    assert_int_equal(scene->seen[DATA], COUNT);
    for (int i = 0; i < COUNT; i += 3) {
        snprintf(path, sizeof path, "%s/d%04d/f", scene->roots[DATA], i);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof path, "%s/d%04d", scene->roots[DATA], i);
        assert_int_equal(rmdir(path), 0);
    }
    flush(scene);
    assert_int_equal(scene->deletions[DATA], COUNT / 3);
    assert_int_equal(scene->seen[DATA], COUNT + COUNT / 3);
    snprintf(path, sizeof path, "%s/gone", scene->directory);
    assert_int_equal(rename(scene->roots[DATA], path), 0);
    flush(scene);
    assert_int_equal(scene->deletions[DATA], COUNT);
}

/* What this process has read from files so far. */
static unsigned long long bytes_read(void)
{
    unsigned long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "rchar: %llu", &bytes), 1); /* NOLINT(cert-err34-c) */
    fclose(file);
    return bytes;
}

static void test_what_the_collector_has_as_well_is_not_read_again(void **state)
{
    struct scene *scene = *state;
    enum { SIZE = 8 << 20 };
    char *content = malloc(SIZE + 1);
    assert_non_null(content);
    memset(content, 'x', SIZE);
    content[SIZE] = '\0';
    write_file(scene, DATA, content, MTIME_NS); /* one of this moment would be looked at again */
    free(content);
    flush(scene);
    assert_int_equal(scene->seen[DATA], 1);
    /* It says that it has less than it acknowledged: both compare what they know. */
    outbox_offline(scene->outbox);
    assert_int_equal(outbox_online(scene->outbox, OTHER, scene->acked[OTHER], 0), HF_OUTBOX_RESUME);
    assert_int_equal(outbox_online(scene->outbox, DATA, 0, 0), HF_OUTBOX_RESYNC);
    outbox_resync_add(scene->outbox, DATA, &scene->newest[DATA]->versions[0]);
    unsigned long long before = bytes_read();
    outbox_resync_done(scene->outbox, DATA);
    flush(scene);
    assert_true(bytes_read() - before < SIZE / 2);
    assert_int_equal(scene->seen[DATA], 1);
}

static void test_a_root_that_became_a_link_is_gone(void **state)
{
    struct scene *scene = *state;
    char aside[120];
    write_file(scene, DATA, "here", 0);
    flush(scene);
    snprintf(aside, sizeof aside, "%s/aside", scene->directory);
    assert_int_equal(rename(scene->roots[DATA], aside), 0);
    assert_int_equal(symlink(aside, scene->roots[DATA]), 0);
    flush(scene);
    assert_int_equal(scene->deletions[DATA], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_scan_that_can_not_open_anything_deletes_nothing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_event_that_can_not_be_followed_deletes_nothing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_gone_is_recorded_as_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_of_a_long_list_of_names_each_is_compared_with_its_own_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_collector_has_as_well_is_not_read_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_root_that_became_a_link_is_gone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
