/* What is mounted on, above or beneath a source is told to that source, and to no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture/mount_watch.h"
#include "tests/unit/common/scratch.h"

enum verdict { AS_IT_SHOULD, NOT_POSSIBLE, FIRST_WRONG };

struct scene {
    char paths[3][200];
    char *path_of[3];
    struct hf_config_source sources[3];
    struct hf_config config;
    struct hf_mount_watch *mounts;
};

/* Sources "a b/in", "a b/in/deep" and "other" of the scratch directory. */
static void scene_new(struct scene *scene, const struct scratch *scratch)
{
    static const char *const names[] = {"a b/in", "a b/in/deep", "other"};
    *scene = (struct scene){0};
    for (size_t i = 0; i < 3; i++) {
        snprintf(scene->paths[i], sizeof scene->paths[i], "%s/%s", scratch->path, names[i]);
        scene->path_of[i] = scene->paths[i];
        scene->sources[i] = (struct hf_config_source){.paths = &scene->path_of[i], .path_count = 1};
    }
    scene->config = (struct hf_config){.sources = scene->sources, .source_count = 3};
    scene->mounts = mount_watch_new(&scene->config);
}

/* One digit a source: whether it was told. -1: the kernel did not wake us. */
static int told(struct scene *scene)
{
    struct pollfd waiting = {.fd = mount_watch_fd(scene->mounts), .events = POLLPRI};
    if (poll(&waiting, 1, 10000) != 1) {
        return -1;
    }
    mount_watch_read(scene->mounts);
    int sum = 0;
    for (size_t i = 0; i < 3; i++) {
        sum = sum * 10 + mount_watch_changed(scene->mounts, i);
    }
    return sum;
}

static bool ready(struct scene *scene)
{
    struct pollfd waiting = {.fd = mount_watch_fd(scene->mounts), .events = POLLPRI};
    return poll(&waiting, 1, 0) != 0;
}

static int mount_at(const char *path)
{
    return mount("none", path, "tmpfs", 0, NULL);
}

static int see(struct scratch *scratch)
{
    struct scene scene;
    char above[200];
    snprintf(above, sizeof above, "%s/a b", scratch->path);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || mount_at("/mnt") != 0) {
        return NOT_POSSIBLE;
    }
    scene_new(&scene, scratch);
    ready(&scene); /* what was before counts for nothing */
    int step = FIRST_WRONG;
    if (ready(&scene)) {
        return step;
    }
    /* Elsewhere; on a source, which holds another; beneath that; above both, which covers them. */
    const struct {
        const char *path;
        int told;
    } steps[] = {{"/mnt", 0}, {scene.paths[1], 110}, {scene.paths[2], 1}, {above, 110}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        step++;
        if (mount_at(steps[i].path) != 0) {
            return NOT_POSSIBLE;
        }
        if (told(&scene) != steps[i].told) {
            return step;
        }
    }
    for (size_t i = sizeof steps / sizeof *steps; i-- > 0;) {
        step++;
        if (umount(steps[i].path) != 0) {
            return NOT_POSSIBLE;
        }
        if (told(&scene) != steps[i].told) {
            return step;
        }
    }
    mount_watch_free(scene.mounts);
    return AS_IT_SHOULD;
}

static void what_is_mounted_is_told_to_whom_it_concerns(void **state)
{
    struct scratch *scratch = *state;
    int status = -1;
    assert_int_equal(mkdir(scratch_at(scratch, "a b"), 0700), 0);
    assert_int_equal(mkdir(scratch_at(scratch, "a b/in"), 0700), 0);
    assert_int_equal(mkdir(scratch_at(scratch, "a b/in/deep"), 0700), 0);
    assert_int_equal(mkdir(scratch_at(scratch, "other"), 0700), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(see(scratch)); /* its mounts end with it */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_POSSIBLE) {
        skip(); /* no namespaces for users here */
    }
    assert_int_equal(WEXITSTATUS(status), AS_IT_SHOULD);
}

static void nothing_is_told_of_what_was_there_at_the_start(void **state)
{
    struct scene scene;
    scene_new(&scene, *state);
    for (size_t i = 0; i < 3; i++) {
        assert_false(mount_watch_changed(scene.mounts, i));
    }
    mount_watch_read(scene.mounts);
    for (size_t i = 0; i < 3; i++) {
        assert_false(mount_watch_changed(scene.mounts, i));
    }
    mount_watch_free(scene.mounts);
    mount_watch_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_mounted_is_told_to_whom_it_concerns),
        TEST(nothing_is_told_of_what_was_there_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
