#include "agent/restore/targets_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"

#define DIRECTORY_MODE 0755 /* of what has to be made and is in no version */
/* Of an error's message, with room for the rest of it. */
#define ROOTS_TEXT_BYTES 200
#define PATH_TEXT_BYTES  150

/* An absolute path without trailing '/', or NULL with the reason. */
static char *normal_path(const char *path, struct hf_error *error)
{
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    if (path[0] != '/' || (length > 1 && hf_path_check_relative(path + 1, length - 1, error))) {
        hf_error_set(error, HF_ERR_INVALID, 0,
                     "%s is not an absolute path without . and .. components", path);
        return NULL;
    }
    char *copy = strndup(path, length);
    if (!copy)
        hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a path");
    return copy;
}

/* Where path goes on after root: "" when they are the same, NULL when it isn't beneath. */
static const char *beneath(const char *root, const char *path)
{
    size_t length = strlen(root);
    if (strncmp(path, root, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
    return path[length] == '/' ? path + length + 1 : path + length;
}

/* Whole paths only, as many as there is room for: half of one would name another place. */
static void roots_text(const struct hf_targets *targets, char out[ROOTS_TEXT_BYTES])
{
    const size_t end_bytes = sizeof(", and 18446744073709551615 more");
    size_t used = 0, named = 0;
    out[0] = '\0';
    for (; named < targets->root_count; named++) {
        const char *root = targets->roots[named][0] ? targets->roots[named] : "/";
        if (used + 2 + strlen(root) + end_bytes > ROOTS_TEXT_BYTES)
            break;
        used += (size_t)snprintf(out + used, ROOTS_TEXT_BYTES - used, "%s%s", named > 0 ? ", " : "",
                                 root);
    }
    if (targets->root_count == 0)
        snprintf(out, ROOTS_TEXT_BYTES, "there is none");
    else if (named == 0)
        snprintf(out, ROOTS_TEXT_BYTES, "there are %zu of long names", targets->root_count);
    else if (named < targets->root_count)
        snprintf(out + used, ROOTS_TEXT_BYTES - used, ", and %zu more",
                 targets->root_count - named);
}

static int denied(const struct hf_targets *targets, const char *path, struct hf_error *error)
{
    char roots[ROOTS_TEXT_BYTES];
    roots_text(targets, roots);
    return hf_error_set(error, HF_ERR_DENIED, 0,
                        "%.*s%s is not beneath a restore root of this host (%s); its administrator "
                        "can allow it with restore_root in the agent's configuration",
                        PATH_TEXT_BYTES, path, strlen(path) > PATH_TEXT_BYTES ? "..." : "", roots);
}

int targets_new(const char *const *roots, size_t root_count, const char *destination, uint64_t job,
                struct hf_targets **out, struct hf_error *error)
{
    struct hf_targets *targets = calloc(1, sizeof(*targets));
    if (!targets)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    targets->job = job;
    int result = HF_ERR_INVALID;
    targets->roots = calloc(root_count + 1, sizeof(*targets->roots));
    if (!targets->roots) {
        result = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
        goto fail;
    }
    for (; targets->root_count < root_count; targets->root_count++) {
        targets->roots[targets->root_count] = normal_path(roots[targets->root_count], error);
        if (!targets->roots[targets->root_count])
            goto fail;
    }
    if (destination[0]) {
        targets->destination = normal_path(destination, error);
        if (!targets->destination)
            goto fail;
        size_t i = 0;
        while (i < root_count && !beneath(targets->roots[i], targets->destination))
            i++;
        targets->destination_root = i;
        if (i == root_count) {
            result = denied(targets, destination, error);
            goto fail;
        }
    }
    *out = targets;
    return 0;
fail:
    targets_free(targets);
    return result;
}

void targets_forget(struct hf_targets *targets)
{
    for (size_t i = 0; i < PARENTS_CACHED; i++) {
        struct parent *parent = &targets->parents[i];
        if (parent->path && parent->fd >= 0)
            close(parent->fd);
        free(parent->path);
        *parent = (struct parent){0};
    }
}

void targets_free(struct hf_targets *targets)
{
    if (!targets)
        return;
    targets_forget(targets);
    for (size_t i = 0; i < targets->anchor_count; i++) {
        struct anchor *anchor = &targets->anchors[i];
        if (anchor->fd >= 0)
            close(anchor->fd);
        anchor_close_staging(anchor);
        free(anchor->path);
    }
    for (size_t i = 0; i < targets->root_count; i++)
        free(targets->roots[i]);
    free(targets->roots);
    for (size_t i = 0; i < targets->kept_count; i++)
        free(targets->kept[i]);
    free(targets->kept);
    free(targets->destination);
    free(targets);
}

static int find_anchor(struct hf_targets *targets, const char *path, size_t length, size_t *out,
                       struct hf_error *error)
{
    for (size_t i = 0; i < targets->anchor_count; i++)
        if (!strncmp(targets->anchors[i].path, path, length) && !targets->anchors[i].path[length]) {
            *out = i;
            return 0;
        }
    if (targets->anchor_count == ANCHORS_MAX)
        return hf_error_set(error, HF_ERR_LIMIT, 0,
                            "the files lie beneath more than %u directories; restore them in "
                            "several jobs",
                            ANCHORS_MAX);
    char *copy = strndup(path, length);
    if (!copy)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a path");
    targets->anchors[targets->anchor_count] =
        (struct anchor){.path = copy, .fd = -1, .staging_fd = -1, .tree_fd = -1, .before_fd = -1};
    for (size_t i = 0; i < HF_STAGING_SHARDS; i++)
        targets->anchors[targets->anchor_count].shard_fds[i] = -1;
    *out = targets->anchor_count++;
    return 0;
}

/* A component with the staging directory's prefix would let a version write into staging. */
static bool names_staging(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (!strncmp(at, HF_STAGING_PREFIX, sizeof(HF_STAGING_PREFIX) - 1))
            return true;
    }
    return false;
}

/* Whether a version that is no directory would be where path is, or on the way to it. A root can be
 * a single file: that one may be replaced by a file. */
static bool takes_place_of(const struct hf_version *version, const char *at, const char *path)
{
    const char *below = beneath(at, path);
    bool leads = version->type != HF_FILE_REGULAR && !hf_file_is_device(version->type);
    return below && (below[0] || leads);
}

/* A link there would decide where this or another restore writes to. */
static bool replaces_root(const struct hf_targets *targets, const char *path,
                          const struct hf_version *version)
{
    bool replaces = false;
    if (version->type == HF_FILE_DIRECTORY)
        return false;
    for (size_t i = 0; i < targets->root_count; i++)
        replaces = replaces || takes_place_of(version, path, targets->roots[i]);
    for (size_t i = 0; i < targets->kept_count; i++)
        replaces = replaces || takes_place_of(version, path, targets->kept[i]);
    return replaces;
}

int targets_keep(struct hf_targets *targets, const char *path, struct hf_error *error)
{
    char **grown = realloc(targets->kept, (targets->kept_count + 1) * sizeof(*grown));
    if (!grown)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    targets->kept = grown;
    targets->kept[targets->kept_count] = normal_path(path, error);
    if (!targets->kept[targets->kept_count])
        return HF_ERR_INVALID;
    targets->kept_count++;
    return 0;
}

int targets_locate(struct hf_targets *targets, const struct hf_version *version,
                   struct hf_target *out, struct hf_error *error)
{
    char path[2 * sizeof(out->path)];
    const char *prefix = targets->destination ? targets->destination : "";
    int wrote = snprintf(path, sizeof(path), "%s/%.*s", prefix, (int)version->path.size,
                         (const char *)version->path.data);
    if (version->path.size == 0 || wrote < 0 || (size_t)wrote > sizeof(out->path) - 1 ||
        hf_path_check_relative(path + 1, (size_t)wrote - 1, error))
        return hf_error_set(error, HF_ERR_DENIED, 0, "a path that may not be: %s", path);
    if (names_staging(path + 1))
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "%s has the name of a restore's own working directory", path);

    const char *root = NULL, *rest = NULL;
    if (targets->destination) {
        root = targets->roots[targets->destination_root];
        rest = beneath(root, path);
    } else {
        for (size_t i = 0; i < targets->root_count && !rest; i++) {
            root = targets->roots[i];
            rest = beneath(root, path);
        }
    }
    if (!rest)
        return denied(targets, path, error);
    if (replaces_root(targets, path, version))
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "a source or a restore root of this host is %s or beneath it; a "
                            "restore puts nothing else in the place of one or of a directory "
                            "above",
                            path);
    size_t length = strlen(root);
    if (!rest[0] && version->type != HF_FILE_DIRECTORY) {
        /* The root is this file: it is made in the directory that holds it. */
        rest = strrchr(path, '/') + 1;
        length = (size_t)(rest - path) - 1;
    }
    memcpy(out->path, rest, strlen(rest) + 1); /* as long as path at most, which fits */
    return find_anchor(targets, path, length, &out->anchor, error);
}

static bool ours_or_roots(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

bool targets_is_guarded(int dir_fd)
{
    struct stat dir;
    return !fstat(dir_fd, &dir) && ours_or_roots(dir.st_uid) &&
           !(dir.st_mode & (S_IWGRP | S_IWOTH));
}

/* Whether nobody but root and us could have put that link where it is. */
static bool link_is_trusted(int dir_fd, const struct stat *link)
{
    return ours_or_roots(link->st_uid) && targets_is_guarded(dir_fd);
}

bool targets_is_fresh(int fd)
{
    struct stat status;
    struct dirent *entry = NULL;
    if (fstat(fd, &status) || status.st_uid != geteuid())
        return false;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    errno = 0;
    do
        entry = readdir(dir);
    while (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")));
    bool fresh = !entry && errno == 0;
    closedir(dir);
    return fresh;
}

#define LINKS_MAX 8

int targets_open_directory(const char *path, enum hf_targets_missing missing, int *out_fd,
                           struct hf_error *error)
{
    char rest[2 * 4096];
    int links = 0, result;
    if (strlen(path) >= 4096)
        return hf_error_set(error, HF_ERR_INVALID, 0, "the path %.100s... is too long", path);
    memcpy(rest, path, strlen(path) + 1);
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't open /");
    for (;;) {
        char name[256], target[4096];
        struct stat status;
        const char *at = rest + strspn(rest, "/");
        size_t length = strcspn(at, "/");
        if (length == 0) {
            *out_fd = fd;
            return 0;
        }
        if (length >= sizeof(name)) {
            result = hf_error_set(error, HF_ERR_INVALID, ENAMETOOLONG, "can't open %s", path);
            break;
        }
        memcpy(name, at, length);
        name[length] = '\0';
        memmove(rest, at + length, strlen(at + length) + 1);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 && errno == ENOENT && missing == HF_TARGETS_CREATE) {
            if (mkdirat(fd, name, 0700) && errno != EEXIST) {
                result = hf_error_set(error, HF_ERR_IO, errno, "can't make %s for %s", name, path);
                break;
            }
            next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (next >= 0 && targets_is_fresh(next))
                fchmod(next, DIRECTORY_MODE);
        }
        if (next >= 0) {
            close(fd);
            fd = next;
            continue;
        }
        if (errno == ENOENT) {
            result = hf_error_set(error, HF_ERR_NOT_FOUND, ENOENT, "can't open %s", path);
            break;
        }
        if ((errno != ELOOP && errno != ENOTDIR) ||
            fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW)) {
            result = hf_error_set(error, HF_ERR_IO, errno, "can't open %s at %s", path, name);
            break;
        }
        ssize_t size = -1;
        if (S_ISLNK(status.st_mode) && link_is_trusted(fd, &status) && ++links <= LINKS_MAX)
            size = readlinkat(fd, name, target, sizeof(target) - 1);
        if (size <= 0 || (size_t)size + strlen(rest) + 2 > sizeof(rest)) {
            result = hf_error_set(error, HF_ERR_DENIED, 0,
                                  S_ISLNK(status.st_mode)
                                      ? "%s leads through the symbolic link %s, which others than "
                                        "root can change; write the real path in restore_root"
                                      : "%s can't be a directory: %s in it is none",
                                  path, name);
            break;
        }
        target[size] = '\0';
        char joined[sizeof(rest) + sizeof(target)];
        snprintf(joined, sizeof(joined), "%s%s", target, rest);
        memcpy(rest, joined, strlen(joined) + 1);
        if (target[0] == '/') {
            close(fd);
            fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0)
                return hf_error_set(error, HF_ERR_IO, errno, "can't open /");
        }
    }
    close(fd);
    return result;
}

int anchor_open(struct hf_targets *targets, size_t index, enum hf_targets_missing missing,
                struct hf_error *error)
{
    struct anchor *anchor = &targets->anchors[index];
    if (anchor->fd >= 0)
        return 0;
    return targets_open_directory(anchor->path[0] ? anchor->path : "/", missing, &anchor->fd,
                                  error);
}

/* A failure of the operating system to open a directory, in terms of what it means here. */
static int explain(const char *path, struct hf_error *error)
{
    if (error->sys_errno == ENOENT)
        return error->code = HF_ERR_NOT_FOUND;
    /* openat2 says either, depending on where in the path the link is. */
    if (error->sys_errno == ELOOP || error->sys_errno == ENOTDIR)
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "a directory on the way to %s is a symbolic link or a file, and a "
                            "restore goes through neither; move it away and restore again, or use "
                            "--to",
                            path);
    return error->code;
}

/* Make one directory that no version describes: it looks as the one that holds it. */
static int make_parent(int dir_fd, const char *name, struct hf_error *error)
{
    struct stat above;
    if (mkdirat(dir_fd, name, 0700)) {
        if (errno == EEXIST)
            return 0;
        return hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                            "can't make the directory %s", name);
    }
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(dir_fd, &above))
        above.st_mode = 0;
    if (fd >= 0 && above.st_mode && targets_is_fresh(fd)) {
        /* Without the right to give it away it stays ours; both are only better than 0700. */
        if (!fchown(fd, above.st_uid, above.st_gid) || errno == EPERM)
            fchmod(fd, above.st_mode & 0777);
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

static int make_parents(int dir_fd, const char *path, struct hf_error *error)
{
    char part[4096];
    size_t length = 0;
    do {
        int above_fd = -1;
        const char *name;
        length += strcspn(path + length, "/");
        memcpy(part, path, length);
        part[length] = '\0';
        int result = hf_open_parent_beneath(dir_fd, part, &above_fd, &name, error);
        if (!result)
            result = make_parent(above_fd, name, error);
        if (above_fd >= 0)
            close(above_fd);
        if (result)
            return result;
        length += path[length] == '/';
    } while (path[length]);
    return 0;
}

/* The directory at base_fd (in place, or in the staged tree) that holds the target. */
static int open_parent(struct hf_targets *targets, const struct hf_target *target, int base_fd,
                       bool staged, enum hf_targets_missing missing, int *fd, const char **name,
                       struct hf_error *error)
{
    const char *slash = strrchr(target->path, '/');
    *fd = base_fd;
    *name = slash ? slash + 1 : target->path[0] ? target->path : ".";
    if (!slash)
        return 0;

    size_t length = (size_t)(slash - target->path);
    struct parent *slot = &targets->parents[0];
    for (size_t i = 0; i < PARENTS_CACHED; i++) {
        struct parent *parent = &targets->parents[i];
        bool same = parent->path && parent->anchor == target->anchor && parent->staged == staged &&
                    !strncmp(parent->path, target->path, length) && !parent->path[length];
        if (same && parent->fd < 0 && missing == HF_TARGETS_CREATE) {
            slot = parent; /* it is made now */
            break;
        }
        if (same) {
            parent->used = ++targets->parent_clock;
            *fd = parent->fd;
            return *fd >= 0 ? 0
                            : hf_error_set(error, HF_ERR_NOT_FOUND, ENOENT, "can't open %s",
                                           parent->path);
        }
        if (parent->used < slot->used)
            slot = parent;
    }
    char *path = strndup(target->path, length);
    if (!path)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a path");
    int opened = -1;
    *error = (struct hf_error){0};
    int result = hf_open_beneath(base_fd, path, O_RDONLY | O_DIRECTORY, 0, &opened, error);
    if (result && error->sys_errno == ENOENT && missing == HF_TARGETS_CREATE) {
        result = make_parents(base_fd, path, error);
        if (!result)
            result = hf_open_beneath(base_fd, path, O_RDONLY | O_DIRECTORY, 0, &opened, error);
    }
    if (result)
        result = explain(path, error);
    if (result && result != HF_ERR_NOT_FOUND) {
        free(path);
        return result;
    }
    if (slot->path && slot->fd >= 0)
        close(slot->fd);
    free(slot->path);
    *slot = (struct parent){target->anchor, staged, path, opened, ++targets->parent_clock};
    *fd = opened;
    return result;
}

int targets_open_parent(struct hf_targets *targets, const struct hf_target *target,
                        enum hf_targets_missing missing, int *fd, const char **name,
                        struct hf_error *error)
{
    struct hf_error local = {0};
    error = error ? error : &local;
    int result = anchor_open(targets, target->anchor, missing, error);
    return result ? result
                  : open_parent(targets, target, targets->anchors[target->anchor].fd, false,
                                missing, fd, name, error);
}

int targets_open_staged(struct hf_targets *targets, const struct hf_target *target,
                        enum hf_targets_missing missing, int *fd, const char **name,
                        struct hf_error *error)
{
    struct hf_error local = {0};
    int tree_fd;
    error = error ? error : &local;
    int result = targets_tree(targets, target->anchor, &tree_fd, error);
    return result ? result : open_parent(targets, target, tree_fd, true, missing, fd, name, error);
}

size_t targets_anchor_count(const struct hf_targets *targets)
{
    return targets->anchor_count;
}

const char *targets_anchor_path(const struct hf_targets *targets, size_t anchor)
{
    return targets->anchors[anchor].path[0] ? targets->anchors[anchor].path : "/";
}

int targets_sync(struct hf_targets *targets, struct hf_error *error)
{
    for (size_t i = 0; i < targets->anchor_count; i++)
        if (targets->anchors[i].fd >= 0 && syncfs(targets->anchors[i].fd))
            return hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                                "can't make what was written at %s durable",
                                targets->anchors[i].path);
    return 0;
}
