#include "agent/restore/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"

void metadata_of(struct hf_owners *owners, const struct hf_version *version,
                 struct hf_metadata *out)
{
    /* Never setuid, whatever the version says: a collector must not be able to hand out a host's
     * root rights (promise 5). On a directory setgid and sticky only restrict. */
    out->mode = version->mode & (version->type == HF_FILE_DIRECTORY ? 03777u : 0777u);
    out->mtime_ns = version->mtime_ns;
    owners_resolve(owners, version, &out->uid, &out->gid);
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
                 struct hf_error *error)
{
    struct timespec times[2];
    /* The owner first: chown takes bits off the mode. Without the right to give files away the
     * agent keeps them, as cp and tar do. */
    bool chowned = false;
    if (!same_owner(metadata, status)) {
        chowned = !fchown(fd, metadata->uid, metadata->gid);
        if (!chowned && geteuid() != 0)
            chowned = !fchown(fd, (uid_t)-1, metadata->gid) || errno == EPERM;
        if (!chowned)
            return hf_error_set(error, HF_ERR_IO, errno, "can't set the owner");
    }
    if ((chowned || metadata->mode != (status->st_mode & 07777)) && fchmod(fd, metadata->mode))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the mode");
    times_of(metadata, times);
    if (futimens(fd, times))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the time of change");
    return 0;
}

int metadata_set_link(int dir_fd, const char *name, const struct hf_metadata *metadata,
                      struct hf_error *error)
{
    struct timespec times[2];
    if (fchownat(dir_fd, name, metadata->uid, metadata->gid, AT_SYMLINK_NOFOLLOW) && geteuid() == 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the owner of a symbolic link");
    times_of(metadata, times);
    if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW))
        return hf_error_set(error, HF_ERR_IO, errno, "can't set the time of a symbolic link");
    return 0;
}
