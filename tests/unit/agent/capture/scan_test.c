/* What can't be looked at is not taken for deleted, and is complained about. */
#include "capture_scene.h"

#include <pthread.h>
#include <sys/resource.h>

#include "agent/capture/capture_private.h"

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

static void stop_agent(struct scene *scene)
{
    capture_free(scene->capture);
    outbox_free(scene->outbox);
}

static void start_agent(struct scene *scene)
{
    struct hf_error error = {0};
    assert_int_equal(outbox_open(&scene->config, &scene->outbox, &error), HF_OK);
    assert_int_equal(capture_start(&scene->config, scene->outbox, &scene->capture, &error), HF_OK);
}

static void test_numbers_that_were_lost_are_compared_even_if_the_agent_ends_again(void **state)
{
    struct scene *scene = *state;
    struct hf_state *db = NULL;
    struct hf_error error = {0};
    write_file(scene, DATA, "here", 0);
    flush(scene);
    stop_agent(scene);
    start_agent(scene);
    assert_int_equal(outbox_online(scene->outbox, DATA, scene->acked[DATA], 0), HF_OUTBOX_RESUME);
    stop_agent(scene);
    /* Killed with versions under way. */
    assert_int_equal(state_open(&scene->config, &db, &error), HF_OK);
    state_begin(db);
    state_set_last(db, DATA, scene->acked[DATA] + 5);
    assert_int_equal(state_commit(db, &error), HF_OK);
    state_close(db);
    for (int i = 0; i < 2; i++) {
        start_agent(scene);
        stop_agent(scene);
    }
    start_agent(scene);
    assert_int_equal(outbox_online(scene->outbox, DATA, scene->acked[DATA] + 5, 0),
                     HF_OUTBOX_RESYNC);
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

enum { MANY = 6000 }; /* names: a scan of theirs takes long enough for something to happen */

static void make_many(const char *where)
{
    char path[160];
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "%s/m%05d", where, i);
        assert_int_equal(symlink("x", path), 0);
    }
}

static bool is_on_record(const struct scene *scene, const char *path)
{
    struct state_row row = {0};
    bool known = on_record(scene->capture, DATA, path + 1, &row);
    state_row_free(&row);
    return known;
}

struct comer {
    const struct scene *scene;
    atomic_bool stop;
    int count;
};

/* New names, one after the other, in front of and behind those that a scan is at. */
static void *keep_coming(void *context)
{
    struct comer *comer = context;
    char path[160];
    while (!atomic_load(&comer->stop) && comer->count < 3000) {
        snprintf(path, sizeof path, "%s/%c%05d", comer->scene->roots[DATA],
                 comer->count % 2 ? 'a' : 'z', comer->count);
        comer->count += symlink("x", path) == 0;
        usleep(300);
    }
    return NULL;
}

static void test_what_comes_during_a_scan_is_recorded_once_and_not_as_gone(void **state)
{
    struct scene *scene = *state;
    struct comer comer = {.scene = scene};
    pthread_t thread;
    make_many(scene->roots[DATA]);
    flush(scene);
    assert_int_equal(scene->versions[DATA] - scene->directories[DATA], MANY);
    assert_int_equal(pthread_create(&thread, NULL, keep_coming, &comer), 0);
    for (int i = 0; i < 25; i++) {
        flush(scene);
    }
    atomic_store(&comer.stop, true);
    pthread_join(thread, NULL);
    flush(scene);
    assert_int_equal(scene->gone[DATA], 0);
    assert_int_equal(scene->versions[DATA] - scene->directories[DATA], MANY + comer.count);
}

static void test_a_directory_that_moves_during_its_scan_leaves_nothing_where_it_was(void **state)
{
    struct scene *scene = *state;
    char from[120], to[120], path[160];
    snprintf(from, sizeof from, "%s/moves0", scene->roots[DATA]);
    assert_int_equal(mkdir(from, 0700), 0);
    make_many(from);
    for (int i = 1; i <= 20; i++) {
        snprintf(from, sizeof from, "%s/moves%d", scene->roots[DATA], i - 1);
        snprintf(to, sizeof to, "%s/moves%d", scene->roots[DATA], i);
        usleep((unsigned)i * 1500); /* its new name is noticed, and its names are being compared */
        assert_int_equal(rename(from, to), 0);
    }
    flush(scene);
    flush(scene);
    capture_stop(scene->capture);
    for (int i = 0; i <= 20; i++) {
        for (int name = 0; name < MANY; name += MANY / 100) {
            snprintf(path, sizeof path, "%s/moves%d/m%05d", scene->roots[DATA], i, name);
            assert_int_equal(is_on_record(scene, path), i == 20);
        }
        snprintf(path, sizeof path, "%s/moves%d/m%05d", scene->roots[DATA], i, MANY - 1);
        assert_int_equal(is_on_record(scene, path), i == 20);
    }
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
        cmocka_unit_test_setup_teardown(
            test_numbers_that_were_lost_are_compared_even_if_the_agent_ends_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_root_that_became_a_link_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_what_comes_during_a_scan_is_recorded_once_and_not_as_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_directory_that_moves_during_its_scan_leaves_nothing_where_it_was, setup,
            teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
