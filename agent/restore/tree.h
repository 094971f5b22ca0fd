/* Trees: a directory that is missing on this host is staged where it will be beneath the anchor,
 * with all that belongs in it, and renamed into place as a whole. One rename instead of one a file,
 * and whoever looks sees nothing of it or everything.
 *
 * What is staged in the tree but can't be moved with a directory above it, because something came
 * into being there meanwhile, is put into place by itself as other files are. One thread. */
#ifndef HF_AGENT_RESTORE_TREE_H
#define HF_AGENT_RESTORE_TREE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent/restore/job.h"
#include "agent/restore/metadata.h"
#include "agent/restore/targets.h"
#include "common/error.h"
#include "proto/version.h"

/* Make the missing directory at target in the staged tree, mode 0700. HF_ERR_NO_SPACE, or another
 * error: it can't be staged as a tree. */
int tree_add(struct hf_targets *targets, const struct hf_target *target, struct hf_error *error);
/* Take up what an interrupted run staged of the file at target, if it did: it is where this run
 * would make it then. What the plan doesn't name any more is left behind so. */
void tree_take_up(struct hf_targets *targets, const struct hf_target *target);
/* Whether the directory that holds the target is missing on this host and staged. */
bool tree_holds(struct hf_targets *targets, const struct hf_target *target);

/* When all files are staged: give the staged directories their owners, modes and times. A directory
 * that can't have them becomes a failure in the job; an error that is returned ends the job. */
int tree_finish(struct hf_job *job, struct hf_targets *targets,
                const struct hf_metadata_rules *rules, struct hf_error *error);

/* Whether the target's place in the staged tree is gone: it was moved with a directory above it, or
 * by an earlier run. */
bool tree_has_left(struct hf_targets *targets, const struct hf_target *target);
/* Whether something of the version's kind is in place. No more is asked: whoever uses the directory
 * may have begun to change what is in it. */
bool tree_arrived(struct hf_targets *targets, const struct hf_target *target,
                  const struct hf_version *version);
/* Rename the staged directory, with all in it, into place, where nothing may be; moved says what it
 * is. HF_ERR_NOT_FOUND when it is not staged; else why it stays where it is. */
int tree_move(struct hf_targets *targets, const struct hf_target *target, struct stat *moved,
              struct hf_error *error);

#endif
