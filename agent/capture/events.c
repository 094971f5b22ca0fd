/* What inotify tells: which paths are to be looked at, and when. */
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/log.h"

struct recent *recent_of(struct hf_capture *capture, size_t source, const char *path, uint64_t *key)
{
    *key = path_key(source, path);
    return &capture->recent[*key % RECENT_SLOTS];
}

static void mark_parent(struct hf_capture *capture, size_t source, const char *path,
                        int64_t delay_ns)
{
    char parent[4200];
    const char *slash = strrchr(path, '/');
    if (slash) {
        memcpy(parent, path, (size_t)(slash - path));
        parent[slash - path] = '\0';
        if (selected(&capture->config->sources[source], parent, true)) {
            mark_dirty(capture, source, parent, delay_ns, 0);
        }
    }
}

static void on_event(struct hf_capture *capture, const struct watch_event *event)
{
    int64_t now = hf_clock_monotonic_ns();
    if (event->overflow) {
        hf_log_info("More changed at once than inotify could tell: scanning");
        for (size_t i = 0; i < capture->config->source_count; i++) {
            scan_now(capture, i);
        }
        return;
    }
    if (event->lost) {
        scan_now(capture, event->source);
        return;
    }
    const struct hf_config_source *source = &capture->config->sources[event->source];
    char base[sizeof event->path];
    const char *path = event->path;
    bool sibling = database_is_sibling(source, path);
    if (sibling) {
        database_of_sibling(path, base, sizeof base);
        path = base;
    }
    bool inside = selected(source, path, true);
    if ((!inside || (event->gone && !sibling)) && is_on_way(source, path)) {
        scan_now(capture, event->source); /* a root, or the way to one, has to be watched anew */
    }
    if (!inside) {
        return;
    }
    uint64_t key = 0;
    struct recent *recent = recent_of(capture, event->source, path, &key);
    int64_t delay_ns = event->now ? 0 : source->debounce_ns;
    if (recent->key == key && now - recent->seen_ns < source->debounce_ns) {
        delay_ns = recent->seen_ns + source->debounce_ns - now;
    }
    mark_dirty(capture, event->source, path, delay_ns, 0);
    /* What comes and goes beside a database leaves the directory's own time to the scans. */
    if (!event->written && !sibling) {
        mark_parent(capture, event->source, path, source->debounce_ns);
    }
}

void read_events(struct hf_capture *capture)
{
    struct watch_event event;
    int64_t began_ns = hf_clock_now_ns();
    bool any = false;
    bool other = false;
    capture->since_ns = capture->drained_ns;
    watch_gather(capture->watch);
    while (watch_next(capture->watch, &event)) {
        on_event(capture, &event);
        any = true;
        other = other || !event.written;
    }
    if (any) {
        capture->only_written = other ? 0 : capture->only_written + 1;
    }
    capture->drained_ns = began_ns;
}
