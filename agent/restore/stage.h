/* Staging: everything that a job will put into place is first made, whole and verified, in the
 * job's staging directories. Content comes from this host where it can and from the collector
 * where it must; requests for chunks are many at once, so that no file waits for a round trip.
 *
 * Files are written by threads of their own (writers.h); what they did is taken up by
 * stage_collect.
 *
 * Nothing that was there before is touched. Errors that concern one file become its failure in the
 * job; an error that a function returns ends the job (no room, a disk that fails, no memory).
 * One thread calls it. */
#ifndef HF_AGENT_RESTORE_STAGE_H
#define HF_AGENT_RESTORE_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/restore/job.h"
#include "agent/restore/local.h"
#include "agent/restore/metadata.h"
#include "agent/restore/targets.h"
#include "common/error.h"
#include "proto/frame.h"

struct hf_stage;

struct hf_stage_options {
    struct hf_job *job;
    struct hf_targets *targets;
    struct hf_metadata_rules rules;
    struct hf_cutting cutting;
    /* Ask the collector for chunks: ids of HF_HASH_BYTES each, at most HF_STAGE_REQUEST_IDS. */
    int (*request)(void *context, struct hf_bytes ids, struct hf_error *error);
    /* Another file of this host with the same content, as an absolute path in path; 0 if one is
     * known. May be NULL. */
    int (*find_content)(void *context, const struct hf_version *version, struct hf_buf *path);
    /* Called from another thread when stage_collect has something to do. */
    void (*wake)(void *context);
    void *context;
};

#define HF_STAGE_REQUEST_IDS 2048u
/* Plain bytes, and chunks, that may be asked for and not yet here. */
#define HF_STAGE_WINDOW_CHUNKS 8192u
#define HF_STAGE_WINDOW_BYTES  (12u * 1024u * 1024u)

int stage_new(const struct hf_stage_options *options, struct hf_stage **out,
              struct hf_error *error);
void stage_free(struct hf_stage *stage);

/* Take the next version of the plan: decides, remembers it in the job and begins to stage it. Only
 * when stage_wants_more; version must stay valid until stage_wants_more again. */
int stage_add(struct hf_stage *stage, const struct hf_version *version, struct hf_error *error);
/* Chunks came (a CHUNKS frame of this job). */
int stage_take(struct hf_stage *stage, const struct hf_frame *chunks, struct hf_error *error);
/* The collector has not got these chunks: the files that need them fail. */
int stage_lack(struct hf_stage *stage, struct hf_bytes ids, const char *reason,
               struct hf_error *error);
/* Take up what the writers have finished; waits for up to timeout_ms (-1: for ever) for the first
 * if something is under way. */
int stage_collect(struct hf_stage *stage, int timeout_ms, struct hf_error *error);
/* Send the request that is gathered, unless enough is under way to gather more meanwhile; call when
 * there is nothing to add just now, and after stage_collect. */
int stage_flush(struct hf_stage *stage, struct hf_error *error);
/* At the end, also of a run that is interrupted: an error says that what was staged may not be what
 * the disk has, though it reads well, so that no later run may take it up. */
int stage_end_flushing(struct hf_stage *stage, struct hf_error *error);
/* After the last version, when stage_idle: the files' other names, the trees' directories. */
int stage_finish(struct hf_stage *stage, struct hf_error *error);
bool stage_wants_more(const struct hf_stage *stage);
/* Nothing is being staged and nothing outstanding. */
bool stage_idle(const struct hf_stage *stage);

/* The name of the staged file or link of a plan's index. */
#define HF_STAGED_NAME_BYTES 24
void stage_name(uint64_t index, char out[HF_STAGED_NAME_BYTES]);

/* Where the file or link of a plan's index is staged: by that name, or (in_tree:
 * HF_ACTION_TREE_FILE) where it will be. dir_fd is as that of targets_open_parent; name may point
 * into the target. HF_ERR_NOT_FOUND when that directory of the tree isn't there. */
struct hf_staged {
    int dir_fd;
    const char *name;
    char text[HF_STAGED_NAME_BYTES];
};
int stage_find(struct hf_targets *targets, const struct hf_target *target, uint64_t index,
               bool in_tree, struct hf_staged *out, struct hf_error *error);

#endif
