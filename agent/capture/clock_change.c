/* What times mean once the clock was set. The clocks of files, of marks and of versions are all the
 * wall clock: moments from before it was set don't compare with those after.
 *
 * Set forward: what was complete up to a moment still is; the files' times stay in the past. Set
 * back: the same moment has an earlier name now, so all that is remembered moves back, and no mark
 * claims time that is yet to come; and a file may get a time of change that it had before, so that
 * times between now and then vouch for nothing. Either way, and after sleep, everything is compared
 * at once. */
#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/log.h"

/* Clocks can't be read at the same moment. */
#define LOST_MIN_NS HF_NS_PER_MS

void look_at_clocks(struct hf_capture *capture)
{
    struct hf_clock_reading now = clock_watch_read();
    clock_watch_look(&capture->clock, &now, &capture->clock_change);
}

static int64_t earlier(int64_t moment_ns, int64_t back_ns)
{
    return moment_ns == 0 ? 0 : moment_ns - back_ns; /* 0: none */
}

/* Also for what a clock that is steered lost: it costs nothing, and a mark is never ahead of it. */
static void move_back(struct hf_capture *capture, int64_t back_ns)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        struct source_work *work = &capture->work[i];
        work->complete_until_ns = earlier(work->complete_until_ns, back_ns);
        work->marked_until_ns = earlier(work->marked_until_ns, back_ns);
    }
    capture->drained_ns = earlier(capture->drained_ns, back_ns);
    capture->since_ns = earlier(capture->since_ns, back_ns);
    dirty_shift(capture, back_ns);
}

static void say(const struct hf_clock_change *change)
{
    char text[HF_TIME_TEXT_BYTES];
    bool set = change->set_ns >= HF_CLOCK_SET_MIN_NS || change->set_ns <= -HF_CLOCK_SET_MIN_NS;
    int64_t by_ns = !set ? change->slept_ns : change->set_ns < 0 ? -change->set_ns : change->set_ns;
    /* To the second: clocks that can't be read at the same moment make 4 h 59 min of 5 hours. */
    by_ns = (by_ns + HF_NS_PER_SECOND / 2) / HF_NS_PER_SECOND * HF_NS_PER_SECOND;
    hf_duration_text(by_ns, text);
    hf_log_info("This host %s %s: comparing everything",
                !set                 ? "slept for"
                : change->set_ns < 0 ? "had its clock set back by"
                                     : "had its clock set forward by",
                text);
}

void deal_with_clocks(struct hf_capture *capture)
{
    struct hf_clock_change change = capture->clock_change;
    if (!change.notable && change.set_ns > -LOST_MIN_NS) {
        return; /* it adds up */
    }
    capture->clock_change = (struct hf_clock_change){0};
    if (change.set_ns < 0) {
        move_back(capture, -change.set_ns);
    }
    if (!change.notable) {
        return;
    }
    say(&change);
    forget_quiet_hours(capture);
    if (change.set_ns < 0) {
        int64_t now_ns = hf_clock_now_ns();
        int64_t before_ns = now_ns - change.set_ns;
        capture->repeats_until_ns =
            before_ns > capture->repeats_until_ns ? before_ns : capture->repeats_until_ns;
        state_begin(capture->state);
        state_doubt_changed_after(capture->state, now_ns);
    }
    for (size_t i = 0; i < capture->config->source_count; i++) {
        scan_now(capture, i);
    }
}

bool may_repeat(const struct hf_capture *capture, int64_t changed_ns)
{
    return changed_ns <= capture->repeats_until_ns && changed_ns > hf_clock_now_ns();
}
