#include "agent/restore/siblings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/stage.h"
#include "common/clock.h"

static const char *const suffixes[] = {"-wal", "-shm", "-journal"};

#define SIBLINGS    (sizeof(suffixes) / sizeof(suffixes[0]))
#define NAME_BYTES  (NAME_MAX + 16)
#define STAGED_NAME (HF_STAGED_NAME_BYTES + 16)

/* The bytes of a database file by which SQLite's users lock each other out ("File Locking And
 * Concurrency": pending, reserved, shared). */
#define LOCK_START 0x40000000
#define LOCK_BYTES 512
/* A backup of it that is just being made lets go soon. */
#define LOCK_WAIT_NS  (HF_NS_PER_SECOND / 2)
#define LOCK_PAUSE_US 5000

static void sibling_name(const char *name, size_t which, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%s%s", name, suffixes[which]);
}

static void staged_name(uint64_t index, size_t which, char out[STAGED_NAME])
{
    char staged[HF_STAGED_NAME_BYTES];
    stage_name(index, staged);
    snprintf(out, STAGED_NAME, "%s%s", staged, suffixes[which]);
}

static bool is_file(int dir_fd, const char *name, struct stat *status)
{
    return !fstatat(dir_fd, name, status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status->st_mode);
}

bool siblings_count(int parent_fd, const char *name)
{
    bool count = false;
    for (size_t i = 0; i < SIBLINGS; i++) {
        char sibling[NAME_BYTES];
        struct stat status;
        sibling_name(name, i, sibling);
        bool holds = strcmp(suffixes[i], "-shm") != 0; /* which is but an index of the -wal */
        count = count || (holds && is_file(parent_fd, sibling, &status) && status.st_size > 0);
    }
    return count;
}

/* Locks of the descriptor, not of the process: no close elsewhere ends them. */
static void lock_out(struct siblings *siblings)
{
    int64_t end_ns = hf_clock_monotonic_ns() + LOCK_WAIT_NS;
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_START, .l_len = LOCK_BYTES};
    struct stat status;
    int fd = openat(siblings->parent_fd, siblings->name,
                    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) || !S_ISREG(status.st_mode))) {
        close(fd);
        fd = -1;
    }
    while (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock)) {
        bool held = errno == EAGAIN || errno == EACCES;
        if (held && hf_clock_monotonic_ns() < end_ns) {
            usleep(LOCK_PAUSE_US);
            continue;
        }
        siblings->in_use = held;
        close(fd);
        fd = -1;
    }
    siblings->lock_fd = fd;
}

static void unlock(struct siblings *siblings)
{
    if (siblings->lock_fd >= 0)
        close(siblings->lock_fd);
    siblings->lock_fd = -1;
}

/* Who may write to the directory can put anything there between a look and the move: what isn't a
 * file goes back, unless that place was taken meanwhile. */
static int take_one(struct siblings *siblings, size_t which, struct hf_error *error)
{
    char sibling[NAME_BYTES], staged[STAGED_NAME];
    struct stat status;
    sibling_name(siblings->name, which, sibling);
    staged_name(siblings->index, which, staged);
    if (!is_file(siblings->parent_fd, sibling, &status)) {
        /* It may be there since a run that was interrupted. */
        if (is_file(siblings->staging_fd, staged, &status))
            siblings->moved |= 1u << which;
        return 0;
    }
    if (renameat(siblings->parent_fd, sibling, siblings->staging_fd, staged)) {
        if (errno == ENOENT)
            return 0;
        return hf_error_set(error, HF_ERR_IO, errno,
                            "can't take away %s, which would damage the restored database",
                            sibling);
    }
    if (!is_file(siblings->staging_fd, staged, &status)) {
        renameat2(siblings->staging_fd, staged, siblings->parent_fd, sibling, RENAME_NOREPLACE);
        return hf_error_set(error, HF_ERR_CONFLICT, 0,
                            "%s was exchanged for something that is no file; restore again",
                            sibling);
    }
    siblings->moved |= 1u << which;
    return 0;
}

int siblings_take(int parent_fd, const char *name, int staging_fd, uint64_t index,
                  struct siblings *out, struct hf_error *error)
{
    int result = 0;
    *out = (struct siblings){.parent_fd = parent_fd,
                             .staging_fd = staging_fd,
                             .lock_fd = -1,
                             .name = name,
                             .index = index};
    lock_out(out);
    for (size_t i = 0; !result && i < SIBLINGS; i++)
        result = take_one(out, i, error);
    /* Never, not even after a power cut, the new database beneath the old ones' remains. */
    if (!result && out->moved && fsync(parent_fd))
        result = hf_error_set(error, HF_ERR_IO, errno, "can't make the directory durable");
    if (result)
        siblings_return(out);
    return result;
}

void siblings_leave(struct siblings *siblings)
{
    unlock(siblings);
}

void siblings_return(struct siblings *siblings)
{
    for (size_t i = 0; i < SIBLINGS; i++) {
        char sibling[NAME_BYTES], staged[STAGED_NAME];
        sibling_name(siblings->name, i, sibling);
        staged_name(siblings->index, i, staged);
        if (siblings->moved & 1u << i)
            renameat2(siblings->staging_fd, staged, siblings->parent_fd, sibling, RENAME_NOREPLACE);
    }
    siblings->moved = 0;
    unlock(siblings);
}
