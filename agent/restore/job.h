/* One restore job as the agent remembers it: in memory while it runs, and in
 * <state>/restore/<job>/ so that it goes on after a cut connection or a restart:
 *
 *   offer     the RESTORE_OFFER, but for its counts and paths
 *   anchors   directories that hold a staging directory of this job, one a line
 *   plan      the versions to restore, each after its length (32 bits little endian)
 *   decided   one byte per version of the plan, enum hf_action; then remarks (see job.c)
 *   phase     "applying", or "done" with the outcome; absent while staging
 *
 * While staging, the plan is fetched anew after an interruption and only staged content is kept.
 * Once `phase` says "applying", everything is staged and durable, and a staged file that is gone
 * has been renamed into place: so applying can be repeated. One thread. */
#ifndef HF_AGENT_RESTORE_JOB_H
#define HF_AGENT_RESTORE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/error.h"
#include "proto/frame.h"

enum hf_action {
    HF_ACTION_NONE = 0,      /* nothing to restore: the version is a deletion */
    HF_ACTION_FILE = 1,      /* rename the staged file or link into place */
    HF_ACTION_BESIDE = 2,    /* the same, under another name */
    HF_ACTION_DIRECTORY = 3, /* make it if need be, set mode, owner, times */
    HF_ACTION_IDENTICAL = 4,
    HF_ACTION_SKIPPED = 5,
    HF_ACTION_WOULD = 6,
    HF_ACTION_FAILED = 7,
    HF_ACTION_RESTORED = 8,
    HF_ACTION_RENAMED = 9,
    /* It was there and as wanted, but what changes inside it will change its times. */
    HF_ACTION_DIRECTORY_KEPT = 10,
    HF_ACTION_TREE = 11,     /* a directory that is missing: staged, with all in it (tree.h) */
    HF_ACTION_TREE_FILE = 12 /* a file or link that is staged in such a directory */
};

enum hf_job_phase { HF_JOB_STAGING = 0, HF_JOB_APPLYING = 1, HF_JOB_DONE = 2 };

/* What is to be said of a version of the plan: why it failed, or what it is restored without. */
struct hf_job_remark {
    uint64_t index;
    size_t order; /* of those of one version the last counts */
    char *message;
};

struct hf_job {
    uint64_t id;
    struct hf_restore_offer offer; /* views into offer_frame's message */
    bool interrupted;              /* an earlier run left something */
    bool applied_before;           /* which had begun to put files into place */
    enum hf_job_phase phase;

    uint8_t *actions; /* enum hf_action by index in the plan */
    size_t count, capacity;
    struct hf_job_remark *remarks; /* in the order in which they were made */
    size_t remark_count, remark_capacity;
    bool remarks_sorted;
    uint64_t fetched_bytes, reused_bytes;
    enum hf_job_outcome outcome;
    struct hf_buf message; /* of the outcome */

    char directory[4096];
    FILE *plan;
    struct hf_buf offer_message;
    struct hf_frame offer_frame;
};

/* Take up a job as offered: what an earlier run left is read when it belongs to the same offer,
 * and removed when not. HF_ERR_IO, HF_ERR_NO_MEMORY, HF_ERR_NO_SPACE. */
int job_open(const char *state_directory, const struct hf_restore_offer *offer, struct hf_job **out,
             struct hf_error *error);
void job_close(struct hf_job *job); /* memory only */

/* Remember one version; its index is job->count before the call. */
int job_plan_append(struct hf_job *job, const struct hf_version *version, enum hf_action action,
                    struct hf_error *error);
/* Read the plan from its start: each call gives the next version, its views point into buf.
 * HF_ERR_NOT_FOUND after the last. */
int job_plan_rewind(struct hf_job *job, struct hf_error *error);
int job_plan_next(struct hf_job *job, struct hf_buf *buf, struct hf_version *version,
                  struct hf_error *error);
/* Visit the plan's versions before index end, in order. HF_ERR_CORRUPT, HF_ERR_NO_MEMORY,
 * HF_ERR_IO, HF_ERR_NO_SPACE. */
int job_plan_walk(struct hf_job *job, uint64_t end,
                  void (*visit)(void *context, const struct hf_version *version, uint64_t index),
                  void *context, struct hf_error *error);
/* The version at index failed: its action becomes FAILED, and why is kept. */
void job_fail(struct hf_job *job, uint64_t index, const char *message);
/* Something to be told of the version at index, which is restored all the same. */
void job_remark(struct hf_job *job, uint64_t index, const char *message);
/* What was said of a version; NULL for nothing. */
const char *job_remark_of(struct hf_job *job, uint64_t index);

/* Write down, durably. anchors: before the first staging directory is made there. */
int job_save_anchors(struct hf_job *job, const char *text, struct hf_error *error);
int job_save_phase(struct hf_job *job, enum hf_job_phase phase, struct hf_error *error);
/* Forget the job: its directory is removed. Staging directories are not its business. */
void job_remove(struct hf_job *job);

/* Visit every job directory under the state directory: the offer (NULL when it can't be read), the
 * phase, and the anchors (one a line, may be empty). What visit returns true for is removed. */
void job_sweep(const char *state_directory,
               bool (*visit)(void *context, uint64_t job, const struct hf_restore_offer *offer,
                             enum hf_job_phase phase, const char *anchors),
               void *context);

#endif
