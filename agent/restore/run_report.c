/* Telling the collector how it went: a row per file, then the outcome, until that is recorded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/restore/run.h"
#include "common/clock.h"

#define ROWS_MAX       HF_FRAME_RESULTS_MAX
#define ROWS_MAX_BYTES (256u * 1024u)
/* Results are not answered, and the collector lets only so many frames of a restore wait: after
 * this many it is given time for each. */
#define BURST_FRAMES 100u
#define PACE_MS      20
#define SAY_AGAIN_NS (30 * HF_NS_PER_SECOND)

struct report {
    struct hf_run *run;
    struct hf_restore_result rows[ROWS_MAX];
    size_t offsets[ROWS_MAX]; /* of each row's path and message in text, which moves as it grows */
    size_t count;
    struct hf_buf text;
    size_t frames;
};

static enum hf_restore_status status_of(enum hf_action action)
{
    switch (action) {
    case HF_ACTION_RESTORED:
        return HF_RESTORE_RESTORED;
    case HF_ACTION_IDENTICAL:
        return HF_RESTORE_IDENTICAL;
    case HF_ACTION_SKIPPED:
        return HF_RESTORE_SKIPPED;
    case HF_ACTION_RENAMED:
        return HF_RESTORE_RENAMED;
    case HF_ACTION_FAILED:
        return HF_RESTORE_FAILED;
    case HF_ACTION_WOULD:
        return HF_RESTORE_WOULD;
    default:
        return 0; /* never came to it: the job failed, and its message says why */
    }
}

static int flush_rows(struct report *report)
{
    if (report->count == 0)
        return 0;
    for (size_t i = 0; i < report->count; i++) {
        struct hf_restore_result *row = &report->rows[i];
        row->path.data = report->text.data + report->offsets[i];
        row->message.data = row->path.data + row->path.size;
    }
    struct hf_frame frame = {
        .type = HF_FRAME_RESTORE_RESULT,
        .results = {.job = report->run->job->id, .results = report->rows, .count = report->count},
    };
    int result = run_send(report->run, &frame);
    report->count = 0;
    hf_buf_clear(&report->text);
    if (!result && ++report->frames > BURST_FRAMES) {
        struct hf_link_event *event;
        result = run_next_event(report->run, PACE_MS, &event);
        if (!result)
            link_event_free(event);
    }
    return result;
}

static int add_row(struct report *report, const struct hf_version *version, uint64_t index)
{
    struct hf_job *job = report->run->job;
    enum hf_restore_status status = status_of((enum hf_action)job->actions[index]);
    char beside[HF_PATH_MAX_BYTES + 64];
    const char *message = "";
    if (!status)
        return 0;
    const char *remark = job_remark_of(job, index);
    if (remark)
        message = remark;
    else if (status == HF_RESTORE_FAILED)
        message = "the reason is in the agent's log";
    if (status == HF_RESTORE_RENAMED) {
        snprintf(beside, sizeof(beside), "/%.*s.restored-%llu", (int)version->path.size,
                 (const char *)version->path.data, (unsigned long long)job->id);
        message = beside;
    }
    size_t length = strlen(message);
    if (length > HF_TEXT_MAX_BYTES)
        length = HF_TEXT_MAX_BYTES;
    int result = 0;
    if (report->count == ROWS_MAX ||
        report->text.size + version->path.size + length > ROWS_MAX_BYTES)
        result = flush_rows(report);
    report->offsets[report->count] = report->text.size;
    if (!result)
        result = hf_buf_append(&report->text, version->path.data, version->path.size);
    if (!result)
        result = hf_buf_append(&report->text, message, length);
    if (!result)
        report->rows[report->count++] = (struct hf_restore_result){
            .path = {.size = version->path.size},
            .status = status,
            .bytes = version->size,
            .message = {.size = length},
        };
    return result;
}

static int send_rows(struct hf_run *run, struct hf_error *error)
{
    struct report *report = calloc(1, sizeof(*report));
    if (!report)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the restore's results");
    report->run = run;
    struct hf_buf buf = {0};
    struct hf_version version;
    int result = job_plan_rewind(run->job, error);
    for (uint64_t i = 0; !result && i < run->job->count; i++) {
        result = job_plan_next(run->job, &buf, &version, error);
        if (!result)
            result = add_row(report, &version, i);
    }
    if (!result)
        result = flush_rows(report);
    hf_buf_free(&buf);
    hf_buf_free(&report->text);
    free(report);
    return result;
}

static int send_done(struct hf_run *run)
{
    const struct hf_job *job = run->job;
    uint64_t files = 0, failed = 0;
    for (size_t i = 0; i < job->count; i++) {
        files += job->actions[i] != HF_ACTION_NONE;
        failed += job->actions[i] == HF_ACTION_FAILED;
    }
    struct hf_frame frame = {
        .type = HF_FRAME_RESTORE_DONE,
        .done = {.job = job->id,
                 .outcome = job->outcome,
                 .file_count = files,
                 .failed_count = failed,
                 .fetched_bytes = job->fetched_bytes,
                 .reused_bytes = job->reused_bytes,
                 .message = {job->message.data, job->message.size}},
    };
    return run_send(run, &frame);
}

int run_report(struct hf_run *run, struct hf_error *error)
{
    int result = send_rows(run, error);
    return result ? result : send_done(run);
}

int run_await_recorded(struct hf_run *run)
{
    int64_t said_ns = hf_clock_monotonic_ns();
    for (;;) {
        struct hf_link_event *event;
        int result = run_next_event(run, 1000, &event);
        bool recorded = !result && event && event->frame.type == HF_FRAME_RESTORE_DONE &&
                        event->frame.done.job == run->job->id;
        if (!result)
            link_event_free(event);
        if (result || recorded)
            return result;
        /* It may have had no room or no memory to record it, or to say so. */
        if (hf_clock_monotonic_ns() - said_ns >= SAY_AGAIN_NS) {
            said_ns = hf_clock_monotonic_ns();
            result = send_done(run);
            if (result)
                return result;
        }
    }
}
