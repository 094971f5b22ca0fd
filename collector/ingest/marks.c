/* The newest mark of each source, between those that are journalled. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

/* Index of source_row, or where it belongs. */
static size_t find(const struct hf_ingest *ingest, uint64_t source_row)
{
    size_t low = 0;
    size_t high = ingest->mark_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ingest->marks[middle].source_row < source_row) {
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
    struct source_mark *grown = reallocarray(ingest->marks, capacity, sizeof *grown);
    if (!grown) {
        return false;
    }
    ingest->marks = grown;
    ingest->mark_capacity = capacity;
    return true;
}

void mark_set(struct hf_ingest *ingest, uint64_t source_row, int64_t until_ns, int state)
{
    pthread_mutex_lock(&ingest->mark_lock);
    size_t at = find(ingest, source_row);
    if (at == ingest->mark_count || ingest->marks[at].source_row != source_row) {
        if (!make_room(ingest)) {
            pthread_mutex_unlock(&ingest->mark_lock);
            return; /* the journalled mark is what is shown then */
        }
        memmove(&ingest->marks[at + 1], &ingest->marks[at],
                (ingest->mark_count - at) * sizeof *ingest->marks);
        ingest->mark_count++;
        ingest->marks[at] = (struct source_mark){.source_row = source_row};
    }
    if (until_ns > ingest->marks[at].until_ns) {
        ingest->marks[at].until_ns = until_ns;
    }
    ingest->marks[at].state = state;
    pthread_mutex_unlock(&ingest->mark_lock);
}

bool ingest_mark(struct hf_ingest *ingest, uint64_t source_row, int64_t *until_ns, int *state)
{
    pthread_mutex_lock(&ingest->mark_lock);
    size_t at = find(ingest, source_row);
    bool found = at < ingest->mark_count && ingest->marks[at].source_row == source_row;
    if (found) {
        *until_ns = ingest->marks[at].until_ns;
        *state = ingest->marks[at].state;
    }
    pthread_mutex_unlock(&ingest->mark_lock);
    return found;
}
