/* Paths that have to be looked at, by the time at which that is due. */
#include <stdlib.h>
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"

#define DIRTY_MAX 4096u /* beyond that a scan is cheaper than a list */

uint64_t path_key(size_t source, const char *path)
{
    uint64_t hash = 1469598103934665603u ^ source; /* FNV-1a */
    for (const char *p = path; *p; p++) {
        hash = (hash ^ (uint8_t)*p) * 1099511628211u;
    }
    return hash;
}

static struct dirty **bucket_of(struct hf_capture *capture, uint64_t key)
{
    return &capture->dirty_index[key % DIRTY_BUCKETS];
}

/* Most are due after all that are there already. */
static void insert(struct hf_capture *capture, struct dirty *entry)
{
    struct dirty *before = capture->dirty_last;
    while (before && before->due_ns > entry->due_ns) {
        before = before->previous;
    }
    struct dirty *after = before ? before->next : capture->dirty;
    entry->previous = before;
    entry->next = after;
    *(before ? &before->next : &capture->dirty) = entry;
    *(after ? &after->previous : &capture->dirty_last) = entry;
}

static void take_out(struct hf_capture *capture, struct dirty *entry)
{
    *(entry->previous ? &entry->previous->next : &capture->dirty) = entry->next;
    *(entry->next ? &entry->next->previous : &capture->dirty_last) = entry->previous;
}

static void move(struct hf_capture *capture, struct dirty *entry, int64_t due_ns)
{
    take_out(capture, entry);
    entry->due_ns = due_ns;
    insert(capture, entry);
}

static struct dirty *remove_entry(struct hf_capture *capture, struct dirty *entry)
{
    struct dirty **at = bucket_of(capture, entry->key);
    while (*at != entry) {
        at = &(*at)->in_bucket;
    }
    *at = entry->in_bucket;
    take_out(capture, entry);
    capture->dirty_count--;
    return entry;
}

static struct dirty *find(struct hf_capture *capture, size_t source, const char *path, uint64_t key)
{
    struct dirty *entry = *bucket_of(capture, key);
    while (entry &&
           (entry->key != key || entry->source != source || strcmp(entry->path, path) != 0)) {
        entry = entry->in_bucket;
    }
    return entry;
}

void mark_dirty(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns,
                int64_t unsettled_ns)
{
    int64_t due_ns = hf_clock_monotonic_ns() + delay_ns;
    uint64_t key = path_key(source, path);
    struct dirty *known = find(capture, source, path, key);
    if (known) {
        if (capture->since_ns < known->since_ns) {
            known->since_ns = capture->since_ns;
        }
        if (unsettled_ns != 0 && (known->unsettled_ns == 0 || unsettled_ns < known->unsettled_ns)) {
            known->unsettled_ns = unsettled_ns;
        }
        if (due_ns < known->not_before_ns) {
            due_ns = known->not_before_ns;
        }
        if (due_ns < known->due_ns || known->again) {
            known->again = false;
            move(capture, known, due_ns);
        }
        return;
    }
    size_t length = strlen(path);
    /* What waits for the end of quiet hours leaves room for what doesn't. */
    size_t most = is_quiet(capture, source) ? DIRTY_MAX / 2 : DIRTY_MAX;
    struct dirty *entry = capture->dirty_count < most ? malloc(sizeof *entry + length + 1) : NULL;
    if (!entry) {
        capture->work[source].scan_wanted = true;
        scan_by(capture, source, due_ns);
        return;
    }
    *entry = (struct dirty){.in_bucket = *bucket_of(capture, key),
                            .key = key,
                            .source = source,
                            .due_ns = due_ns,
                            .since_ns = capture->since_ns,
                            .unsettled_ns = unsettled_ns};
    memcpy(entry->path, path, length + 1);
    *bucket_of(capture, key) = entry;
    insert(capture, entry);
    capture->dirty_count++;
}

void mark_again(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns)
{
    uint64_t key = path_key(source, path);
    if (!find(capture, source, path, key)) {
        mark_dirty(capture, source, path, delay_ns, 0);
        struct dirty *entry = find(capture, source, path, key);
        if (entry) { /* else there will be a scan */
            entry->again = true;
        }
    }
}

void mark_unsettled(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns,
                    int64_t unsettled_ns)
{
    mark_dirty(capture, source, path, delay_ns, unsettled_ns);
    struct dirty *entry = find(capture, source, path, path_key(source, path));
    if (entry) { /* else there will be a scan */
        entry->not_before_ns = hf_clock_monotonic_ns() + delay_ns;
        if (entry->due_ns < entry->not_before_ns) {
            move(capture, entry, entry->not_before_ns);
        }
    }
}

int64_t dirty_due_ns(const struct hf_capture *capture)
{
    for (const struct dirty *entry = capture->dirty; entry; entry = entry->next) {
        if (may_look_at(capture, entry->source)) {
            return entry->due_ns;
        }
    }
    return INT64_MAX;
}

struct dirty *dirty_take_due(struct hf_capture *capture, int64_t now_ns)
{
    for (struct dirty *entry = capture->dirty; entry && entry->due_ns <= now_ns;
         entry = entry->next) {
        if (may_look_at(capture, entry->source)) {
            return remove_entry(capture, entry);
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

void dirty_shift(struct hf_capture *capture, int64_t back_ns)
{
    for (struct dirty *entry = capture->dirty; entry; entry = entry->next) {
        entry->since_ns -= entry->since_ns == 0 ? 0 : back_ns;
    }
}

void dirty_clear(struct hf_capture *capture)
{
    struct dirty *entry = capture->dirty;
    while (entry) {
        struct dirty *next = entry->next;
        free(entry);
        entry = next;
    }
    capture->dirty = capture->dirty_last = NULL;
    capture->dirty_count = 0;
    memset(capture->dirty_index, 0, sizeof capture->dirty_index);
}
