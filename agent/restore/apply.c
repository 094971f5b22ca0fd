#include "agent/restore/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/decide.h"
#include "agent/restore/metadata.h"
#include "agent/restore/siblings.h"
#include "agent/restore/stage.h"
#include "agent/restore/tree.h"
#include "common/log.h"

/* A directory of the plan between its making and its finishing, when its files are in place. */
struct directory {
    uint64_t index;
    dev_t dev;
    ino_t ino;
    bool ours_to_give; /* nobody could have put another one there that isn't his */
};

struct apply {
    const struct hf_apply_options *options;
    struct directory *directories; /* in the plan's order */
    size_t count, capacity;
    size_t at; /* of the next to be finished */
};

/* Whether a run that was interrupted after it has put this file into place: what was staged is gone
 * then, and what shall be there is there. The first alone proves nothing, for who may write to the
 * root can move the staging directory away. */
static bool was_placed(const struct hf_apply_options *options, const struct hf_version *version,
                       const struct hf_target *target)
{
    struct hf_metadata metadata;
    struct hf_local *local = NULL;
    enum hf_action action;
    if (!options->job->applied_before)
        return false;
    /* A database may have been used since, and something of that be beside it. */
    struct hf_version file = *version;
    file.flags &= ~(uint32_t)HF_VERSION_DATABASE;
    metadata_of(&options->rules, &file, &metadata);
    int result = decide_action(options->targets, &file, target, &metadata, &options->cutting,
                               HF_CONFLICT_REPLACE, &action, &local, NULL);
    local_free(local);
    return !result && action == HF_ACTION_IDENTICAL;
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
    case ENOENT:
        return hf_error_set(error, HF_ERR_CONFLICT, 0,
                            "what was staged for it is gone, and it isn't in place; somebody "
                            "else moved it, or changed the file since: restore again");
    default:
        return hf_error_set(error, HF_ERR_IO, failure, "can't put the file into place");
    }
}

/* A file or link of the plan. */
struct item {
    const struct hf_version *version;
    uint64_t index;
    struct hf_target target; /* where it belongs, and in the staged tree is */
    bool in_tree;
};

/* A file's way from the staging directory into place. */
struct move {
    struct hf_staged staged;
    int parent_fd;
    const char *name;
    unsigned flags; /* of renameat2 */
};

static bool rename_staged(const struct move *move)
{
    return !renameat2(move->staged.dir_fd, move->staged.name, move->parent_fd, move->name,
                      move->flags);
}

static int move_file(const struct hf_apply_options *options, const struct item *item,
                     const struct hf_target *target, const struct move *move,
                     struct hf_error *error)
{
    if (rename_staged(move))
        return 0;
    int failure = errno;
    /* A directory of the staged tree has the mode that it should have in place, which may keep
     * whoever isn't root from taking something out of it. */
    bool again = failure == EACCES && geteuid() != 0 && !fchmod(move->staged.dir_fd, 0700);
    again = again || ((failure == EISDIR || failure == EEXIST) && !move->flags &&
                      !unlinkat(move->parent_fd, move->name, AT_REMOVEDIR));
    if (again) {
        if (rename_staged(move))
            return 0;
        failure = errno;
    }
    if (failure == ENOENT && was_placed(options, item->version, target))
        return 0;
    if (failure == EEXIST && move->flags)
        return hf_error_set(error, HF_ERR_EXISTS, failure,
                            "something came into being where the file should be");
    return explain_rename(failure, error);
}

static bool is_there(int dir_fd, const char *name)
{
    struct stat status;
    return !fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW);
}

/* What lies beside the database goes first; but not if the database won't move: because it may not
 * replace what is there, or because it has moved already and this is beside it. */
static int move_database(const struct hf_apply_options *options, const struct item *item,
                         const struct hf_target *target, const struct move *move,
                         struct hf_error *error)
{
    struct siblings siblings;
    int shard_fd;
    if (!is_there(move->staged.dir_fd, move->staged.name) ||
        (move->flags && is_there(move->parent_fd, move->name)))
        return move_file(options, item, target, move, error);
    int result = targets_staging(options->targets, target->anchor, item->index, &shard_fd, error);
    if (!result)
        result =
            siblings_take(move->parent_fd, move->name, shard_fd, item->index, &siblings, error);
    if (result)
        return result;
    result = move_file(options, item, target, move, error);
    if (result)
        siblings_return(&siblings);
    else
        siblings_leave(&siblings);
    if (!result && siblings.in_use)
        job_remark(options->job, item->index,
                   "a process has the database open and goes on with the one that was there; "
                   "restart it");
    return result;
}

static int place_file(const struct hf_apply_options *options, const struct item *item,
                      const struct hf_target *target, struct hf_error *error)
{
    struct move move;
    int result = stage_find(options->targets, &item->target, item->index, item->in_tree,
                            &move.staged, error);
    if (!result)
        result = targets_open_parent(options->targets, target, HF_TARGETS_CREATE, &move.parent_fd,
                                     &move.name, error);
    if (result)
        return result;
    /* Only the rule `replace` may take what came into being since the decision. */
    move.flags = options->job->offer.conflict == HF_CONFLICT_REPLACE ? 0 : RENAME_NOREPLACE;
    return item->version->flags & HF_VERSION_DATABASE
               ? move_database(options, item, target, &move, error)
               : move_file(options, item, target, &move, error);
}

static int remember(struct apply *apply, const struct directory *directory, struct hf_error *error)
{
    if (apply->count == apply->capacity) {
        size_t capacity = apply->capacity > 0 ? 2 * apply->capacity : 64;
        struct directory *grown = realloc(apply->directories, capacity * sizeof(*grown));
        if (!grown)
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
        apply->directories = grown;
        apply->capacity = capacity;
    }
    apply->directories[apply->count++] = *directory;
    return 0;
}

/* Only the agent's own, empty directories are given away here: who writes to the one above may have
 * put something else there meanwhile. Mode 0700 until its files are in. */
static int take_directory(struct apply *apply, const struct hf_version *version, int parent_fd,
                          const char *name, uint64_t index, struct hf_error *error)
{
    struct hf_metadata metadata;
    struct stat status;
    int result = 0;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status)) {
        result = hf_error_set(error, HF_ERR_IO, errno, "can't open the directory");
        if (fd >= 0)
            close(fd);
        return result;
    }
    metadata_of(&apply->options->rules, version, &metadata);
    bool fresh = targets_is_fresh(fd);
    bool is_root = !strcmp(name, "."); /* which the administrator named */
    if (fresh && geteuid() == 0 && fchown(fd, metadata.uid, metadata.gid))
        result = hf_error_set(error, HF_ERR_IO, errno, "can't set the owner");
    close(fd);
    struct directory directory = {.index = index,
                                  .dev = status.st_dev,
                                  .ino = status.st_ino,
                                  .ours_to_give =
                                      fresh || is_root || targets_is_guarded(parent_fd)};
    return result ? result : remember(apply, &directory, error);
}

static int make_directory(struct apply *apply, const struct hf_version *version,
                          const struct hf_target *target, uint64_t index, struct hf_error *error)
{
    const char *name;
    int parent_fd;
    bool kept = apply->options->job->actions[index] == HF_ACTION_DIRECTORY_KEPT;
    int result =
        targets_open_parent(apply->options->targets, target,
                            kept ? HF_TARGETS_LEAVE : HF_TARGETS_CREATE, &parent_fd, &name, error);
    if (!result && !kept && mkdirat(parent_fd, name, 0700) && errno != EEXIST)
        result = hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                              "can't make the directory");
    return result ? result : take_directory(apply, version, parent_fd, name, index, error);
}

static int give_metadata(const struct apply *apply, const struct directory *directory,
                         const struct hf_version *version, int fd, struct hf_error *error)
{
    struct hf_metadata metadata;
    struct stat status;
    metadata_of(&apply->options->rules, version, &metadata);
    if (fstat(fd, &status))
        return hf_error_set(error, HF_ERR_IO, errno, "can't look at it");
    if (status.st_dev != directory->dev || status.st_ino != directory->ino)
        return hf_error_set(error, HF_ERR_CONFLICT, 0,
                            "it was exchanged for another directory during the restore; restore "
                            "again");
    if (!directory->ours_to_give && !metadata_owner_matches(&metadata, &status))
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "it belongs to user %u and shall belong to user %u; it isn't given "
                            "away because who can write to the directory that holds it may have "
                            "put it there. Change its owner or remove it, and restore again",
                            (unsigned)status.st_uid, (unsigned)metadata.uid);
    struct hf_error shortfall = {0};
    int result = metadata_set(fd, &metadata, &status, &shortfall, error);
    if (!result && shortfall.code)
        job_remark(apply->options->job, directory->index, shortfall.message);
    return result;
}

static int complete_directory(struct apply *apply, const struct hf_version *version,
                              const struct hf_target *target, uint64_t index,
                              struct hf_error *error)
{
    const char *name;
    int parent_fd;
    while (apply->at < apply->count && apply->directories[apply->at].index < index)
        apply->at++;
    if (apply->at == apply->count || apply->directories[apply->at].index != index)
        return hf_error_set(error, HF_ERR_IO, 0, "it could not be made");
    int result = targets_open_parent(apply->options->targets, target, HF_TARGETS_LEAVE, &parent_fd,
                                     &name, error);
    if (result)
        return result;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't open it to set its mode and times");
    result = give_metadata(apply, &apply->directories[apply->at], version, fd, error);
    close(fd);
    return result;
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

static int place_by_rule(const struct hf_apply_options *options, const struct item *item,
                         struct hf_error *error)
{
    struct hf_job *job = options->job;
    bool beside = job->actions[item->index] == HF_ACTION_BESIDE;
    int result = beside ? 0 : place_file(options, item, &item->target, error);
    if (result == HF_ERR_EXISTS && job->offer.conflict == HF_CONFLICT_SKIP) {
        job->actions[item->index] = HF_ACTION_SKIPPED;
        return 0;
    }
    if (beside || result == HF_ERR_EXISTS) {
        struct hf_target other = item->target;
        beside = true;
        if (!rename_beside(&other, job->id))
            return hf_error_set(error, HF_ERR_LIMIT, 0,
                                "the name is too long to put a restored file beside it");
        result = place_file(options, item, &other, error);
    }
    if (!result)
        job->actions[item->index] = beside ? HF_ACTION_RENAMED : HF_ACTION_RESTORED;
    return result;
}

/* What was staged in a tree and isn't there any more has been moved with a directory above it. */
static int place_tree_file(const struct hf_apply_options *options, const struct item *item,
                           struct hf_error *error)
{
    struct hf_job *job = options->job;
    if (!tree_has_left(options->targets, &item->target))
        return place_by_rule(options, item, error);
    bool there = job->applied_before ? was_placed(options, item->version, &item->target)
                                     : tree_arrived(options->targets, &item->target, item->version);
    if (!there)
        return explain_rename(ENOENT, error);
    job->actions[item->index] = HF_ACTION_RESTORED;
    return 0;
}

/* As a whole if nothing is in its place; else it is made, and what is in the tree put into it. */
static int place_tree(struct apply *apply, const struct hf_version *version,
                      const struct hf_target *target, uint64_t index, struct hf_error *error)
{
    const struct hf_apply_options *options = apply->options;
    struct hf_job *job = options->job;
    struct hf_error why = {0};
    struct stat moved;
    int result = tree_move(options->targets, target, &moved, &why);
    if (!result) {
        const struct directory directory = {index, moved.st_dev, moved.st_ino, true};
        return remember(apply, &directory, error);
    }
    if (result == HF_ERR_NOT_FOUND && !job->applied_before &&
        tree_arrived(options->targets, target, version)) {
        job->actions[index] = HF_ACTION_RESTORED;
        return 0;
    }
    job->actions[index] = HF_ACTION_DIRECTORY;
    return make_directory(apply, version, target, index, error);
}

static void apply_one(void *context, const struct hf_version *version, uint64_t index)
{
    struct apply *apply = context;
    const struct hf_apply_options *options = apply->options;
    struct hf_job *job = options->job;
    enum hf_action action = (enum hf_action)job->actions[index];
    struct item item = {.version = version, .index = index};
    struct hf_error error = {0};
    int result = 0;
    item.in_tree = action == HF_ACTION_TREE_FILE;
    switch (action) {
    case HF_ACTION_FILE:
    case HF_ACTION_BESIDE:
    case HF_ACTION_TREE_FILE:
    case HF_ACTION_DIRECTORY:
    case HF_ACTION_DIRECTORY_KEPT:
    case HF_ACTION_TREE:
        result = targets_locate(options->targets, version, &item.target, &error);
        break;
    default:
        return;
    }
    if (!result && action == HF_ACTION_TREE)
        result = place_tree(apply, version, &item.target, index, &error);
    else if (!result && item.in_tree)
        result = place_tree_file(options, &item, &error);
    else if (!result && (action == HF_ACTION_FILE || action == HF_ACTION_BESIDE))
        result = place_by_rule(options, &item, &error);
    /* A directory's metadata is set, and its outcome known, when what is in it is in place. */
    else if (!result)
        result = make_directory(apply, version, &item.target, index, &error);
    if (result)
        job_fail(job, index, error.message);
}

/* What had to wait until everything is in place. */
static void finish_one(void *context, const struct hf_version *version, uint64_t index)
{
    struct apply *apply = context;
    const struct hf_apply_options *options = apply->options;
    struct hf_job *job = options->job;
    bool kept = job->actions[index] == HF_ACTION_DIRECTORY_KEPT;
    struct hf_error error = {0};
    struct hf_target target;
    if (!kept && job->actions[index] != HF_ACTION_DIRECTORY &&
        job->actions[index] != HF_ACTION_TREE)
        return;
    int result = targets_locate(options->targets, version, &target, &error);
    if (!result)
        result = complete_directory(apply, version, &target, index, &error);
    if (result) {
        job_fail(job, index, error.message);
        return;
    }
    job->actions[index] = kept ? HF_ACTION_IDENTICAL : HF_ACTION_RESTORED;
}

int apply_job(const struct hf_apply_options *options, struct hf_error *error)
{
    struct apply apply = {.options = options};
    targets_forget(options->targets);
    int result = job_plan_walk(options->job, options->job->count, apply_one, &apply, error);
    uint64_t end = apply.count > 0 ? apply.directories[apply.count - 1].index + 1 : 0;
    if (!result)
        result = job_plan_walk(options->job, end, finish_one, &apply, error);
    /* Promise 1's twin for restores: what is reported as restored survives a power cut. */
    if (!result)
        result = targets_sync(options->targets, error);
    free(apply.directories);
    return result;
}

struct telling {
    const struct hf_apply_options *options;
    void (*placed)(void *context, const char *path, const struct hf_version *version);
    void *context;
};

static void target_path(const struct hf_apply_options *options, const struct hf_target *target,
                        char out[2 * 4096 + 2])
{
    const char *anchor = targets_anchor_path(options->targets, target->anchor);
    snprintf(out, 2 * 4096 + 2, "%s%s%s", anchor + 1, anchor[1] && target->path[0] ? "/" : "",
             target->path);
}

static void tell_one(void *context, const struct hf_version *version, uint64_t index)
{
    const struct telling *telling = context;
    struct hf_job *job = telling->options->job;
    enum hf_action action = (enum hf_action)job->actions[index];
    /* A directory that was there and is made to be as the version says, its times last. */
    bool kept = action == HF_ACTION_IDENTICAL && version->type == HF_FILE_DIRECTORY &&
                job->offer.conflict == HF_CONFLICT_REPLACE;
    struct hf_target target;
    char path[2 * 4096 + 2];
    if ((action != HF_ACTION_RESTORED && action != HF_ACTION_RENAMED && !kept) ||
        targets_locate(telling->options->targets, version, &target, NULL) ||
        (action == HF_ACTION_RENAMED && !rename_beside(&target, job->id)))
        return;
    target_path(telling->options, &target, path);
    telling->placed(telling->context, path, version);
}

int apply_tell(const struct hf_apply_options *options,
               void (*placed)(void *context, const char *path, const struct hf_version *version),
               void *context, struct hf_error *error)
{
    struct telling telling = {.options = options, .placed = placed, .context = context};
    return job_plan_walk(options->job, options->job->count, tell_one, &telling, error);
}
