#include "agent/restore/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/fs.h"

int tree_add(struct hf_targets *targets, const struct hf_target *target, struct hf_error *error)
{
    const char *name;
    int dir_fd;
    int result = targets_open_staged(targets, target, HF_TARGETS_CREATE, &dir_fd, &name, error);
    if (result || !mkdirat(dir_fd, name, 0700))
        return result;
    int failure = errno;
    struct stat status;
    /* The plan may name it twice. */
    if (failure == EEXIST && !fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) &&
        S_ISDIR(status.st_mode))
        return 0;
    bool full = failure == ENOSPC || failure == EDQUOT;
    return hf_error_set(error, full ? HF_ERR_NO_SPACE : HF_ERR_IO, failure,
                        "making a directory for the restore failed; nothing was changed");
}

void tree_take_up(struct hf_targets *targets, const struct hf_target *target)
{
    const char *name, *staged;
    struct stat status;
    int before_fd = targets_before(targets, target->anchor), dir_fd, from_fd;
    if (before_fd < 0 || hf_open_parent_beneath(before_fd, target->path, &from_fd, &name, NULL))
        return;
    /* What is one of several names could be written through. */
    if (!fstatat(from_fd, name, &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode) &&
        status.st_nlink == 1 && !fchmod(from_fd, 0700) &&
        !targets_open_staged(targets, target, HF_TARGETS_LEAVE, &dir_fd, &staged, NULL))
        renameat(from_fd, name, dir_fd, staged);
    close(from_fd);
}

bool tree_holds(struct hf_targets *targets, const struct hf_target *target)
{
    const char *name;
    int dir_fd;
    return targets_open_parent(targets, target, HF_TARGETS_LEAVE, &dir_fd, &name, NULL) ==
               HF_ERR_NOT_FOUND &&
           !targets_open_staged(targets, target, HF_TARGETS_LEAVE, &dir_fd, &name, NULL);
}

static int open_directory(int dir_fd, const char *name, struct stat *status, int *out,
                          struct hf_error *error)
{
    *out = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*out >= 0 && !fstat(*out, status))
        return 0;
    int failure = errno;
    if (*out >= 0)
        close(*out);
    return hf_error_set(error, failure == ENOENT ? HF_ERR_NOT_FOUND : HF_ERR_IO, failure,
                        "can't open the staged directory");
}

struct finishing {
    struct hf_job *job;
    struct hf_targets *targets;
    const struct hf_metadata_rules *rules;
};

static void finish_one(void *context, const struct hf_version *version, uint64_t index)
{
    const struct finishing *finishing = context;
    struct hf_job *job = finishing->job;
    struct hf_error error = {0}, shortfall = {0};
    struct hf_metadata metadata;
    struct hf_target target;
    struct stat status;
    const char *name;
    int dir_fd, fd;
    if (job->actions[index] != HF_ACTION_TREE)
        return;
    int result = targets_locate(finishing->targets, version, &target, &error);
    if (!result)
        result = targets_open_staged(finishing->targets, &target, HF_TARGETS_LEAVE, &dir_fd, &name,
                                     &error);
    if (!result)
        result = open_directory(dir_fd, name, &status, &fd, &error);
    if (result) {
        job_fail(job, index, error.message);
        return;
    }
    metadata_of(finishing->rules, version, &metadata);
    if (metadata_set(fd, &metadata, &status, &shortfall, &error))
        job_fail(job, index, error.message);
    else if (shortfall.code)
        job_remark(job, index, shortfall.message);
    close(fd);
}

int tree_finish(struct hf_job *job, struct hf_targets *targets,
                const struct hf_metadata_rules *rules, struct hf_error *error)
{
    struct finishing finishing = {job, targets, rules};
    return job_plan_walk(job, job->count, finish_one, &finishing, error);
}

bool tree_has_left(struct hf_targets *targets, const struct hf_target *target)
{
    const char *name;
    struct stat status;
    int dir_fd;
    int result = targets_open_staged(targets, target, HF_TARGETS_LEAVE, &dir_fd, &name, NULL);
    return result == HF_ERR_NOT_FOUND ||
           (!result && fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) && errno == ENOENT);
}

bool tree_arrived(struct hf_targets *targets, const struct hf_target *target,
                  const struct hf_version *version)
{
    const char *name;
    struct stat status;
    int dir_fd;
    if (targets_open_parent(targets, target, HF_TARGETS_LEAVE, &dir_fd, &name, NULL) ||
        fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW))
        return false;
    return (status.st_mode & S_IFMT) == hf_file_kind(version->type);
}

/* Where nothing may be. File systems that can't promise that (NFS, for one) are asked first: there
 * an empty directory that appears just then is replaced, nothing else. */
static int rename_directory(int dir_fd, const char *staged, int parent_fd, const char *name)
{
    struct stat status;
    if (!renameat2(dir_fd, staged, parent_fd, name, RENAME_NOREPLACE))
        return 0;
    if (errno != EINVAL)
        return -1;
    if (!fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW))
        errno = EEXIST;
    return errno == ENOENT ? renameat(dir_fd, staged, parent_fd, name) : -1;
}

int tree_move(struct hf_targets *targets, const struct hf_target *target, struct stat *moved,
              struct hf_error *error)
{
    const char *name, *staged;
    int dir_fd, parent_fd, fd;
    int result = targets_open_staged(targets, target, HF_TARGETS_LEAVE, &dir_fd, &staged, error);
    /* Whoever isn't root has to be able to open what he moves and to write to it: ".." in it
     * changes. Its mode is set once more when it is in place. */
    if (!result && geteuid() != 0 && fchmodat(dir_fd, staged, 0700, 0) && errno != ENOENT)
        result = hf_error_set(error, HF_ERR_IO, errno, "can't open the staged directory");
    if (!result)
        result = open_directory(dir_fd, staged, moved, &fd, error);
    if (result)
        return result;
    result = targets_open_parent(targets, target, HF_TARGETS_CREATE, &parent_fd, &name, error);
    if (!result && rename_directory(dir_fd, staged, parent_fd, name))
        result = hf_error_set(error, HF_ERR_IO, errno, "can't put the directory into place");
    close(fd);
    if (!result)
        targets_forget(targets); /* what was known to be missing is there, what was staged is not */
    return result;
}
