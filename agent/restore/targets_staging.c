/* Staging directories: one an anchor, ours alone, on the file system of what will be replaced. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/restore/targets_private.h"

/* In a staging directory, beside the shards: */
#define TREE   "tree"   /* targets_tree */
#define BEFORE "before" /* targets_before */

size_t targets_shard(uint64_t index)
{
    return (size_t)(index / HF_STAGING_RUN % HF_STAGING_SHARDS);
}

void anchor_close_staging(struct anchor *anchor)
{
    for (size_t i = 0; i < HF_STAGING_SHARDS; i++) {
        if (anchor->shard_fds[i] >= 0)
            close(anchor->shard_fds[i]);
        anchor->shard_fds[i] = -1;
    }
    if (anchor->tree_fd >= 0)
        close(anchor->tree_fd);
    if (anchor->before_fd >= 0)
        close(anchor->before_fd);
    if (anchor->staging_fd >= 0)
        close(anchor->staging_fd);
    anchor->staging_fd = anchor->tree_fd = anchor->before_fd = -1;
}

static int staging_open(int dir_fd, const char *name, const char *path, int *out,
                        struct hf_error *error)
{
    struct stat status;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return hf_error_set(error, errno == ENOENT ? HF_ERR_NOT_FOUND : HF_ERR_DENIED, errno,
                            "can't open the working directory %s/%s", path, name);
    if (fstat(fd, &status) || status.st_uid != geteuid() || (status.st_mode & 077)) {
        close(fd);
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "%s/%s is where this restore would work, but it isn't the agent's own; "
                            "remove it and restore again",
                            path, name);
    }
    *out = fd;
    return 0;
}

/* What comes and goes for our work alone leaves no trace in the time of the directory around it. */
static void keep_time(int dir_fd, const struct stat *before)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, before->st_mtim};
    futimens(dir_fd, times);
}

static int open_subdirectory(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* What was staged has the mode that it should have in place. */
    if (fd < 0 && errno == EACCES && !fchmodat(dir_fd, name, 0700, 0))
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        fchmod(fd, 0700);
    return fd;
}

/* Removes what is in a directory of ours and is no directory. What is one is moved to above_fd,
 * under a name that none there has; with above_fd < 0 it is counted only. */
static size_t remove_files(int fd, int above_fd, uint64_t *number)
{
    size_t directories = 0;
    int copy = dup(fd);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir) {
        if (copy >= 0)
            close(copy);
        return 0;
    }
    rewinddir(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char above[32];
        struct stat status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            !unlinkat(fd, entry->d_name, 0) ||
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(status.st_mode))
            continue;
        directories++;
        if (above_fd < 0)
            continue;
        /* Whoever isn't root has to be able to write to what he moves: ".." in it changes. */
        if (geteuid() != 0 && fchmodat(fd, entry->d_name, 0700, 0))
            continue;
        do
            snprintf(above, sizeof(above), "moved-%llu", (unsigned long long)(*number)++);
        while (renameat(fd, entry->d_name, above_fd, above) &&
               (errno == EEXIST || errno == ENOTEMPTY)); /* nothing else is lost by it */
    }
    closedir(dir);
    return directories;
}

/* Empties a directory of ours, whatever the depth of what is in it, with few descriptors: what lies
 * deeper is moved up before what held it is removed. */
static void staging_empty(int fd)
{
    uint64_t number = 0;
    bool progress = true;
    while (progress && remove_files(fd, -1, &number) > 0) {
        progress = false;
        int copy = dup(fd);
        DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
        if (!dir) {
            if (copy >= 0)
                close(copy);
            return;
        }
        rewinddir(dir);
        for (struct dirent *entry; (entry = readdir(dir));) {
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
                continue;
            int below = open_subdirectory(fd, entry->d_name);
            if (below < 0)
                continue;
            remove_files(below, fd, &number);
            close(below);
            progress = !unlinkat(fd, entry->d_name, AT_REMOVEDIR) || progress;
        }
        closedir(dir);
    }
}

static void staging_remove(int dir_fd, int staging_fd, uint64_t job)
{
    char name[64];
    struct stat before;
    snprintf(name, sizeof(name), HF_STAGING_PREFIX "%llu", (unsigned long long)job);
    staging_empty(staging_fd);
    bool timed = !fstat(dir_fd, &before);
    if (!unlinkat(dir_fd, name, AT_REMOVEDIR) && timed)
        keep_time(dir_fd, &before);
}

/* A directory within the staging directory. */
static int part_make(const struct anchor *anchor, const char *part, const char *name, int *out,
                     struct hf_error *error)
{
    if (mkdirat(anchor->staging_fd, part, 0700) && errno != EEXIST)
        return hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                            "can't make the working directory %s/%s", anchor->path, name);
    return staging_open(anchor->staging_fd, part, name, out, error);
}

/* A staging directory that is there already. */
static int take_leftover(const struct hf_targets *targets, struct anchor *anchor, const char *name,
                         struct hf_error *error)
{
    int before = -1;
    if (targets->leftover == HF_LEFTOVER_REMOVE)
        staging_empty(anchor->staging_fd);
    if (targets->leftover != HF_LEFTOVER_TAKE_UP)
        return 0;
    /* Of two interrupted runs the later one counts, which took up what it came to. */
    before = open_subdirectory(anchor->staging_fd, BEFORE);
    if (before >= 0)
        staging_empty(before);
    if (before >= 0)
        close(before);
    if (renameat(anchor->staging_fd, TREE, anchor->staging_fd, BEFORE) && errno != ENOENT)
        return hf_error_set(error, HF_ERR_IO, errno, "can't set aside %s/%s/" TREE, anchor->path,
                            name);
    anchor->before_fd = open_subdirectory(anchor->staging_fd, BEFORE);
    return 0;
}

static int staging_make(struct hf_targets *targets, struct anchor *anchor, struct hf_error *error)
{
    char name[64];
    struct stat before;
    snprintf(name, sizeof(name), HF_STAGING_PREFIX "%llu", (unsigned long long)targets->job);
    bool timed = !fstat(anchor->fd, &before);
    bool made = !mkdirat(anchor->fd, name, 0700);
    if (made && timed)
        keep_time(anchor->fd, &before);
    if (!made && errno != EEXIST)
        return hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                            "can't make the working directory %s/%s", anchor->path, name);
    int result = staging_open(anchor->fd, name, anchor->path, &anchor->staging_fd, error);
    if (result)
        return result;
    /* A directory with the set-group-id bit hands its group to what is made in it. */
    if (fchown(anchor->staging_fd, (uid_t)-1, getegid()) || fchmod(anchor->staging_fd, 0700))
        return hf_error_set(error, HF_ERR_IO, errno, "can't prepare %s/%s", anchor->path, name);
    if (!made)
        result = take_leftover(targets, anchor, name, error);
    for (size_t i = 0; !result && i < HF_STAGING_SHARDS; i++) {
        char shard[24];
        snprintf(shard, sizeof(shard), "%zu", i);
        result = part_make(anchor, shard, name, &anchor->shard_fds[i], error);
    }
    return result ? result : part_make(anchor, TREE, name, &anchor->tree_fd, error);
}

static int open_all(struct hf_targets *targets, struct anchor *anchor, size_t index,
                    struct hf_error *error)
{
    if (anchor->tree_fd >= 0)
        return 0;
    int result = anchor_open(targets, index, HF_TARGETS_CREATE, error);
    if (!result)
        result = staging_make(targets, anchor, error);
    if (result)
        anchor_close_staging(anchor);
    return result;
}

void targets_expect(struct hf_targets *targets, enum hf_leftover leftover)
{
    targets->leftover = leftover;
}

int targets_before(const struct hf_targets *targets, size_t anchor)
{
    return targets->anchors[anchor].before_fd;
}

int targets_staging(struct hf_targets *targets, size_t index_of_anchor, uint64_t index, int *fd,
                    struct hf_error *error)
{
    struct anchor *anchor = &targets->anchors[index_of_anchor];
    int result = open_all(targets, anchor, index_of_anchor, error);
    *fd = anchor->shard_fds[targets_shard(index)];
    return result;
}

int targets_tree(struct hf_targets *targets, size_t index_of_anchor, int *fd,
                 struct hf_error *error)
{
    struct anchor *anchor = &targets->anchors[index_of_anchor];
    int result = open_all(targets, anchor, index_of_anchor, error);
    *fd = anchor->tree_fd;
    return result;
}

int targets_free_bytes(struct hf_targets *targets, size_t index, uint64_t *bytes,
                       struct hf_error *error)
{
    struct statvfs status;
    int fd;
    int result = targets_staging(targets, index, 0, &fd, error);
    if (result)
        return result;
    if (fstatvfs(fd, &status))
        return hf_error_set(error, HF_ERR_IO, errno, "can't ask how much room is at %s",
                            targets->anchors[index].path);
    fsblkcnt_t blocks = geteuid() == 0 ? status.f_bfree : status.f_bavail;
    if (__builtin_mul_overflow((uint64_t)blocks, (uint64_t)status.f_frsize, bytes))
        *bytes = UINT64_MAX;
    return 0;
}

void targets_remove_staging(struct hf_targets *targets)
{
    char name[64];
    snprintf(name, sizeof(name), HF_STAGING_PREFIX "%llu", (unsigned long long)targets->job);
    for (size_t i = 0; i < targets->anchor_count; i++) {
        struct anchor *anchor = &targets->anchors[i];
        int fd = anchor->staging_fd;
        /* Also one that could not be prepared, or that only an earlier run needed. */
        if (anchor->fd < 0 || (fd < 0 && staging_open(anchor->fd, name, anchor->path, &fd, NULL)))
            continue;
        staging_remove(anchor->fd, fd, targets->job);
        if (anchor->staging_fd < 0)
            close(fd);
        anchor_close_staging(anchor);
    }
}

void targets_remove_staging_at(const char *path, uint64_t job)
{
    char name[64];
    int dir_fd = -1;
    int staging_fd = -1;
    snprintf(name, sizeof(name), HF_STAGING_PREFIX "%llu", (unsigned long long)job);
    if (targets_open_directory(path, HF_TARGETS_LEAVE, &dir_fd, NULL))
        return;
    if (!staging_open(dir_fd, name, path, &staging_fd, NULL)) {
        staging_remove(dir_fd, staging_fd, job);
        close(staging_fd);
    }
    close(dir_fd);
}
