/* Hooks: the programs that the host's own administrator wants run before and after a restore.
 * Only ever from the agent's configuration, never from anything that came over the wire. */
#ifndef HF_AGENT_RESTORE_HOOK_H
#define HF_AGENT_RESTORE_HOOK_H

#include <stdint.h>

#include "common/error.h"

#define HF_HOOK_TIMEOUT_NS INT64_C(120000000000)

/* Run argv (NULL-terminated, argv[0] an absolute path) without a shell, in a process group of its
 * own, with stdin from /dev/null and its output going to the agent's; environment of the agent
 * plus HOLDFAST_JOB and HOLDFAST_SOURCE. Blocks until it ends. 0 when it exits with 0;
 * HF_ERR_IO when it can't be started, HF_ERR_CONFLICT when it fails, HF_ERR_TIMEOUT when it took
 * longer than timeout_ns (its whole group is killed then). */
int hook_run(const char *const *argv, uint64_t job, const char *source, int64_t timeout_ns,
             struct hf_error *error);

#endif
