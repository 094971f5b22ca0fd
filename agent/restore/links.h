/* Hard links of a job: versions with the same .link, and alike in all else, become names of one
 * file. The first of them that has to be made is staged like any other; the others' staged names
 * are links to it, made when it is whole. Where some of them are on this host as they should be but
 * are not names of one file, they are made anew too. One thread.
 *
 * Memory: some 100 bytes for each version with a link. */
#ifndef HF_AGENT_RESTORE_LINKS_H
#define HF_AGENT_RESTORE_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/restore/job.h"
#include "agent/restore/targets.h"
#include "common/error.h"
#include "proto/version.h"

struct hf_links;

struct hf_links *links_new(void); /* NULL when out of memory */
void links_free(struct hf_links *links);

/* The version at index has to be made at target; in_tree: it is staged there. True: it needs no
 * content of its own, for it will be a link to one before it. Without memory it becomes a file of
 * its own. */
bool links_add_made(struct hf_links *links, const struct hf_version *version, uint64_t index,
                    const struct hf_target *target, bool in_tree);
/* The version at index is on this host at target and stays. HF_ERR_NO_MEMORY. */
int links_add_there(struct hf_links *links, struct hf_targets *targets,
                    const struct hf_version *version, uint64_t index,
                    const struct hf_target *target, struct hf_error *error);
/* When all content is staged: make the links, among the staged files, and give what is there but
 * must become another name the action HF_ACTION_FILE. A name whose file failed fails.
 * HF_ERR_IO, HF_ERR_NO_SPACE. */
int links_make(struct hf_links *links, struct hf_job *job, struct hf_targets *targets,
               struct hf_error *error);

#endif
