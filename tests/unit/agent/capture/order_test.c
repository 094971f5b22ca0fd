/* What a restore asks of capture: to look away from what it writes to and from nothing else, and
 * to take for restored what is as it was put there and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/capture/capture.h"
#include "common/clock.h"

#define PATIENCE_NS (60 * HF_NS_PER_SECOND)
#define MTIME_NS    (INT64_C(1700000000) * HF_NS_PER_SECOND)

enum { DATA, OTHER, SOURCES };

struct scene {
    char directory[64], state[80], roots[SOURCES][80];
    char *paths[SOURCES];
    struct hf_config_source sources[SOURCES];
    struct hf_config config;
    struct hf_outbox *outbox;
    struct hf_capture *capture;
    /* What left the outbox: versions of a source's file "f". */
    unsigned seen[SOURCES];
    uint32_t flags[SOURCES];
    uint64_t job[SOURCES];
};

static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct hf_error error = {0};
    static char *const names[] = {"data", "other"};
    strcpy(scene->directory, "/tmp/holdfast-order-XXXXXX");
    assert_non_null(mkdtemp(scene->directory));
    snprintf(scene->state, sizeof scene->state, "%s/state", scene->directory);
    assert_int_equal(mkdir(scene->state, 0700), 0);
    for (size_t i = 0; i < SOURCES; i++) {
        snprintf(scene->roots[i], sizeof scene->roots[i], "%s/%s", scene->directory, names[i]);
        assert_int_equal(mkdir(scene->roots[i], 0700), 0);
        scene->paths[i] = scene->roots[i];
        scene->sources[i] = (struct hf_config_source){.name = names[i],
                                                      .kind = "files",
                                                      .class_name = "config",
                                                      .paths = &scene->paths[i],
                                                      .path_count = 1,
                                                      .debounce_ns = HF_NS_PER_MS,
                                                      .rescan_ns = 3600 * HF_NS_PER_SECOND};
    }
    scene->config = (struct hf_config){.state = scene->state,
                                       .spool_max_bytes = 1 << 20,
                                       .mark_interval_ns = 100 * HF_NS_PER_MS,
                                       .sources = scene->sources,
                                       .source_count = SOURCES};
    assert_int_equal(outbox_open(&scene->config, &scene->outbox, &error), HF_OK);
    assert_int_equal(capture_start(&scene->config, scene->outbox, &scene->capture, &error), HF_OK);
    for (size_t i = 0; i < SOURCES; i++) {
        assert_int_equal(outbox_online(scene->outbox, i, 0, 0), HF_OUTBOX_RESUME);
    }
    *state = scene;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    capture_free(scene->capture);
    outbox_free(scene->outbox);
    assert_int_equal(nftw(scene->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(scene);
    return 0;
}

/* As a collector that stores and acknowledges everything. */
static void pump(struct scene *scene)
{
    const struct hf_unit *unit;
    while ((unit = outbox_take(scene->outbox))) {
        size_t source = unit->source;
        uint64_t last = 0;
        for (size_t i = 0; i < unit->version_count; i++) {
            const struct hf_version *version = &unit->versions[i];
            last = version->seq;
            if (version->path.size > 2 &&
                memcmp(version->path.data + version->path.size - 2, "/f", 2) == 0) {
                scene->seen[source]++;
                scene->flags[source] = version->flags;
                scene->job[source] = version->job;
            }
        }
        outbox_sent(scene->outbox, unit);
        if (last > 0) {
            outbox_acked(scene->outbox, source, last);
        }
    }
}

static void wait_for(struct scene *scene, size_t source, unsigned count)
{
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    while (scene->seen[source] < count) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
        pump(scene);
        usleep(500);
    }
}

static void mark_done(void *context)
{
    atomic_store((atomic_bool *)context, true);
}

static void flush(struct scene *scene)
{
    atomic_bool done = false;
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    capture_flush(scene->capture, mark_done, &done);
    while (!atomic_load(&done)) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
        pump(scene);
        usleep(500);
    }
}

static void write_file(struct scene *scene, size_t source, const char *content, int64_t mtime_ns)
{
    char path[120];
    snprintf(path, sizeof path, "%s/f", scene->roots[source]);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    if (mtime_ns > 0) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = mtime_ns / HF_NS_PER_SECOND}};
        assert_int_equal(futimens(fd, times), 0);
    }
    close(fd);
}

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

static const char *const *roots_of(const struct scene *scene, size_t source)
{
    return (const char *const *)&scene->paths[source];
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
    capture_flush(scene->capture, mark_done, &done);
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
