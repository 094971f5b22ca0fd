#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/hook.h"
#include "common/clock.h"
#include "common/fs.h"

#define SECOND HF_NS_PER_SECOND

static void a_hook_that_ends_well_is_no_error(void **state)
{
    (void)state;
    const char *const argv[] = {"/bin/true", NULL};
    struct hf_error error = {0};
    assert_int_equal(hook_run(argv, 1, "config", 10 * SECOND, &error), 0);
}

static void a_failing_hook_is_named_with_its_code(void **state)
{
    (void)state;
    const char *const argv[] = {"/bin/sh", "-c", "exit 3", NULL};
    struct hf_error error = {0};
    assert_int_equal(hook_run(argv, 1, "config", 10 * SECOND, &error), HF_ERR_CONFLICT);
    assert_non_null(strstr(error.message, "/bin/sh"));
    assert_non_null(strstr(error.message, "3"));
}

static void a_hook_that_is_not_there_says_so(void **state)
{
    (void)state;
    const char *const argv[] = {"/nonexistent/hook", NULL};
    struct hf_error error = {0};
    assert_int_not_equal(hook_run(argv, 1, "config", 10 * SECOND, &error), 0);
    assert_non_null(strstr(error.message, "/nonexistent/hook"));
}

static void arguments_are_not_read_by_a_shell(void **state)
{
    (void)state;
    char directory[] = "/tmp/holdfast-hook-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/a;b $(c)", directory);
    const char *const argv[] = {"/usr/bin/touch", path, NULL};
    assert_int_equal(hook_run(argv, 1, "config", 10 * SECOND, NULL), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void a_hook_knows_job_and_source_and_starts_with_default_signals(void **state)
{
    (void)state;
    char path[] = "/tmp/holdfast-hook-XXXXXX", command[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof(command),
             "echo $HOLDFAST_JOB $HOLDFAST_SOURCE > %s; exec grep SigBlk /proc/self/status >> %s",
             path, path);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    assert_int_equal(hook_run(argv, 42, "config", 10 * SECOND, NULL), 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    struct hf_buf said = {0};
    assert_int_equal(hf_read_file(path, 4096, &said, NULL), 0);
    assert_int_equal(hf_buf_terminate(&said), 0);
    assert_non_null(strstr((char *)said.data, "42 config"));
    assert_non_null(strstr((char *)said.data, "0000000000000000"));
    hf_buf_free(&said);
    unlink(path);
}

static void a_hook_that_hangs_is_killed_with_its_children(void **state)
{
    (void)state;
    char path[] = "/tmp/holdfast-hook-XXXXXX", command[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof(command), "sleep 100 & echo $! > %s; wait", path);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    struct hf_error error = {0};
    int64_t before = hf_clock_monotonic_ns();
    assert_int_equal(hook_run(argv, 1, "config", SECOND / 2, &error), HF_ERR_TIMEOUT);
    assert_true(hf_clock_monotonic_ns() - before < 20 * SECOND);
    struct hf_buf said = {0};
    assert_int_equal(hf_read_file(path, 4096, &said, NULL), 0);
    assert_int_equal(hf_buf_terminate(&said), 0);
    pid_t child = (pid_t)strtol((char *)said.data, NULL, 10);
    hf_buf_free(&said);
    unlink(path);
    assert_true(child > 1);
    /* Reaped by init some time, or a zombie: in no case asleep for 100 seconds. */
    char status[64];
    snprintf(status, sizeof(status), "/proc/%d/wchan", (int)child);
    bool alive = true;
    for (int i = 0; i < 100 && alive; i++) {
        struct hf_buf text = {0};
        char stat_path[64];
        snprintf(stat_path, sizeof(stat_path), "/proc/%d/stat", (int)child);
        alive = !hf_read_file(stat_path, 4096, &text, NULL) && !hf_buf_terminate(&text) &&
                !strstr((char *)text.data, ") Z");
        hf_buf_free(&text);
        if (alive)
            usleep(20000);
    }
    assert_false(alive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hook_that_ends_well_is_no_error),
        cmocka_unit_test(a_failing_hook_is_named_with_its_code),
        cmocka_unit_test(a_hook_that_is_not_there_says_so),
        cmocka_unit_test(arguments_are_not_read_by_a_shell),
        cmocka_unit_test(a_hook_knows_job_and_source_and_starts_with_default_signals),
        cmocka_unit_test(a_hook_that_hangs_is_killed_with_its_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
