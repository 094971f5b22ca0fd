#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "collector/ctl/ctl.h"
#include "common/clock.h"

#define REDRAW_NS (HF_NS_PER_SECOND / 10)
#define BAR_WIDTH 24

struct ctl_progress {
    const char *label;
    int64_t started_ns, drawn_ns;
    bool visible; /* something is on the line */
    bool terminal;
};

struct ctl_progress *progress_new(const char *label)
{
    struct ctl_progress *progress = calloc(1, sizeof *progress);
    if (progress) {
        progress->label = label;
        progress->terminal = isatty(STDERR_FILENO) == 1;
        progress->started_ns = hf_clock_monotonic_ns();
    }
    return progress;
}

static void draw(struct ctl_progress *progress, uint64_t done, uint64_t total, int64_t now)
{
    double seconds = (double)(now - progress->started_ns) / 1e9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    char done_text[HF_TIME_TEXT_BYTES];
    char rate_text[HF_TIME_TEXT_BYTES];
    hf_size_text(done, done_text);
    hf_size_text((uint64_t)rate, rate_text);
    if (total == 0) {
        fprintf(stderr, "\r%s %s, %s/s\033[K", progress->label, done_text, rate_text);
        return;
    }
    double part = done < total ? (double)done / (double)total : 1;
    int filled = (int)(part * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    char left[HF_TIME_TEXT_BYTES] = "";
    if (rate > 0 && done < total) {
        hf_duration_text((int64_t)((double)(total - done) / rate * 1e9), left);
    }
    fprintf(stderr, "\r%s [%s] %3d %%, %s, %s/s%s%s%s\033[K", progress->label, bar,
            (int)(part * 100), done_text, rate_text, *left ? ", " : "", left, *left ? " left" : "");
}

void progress_update(struct ctl_progress *progress, uint64_t done, uint64_t total)
{
    if (!progress || !progress->terminal) {
        return;
    }
    int64_t now = hf_clock_monotonic_ns();
    if (progress->visible && now - progress->drawn_ns < REDRAW_NS) {
        return;
    }
    progress->visible = true;
    progress->drawn_ns = now;
    draw(progress, done, total, now);
}

void progress_hide(struct ctl_progress *progress)
{
    if (progress && progress->visible) {
        fputs("\r\033[K", stderr);
        progress->visible = false;
    }
}

void progress_free(struct ctl_progress *progress)
{
    progress_hide(progress);
    free(progress);
}
