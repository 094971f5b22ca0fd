/* Whether reading a file or listing a directory left a trace in its time of access. */
#ifndef HF_TESTS_ACCESS_TIME_H
#define HF_TESTS_ACCESS_TIME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_AGO_S 1000000000

/* Last read long before it was last changed: such a time is set by the next reading however the
 * file system is mounted, unless that is noatime. */
static inline void access_time_set(const char *path)
{
    const struct timespec times[2] = {{.tv_sec = LONG_AGO_S}, {.tv_nsec = UTIME_OMIT}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static inline bool access_time_is_as_set(const char *path)
{
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    return status.st_atim.tv_sec == LONG_AGO_S;
}

/* Whether reading this file as anybody would is seen at all. */
static inline bool access_times_are_kept(const char *path)
{
    char byte;
    access_time_set(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    return !access_time_is_as_set(path);
}

#endif
