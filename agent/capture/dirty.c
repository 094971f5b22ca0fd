/* Paths that have to be looked at, by the time at which that is due. */
#include <stdlib.h>
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

#define DIRTY_MAX 4096u /* beyond that a scan is cheaper than a list */

static void insert(struct hf_capture *capture, struct dirty *entry)
{
    struct dirty **at = &capture->dirty;
    while (*at && (*at)->due_ns <= entry->due_ns) {
        at = &(*at)->next;
    }
    entry->next = *at;
    *at = entry;
    capture->dirty_count++;
}

static struct dirty *remove_at(struct hf_capture *capture, struct dirty **at)
{
    struct dirty *entry = *at;
    *at = entry->next;
    capture->dirty_count--;
    return entry;
}

static void scan_instead(struct hf_capture *capture, size_t source, int64_t due_ns)
{
    capture->work[source].scan_wanted = true;
    if (due_ns < capture->work[source].scan_due_ns) {
        capture->work[source].scan_due_ns = due_ns;
    }
}

void mark_dirty(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns,
                int64_t unparsable_ns)
{
    int64_t due_ns = hf_clock_monotonic_ns() + delay_ns;
    if (capture->dirty_count >= DIRTY_MAX) {
        scan_instead(capture, source, due_ns);
        return;
    }
    for (struct dirty **at = &capture->dirty; *at; at = &(*at)->next) {
        struct dirty *entry = *at;
        if (entry->source == source && strcmp(entry->path, path) == 0) {
            if (capture->since_ns < entry->since_ns) {
                entry->since_ns = capture->since_ns;
            }
            if (due_ns < entry->due_ns) {
                remove_at(capture, at);
                entry->due_ns = due_ns;
                insert(capture, entry);
            }
            return;
        }
    }
    size_t length = strlen(path);
    struct dirty *entry = malloc(sizeof *entry + length + 1);
    if (!entry) {
        scan_instead(capture, source, due_ns);
        return;
    }
    *entry = (struct dirty){.source = source,
                            .due_ns = due_ns,
                            .since_ns = capture->since_ns,
                            .unparsable_ns = unparsable_ns};
    memcpy(entry->path, path, length + 1);
    insert(capture, entry);
}

struct dirty *dirty_take_due(struct hf_capture *capture, int64_t now_ns)
{
    for (struct dirty **at = &capture->dirty; *at && (*at)->due_ns <= now_ns; at = &(*at)->next) {
        if (may_look_at(capture, (*at)->source)) {
            return remove_at(capture, at);
        }
    }
    return NULL;
}

size_t dirty_of(const struct hf_capture *capture, size_t source, int64_t *since_ns)
{
    size_t count = 0;
    for (const struct dirty *entry = capture->dirty; entry; entry = entry->next) {
        if (entry->source == source) {
            count++;
            *since_ns = entry->since_ns < *since_ns ? entry->since_ns : *since_ns;
        }
    }
    return count;
}

void dirty_clear(struct hf_capture *capture)
{
    while (capture->dirty) {
        free(remove_at(capture, &capture->dirty));
    }
}
