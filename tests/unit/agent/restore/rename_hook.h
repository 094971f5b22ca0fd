/* What a test has done between two renames of a restore: the linker has renameat2 call this instead
 * (tests/unit/CMakeLists.txt). */
#ifndef HF_TEST_RENAME_HOOK_H
#define HF_TEST_RENAME_HOOK_H

#include <stdio.h>

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

/* Called after each rename that succeeded. */
static void (*after_rename)(void *context);
static void *after_rename_context;

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
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

#endif
