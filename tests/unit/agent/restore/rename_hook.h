/* What a test has done between two renames of a restore: the linker has renameat2 call this instead
 * (tests/unit/CMakeLists.txt). */
#ifndef HF_TEST_RENAME_HOOK_H
#define HF_TEST_RENAME_HOOK_H

#include "restore_builder.h"

#include <signal.h>
#include <sys/wait.h>

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

/* The file system knows no flags, as NFS. */
static bool no_rename_flags;
/* Called after each rename that succeeded. */
static void (*after_rename)(void *context);
static void *after_rename_context;

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (flags && no_rename_flags) {
        errno = EINVAL;
        return -1;
    }
    int result = __real_renameat2(from_fd, from, to_fd, to, flags);
    if (result == 0 && after_rename)
        after_rename(after_rename_context);
    return result;
}

static inline void hook_renames(void (*hook)(void *context), void *context)
{
    after_rename = hook;
    after_rename_context = context;
}

static inline void kill_after_renames(void *context)
{
    size_t *left = context;
    if (--*left == 0)
        kill(getpid(), SIGKILL);
}

/* In a child: restore, killed after `renames` files are in place. */
static inline void restore_until_killed(struct builder *b, size_t renames)
{
    struct hf_error error = {0};
    int result = builder_stage(b, &error);
    if (!result && b->job->phase == HF_JOB_STAGING)
        result = job_save_phase(b->job, HF_JOB_APPLYING, &error);
    if (result)
        _exit(1);
    if (renames == 0)
        kill(getpid(), SIGKILL);
    struct hf_apply_options options = {
        .job = b->job, .targets = b->targets, .rules = {.owners = b->owners}};
    hook_renames(kill_after_renames, &renames);
    apply_job(&options, &error);
    _exit(2);
}

/* The agent is killed in the midst of the restore, after so many renames. */
static inline void kill_restore(struct builder *b, size_t renames)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        restore_until_killed(b, renames);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

#endif
