/* Mode, owner, time and extended attributes of a restored file: what they shall be here, whether
 * they are, setting them. Always through a descriptor or a name in an opened directory, never
 * through a link. */
#ifndef HF_AGENT_RESTORE_METADATA_H
#define HF_AGENT_RESTORE_METADATA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/restore/owner.h"
#include "common/error.h"
#include "common/xattr.h"
#include "proto/version.h"

/* Where a version's metadata comes from, and what of it may be given. */
struct hf_metadata_rules {
    struct hf_owners *owners;
    /* This host's administrator takes set-id bits, file capabilities and the like from the
     * collector: what else it must not be able to hand out (promise 5). */
    bool privileged;
};

struct hf_metadata {
    mode_t mode; /* permission bits, those that may be given */
    uid_t uid;
    gid_t gid;
    int64_t mtime_ns;
    struct hf_bytes xattrs; /* the version's */
    enum hf_xattr_scope scope;
};

/* out points into the version. */
void metadata_of(const struct hf_metadata_rules *rules, const struct hf_version *version,
                 struct hf_metadata *out);
/* Whether there is nothing to set, extended attributes apart. An agent that isn't root can't give
 * files away, so for it the owner counts as right. */
bool metadata_matches(const struct hf_metadata *metadata, const struct stat *status);
/* As metadata_matches of a symbolic link, which has no mode. */
bool metadata_link_matches(const struct hf_metadata *metadata, const struct stat *status);
/* Whether a name in a directory, a link itself, has its extended attributes. */
bool metadata_xattrs_match(const struct hf_metadata *metadata, int dir_fd, const char *name);
/* The same of the owner alone. */
bool metadata_owner_matches(const struct hf_metadata *metadata, const struct stat *status);
/* Set what differs from status (of fd, as it is now). HF_ERR_IO. Extended attributes that can't be
 * set (not every file system has them) and an owner that it can't be given (not everybody may give
 * files away, nor to everybody) are no reason to do without the file: *shortfall says so then, its
 * code is HF_OK else. A file that stays the agent's own gets no set-id bits. */
int metadata_set(int fd, const struct hf_metadata *metadata, const struct stat *status,
                 struct hf_error *shortfall, struct hf_error *error);
/* The same for the symbolic link name in dir_fd, which has no mode. */
int metadata_set_link(int dir_fd, const char *name, const struct hf_metadata *metadata,
                      struct hf_error *shortfall, struct hf_error *error);
/* The same for the device name in dir_fd, which is not opened. */
int metadata_set_device(int dir_fd, const char *name, const struct hf_metadata *metadata,
                        struct hf_error *shortfall, struct hf_error *error);

#endif
