/* What has no content, staged: symbolic links and devices. */
#ifndef HF_AGENT_RESTORE_SPECIAL_H
#define HF_AGENT_RESTORE_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/restore/metadata.h"
#include "agent/restore/targets.h"
#include "proto/version.h"

/* Whether the rules let it be made here. The device of a disk is the disk: whoever may hand out
 * devices is as good as root. HF_ERR_DENIED. */
int special_allowed(const struct hf_metadata_rules *rules, const struct hf_version *version,
                    struct hf_error *error);
/* Make it where `index` of the plan is staged, in the tree or not, in the place of what an
 * interrupted run left there. HF_ERR_DENIED (the agent may not make devices), HF_ERR_INVALID,
 * HF_ERR_NO_SPACE, HF_ERR_IO. *shortfall as of metadata_set. */
int special_stage(struct hf_targets *targets, const struct hf_version *version, uint64_t index,
                  const struct hf_metadata *metadata, const struct hf_target *target, bool in_tree,
                  struct hf_error *shortfall, struct hf_error *error);

#endif
