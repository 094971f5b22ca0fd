#include "agent/restore/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"

void metadata_of(const struct hf_metadata_rules *rules, const struct hf_version *version,
                 struct hf_metadata *out)
{
    /* On a directory setgid and sticky only restrict. */
    mode_t harmless = version->type == HF_FILE_DIRECTORY ? 03777u : 0777u;
    out->mode = version->mode & (rules->privileged ? 07777u : harmless);
    out->mtime_ns = version->mtime_ns;
    out->xattrs = version->xattrs;
    out->scope = rules->privileged ? HF_XATTR_ALL : HF_XATTR_HARMLESS;
    owners_resolve(rules->owners, version, &out->uid, &out->gid);
}

static bool same_owner(const struct hf_metadata *metadata, const struct stat *status)
{
    return metadata->uid == status->st_uid && metadata->gid == status->st_gid;
}

bool metadata_owner_matches(const struct hf_metadata *metadata, const struct stat *status)
{
    return same_owner(metadata, status) || geteuid() != 0;
}

static int64_t mtime_ns(const struct stat *status)
{
    return (int64_t)status->st_mtim.tv_sec * HF_NS_PER_SECOND + status->st_mtim.tv_nsec;
}

bool metadata_matches(const struct hf_metadata *metadata, const struct stat *status)
{
    return metadata_owner_matches(metadata, status) &&
           metadata->mode == (status->st_mode & 07777) && metadata->mtime_ns == mtime_ns(status);
}

bool metadata_link_matches(const struct hf_metadata *metadata, const struct stat *status)
{
    return metadata_owner_matches(metadata, status) && metadata->mtime_ns == mtime_ns(status);
}

bool metadata_xattrs_match(const struct hf_metadata *metadata, int dir_fd, const char *name)
{
    struct hf_buf present = {0};
    bool match = !hf_xattrs_read_at(dir_fd, name, &present, NULL) &&
                 hf_xattrs_match(metadata->xattrs, (struct hf_bytes){present.data, present.size},
                                 metadata->scope);
    hf_buf_free(&present);
    return match;
}

static void times_of(const struct hf_metadata *metadata, struct timespec times[2])
{
    int64_t nanoseconds = metadata->mtime_ns % HF_NS_PER_SECOND;
    int64_t seconds = metadata->mtime_ns / HF_NS_PER_SECOND;
    if (nanoseconds < 0) {
        nanoseconds += HF_NS_PER_SECOND;
        seconds--;
    }
    times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    times[1] = (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)nanoseconds};
}

/* Some file systems have no owners, some users may not give files away, some ids mean nothing in a
 * user namespace: that costs the owner, not the content. */
static bool is_shortfall(int failure)
{
    return failure == EPERM || failure == EINVAL || failure == EOPNOTSUPP;
}

/* 0, or errno with as much done as can be: the group alone. */
static int give(int dir_fd, const char *name, const struct hf_metadata *metadata)
{
    const int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    if (!fchownat(dir_fd, name, metadata->uid, metadata->gid, flags))
        return 0;
    int failure = errno;
    bool lost = fchownat(dir_fd, name, (uid_t)-1, metadata->gid, flags) && !is_shortfall(errno);
    return lost ? errno : failure;
}

/* Beside what is said already. */
static void say_owner(const struct hf_metadata *metadata, int failure, struct hf_error *shortfall)
{
    char said[HF_ERROR_MESSAGE_BYTES / 2];
    bool more = shortfall->code != HF_OK;
    snprintf(said, sizeof(said), "%s", more ? shortfall->message : "");
    hf_error_set(shortfall, HF_ERR_DENIED, failure, "%s%sits owner (%u:%u) can't be set", said,
                 more ? "; " : "", (unsigned)metadata->uid, (unsigned)metadata->gid);
}

int metadata_set(int fd, const struct hf_metadata *metadata, const struct stat *status,
                 struct hf_error *shortfall, struct hf_error *error)
{
    struct timespec times[2];
    bool changed = false;
    /* The owner first: chown takes bits off the mode, and capabilities away. What can't be given
     * away the agent keeps, as cp and tar do, and it gives nobody the agent's powers then. */
    bool chowned = !same_owner(metadata, status);
    int failure = chowned ? give(fd, "", metadata) : 0;
    mode_t mode = metadata->mode & (failure && !S_ISDIR(status->st_mode) ? 01777u : 07777u);
    if (failure && !is_shortfall(failure))
        return hf_error_set(error, HF_ERR_IO, failure, "can't set the owner");
    shortfall->code = HF_OK;
    hf_xattrs_set(fd, metadata->xattrs, metadata->scope, &changed, shortfall);
    if (failure)
        say_owner(metadata, failure, shortfall);
    /* An ACL that comes or goes takes the group's bits with it. */
    if ((chowned || changed || mode != (status->st_mode & 07777)) && fchmod(fd, mode))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the mode");
    times_of(metadata, times);
    if (futimens(fd, times))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the time of change");
    return 0;
}

/* Of what can't be opened for that: a symbolic link, which has no mode, or a device. */
static int set_at(int dir_fd, const char *name, const struct hf_metadata *metadata, bool has_mode,
                  struct hf_error *shortfall, struct hf_error *error)
{
    struct timespec times[2];
    bool changed = false;
    int failure = give(dir_fd, name, metadata);
    if (failure && !is_shortfall(failure))
        return hf_error_set(error, HF_ERR_IO, failure, "can't set the owner");
    shortfall->code = HF_OK;
    /* A device may have got an access list from the directory that it was made in. */
    if (has_mode || metadata->xattrs.size > 0)
        hf_xattrs_set_at(dir_fd, name, metadata->xattrs, metadata->scope, &changed, shortfall);
    if (failure)
        say_owner(metadata, failure, shortfall);
    if (has_mode && fchmodat(dir_fd, name, metadata->mode, AT_SYMLINK_NOFOLLOW))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the mode");
    times_of(metadata, times);
    if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the time of change");
    return 0;
}

int metadata_set_link(int dir_fd, const char *name, const struct hf_metadata *metadata,
                      struct hf_error *shortfall, struct hf_error *error)
{
    return set_at(dir_fd, name, metadata, false, shortfall, error);
}

int metadata_set_device(int dir_fd, const char *name, const struct hf_metadata *metadata,
                        struct hf_error *shortfall, struct hf_error *error)
{
    return set_at(dir_fd, name, metadata, true, shortfall, error);
}
