/* Hard links: what is done to a file by one of its names is done to all. inotify tells of that name
 * alone, so the others are looked at then. A name that isn't known yet is found by a scan. */
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

/* A file of more names is scanned for. */
#define NAMES_MAX         256u
#define DELAY_MIN_NS      (50 * HF_NS_PER_MS)
#define LINKS_SCAN_MIN_NS (2 * HF_NS_PER_SECOND)

uint64_t link_of(const struct stat *status)
{
    if (status->st_nlink < 2) {
        return 0;
    }
    /* Inode numbers are unique within a file system only; splitmix64's last steps mix the two. */
    uint64_t mixed = (uint64_t)status->st_ino ^ (uint64_t)status->st_dev * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    mixed = (mixed ^ mixed >> 31) & INT64_MAX;
    return mixed ? mixed : 1;
}

/* The others; returns how many names are on record, of which it may be one. */
static size_t mark_names(struct hf_capture *capture, size_t source, uint64_t link, const char *path)
{
    /* Each look marks the others: not at once, or two names of a file that was written just now
     * would be read by turns until its time stands still. */
    int64_t debounce_ns = capture->config->sources[source].debounce_ns;
    int64_t delay_ns = debounce_ns < DELAY_MIN_NS ? DELAY_MIN_NS : debounce_ns;
    struct hf_buf paths = {0};
    size_t count = 0;
    if (state_linked(capture->state, source, link, NAMES_MAX, &paths, &count) != HF_OK ||
        count > NAMES_MAX) {
        count = 0;
    }
    for (size_t at = 0, i = 0; i < count; i++) {
        const char *other = (const char *)paths.data + at;
        if (strcmp(other, path) != 0) {
            mark_dirty(capture, source, other, delay_ns, 0);
        }
        at += strlen(other) + 1;
    }
    hf_buf_free(&paths);
    return count;
}

static void scan_for_names(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    int64_t due_ns = hf_clock_monotonic_ns() + LINKS_SCAN_MIN_NS;
    due_ns = due_ns < work->links_scan_ns ? work->links_scan_ns : due_ns;
    work->scan_due_ns = due_ns < work->scan_due_ns ? due_ns : work->scan_due_ns;
}

void look_at_links(struct hf_capture *capture, size_t source, const char *parent, const char *name,
                   const struct stat *status, const struct state_row *row)
{
    char path[HF_PATH_MAX_BYTES + 300];
    uint64_t link = status ? link_of(status) : 0;
    uint64_t before = row ? row->link : 0;
    if (!capture->looking) {
        return; /* a scan sees them all */
    }
    join(parent, name, path);
    if (before && before != link) {
        mark_names(capture, source, before, path);
    }
    if (link) {
        size_t known = mark_names(capture, source, link, path) + (before != link);
        if (known < status->st_nlink) {
            scan_for_names(capture, source);
        }
    }
}
