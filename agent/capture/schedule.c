/* When a source is compared whole. inotify tells what changes; a scan is for what it can't tell:
 * where it says so itself (an overflow, an unmounted file system), at once; where it hears nothing
 * (no watch, a file system that others change), every `rescan`; and every `verify` for what nobody
 * can know of, which is writing by mmap and by a name outside the source. */
#include <stdio.h>
#include <sys/vfs.h>

#include "agent/capture/capture_private.h"
#include "common/bytes.h"
#include "common/clock.h"

void scan_by(struct hf_capture *capture, size_t source, int64_t due_ns)
{
    struct source_work *work = &capture->work[source];
    if (due_ns < work->scan_due_ns) {
        work->scan_due_ns = due_ns;
    }
}

void scan_now(struct hf_capture *capture, size_t source)
{
    capture->work[source].scan_wanted = true;
    capture->work[source].scan_due_ns = hf_clock_monotonic_ns();
}

bool is_told(const struct source_work *work)
{
    return work->unwatched == 0 && work->untold[0] == '\0';
}

void begin_finding(struct source_work *work)
{
    work->unwatched = 0;
    work->limit_reached = false;
    work->untold[0] = '\0';
}

int watch_directory(struct hf_capture *capture, size_t source, int fd, const char *path,
                    enum watch_kind kind, bool *is_new)
{
    struct source_work *work = &capture->work[source];
    char absolute[HF_PATH_MAX_BYTES + 300];
    struct statfs status;
    int rc = watch_add(capture->watch, source, path, kind, is_new);
    if (rc == HF_ERR_NOT_FOUND) {
        return rc; /* nothing is there, which is told by the directory above */
    }
    if (rc != HF_OK) {
        work->unwatched++;
        work->limit_reached = work->limit_reached || rc == HF_ERR_NO_SPACE;
    }
    snprintf(absolute, sizeof absolute, "/%s", path);
    bool known = fd >= 0 ? fstatfs(fd, &status) == 0 : statfs(absolute, &status) == 0;
    if (known && !filesystem_is_told((uint64_t)status.f_type & UINT32_MAX)) {
        filesystem_name((uint64_t)status.f_type & UINT32_MAX, work->untold);
    }
    if (!is_told(work)) {
        scan_by(capture, source,
                hf_clock_monotonic_ns() + capture->config->sources[source].rescan_ns);
    }
    return rc;
}

int64_t next_scan_ns(const struct hf_capture *capture, size_t source)
{
    const struct source_work *work = &capture->work[source];
    const struct hf_config_source *config = &capture->config->sources[source];
    int64_t pause_ns = config->rescan_ns;
    if (is_told(work) && work->unreadable == 0) {
        /* Machines that share a disk and started together don't read it together. */
        uint16_t dice = 0;
        hf_random(&dice, sizeof dice);
        pause_ns = config->verify_ns - config->verify_ns / 4 / UINT16_MAX * dice;
    }
    return hf_clock_monotonic_ns() + pause_ns;
}

void say_untold(const struct hf_capture *capture, size_t source, char out[HF_MARK_NOTE_BYTES])
{
    const struct source_work *work = &capture->work[source];
    char pause[HF_TIME_TEXT_BYTES];
    char why[120];
    hf_duration_text(capture->config->sources[source].rescan_ns, pause);
    if (work->limit_reached) {
        snprintf(why, sizeof why,
                 "fs.inotify.max_user_watches is reached, %u directories are not watched",
                 work->unwatched);
    } else if (work->untold[0]) {
        snprintf(why, sizeof why, "%s does not tell of all changes", work->untold);
    } else {
        snprintf(why, sizeof why, "%u directories can't be watched", work->unwatched);
    }
    snprintf(out, HF_MARK_NOTE_BYTES, "%s; scans alone notice changes, every %s", why, pause);
}
