/* The last steps before files are replaced: what writes to them is stopped, and what it wrote last
 * is captured. */
#include "agent/restore/hook.h"
#include "agent/restore/run.h"
#include "common/clock.h"
#include "common/log.h"

/* A service that is stopped for a restore is started again when that can't go on by then. */
#define STOPPED_LIMIT_NS (INT64_C(300) * HF_NS_PER_SECOND)

static void flush_done(void *context)
{
    struct hf_restorer *restorer = context;
    atomic_fetch_add(&restorer->flushes_done, 1);
    restorer_wake(restorer);
}

int run_flush(struct hf_run *run, const struct hf_capture_area *area, int64_t limit_ns,
              struct hf_error *error)
{
    int64_t began_ns = hf_clock_monotonic_ns();
    struct hf_restorer *restorer = run->restorer;
    atomic_fetch_add(&restorer->flushes_asked, 1);
    capture_flush(restorer->options.capture, area, flush_done, restorer);
    while (atomic_load(&restorer->flushes_done) != atomic_load(&restorer->flushes_asked)) {
        struct hf_link_event *event;
        int result = run_next_event(run, 1000, &event);
        if (result)
            return result;
        link_event_free(event);
        if (run->cancelled)
            return hf_error_set(error, HF_ERR_CONFLICT, 0, "cancelled; nothing was changed");
        if (limit_ns > 0 && hf_clock_monotonic_ns() - began_ns > limit_ns)
            return hf_error_set(error, HF_ERR_TIMEOUT, 0,
                                "what is on this host was not safe with the collector within %lld "
                                "s; see whether it can store data",
                                (long long)(limit_ns / HF_NS_PER_SECOND));
    }
    return 0;
}

int run_hook(struct hf_run *run, const char *const *argv, struct hf_error *error)
{
    if (!argv || !argv[0])
        return 0;
    hf_log_info("restore job %llu: running %s", (unsigned long long)run->job->id, argv[0]);
    return hook_run(argv, run->job->id, run->terms.source->name, HF_HOOK_TIMEOUT_NS, error);
}

/* A service that is stopped writes its last state then: this is the moment to come back to. */
static int name_moment(struct hf_run *run, struct hf_error *error)
{
    uint64_t job = run->job->id;
    struct hf_frame answer = {.type = HF_FRAME_RESTORE_ANSWER,
                              .answer = {.job = job, .accepted = true}};
    /* Its page comes when the answer before it has been dealt with; what is in it is known. */
    struct hf_frame next = {.type = HF_FRAME_RESTORE_NEXT, .next = {.job = job}};
    int result = run_send(run, &answer);
    result = result ? result : run_send(run, &next);
    while (!result) {
        struct hf_link_event *event;
        result = run_next_event(run, 1000, &event);
        if (result || !event)
            continue;
        const struct hf_frame *frame = &event->frame;
        bool named = frame->type == HF_FRAME_RESTORE_PAGE && frame->page.job == job;
        if (frame->type == HF_FRAME_ERROR && frame->refusal.about_seq > 0)
            result = hf_error_set(
                error, HF_ERR_DENIED, 0,
                "the collector could not name the moment before the restore: "
                "%.*s",
                (int)(frame->refusal.message.size < 300 ? frame->refusal.message.size : 300),
                (const char *)frame->refusal.message.data);
        link_event_free(event);
        if (named)
            return 0;
        if (!result && run->cancelled)
            result = hf_error_set(error, HF_ERR_CONFLICT, 0, "cancelled; nothing was changed");
    }
    return result;
}

int run_quiesce(struct hf_run *run, struct hf_error *error)
{
    const struct hf_config_source *source = run->terms.source;
    bool stopped = source && source->before_restore && source->before_restore[0];
    int result = stopped ? run_hook(run, source->before_restore, error) : 0;
    if (result)
        return result;
    struct hf_capture_area area = run->area;
    if (stopped)
        area.path_count = 0; /* the moment that is named then is all that was written */
    result = run_flush(run, &area, stopped ? STOPPED_LIMIT_NS : 0, error);
    if (!result && stopped)
        result = name_moment(run, error);
    if (!result)
        result = job_save_phase(run->job, HF_JOB_APPLYING, error);
    struct hf_error after;
    if (result && stopped && run_hook(run, source->after_restore, &after))
        hf_log_warning("restore job %llu: nothing was changed, but %s",
                       (unsigned long long)run->job->id, after.message);
    return result;
}
