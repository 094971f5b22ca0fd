/* What is read of a restore job's files is written again, and that says the same. The first byte
 * chooses the file: 0 decided, 1 phase, 2 plan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/restore/job_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool good)
{
    if (!good)
        abort();
}

static bool decode(struct hf_job *job, struct hf_buf *text, bool phase)
{
    return !(phase ? job_phase_decode(job, text) : job_decided_decode(job, text));
}

static void compare(const struct hf_job *a, const struct hf_job *b)
{
    insist(a->count == b->count && a->remark_count == b->remark_count && a->phase == b->phase &&
           a->outcome == b->outcome && a->fetched_bytes == b->fetched_bytes &&
           a->reused_bytes == b->reused_bytes && a->message.size == b->message.size);
    insist(a->count == 0 || !memcmp(a->actions, b->actions, a->count));
    insist(a->message.size == 0 || !memcmp(a->message.data, b->message.data, a->message.size));
    for (size_t i = 0; i < a->count; i++)
        insist(a->actions[i] <= HF_ACTION_TREE_FILE);
    for (size_t i = 0; i < a->remark_count; i++)
        insist(a->remarks[i].index == b->remarks[i].index && a->remarks[i].index < a->count &&
               !strcmp(a->remarks[i].message, b->remarks[i].message));
}

static void try_run(const uint8_t *data, size_t size, bool phase)
{
    struct hf_job job = {0}, again = {0};
    struct hf_buf text = {0}, written = {0};
    insist(!hf_buf_append(&text, data, size));
    if (decode(&job, &text, phase)) {
        insist(!(phase ? job_phase_encode(&job, job.phase, &written)
                       : job_decided_encode(&job, &written)));
        insist(decode(&again, &written, phase));
        compare(&job, &again);
    }
    job_forget_run(&job);
    job_forget_run(&again);
    hf_buf_free(&text);
    hf_buf_free(&written);
}

/* How many versions are in a plan; each is appended to another one where that is given. */
static size_t read_plan(char *bytes, size_t size, struct hf_job *copy)
{
    struct hf_job job = {.plan = fmemopen(bytes, size, "r")};
    struct hf_version version;
    struct hf_buf buf = {0};
    size_t count = 0;
    insist(job.plan);
    while (!job_plan_next(&job, &buf, &version, NULL)) {
        insist(!copy || !job_plan_append(copy, &version, HF_ACTION_FILE, NULL));
        count++;
    }
    hf_buf_free(&buf);
    fclose(job.plan);
    return count;
}

static void try_plan(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size), *written = NULL;
    size_t written_size = 0;
    struct hf_job copy = {.plan = open_memstream(&written, &written_size)};
    insist(bytes && copy.plan);
    memcpy(bytes, data, size);
    size_t count = read_plan(bytes, size, &copy);
    fclose(copy.plan);
    insist(count == copy.count);
    if (count > 0)
        insist(read_plan(written, written_size, NULL) == count);
    job_forget_run(&copy);
    free(written);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || data[0] > 2)
        return 0;
    if (data[0] == 2)
        try_plan(data + 1, size - 1);
    else
        try_run(data + 1, size - 1, data[0] == 1);
    return 0;
}
