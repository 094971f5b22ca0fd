/* Hard links: what is done to a file by one of its names is done to all. inotify tells of that name
 * alone, so the others are looked at then. */
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

#define NAMES_MAX    1024u /* a file of more waits for the next scan */
#define DELAY_MIN_NS (50 * HF_NS_PER_MS)

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

/* Those that were captured at another time of change. */
static void mark_names(struct hf_capture *capture, size_t source, const struct state_print *print,
                       const char *path)
{
    /* Not at once, or two names of a file that was written just now would be read by turns until
     * its time stands still. */
    int64_t debounce_ns = capture->config->sources[source].debounce_ns;
    int64_t delay_ns = debounce_ns < DELAY_MIN_NS ? DELAY_MIN_NS : debounce_ns;
    struct hf_buf paths = {0};
    size_t at = 0;
    if (state_names(capture->state, source, print->dev, print->ino, print->ctime_ns, NAMES_MAX,
                    &paths) != HF_OK) {
        paths.size = 0; /* a scan finds them */
    }
    while (at < paths.size) {
        const char *other = (const char *)paths.data + at;
        if (strcmp(other, path) != 0) {
            mark_dirty(capture, source, other, delay_ns, 0);
        }
        at += strlen(other) + 1;
    }
    hf_buf_free(&paths);
}

void look_at_links(struct hf_capture *capture, size_t source, const char *parent, const char *name,
                   const struct stat *status, const struct state_row *row)
{
    char path[HF_PATH_MAX_BYTES + 300];
    join(parent, name, path);
    if (row && row->link && row->print.dev != 0 &&
        (!status || row->print.ino != status->st_ino || row->print.dev != status->st_dev)) {
        struct state_print gone = row->print;
        gone.ctime_ns = -1; /* of no file */
        mark_names(capture, source, &gone, path);
    }
    if (status) {
        struct state_print print = state_print_of(status);
        mark_names(capture, source, &print, path);
    }
}
