#include "agent/restore/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

extern char **environ;

/* The environment with two variables added; one allocation, the strings are the caller's. */
static char **environment_with(char *job, char *source)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **result = calloc(count + 3, sizeof(*result));
    if (!result)
        return NULL;
    memcpy(result, environ, count * sizeof(*result));
    result[count] = job;
    result[count + 1] = source;
    return result;
}

static int hook_spawn(const char *const *argv, char **environment, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    int result = posix_spawn_file_actions_init(&actions);
    if (result)
        return result;
    result = posix_spawnattr_init(&attributes);
    if (result) {
        posix_spawn_file_actions_destroy(&actions);
        return result;
    }
    /* The agent's threads block signals; a hook starts as a shell would start it. */
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    sigemptyset(&none);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 2, 1); /* stdout of a service may be a terminal */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* posix_spawn's type has the wrong const; it does not write.
     * NOLINTNEXTLINE(performance-no-int-to-ptr) */
    result = posix_spawn(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
                         environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

/* 0 with *status once the child has ended, HF_ERR_TIMEOUT at the deadline. */
static int wait_until(pid_t pid, int64_t deadline_ns, int *status)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    for (;;) {
        pid_t ended = waitpid(pid, status, WNOHANG);
        if (ended == pid)
            break;
        int64_t left_ns = deadline_ns - hf_clock_monotonic_ns();
        if (left_ns <= 0) {
            if (fd >= 0)
                close(fd);
            return HF_ERR_TIMEOUT;
        }
        int wait_ms = (int)(left_ns / HF_NS_PER_MS) + 1;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (fd >= 0)
            poll(&ready, 1, wait_ms);
        else
            poll(NULL, 0, wait_ms < 20 ? wait_ms : 20); /* Linux before 5.3 has no pidfd */
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

int hook_run(const char *const *argv, uint64_t job, const char *source, int64_t timeout_ns,
             struct hf_error *error)
{
    char job_text[64], source_text[256];
    snprintf(job_text, sizeof(job_text), "HOLDFAST_JOB=%llu", (unsigned long long)job);
    snprintf(source_text, sizeof(source_text), "HOLDFAST_SOURCE=%s", source);
    char **environment = environment_with(job_text, source_text);
    if (!environment)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory to run the hook %s", argv[0]);
    pid_t pid;
    int failure = hook_spawn(argv, environment, &pid);
    free(environment);
    if (failure)
        return hf_error_set(error, HF_ERR_IO, failure, "can't run the hook %s", argv[0]);

    int status = 0;
    if (wait_until(pid, hf_clock_monotonic_ns() + timeout_ns, &status)) {
        char limit[HF_TIME_TEXT_BYTES];
        kill(-pid, SIGKILL);
        waitpid(pid, &status, 0);
        hf_duration_text(timeout_ns, limit);
        return hf_error_set(error, HF_ERR_TIMEOUT, 0,
                            "the hook %s did not end within %s and was killed", argv[0], limit);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        return hf_error_set(error, HF_ERR_CONFLICT, 0, "the hook %s ended with exit code %d",
                            argv[0], WEXITSTATUS(status));
    return hf_error_set(error, HF_ERR_CONFLICT, 0, "the hook %s was ended by signal %d", argv[0],
                        WTERMSIG(status));
}
