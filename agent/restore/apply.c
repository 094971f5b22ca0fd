#include "agent/restore/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/restore/metadata.h"
#include "agent/restore/stage.h"
#include "common/log.h"

/* A staged file that is no longer in the staging directory has been put into place by a run that
 * was interrupted after it. */
static bool was_placed(int failure, int staging_fd, const char *staged)
{
    struct stat status;
    return failure == ENOENT && fstatat(staging_fd, staged, &status, AT_SYMLINK_NOFOLLOW) &&
           errno == ENOENT;
}

static int explain_rename(int failure, struct hf_error *error)
{
    switch (failure) {
    case EEXIST:
    case EISDIR:
    case ENOTEMPTY:
    case ENOTDIR:
        return hf_error_set(error, HF_ERR_CONFLICT, 0,
                            "a directory that is not empty is where the file should be; move it "
                            "away and restore again");
    case EXDEV:
        return hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                            "another file system is mounted within the restore root; name the "
                            "mount point in restore_root too");
    default:
        return hf_error_set(error, HF_ERR_IO, failure, "can't put the file into place");
    }
}

static int place_file(const struct hf_apply_options *options, const struct hf_target *target,
                      uint64_t index, struct hf_error *error)
{
    char staged[HF_STAGED_NAME_BYTES];
    const char *name;
    int parent_fd, staging_fd;
    stage_name(index, staged);
    int result = targets_staging(options->targets, target->anchor, index, &staging_fd, error);
    if (!result)
        result = targets_open_parent(options->targets, target, HF_TARGETS_CREATE, &parent_fd, &name,
                                     error);
    if (result)
        return result;
    /* With the rule `skip`, what came into being since the decision is left alone too. */
    unsigned flags = options->job->offer.conflict == HF_CONFLICT_SKIP ? RENAME_NOREPLACE : 0;
    if (!renameat2(staging_fd, staged, parent_fd, name, flags))
        return 0;
    int failure = errno;
    if ((failure == EISDIR || failure == EEXIST) && !flags &&
        !unlinkat(parent_fd, name, AT_REMOVEDIR)) {
        if (!renameat2(staging_fd, staged, parent_fd, name, flags))
            return 0;
        failure = errno;
    }
    if (was_placed(failure, staging_fd, staged))
        return 0;
    if (failure == EEXIST && flags) {
        options->job->actions[index] = HF_ACTION_SKIPPED;
        return 0;
    }
    return explain_rename(failure, error);
}

static int set_metadata(const struct hf_apply_options *options, const struct hf_version *version,
                        const struct hf_target *target, int open_flags, struct hf_error *error)
{
    struct hf_metadata metadata;
    struct stat status;
    const char *name;
    int parent_fd;
    int result =
        targets_open_parent(options->targets, target, HF_TARGETS_LEAVE, &parent_fd, &name, error);
    if (result)
        return result;
    int fd = openat(parent_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | open_flags);
    if (fd < 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't open it to set its mode and times");
    metadata_of(options->owners, version, &metadata);
    if (fstat(fd, &status))
        result = hf_error_set(error, HF_ERR_IO, errno, "can't look at it");
    else if (!open_flags && !S_ISREG(status.st_mode))
        result = hf_error_set(error, HF_ERR_CONFLICT, 0, "it is no file any more");
    else
        result = metadata_set(fd, &metadata, &status, error);
    close(fd);
    return result;
}

static int make_directory(const struct hf_apply_options *options, const struct hf_target *target,
                          struct hf_error *error)
{
    const char *name;
    int parent_fd;
    int result =
        targets_open_parent(options->targets, target, HF_TARGETS_CREATE, &parent_fd, &name, error);
    /* 0700 until its files are in: its own mode comes with its times, at the end. */
    if (!result && mkdirat(parent_fd, name, 0700) && errno != EEXIST)
        result = hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                              "can't make the directory");
    return result;
}

static void target_path(const struct hf_apply_options *options, const struct hf_target *target,
                        char out[2 * 4096 + 2])
{
    const char *anchor = targets_anchor_path(options->targets, target->anchor);
    snprintf(out, 2 * 4096 + 2, "%s%s%s", anchor + 1, anchor[1] && target->path[0] ? "/" : "",
             target->path);
}

/* The last component of path becomes NAME.restored-JOB; false when that is too long a name. */
static bool rename_beside(struct hf_target *target, uint64_t job)
{
    char suffix[64];
    int length = snprintf(suffix, sizeof(suffix), ".restored-%llu", (unsigned long long)job);
    const char *slash = strrchr(target->path, '/');
    size_t name = strlen(slash ? slash + 1 : target->path);
    if (name + (size_t)length > 255 ||
        strlen(target->path) + (size_t)length >= sizeof(target->path))
        return false;
    memcpy(target->path + strlen(target->path), suffix, (size_t)length + 1);
    return true;
}

static void apply_one(const struct hf_apply_options *options, const struct hf_version *version,
                      uint64_t index)
{
    struct hf_job *job = options->job;
    enum hf_action action = (enum hf_action)job->actions[index];
    struct hf_error error = {0};
    struct hf_target target;
    if (action != HF_ACTION_FILE && action != HF_ACTION_BESIDE && action != HF_ACTION_METADATA &&
        action != HF_ACTION_DIRECTORY)
        return;
    int result = targets_locate(options->targets, version, &target, &error);
    if (!result && action == HF_ACTION_BESIDE && !rename_beside(&target, job->id))
        result = hf_error_set(&error, HF_ERR_LIMIT, 0,
                              "the name is too long to put a restored file beside it");
    if (!result && action == HF_ACTION_DIRECTORY) {
        /* Its metadata is set, and its outcome known, when all that is in it is in place. */
        result = make_directory(options, &target, &error);
    } else if (!result) {
        result = action == HF_ACTION_METADATA ? set_metadata(options, version, &target, 0, &error)
                                              : place_file(options, &target, index, &error);
        if (!result && job->actions[index] == (uint8_t)action) {
            job->actions[index] =
                action == HF_ACTION_BESIDE ? HF_ACTION_RENAMED : HF_ACTION_RESTORED;
            if (options->placed) {
                char path[2 * 4096 + 2];
                target_path(options, &target, path);
                options->placed(options->context, path, version);
            }
        }
    }
    if (result)
        job_fail(job, index, error.message);
}

static void finish_directory(const struct hf_apply_options *options,
                             const struct hf_version *version, uint64_t index)
{
    struct hf_job *job = options->job;
    bool kept = job->actions[index] == HF_ACTION_DIRECTORY_KEPT;
    struct hf_error error = {0};
    struct hf_target target;
    if (!kept && job->actions[index] != HF_ACTION_DIRECTORY)
        return;
    int result = targets_locate(options->targets, version, &target, &error);
    if (!result)
        result = set_metadata(options, version, &target, O_DIRECTORY, &error);
    if (result) {
        job_fail(job, index, error.message);
        return;
    }
    job->actions[index] = kept ? HF_ACTION_IDENTICAL : HF_ACTION_RESTORED;
    if (options->placed) {
        char path[2 * 4096 + 2];
        target_path(options, &target, path);
        options->placed(options->context, path, version);
    }
}

static int walk_plan(const struct hf_apply_options *options,
                     void (*visit)(const struct hf_apply_options *options,
                                   const struct hf_version *version, uint64_t index),
                     struct hf_error *error)
{
    struct hf_buf buf = {0};
    struct hf_version version;
    int result = job_plan_rewind(options->job, error);
    for (uint64_t i = 0; !result && i < options->job->count; i++) {
        result = job_plan_next(options->job, &buf, &version, error);
        if (!result)
            visit(options, &version, i);
        else if (result == HF_ERR_NOT_FOUND)
            hf_error_set(error, HF_ERR_CORRUPT, 0, "the restore's plan ends too soon");
    }
    hf_buf_free(&buf);
    return result;
}

int apply_job(const struct hf_apply_options *options, struct hf_error *error)
{
    targets_forget(options->targets);
    int result = walk_plan(options, apply_one, error);
    if (!result)
        result = walk_plan(options, finish_directory, error);
    /* Promise 1's twin for restores: what is reported as restored survives a power cut. */
    if (!result)
        result = targets_sync(options->targets, error);
    return result;
}
