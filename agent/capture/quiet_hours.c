/* Quiet hours: what changes in a source is noticed, and looked at when they are over. What was read
 * before still goes out, at most what memory holds; what waits in the spool stays there. A restore
 * that needs a source captured doesn't wait. */
#include <stdio.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/log.h"

bool is_quiet(const struct hf_capture *capture, size_t source)
{
    const struct source_work *work = &capture->work[source];
    return work->quiet && work->flushes == 0;
}

bool interrupted(struct hf_capture *capture, size_t source)
{
    return stopping(capture) || is_quiet(capture, source);
}

static void look(struct hf_capture *capture, size_t source, int64_t now_ns)
{
    struct source_work *work = &capture->work[source];
    const struct hf_config_source *config = &capture->config->sources[source];
    bool before = work->quiet;
    if (now_ns >= work->quiet_change_ns) {
        work->quiet = quiet_at(&config->quiet, now_ns, &work->quiet_change_ns);
    }
    if (work->quiet != before) {
        char end[HF_QUIET_TEXT_BYTES] = "";
        quiet_end_text(now_ns, work->quiet_change_ns, end);
        hf_log_info("source %s: quiet hours %s%s", config->name,
                    work->quiet ? "until " : "are over", work->quiet ? end : "");
    }
    if (is_quiet(capture, source) != work->spool_held) {
        work->spool_held = !work->spool_held;
        outbox_hold_spool(capture->outbox, source, work->spool_held);
    }
}

void look_at_quiet_hours(struct hf_capture *capture)
{
    int64_t now_ns = hf_clock_now_ns();
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (capture->config->sources[i].quiet.count > 0) {
            look(capture, i, now_ns);
        }
    }
}

void forget_quiet_hours(struct hf_capture *capture)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        capture->work[i].quiet_change_ns = INT64_MIN;
    }
}

bool waits_for_quiet_end(const struct hf_capture *capture, size_t source, uint64_t pending)
{
    const struct source_work *work = &capture->work[source];
    bool due = !is_told(work) && work->scan_due_ns <= hf_clock_monotonic_ns();
    return is_quiet(capture, source) && (pending > 0 || work->scan_wanted || !work->scanned ||
                                         due || work->acked_seq < work->last_seq);
}

void say_quiet(const struct hf_capture *capture, size_t source, char out[HF_MARK_NOTE_BYTES])
{
    char end[HF_QUIET_TEXT_BYTES];
    quiet_end_text(hf_clock_now_ns(), capture->work[source].quiet_change_ns, end);
    snprintf(out, HF_MARK_NOTE_BYTES, "waits for the end of quiet hours at %s", end);
}
