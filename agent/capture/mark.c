/* Marks: up to when everything of a source is captured and acknowledged. A mark never says more
 * than is true (promise 6): what was noticed and not yet looked at holds it back to before it can
 * have happened, what was given up to before its version. */
#include <stdio.h>
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

static void claim(struct source_work *work, int64_t until_ns)
{
    if (until_ns > work->complete_until_ns) {
        work->complete_until_ns = until_ns;
        work->complete_seq = work->last_seq;
    }
}

void mark_scanned(struct hf_capture *capture, size_t source, int64_t started_ns)
{
    int64_t until_ns = started_ns;
    dirty_of(capture, source, &until_ns);
    capture->work[source].scanned = true;
    claim(&capture->work[source], until_ns);
}

void mark_give_up_from(struct source_work *work, uint64_t seq)
{
    if (work->complete_seq >= seq) {
        work->complete_seq = seq - 1;
        work->complete_until_ns = work->marked_until_ns;
    }
}

/* Where inotify tells of everything, what was not noticed did not happen. */
static void claim_watched(struct hf_capture *capture, struct source_work *work, int64_t until_ns)
{
    int64_t now = hf_clock_monotonic_ns();
    bool changed = work->complete_seq != work->last_seq;
    if (work->acked_seq < work->complete_seq) {
        return; /* what is claimed already has to be acknowledged first, or none ever would */
    }
    if (changed || now - work->refreshed_ns >= capture->config->mark_interval_ns) {
        work->refreshed_ns = now;
        claim(work, until_ns);
    }
}

static enum hf_source_state state_of(const struct source_work *work, bool waits)
{
    if (work->unreadable > 0 || (work->lost && work->note[0])) {
        return HF_SOURCE_FAILING;
    }
    return waits               ? HF_SOURCE_WAITING
           : !is_told(work)    ? HF_SOURCE_DEGRADED
           : work->scan_wanted ? HF_SOURCE_SCANNING
                               : HF_SOURCE_WATCHING;
}

static void tell(struct hf_capture *capture, size_t source, uint64_t pending)
{
    const struct source_work *work = &capture->work[source];
    bool waits = waits_for_quiet_end(capture, source, pending);
    pthread_mutex_lock(&capture->mark_lock);
    struct hf_mark_state *mark = &capture->marks[source];
    bool known = capture->mark_known[source];
    enum hf_source_state before = mark->state;
    capture->mark_known[source] = work->marked_until_ns != 0 || waits;
    mark->version_seq = work->acked_seq;
    mark->until_ns = work->marked_until_ns;
    mark->pending_files = pending;
    mark->state = state_of(work, waits);
    if (work->note[0]) {
        memcpy(mark->note, work->note, sizeof mark->note);
    } else if (waits) {
        say_quiet(capture, source, mark->note);
    } else if (!is_told(work)) {
        say_untold(capture, source, mark->note);
    } else {
        mark->note[0] = '\0';
    }
    bool news = capture->mark_known[source] && (!known || mark->state != before);
    pthread_mutex_unlock(&capture->mark_lock);
    if (news) {
        outbox_wake(capture->outbox); /* that something is wrong is told sooner than the time */
    }
}

static void settle(struct source_work *work)
{
    if (work->acked_seq >= work->complete_seq && work->complete_until_ns > work->marked_until_ns) {
        work->marked_until_ns = work->complete_until_ns;
    }
}

void update_mark(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    int64_t until_ns = capture->drained_ns;
    uint64_t pending = dirty_of(capture, source, &until_ns);
    if (!work->scanned) {
        if (waits_for_quiet_end(capture, source, pending)) {
            tell(capture, source, pending); /* which says nothing of up to when */
        }
        return;
    }
    settle(work); /* before there is another claim */
    if (is_told(work) && !work->scan_wanted) {
        claim_watched(capture, work, until_ns);
    }
    settle(work);
    tell(capture, source, pending);
}

bool capture_mark(struct hf_capture *capture, size_t source, struct hf_mark_state *out)
{
    pthread_mutex_lock(&capture->mark_lock);
    bool known = capture->mark_known[source];
    *out = capture->marks[source];
    pthread_mutex_unlock(&capture->mark_lock);
    return known;
}
