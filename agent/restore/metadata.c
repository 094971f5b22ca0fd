#include "agent/restore/metadata.h"

#include <errno.h>
#include <fcntl.h>
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

int metadata_set(int fd, const struct hf_metadata *metadata, const struct stat *status,
                 struct hf_error *shortfall, struct hf_error *error)
{
    struct timespec times[2];
    bool changed = false;
    /* The owner first: chown takes bits off the mode, and capabilities away. Without the right to
     * give files away the agent keeps them, as cp and tar do. */
    bool chowned = false;
    if (!same_owner(metadata, status)) {
        chowned = !fchown(fd, metadata->uid, metadata->gid);
        if (!chowned && geteuid() != 0)
            chowned = !fchown(fd, (uid_t)-1, metadata->gid) || errno == EPERM;
        if (!chowned)
            return hf_error_set(error, HF_ERR_IO, errno, "can't set the owner");
    }
    shortfall->code = HF_OK;
    hf_xattrs_set(fd, metadata->xattrs, metadata->scope, &changed, shortfall);
    /* An ACL that comes or goes takes the group's bits with it. */
    if ((chowned || changed || metadata->mode != (status->st_mode & 07777)) &&
        fchmod(fd, metadata->mode))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the mode");
    times_of(metadata, times);
    if (futimens(fd, times))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the time of change");
    return 0;
}

int metadata_set_link(int dir_fd, const char *name, const struct hf_metadata *metadata,
                      struct hf_error *shortfall, struct hf_error *error)
{
    struct timespec times[2];
    bool changed = false;
    if (fchownat(dir_fd, name, metadata->uid, metadata->gid, AT_SYMLINK_NOFOLLOW) && geteuid() == 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the owner of a symbolic link");
    shortfall->code = HF_OK;
    if (metadata->xattrs.size > 0)
        hf_xattrs_set_at(dir_fd, name, metadata->xattrs, metadata->scope, &changed, shortfall);
    times_of(metadata, times);
    if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the time of a symbolic link");
    return 0;
}
