/* The bytes of a job's files `decided` and `phase`. They are this agent's own writing, and yet come
 * from a disk: what can't be read is refused whole. One thread; private to job.c and its tests. */
#ifndef HF_AGENT_RESTORE_JOB_CODEC_H
#define HF_AGENT_RESTORE_JOB_CODEC_H

#include "agent/restore/job.h"

/* `decided`: how many actions (64 bits little endian), one byte each, enum hf_action; then for each
 * remark its index (64), the length of its message (32) and the message.
 *
 * Append to out: HF_ERR_NO_MEMORY. Decoding fills the actions and remarks of a job that has none;
 * on HF_ERR_CORRUPT or HF_ERR_NO_MEMORY it has some of them, which job_close frees. */
int job_decided_encode(const struct hf_job *job, struct hf_buf *out);
int job_decided_decode(struct hf_job *job, const struct hf_buf *in);

/* `phase`: a line of text; "applying" with the bytes fetched and reused, or "done" with these, the
 * outcome and its message. Decoding terminates in with a NUL. The same errors. */
int job_phase_encode(const struct hf_job *job, enum hf_job_phase phase, struct hf_buf *out);
int job_phase_decode(struct hf_job *job, struct hf_buf *in);

/* Frees actions, remarks and message: the job is one that never got past staging. */
void job_forget_run(struct hf_job *job);

#endif
