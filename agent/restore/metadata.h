/* Mode, owner and time of a restored file: what they shall be here, whether they are, setting
 * them. Always through a descriptor or a name in an opened directory, never through a link. */
#ifndef HF_AGENT_RESTORE_METADATA_H
#define HF_AGENT_RESTORE_METADATA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/restore/owner.h"
#include "common/error.h"
#include "proto/version.h"

struct hf_metadata {
    mode_t mode; /* permission bits; set-id bits are gone from files, setuid from directories too */
    uid_t uid;
    gid_t gid;
    int64_t mtime_ns;
};

void metadata_of(struct hf_owners *owners, const struct hf_version *version,
                 struct hf_metadata *out);
/* Whether there is nothing to set. An agent that isn't root can't give files away, so for it the
 * owner counts as right. */
bool metadata_matches(const struct hf_metadata *metadata, const struct stat *status);
/* The same of the owner alone. */
bool metadata_owner_matches(const struct hf_metadata *metadata, const struct stat *status);
/* Set what differs from status (of fd, as it is now). HF_ERR_IO. */
int metadata_set(int fd, const struct hf_metadata *metadata, const struct stat *status,
                 struct hf_error *error);
/* The same for the symbolic link name in dir_fd, which has no mode. */
int metadata_set_link(int dir_fd, const char *name, const struct hf_metadata *metadata,
                      struct hf_error *error);

#endif
