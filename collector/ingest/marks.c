/* The newest mark of each source, between those that are journalled. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define NOTE_INTERVAL_NS HF_NS_PER_SECOND       /* if its note is another */
#define DEFERRED_MAX_NS  (5 * HF_NS_PER_SECOND) /* those that are due in this time go together */

/* Index of source_row, or where it belongs. */
static size_t find(const struct hf_ingest *ingest, uint64_t source_row)
{
    size_t low = 0;
    size_t high = ingest->mark_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ingest->marks[middle]->source_row < source_row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool make_room(struct hf_ingest *ingest)
{
    if (ingest->mark_count < ingest->mark_capacity) {
        return true;
    }
    size_t capacity = ingest->mark_capacity ? ingest->mark_capacity * 2 : 64;
    struct source_mark **grown =
        reallocarray(ingest->marks, capacity, sizeof(struct source_mark *));
    if (!grown) {
        return false;
    }
    ingest->marks = grown;
    ingest->mark_capacity = capacity;
    return true;
}

/* NULL when out of memory: the journalled mark is what is shown then. */
static struct source_mark *set(struct hf_ingest *ingest, uint64_t source_row, int64_t until_ns,
                               int state)
{
    struct source_mark *entry = NULL;
    pthread_mutex_lock(&ingest->mark_lock);
    size_t at = find(ingest, source_row);
    if (at < ingest->mark_count && ingest->marks[at]->source_row == source_row) {
        entry = ingest->marks[at];
    } else if (make_room(ingest) && (entry = calloc(1, sizeof *entry))) {
        memmove(&ingest->marks[at + 1], &ingest->marks[at],
                (ingest->mark_count - at) * sizeof(struct source_mark *));
        ingest->mark_count++;
        ingest->marks[at] = entry;
        entry->source_row = source_row;
    }
    if (entry) {
        entry->until_ns = until_ns > entry->until_ns ? until_ns : entry->until_ns;
        entry->state = state;
    }
    pthread_mutex_unlock(&ingest->mark_lock);
    return entry;
}

static void forget_deferred(struct hf_ingest *ingest, struct source_mark *entry)
{
    if (entry->deferred) {
        entry->deferred = false;
        ingest->deferred_marks--;
        hf_buf_free(&entry->note);
    }
}

void mark_show(struct hf_ingest *ingest, uint64_t source_row, int64_t until_ns, int state)
{
    struct source_mark *entry = set(ingest, source_row, until_ns, state);
    if (entry) {
        entry->journalled_ns = 0; /* the next is journalled whatever it says */
        forget_deferred(ingest, entry);
    }
}

static int journal(struct hf_ingest *ingest, struct source_mark *entry,
                   const struct hf_event_mark *mark, int64_t now_ns, struct hf_error *error)
{
    struct hf_event event = {.type = HF_EVENT_MARK, .time_ns = now_ns, .mark = *mark};
    int rc = commit_event(ingest, &event, error);
    if (entry) {
        forget_deferred(ingest, entry);
    }
    if (rc == HF_OK && entry) {
        entry->journalled_ns = now_ns;
        entry->journalled_state = (int)mark->state;
        hf_sha256(mark->note.data, mark->note.size, entry->journalled_note);
    }
    return rc == HF_ERR_EXISTS || rc == HF_ERR_AGAIN ? HF_OK : rc;
}

/* Ten thousand sources are marked a thousand times a second: an entry each and a write for each
 * would be most of what an idle collector does. */
static void defer(struct hf_ingest *ingest, struct source_mark *entry, const struct hf_mark *mark)
{
    hf_buf_clear(&entry->note);
    if (hf_buf_append(&entry->note, mark->note.data, mark->note.size) != HF_OK) {
        return; /* the next will do */
    }
    entry->version_seq = mark->version_seq;
    entry->pending_files = mark->pending_files;
    if (!entry->deferred) {
        entry->deferred = true;
        if (ingest->deferred_marks++ == 0) {
            ingest->deferred_ns = hf_clock_monotonic_ns();
        }
    }
}

int mark_take(struct hf_ingest *ingest, uint64_t source_row, const struct hf_mark *mark,
              int64_t until_ns, int64_t now_ns, struct hf_error *error)
{
    uint8_t note[HF_HASH_BYTES];
    struct source_mark *entry = set(ingest, source_row, until_ns, (int)mark->state);
    bool first = !entry || entry->journalled_ns == 0;
    int64_t age_ns = first ? 0 : now_ns - entry->journalled_ns;
    hf_sha256(mark->note.data, mark->note.size, note);
    bool other_note = first || memcmp(note, entry->journalled_note, sizeof note) != 0;
    bool other_state = first || entry->journalled_state != (int)mark->state;
    if (other_state || (other_note && age_ns >= NOTE_INTERVAL_NS)) {
        const struct hf_event_mark event = {.source_row = source_row,
                                            .version_seq = mark->version_seq,
                                            .until_ns = until_ns,
                                            .state = mark->state,
                                            .pending_files = mark->pending_files,
                                            .note = mark->note};
        return journal(ingest, entry, &event, now_ns, error);
    }
    if (!other_note && age_ns >= ingest->mark_interval_ns) {
        defer(ingest, entry, mark);
    }
    return HF_OK;
}

int64_t marks_due_ns(const struct hf_ingest *ingest)
{
    return ingest->deferred_marks > 0 ? ingest->deferred_ns + DEFERRED_MAX_NS : INT64_MAX;
}

int marks_journal(struct hf_ingest *ingest, struct hf_error *error)
{
    int64_t now_ns = hf_clock_now_ns();
    int rc = HF_OK;
    /* The committer alone adds entries, and this is the committer. */
    for (size_t i = 0; rc == HF_OK && i < ingest->mark_count; i++) {
        struct source_mark *entry = ingest->marks[i];
        if (!entry->deferred) {
            continue;
        }
        struct hf_buf note = entry->note;
        entry->note = (struct hf_buf){0};
        const struct hf_event_mark event = {.source_row = entry->source_row,
                                            .version_seq = entry->version_seq,
                                            .until_ns = entry->until_ns,
                                            .state = (enum hf_source_state)entry->state,
                                            .pending_files = entry->pending_files,
                                            .note = {note.data, note.size}};
        rc = journal(ingest, entry, &event, now_ns, error);
        hf_buf_free(&note);
    }
    return rc;
}

void marks_doubt(struct hf_ingest *ingest)
{
    for (size_t i = 0; i < ingest->mark_count; i++) {
        ingest->marks[i]->journalled_ns = 0;
    }
}

void marks_free(struct hf_ingest *ingest)
{
    for (size_t i = 0; i < ingest->mark_count; i++) {
        hf_buf_free(&ingest->marks[i]->note);
        free(ingest->marks[i]);
    }
    free(ingest->marks);
}

bool ingest_mark(struct hf_ingest *ingest, uint64_t source_row, int64_t *until_ns, int *state)
{
    pthread_mutex_lock(&ingest->mark_lock);
    size_t at = find(ingest, source_row);
    bool found = at < ingest->mark_count && ingest->marks[at]->source_row == source_row;
    if (found) {
        *until_ns = ingest->marks[at]->until_ns;
        *state = ingest->marks[at]->state;
    }
    pthread_mutex_unlock(&ingest->mark_lock);
    return found;
}
