/* What a restore has to do for one version: compare what shall be with what is there. Reads,
 * changes nothing. */
#ifndef HF_AGENT_RESTORE_DECIDE_H
#define HF_AGENT_RESTORE_DECIDE_H

#include "agent/restore/job.h"
#include "agent/restore/local.h"
#include "agent/restore/metadata.h"
#include "agent/restore/targets.h"

/* On success *action is one of FILE, BESIDE, DIRECTORY, DIRECTORY_KEPT, TREE (the directory is
 * missing), IDENTICAL, SKIPPED, NONE. With FILE and BESIDE, *local may be the chunks of what is
 * there now (the caller frees it), for content that can be taken from it; else NULL. An error
 * concerns this version alone: HF_ERR_DENIED, HF_ERR_CONFLICT, HF_ERR_IO. */
int decide_action(struct hf_targets *targets, const struct hf_version *version,
                  const struct hf_target *target, const struct hf_metadata *metadata,
                  const struct hf_cutting *cutting, enum hf_conflict conflict,
                  enum hf_action *action, struct hf_local **local, struct hf_error *error);

#endif
