#include "agent/restore/decide.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/restore/siblings.h"
#include "common/chunker.h"
#include "common/device.h"
#include "common/fs.h"

/* A file that many times as long as what is wanted is not searched for parts of it: it may be one
 * endless hole. */
#define LOCAL_RATIO_MAX 4u

static const char *kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "a file";
    case S_IFDIR:
        return "a directory";
    case S_IFLNK:
        return "a symbolic link";
    case S_IFSOCK:
        return "a socket";
    case S_IFIFO:
        return "a pipe";
    default:
        return "a device";
    }
}

/* Something else is there. */
static enum hf_action by_rule(enum hf_conflict conflict)
{
    return conflict == HF_CONFLICT_SKIP     ? HF_ACTION_SKIPPED
           : conflict == HF_CONFLICT_RENAME ? HF_ACTION_BESIDE
                                            : HF_ACTION_FILE;
}

static int in_the_way(const struct hf_version *version, mode_t mode, struct hf_error *error)
{
    return hf_error_set(error, HF_ERR_CONFLICT, 0,
                        "%s is where %s should be; move it away and restore again", kind_of(mode),
                        version->type == HF_FILE_DIRECTORY ? "the directory"
                        : hf_file_is_device(version->type) ? "the device"
                                                           : "the file");
}

/* Chunks of the file that is there, when it may hold some that are needed. */
static struct hf_local *cut_present(int parent_fd, const char *name, const struct stat *status,
                                    const struct hf_version *version,
                                    const struct hf_cutting *cutting)
{
    uint64_t size = (uint64_t)status->st_size;
    /* A short file is one chunk: of another length it can't be the one that is wanted. */
    bool single = version->refs.size == HF_CHUNK_REF_BYTES || size <= HF_CHUNK_SINGLE_MAX_BYTES;
    if (size == 0 || version->size == 0 || (single && size != version->size) ||
        size / LOCAL_RATIO_MAX > version->size)
        return NULL;
    int fd = hf_open_quietly(parent_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct hf_local *local = local_cut(fd, status, version, cutting);
    if (!local)
        close(fd);
    return local;
}

static void decide_regular(const struct hf_version *version, const struct hf_metadata *metadata,
                           const struct hf_cutting *cutting, enum hf_conflict conflict,
                           int parent_fd, const char *name, const struct stat *status,
                           enum hf_action *action, struct hf_local **local)
{
    *local = cut_present(parent_fd, name, status, version, cutting);
    bool same_size = (uint64_t)status->st_size == version->size;
    bool same = same_size && (version->size == 0 || (*local && local_equals(*local, version)));
    /* Where only mode, owner or times differ the file is made anew too: what is there may be
     * exchanged for another file, or written to, before they are set. */
    same = same && metadata_matches(metadata, status) &&
           metadata_xattrs_match(metadata, parent_fd, name);
    if (version->flags & HF_VERSION_DATABASE)
        same = same && !siblings_count(parent_fd, name);
    *action = same ? HF_ACTION_IDENTICAL : by_rule(conflict);
}

static void decide_symlink(const struct hf_version *version, const struct hf_metadata *metadata,
                           enum hf_conflict conflict, int parent_fd, const char *name,
                           const struct stat *status, enum hf_action *action)
{
    char target[4096];
    ssize_t size = readlinkat(parent_fd, name, target, sizeof(target));
    bool same = size >= 0 && (size_t)size == version->target.size &&
                !memcmp(target, version->target.data, version->target.size) &&
                metadata_link_matches(metadata, status) &&
                metadata_xattrs_match(metadata, parent_fd, name);
    *action = same ? HF_ACTION_IDENTICAL : by_rule(conflict);
}

static void decide_device(const struct hf_version *version, const struct hf_metadata *metadata,
                          enum hf_conflict conflict, int parent_fd, const char *name,
                          const struct stat *status, enum hf_action *action)
{
    bool same = hf_device_is(status, hf_file_kind(version->type), version->target) &&
                metadata_matches(metadata, status) &&
                metadata_xattrs_match(metadata, parent_fd, name);
    *action = same ? HF_ACTION_IDENTICAL : by_rule(conflict);
}

static void decide_directory(const struct hf_metadata *metadata, enum hf_conflict conflict,
                             int parent_fd, const char *name, const struct stat *status,
                             enum hf_action *action)
{
    bool same =
        metadata_matches(metadata, status) && metadata_xattrs_match(metadata, parent_fd, name);
    if (conflict == HF_CONFLICT_REPLACE)
        *action = same ? HF_ACTION_DIRECTORY_KEPT : HF_ACTION_DIRECTORY;
    else if (same || conflict == HF_CONFLICT_RENAME)
        *action = HF_ACTION_IDENTICAL; /* there is no second directory beside a directory */
    else
        *action = HF_ACTION_SKIPPED;
}

int decide_action(struct hf_targets *targets, const struct hf_version *version,
                  const struct hf_target *target, const struct hf_metadata *metadata,
                  const struct hf_cutting *cutting, enum hf_conflict conflict,
                  enum hf_action *action, struct hf_local **local, struct hf_error *error)
{
    struct stat status;
    const char *name;
    int parent_fd;
    *local = NULL;
    if (version->type == HF_FILE_ABSENT) {
        *action = HF_ACTION_NONE;
        return 0;
    }
    /* The directory that everything is resolved beneath is no tree: it holds the staging directory.
     */
    *action = version->type != HF_FILE_DIRECTORY ? HF_ACTION_FILE
              : target->path[0]                  ? HF_ACTION_TREE
                                                 : HF_ACTION_DIRECTORY;
    int result = targets_open_parent(targets, target, HF_TARGETS_LEAVE, &parent_fd, &name, error);
    if (result == HF_ERR_NOT_FOUND)
        return 0;
    if (result)
        return result;
    if (fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW)) {
        if (errno == ENOENT)
            return 0;
        return hf_error_set(error, HF_ERR_IO, errno, "can't look at what is there");
    }

    bool is_file = S_ISREG(status.st_mode), is_link = S_ISLNK(status.st_mode);
    bool is_device = S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
    if (version->type == HF_FILE_DIRECTORY) {
        if (!S_ISDIR(status.st_mode))
            return in_the_way(version, status.st_mode, error);
        decide_directory(metadata, conflict, parent_fd, name, &status, action);
    } else if (version->type == HF_FILE_REGULAR && is_file) {
        decide_regular(version, metadata, cutting, conflict, parent_fd, name, &status, action,
                       local);
    } else if (version->type == HF_FILE_SYMLINK && is_link) {
        decide_symlink(version, metadata, conflict, parent_fd, name, &status, action);
    } else if (hf_file_is_device(version->type) && is_device) {
        decide_device(version, metadata, conflict, parent_fd, name, &status, action);
    } else {
        *action = by_rule(conflict);
        /* An empty directory gives way when the time comes; pipes and sockets never do, and
         * devices to other devices alone. */
        if (*action == HF_ACTION_FILE && !is_file && !is_link && !S_ISDIR(status.st_mode))
            return in_the_way(version, status.st_mode, error);
    }
    return 0;
}
