/* Who shall own a restored file: the name if this host knows it, else the number. Answers are
 * kept, since a tree has few owners. One thread. */
#ifndef HF_AGENT_RESTORE_OWNER_H
#define HF_AGENT_RESTORE_OWNER_H

#include <sys/types.h>

#include "proto/version.h"

struct hf_owners;

struct hf_owners *owners_new(void); /* NULL when out of memory */
void owners_free(struct hf_owners *owners);
void owners_resolve(struct hf_owners *owners, const struct hf_version *version, uid_t *uid,
                    gid_t *gid);

#endif
