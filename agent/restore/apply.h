/* Applying: what was staged goes into place, one rename after the other, each of which leaves
 * either the old file or the new one. Everything staged is durable before the first rename, and
 * the renames are before anybody is told that they happened. May be repeated after a crash. */
#ifndef HF_AGENT_RESTORE_APPLY_H
#define HF_AGENT_RESTORE_APPLY_H

#include "agent/restore/job.h"
#include "agent/restore/local.h"
#include "agent/restore/metadata.h"
#include "agent/restore/targets.h"
#include "common/error.h"

struct hf_apply_options {
    struct hf_job *job;
    struct hf_targets *targets;
    struct hf_metadata_rules rules;
    struct hf_cutting cutting;
};

/* Actions FILE, BESIDE and DIRECTORY become RESTORED, RENAMED or FAILED in the job.
 * An error that is returned concerns the whole job (the disk can't make things durable). */
int apply_job(const struct hf_apply_options *options, struct hf_error *error);

/* After apply_job: calls placed for every version that is in place as it should be, with where,
 * relative to "/". An error means that the job's plan can't be read, and that not all were told. */
int apply_tell(const struct hf_apply_options *options,
               void (*placed)(void *context, const char *path, const struct hf_version *version),
               void *context, struct hf_error *error);

#endif
