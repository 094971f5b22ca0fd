/* inotify tells which path changed, for each source that watches it, and when it can't. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/log.h"
#include "tests/unit/common/scratch.h"

struct scene {
    struct scratch *scratch;
    struct hf_watch *watch;
    struct watch_event event;
};

static void scene_new(struct scene *scene, void **state)
{
    *scene = (struct scene){.scratch = *state};
    assert_int_equal(watch_new(&scene->watch), HF_OK);
    assert_true(watch_fd(scene->watch) >= 0);
}

static void scene_free(struct scene *scene)
{
    watch_free(scene->watch);
}

/* As capture names it: without the leading '/'. */
static const char *place(struct scene *scene, const char *name)
{
    return *name ? scratch_at(scene->scratch, name) + 1 : scene->scratch->path + 1;
}

static void watch_it(struct scene *scene, size_t source, const char *name)
{
    assert_int_equal(watch_add(scene->watch, source, place(scene, name), WATCH_CONTENT, NULL),
                     HF_OK);
}

static void make_directory(struct scene *scene, const char *name)
{
    assert_int_equal(mkdir(scratch_at(scene->scratch, name), 0700), 0);
}

static void write_to(struct scene *scene, const char *name)
{
    int fd =
        open(scratch_at(scene->scratch, name), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

/* The next event of all that the kernel has. */
static bool next(struct scene *scene)
{
    watch_gather(scene->watch);
    return watch_next(scene->watch, &scene->event);
}

enum told { NOTHING, CHANGED, WHOLE }; /* WHOLE: it was closed or moved here */

/* What all events that wait tell of a path; the others are dropped. */
static enum told told_of(struct scene *scene, size_t source, const char *name)
{
    enum told told = NOTHING;
    char path[512];
    snprintf(path, sizeof path, "%s", place(scene, name));
    while (next(scene)) {
        assert_false(scene->event.overflow);
        if (scene->event.source == source && strcmp(scene->event.path, path) == 0) {
            enum told this = scene->event.now ? WHOLE : CHANGED;
            told = this > told ? this : told;
        }
    }
    return told;
}

static void a_file_that_is_written_and_closed_is_told_by_its_path(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    watch_it(&scene, 3, "");
    assert_false(next(&scene));
    write_to(&scene, "file \xff");
    struct pollfd waiting = {.fd = watch_fd(scene.watch), .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, -1), 1);
    assert_int_equal(told_of(&scene, 3, "file \xff"), WHOLE);
    assert_false(next(&scene));
    scene_free(&scene);
}

static void what_is_open_still_is_told_but_not_as_whole(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    watch_it(&scene, 0, "");
    int fd = open(scratch_at(scene.scratch, "f"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(told_of(&scene, 0, "f"), CHANGED);
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_int_equal(told_of(&scene, 0, "f"), CHANGED);
    close(fd);
    assert_int_equal(told_of(&scene, 0, "f"), WHOLE);
    fd = open(scratch_at(scene.scratch, "f"), O_RDONLY | O_CLOEXEC);
    close(fd); /* reading is no change */
    assert_int_equal(told_of(&scene, 0, "f"), NOTHING);
    assert_int_equal(unlink(scratch_at(scene.scratch, "f")), 0);
    assert_int_equal(told_of(&scene, 0, "f"), CHANGED);
    scene_free(&scene);
}

static void a_rename_is_told_of_both_names(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    write_to(&scene, "old");
    watch_it(&scene, 0, "");
    const char *old = scratch_at(scene.scratch, "old");
    assert_int_equal(rename(old, scratch_at(scene.scratch, "new")), 0);
    assert_true(next(&scene));
    assert_string_equal(scene.event.path, place(&scene, "old"));
    assert_false(scene.event.now);
    assert_true(next(&scene));
    assert_string_equal(scene.event.path, place(&scene, "new"));
    assert_true(scene.event.now);
    assert_false(next(&scene));
    scene_free(&scene);
}

static void each_source_that_watches_a_directory_is_told_once(void **state)
{
    struct scene scene;
    unsigned times[3] = {0};
    scene_new(&scene, state);
    write_to(&scene, "f");
    watch_it(&scene, 0, "");
    watch_it(&scene, 2, "");
    watch_it(&scene, 2, ""); /* as every scan does again */
    assert_int_equal(chmod(scratch_at(scene.scratch, "f"), 0640), 0);
    while (next(&scene)) {
        assert_string_equal(scene.event.path, place(&scene, "f"));
        times[scene.event.source]++;
    }
    assert_int_equal(times[0], 1);
    assert_int_equal(times[1], 0);
    assert_int_equal(times[2], 1);
    scene_free(&scene);
}

static void what_is_not_watched_is_not_told(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    make_directory(&scene, "watched");
    make_directory(&scene, "watched/beneath");
    make_directory(&scene, "beside");
    watch_it(&scene, 0, "watched");
    write_to(&scene, "watched/beneath/f");
    write_to(&scene, "beside/f");
    assert_false(next(&scene));
    scene_free(&scene);
}

static void a_directory_that_is_made_is_told_and_can_be_watched_then(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    watch_it(&scene, 0, "");
    make_directory(&scene, "d");
    assert_int_equal(told_of(&scene, 0, "d"), CHANGED);
    watch_it(&scene, 0, "d");
    write_to(&scene, "d/f");
    assert_int_equal(told_of(&scene, 0, "d/f"), WHOLE);
    scene_free(&scene);
}

static void a_directory_that_goes_is_told_and_one_of_its_name_can_be_watched_anew(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    for (unsigned round = 0; round < 600; round++) { /* more than are remembered at first */
        make_directory(&scene, "d");
        watch_it(&scene, 0, "d");
        write_to(&scene, "d/f");
        assert_int_equal(told_of(&scene, 0, "d/f"), WHOLE);
        assert_int_equal(unlink(scratch_at(scene.scratch, "d/f")), 0);
        assert_int_equal(rmdir(scratch_at(scene.scratch, "d")), 0);
        assert_int_equal(told_of(&scene, 0, "d"), CHANGED);
    }
    scene_free(&scene);
}

static void a_directory_that_was_moved_is_told_of_and_under_its_new_name_once_watched_there(
    void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    make_directory(&scene, "old");
    watch_it(&scene, 0, "old");
    const char *old = scratch_at(scene.scratch, "old");
    assert_int_equal(rename(old, scratch_at(scene.scratch, "new")), 0);
    assert_int_equal(told_of(&scene, 0, "old"), CHANGED);
    watch_it(&scene, 0, "new");
    write_to(&scene, "new/f");
    assert_int_equal(told_of(&scene, 0, "new/f"), WHOLE);
    scene_free(&scene);
}

static void where_only_names_matter_what_is_written_is_not_told(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    write_to(&scene, "f");
    assert_int_equal(watch_add(scene.watch, 0, place(&scene, ""), WATCH_NAMES, NULL), HF_OK);
    write_to(&scene, "f");
    assert_false(next(&scene));
    make_directory(&scene, "new");
    assert_int_equal(told_of(&scene, 0, "new"), CHANGED);
    /* Who watches it for more gets more, and nobody less by that. */
    watch_it(&scene, 1, "");
    assert_int_equal(watch_add(scene.watch, 0, place(&scene, ""), WATCH_NAMES, NULL), HF_OK);
    write_to(&scene, "f");
    assert_int_equal(told_of(&scene, 1, "f"), WHOLE);
    scene_free(&scene);
}

static void that_the_watch_of_what_was_deleted_ends_is_no_news(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    make_directory(&scene, "sub");
    watch_it(&scene, 0, "sub");
    assert_int_equal(rmdir(scratch_at(scene.scratch, "sub")), 0);
    bool told = false;
    while (next(&scene)) {
        assert_false(scene.event.lost);
        told = true;
    }
    assert_true(told);
    scene_free(&scene);
}

enum verdict { AS_IT_SHOULD, NOT_POSSIBLE, NOT_NOTICED, LOST_WHAT_IT_HAD };

static enum verdict in_a_process(struct scene *scene, enum verdict (*see)(struct scene *scene))
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit((int)see(scene));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (enum verdict)WEXITSTATUS(status);
}

/* In a mount namespace of its own. */
static enum verdict unmount(struct scene *scene)
{
    char sub[512];
    unsigned lost[2] = {0};
    snprintf(sub, sizeof sub, "%s", scratch_at(scene->scratch, "sub"));
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || mount("none", sub, "tmpfs", 0, NULL) != 0 ||
        watch_new(&scene->watch) != HF_OK) {
        return NOT_POSSIBLE;
    }
    watch_it(scene, 0, "sub");
    watch_it(scene, 1, "sub");
    if (next(scene) || umount(sub) != 0) {
        return NOT_POSSIBLE;
    }
    while (next(scene)) {
        if (!scene->event.lost || strcmp(scene->event.path, place(scene, "sub")) != 0) {
            return NOT_NOTICED;
        }
        lost[scene->event.source]++;
    }
    return lost[0] > 0 && lost[1] > 0 ? AS_IT_SHOULD : NOT_NOTICED;
}

static void only_directories_that_are_there_can_be_watched(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    write_to(&scene, "file");
    assert_int_equal(mkfifo(scratch_at(scene.scratch, "fifo"), 0600), 0);
    assert_int_equal(symlink("file", scratch_at(scene.scratch, "link")), 0);
    static const char *const names[] = {"file", "fifo", "link", "missing", "file/beneath"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(watch_add(scene.watch, 0, place(&scene, names[i]), WATCH_CONTENT, NULL),
                         HF_ERR_NOT_FOUND);
    }
    write_to(&scene, "file");
    assert_false(next(&scene));
    scene_free(&scene);
}

static void the_top_of_all_can_be_watched(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    assert_int_equal(watch_add(scene.watch, 0, "", WATCH_NAMES, NULL), HF_OK);
    scene_free(&scene);
}

/* More events than the kernel keeps, no two alike in a row. */
static void overflow(struct scene *scene)
{
    unsigned long most = 0;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &most), 1); /* NOLINT(cert-err34-c): the kernel's */
    fclose(file);
    int a = open(scratch_at(scene->scratch, "a"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    int b = open(scratch_at(scene->scratch, "b"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (unsigned long i = 0; i <= most; i++) {
        assert_int_equal(fchmod(i % 2 ? a : b, 0600), 0);
    }
    close(a);
    close(b);
}

static void what_changes_after_it_was_gathered_waits_for_the_next_time(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    watch_it(&scene, 0, "");
    make_directory(&scene, "before");
    assert_false(watch_next(scene.watch, &scene.event)); /* nothing was gathered yet */
    watch_gather(scene.watch);
    make_directory(&scene, "after");
    assert_true(watch_next(scene.watch, &scene.event));
    assert_string_equal(scene.event.path, place(&scene, "before"));
    assert_false(watch_next(scene.watch, &scene.event));
    watch_gather(scene.watch);
    assert_true(watch_next(scene.watch, &scene.event));
    assert_string_equal(scene.event.path, place(&scene, "after"));
    assert_false(watch_next(scene.watch, &scene.event));
    scene_free(&scene);
}

static void many_events_that_were_gathered_at_once_all_come(void **state)
{
    struct scene scene;
    unsigned told = 0;
    scene_new(&scene, state);
    write_to(&scene, "a");
    write_to(&scene, "a rather longer name for a file than most files have");
    watch_it(&scene, 0, "");
    for (unsigned i = 0; i < 3000; i++) { /* more than is read at a time */
        const char *name = i % 2 ? "a" : "a rather longer name for a file than most files have";
        assert_int_equal(chmod(scratch_at(scene.scratch, name), 0600), 0);
    }
    watch_gather(scene.watch);
    while (watch_next(scene.watch, &scene.event)) {
        const char *name = told % 2 ? "a" : "a rather longer name for a file than most files have";
        assert_string_equal(scene.event.path, place(&scene, name));
        told++;
    }
    assert_int_equal(told, 3000);
    scene_free(&scene);
}

static void more_than_the_kernel_can_keep_is_told_as_that_and_watching_goes_on(void **state)
{
    struct scene scene;
    unsigned overflows = 0;
    scene_new(&scene, state);
    watch_it(&scene, 0, "");
    overflow(&scene);
    while (next(&scene)) {
        overflows += scene.event.overflow;
    }
    assert_int_equal(overflows, 1);
    write_to(&scene, "after");
    assert_int_equal(told_of(&scene, 0, "after"), WHOLE);
    scene_free(&scene);
}

/* In a user namespace of its own, where the limit is. */
static enum verdict reach_the_limit(struct scene *scene)
{
    if (unshare(CLONE_NEWUSER) != 0) {
        return NOT_POSSIBLE;
    }
    FILE *file = fopen("/proc/sys/user/max_inotify_watches", "we");
    if (!file || fputs("1", file) < 0 || fclose(file) != 0) {
        return NOT_POSSIBLE;
    }
    if (watch_new(&scene->watch) != HF_OK ||
        watch_add(scene->watch, 0, place(scene, "first"), WATCH_CONTENT, NULL) != HF_OK) {
        return NOT_POSSIBLE;
    }
    if (watch_add(scene->watch, 0, place(scene, "second"), WATCH_CONTENT, NULL) !=
        HF_ERR_NO_SPACE) {
        return NOT_NOTICED;
    }
    int fd = open(scratch_at(scene->scratch, "first/f"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    return fd >= 0 && next(scene) ? AS_IT_SHOULD : LOST_WHAT_IT_HAD;
}

/* In a process that may open nothing. */
static enum verdict go_without(struct scene *scene)
{
    const struct rlimit none = {0};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) {
        return NOT_POSSIBLE;
    }
    bool noticed =
        watch_new(&scene->watch) == HF_OK && watch_fd(scene->watch) == -1 &&
        watch_add(scene->watch, 0, place(scene, ""), WATCH_CONTENT, NULL) == HF_ERR_UNSUPPORTED &&
        !next(scene);
    watch_free(scene->watch);
    return noticed ? AS_IT_SHOULD : NOT_NOTICED;
}

static void without_inotify_there_are_scans_alone(void **state)
{
    struct scene scene = {.scratch = *state};
    assert_int_equal(in_a_process(&scene, go_without), AS_IT_SHOULD);
    watch_free(NULL);
}

static void that_a_file_system_was_unmounted_is_told_to_each_source(void **state)
{
    struct scene scene = {.scratch = *state};
    make_directory(&scene, "sub");
    enum verdict verdict = in_a_process(&scene, unmount);
    if (verdict == NOT_POSSIBLE) {
        skip(); /* no namespaces for users here */
    }
    assert_int_equal(verdict, AS_IT_SHOULD);
}

static void at_the_limit_of_watches_what_is_watched_stays_so_and_the_rest_is_left_to_scans(
    void **state)
{
    struct scene scene = {.scratch = *state};
    make_directory(&scene, "first");
    make_directory(&scene, "second");
    enum verdict verdict = in_a_process(&scene, reach_the_limit);
    if (verdict == NOT_POSSIBLE) {
        skip(); /* no namespaces for users here */
    }
    assert_int_equal(verdict, AS_IT_SHOULD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_is_written_and_closed_is_told_by_its_path),
        TEST(what_is_open_still_is_told_but_not_as_whole),
        TEST(a_rename_is_told_of_both_names),
        TEST(each_source_that_watches_a_directory_is_told_once),
        TEST(what_is_not_watched_is_not_told),
        TEST(a_directory_that_is_made_is_told_and_can_be_watched_then),
        TEST(a_directory_that_goes_is_told_and_one_of_its_name_can_be_watched_anew),
        TEST(a_directory_that_was_moved_is_told_of_and_under_its_new_name_once_watched_there),
        TEST(where_only_names_matter_what_is_written_is_not_told),
        TEST(that_the_watch_of_what_was_deleted_ends_is_no_news),
        TEST(that_a_file_system_was_unmounted_is_told_to_each_source),
        TEST(only_directories_that_are_there_can_be_watched),
        TEST(the_top_of_all_can_be_watched),
        TEST(what_changes_after_it_was_gathered_waits_for_the_next_time),
        TEST(many_events_that_were_gathered_at_once_all_come),
        TEST(more_than_the_kernel_can_keep_is_told_as_that_and_watching_goes_on),
        TEST(without_inotify_there_are_scans_alone),
        TEST(at_the_limit_of_watches_what_is_watched_stays_so_and_the_rest_is_left_to_scans),
    };
    hf_log_set_level(HF_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
