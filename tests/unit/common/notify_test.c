#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/notify.h"

/* A service manager's socket, at a path or at an abstract name (beginning with '@'). */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                     0);
    return fd;
}

static void assert_told(int fd, const char *state)
{
    char said[256] = {0};
    assert_int_equal(recv(fd, said, sizeof(said) - 1, 0), (ssize_t)strlen(state));
    assert_string_equal(said, state);
}

static void without_a_manager_nothing_happens(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(hf_notify("READY=1", NULL), 0);
}

static void the_manager_is_told_by_path_and_by_abstract_name(void **state)
{
    (void)state;
    char directory[] = "/tmp/holdfast-notify-XXXXXX", path[64], abstract[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    snprintf(abstract, sizeof(abstract), "@holdfast-notify-%d", (int)getpid());
    const char *const names[] = {path, abstract};
    for (size_t i = 0; i < 2; i++) {
        int fd = listen_at(names[i]);
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(hf_notify("READY=1\nSTATUS=fine", NULL), 0);
        assert_told(fd, "READY=1\nSTATUS=fine");
        close(fd);
    }
    unlink(path);
    rmdir(directory);
    unsetenv("NOTIFY_SOCKET");
}

static void a_bad_socket_is_an_error_and_no_crash(void **state)
{
    (void)state;
    struct hf_error error;
    char name[300];
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    assert_int_equal(hf_notify("READY=1", &error), HF_ERR_IO);
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(hf_notify("READY=1", &error), HF_ERR_INVALID);
    memset(name, 'x', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(hf_notify("READY=1", &error), HF_ERR_INVALID);
    unsetenv("NOTIFY_SOCKET");
}

static void the_watchdog_counts_only_for_the_process_it_names(void **state)
{
    (void)state;
    char pid[32];
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(hf_notify_watchdog_ns(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    unsetenv("WATCHDOG_PID");
    assert_int_equal(hf_notify_watchdog_ns(), INT64_C(30000000000));
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(hf_notify_watchdog_ns(), INT64_C(30000000000));
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(hf_notify_watchdog_ns(), 0);
    unsetenv("WATCHDOG_PID");
    static const char *const bad[] = {"", "0", "-5", "abc", "12x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        setenv("WATCHDOG_USEC", bad[i], 1);
        assert_int_equal(hf_notify_watchdog_ns(), 0);
    }
    unsetenv("WATCHDOG_USEC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_manager_nothing_happens),
        cmocka_unit_test(the_manager_is_told_by_path_and_by_abstract_name),
        cmocka_unit_test(a_bad_socket_is_an_error_and_no_crash),
        cmocka_unit_test(the_watchdog_counts_only_for_the_process_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
