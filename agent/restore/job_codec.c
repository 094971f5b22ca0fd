#include "agent/restore/job_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

/* Of `phase` and `decided`. What another release of the agent left is staged anew. */
#define PHASE_FORMAT "2"

int job_decided_encode(const struct hf_job *job, struct hf_buf *out)
{
    uint8_t number[8];
    hf_put_le64(number, job->count);
    int result = hf_buf_append(out, number, 8);
    if (!result)
        result = hf_buf_append(out, job->actions, job->count);
    for (size_t i = 0; !result && i < job->remark_count; i++) {
        const struct hf_job_remark *remark = &job->remarks[i];
        uint8_t head[12];
        hf_put_le64(head, remark->index);
        hf_put_le32(head + 8, (uint32_t)strlen(remark->message));
        result = hf_buf_append(out, head, sizeof(head));
        if (!result)
            result = hf_buf_append_str(out, remark->message);
    }
    return result;
}

int job_decided_decode(struct hf_job *job, const struct hf_buf *in)
{
    if (in->size < 8 || hf_get_le64(in->data) > in->size - 8)
        return HF_ERR_CORRUPT;
    size_t count = (size_t)hf_get_le64(in->data), at = 8 + count;
    job->actions = malloc(count + 1);
    if (!job->actions)
        return HF_ERR_NO_MEMORY;
    memcpy(job->actions, in->data + 8, count);
    job->count = job->capacity = count;
    for (size_t i = 0; i < count; i++)
        if (job->actions[i] > HF_ACTION_TREE_FILE)
            return HF_ERR_CORRUPT;
    while (in->size - at >= 12) {
        uint64_t index = hf_get_le64(in->data + at);
        size_t length = hf_get_le32(in->data + at + 8);
        at += 12;
        if (length > in->size - at || index >= count)
            return HF_ERR_CORRUPT;
        char *message = strndup((const char *)in->data + at, length);
        if (!message)
            return HF_ERR_NO_MEMORY;
        job_remark(job, index, message);
        free(message);
        at += length;
    }
    return at == in->size ? 0 : HF_ERR_CORRUPT;
}

int job_phase_encode(const struct hf_job *job, enum hf_job_phase phase, struct hf_buf *out)
{
    if (phase == HF_JOB_APPLYING)
        return hf_buf_append_format(out, PHASE_FORMAT " applying %llu %llu\n",
                                    (unsigned long long)job->fetched_bytes,
                                    (unsigned long long)job->reused_bytes);
    return hf_buf_append_format(out, PHASE_FORMAT " done %llu %llu %d %.*s\n",
                                (unsigned long long)job->fetched_bytes,
                                (unsigned long long)job->reused_bytes, (int)job->outcome,
                                (int)job->message.size, (const char *)job->message.data);
}

int job_phase_decode(struct hf_job *job, struct hf_buf *in)
{
    unsigned long long fetched, reused;
    int outcome, used = 0;
    if (hf_buf_terminate(in))
        return HF_ERR_NO_MEMORY;
    const char *text = (const char *)in->data;
    /* Of our own writing, and durable: no number in it is out of range.
     * NOLINTBEGIN(cert-err34-c) */
    if (sscanf(text, PHASE_FORMAT " applying %llu %llu", &fetched, &reused) == 2) {
        job->phase = HF_JOB_APPLYING;
    } else if (sscanf(text, PHASE_FORMAT " done %llu %llu %d%n", &fetched, &reused, &outcome,
                      &used) == 3 &&
               /* NOLINTEND(cert-err34-c) */
               used > 0 && outcome >= HF_JOB_SUCCEEDED && outcome <= HF_JOB_CANCELLED) {
        const char *message = text + used + (text[used] == ' ');
        job->phase = HF_JOB_DONE;
        job->outcome = (enum hf_job_outcome)outcome;
        if (hf_buf_append(&job->message, message, strcspn(message, "\n")))
            return HF_ERR_NO_MEMORY;
    } else {
        return HF_ERR_CORRUPT;
    }
    job->fetched_bytes = fetched;
    job->reused_bytes = reused;
    return 0;
}

void job_forget_run(struct hf_job *job)
{
    for (size_t i = 0; i < job->remark_count; i++)
        free(job->remarks[i].message);
    free(job->remarks);
    free(job->actions);
    hf_buf_free(&job->message);
    job->remarks = NULL;
    job->actions = NULL;
    job->remark_count = job->remark_capacity = job->count = job->capacity = 0;
    job->fetched_bytes = job->reused_bytes = 0;
    job->phase = HF_JOB_STAGING;
}
