/* For LD_PRELOAD: the clock that a process sees can be set, and what it reads of one file fails. A
 * test says so in the file that HOLDFAST_FAULTS names, one page that lasts as long as the process:
 * faults.py writes it.
 *
 * A clock that is set is seen by whoever asks for the time, and in the times that the kernel gives
 * to files: what happened to a file at a moment has the name that the clock had for that moment. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define SETTINGS_MAX  200

struct setting {
    int64_t since_ns; /* as this machine has it */
    int64_t ahead_ns; /* from then on, as compared with this machine */
};

struct faults {
    _Atomic uint64_t error; /* of reads; 0: none */
    uint64_t device, inode; /* of what */
    int64_t offset;         /* from there on */
    _Atomic uint64_t count;
    struct setting settings[SETTINGS_MAX]; /* by since_ns */
};

static const struct faults *faults;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("HOLDFAST_FAULTS");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof *faults, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (page == MAP_FAILED) {
        abort(); /* a test would prove nothing */
    }
    close(fd);
    faults = page;
}

/* The function that this one stands before. */
#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

/* --- the clock --- */

static void shift(int64_t *seconds, uint32_t *nanoseconds)
{
    int64_t moment_ns = *seconds * NS_PER_SECOND + *nanoseconds;
    uint64_t i = faults ? faults->count : 0;
    while (i > 0 && faults->settings[i - 1].since_ns > moment_ns) {
        i--;
    }
    if (i > 0) {
        moment_ns += faults->settings[i - 1].ahead_ns;
        *seconds = moment_ns / NS_PER_SECOND;
        *nanoseconds = (uint32_t)(moment_ns % NS_PER_SECOND);
    }
}

static void shift_time(struct timespec *time)
{
    int64_t seconds = time->tv_sec;
    uint32_t nanoseconds = (uint32_t)time->tv_nsec;
    shift(&seconds, &nanoseconds);
    *time = (struct timespec){.tv_sec = seconds, .tv_nsec = nanoseconds};
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    long result = syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        shift_time(out);
    }
    return (int)result;
}

time_t time(time_t *out)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone)
{
    struct timespec now = {0};
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

static int shift_status(int result, struct stat *status)
{
    if (result == 0) {
        shift_time(&status->st_mtim);
        shift_time(&status->st_ctim);
    }
    return result;
}

int stat(const char *path, struct stat *out)
{
    return shift_status(NEXT(stat)(path, out), out);
}

int lstat(const char *path, struct stat *out)
{
    return shift_status(NEXT(lstat)(path, out), out);
}

int fstat(int fd, struct stat *out)
{
    return shift_status(NEXT(fstat)(fd, out), out);
}

int fstatat(int fd, const char *path, struct stat *out, int flags)
{
    return shift_status(NEXT(fstatat)(fd, path, out, flags), out);
}

int statx(int fd, const char *path, int flags, unsigned int mask, struct statx *out)
{
    int result = NEXT(statx)(fd, path, flags, mask, out);
    if (result == 0) {
        int64_t changed = out->stx_ctime.tv_sec, modified = out->stx_mtime.tv_sec;
        shift(&changed, &out->stx_ctime.tv_nsec);
        shift(&modified, &out->stx_mtime.tv_nsec);
        out->stx_ctime.tv_sec = changed;
        out->stx_mtime.tv_sec = modified;
    }
    return result;
}

/* --- the disk --- */

static bool fails(int fd)
{
    struct stat status;
    return faults && faults->error != 0 && NEXT(fstat)(fd, &status) == 0 &&
           status.st_dev == faults->device && status.st_ino == faults->inode;
}

static int fail(void)
{
    errno = (int)faults->error;
    return -1;
}

/* How much of it comes before what fails. */
static size_t before(int64_t at, size_t size)
{
    int64_t left = faults->offset - at;
    return left <= 0 ? 0 : (uint64_t)left < size ? (size_t)left : size;
}

ssize_t read(int fd, void *out, size_t size)
{
    if (fails(fd)) {
        size = before(lseek(fd, 0, SEEK_CUR), size);
        if (size == 0) {
            return fail();
        }
    }
    return NEXT(read)(fd, out, size);
}

ssize_t pread(int fd, void *out, size_t size, off_t offset)
{
    if (fails(fd)) {
        size = before(offset, size);
        if (size == 0) {
            return fail();
        }
    }
    return NEXT(pread)(fd, out, size, offset);
}

struct dirent *readdir(DIR *directory)
{
    if (fails(dirfd(directory))) {
        fail();
        return NULL;
    }
    return NEXT(readdir)(directory);
}
