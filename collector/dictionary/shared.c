#include "collector/dictionary/shared.h"

#include <stdlib.h>

#include "common/bytes.h"

#define PROBES    16u /* slots that are looked at for a window */
#define SLOTS_MIN 1024u
#define SLOTS_MAX (1u << 23)

struct slot {
    uint32_t tag;  /* of the window's hash what its place does not say */
    uint32_t seen; /* 0: free; else the ordinal of the host that had it last, and how many had it */
};

#define SEEN_COUNT_BITS 5u
#define SEEN_COUNT_MASK ((1u << SEEN_COUNT_BITS) - 1)
_Static_assert(HF_SHARED_HOSTS_MAX <= SEEN_COUNT_MASK, "the count has to hold it");

struct hf_shared {
    struct slot *slots;
    size_t mask;
    uint64_t keys[3];
    uint32_t hosts;   /* so many have to have it */
    uint64_t host;    /* whose contents come now */
    uint32_t ordinal; /* of it, from 1 */
};

struct hf_shared *shared_new(size_t bytes, unsigned hosts)
{
    size_t slots = SLOTS_MIN;
    struct hf_shared *shared = calloc(1, sizeof *shared);
    while (slots < SLOTS_MAX && slots < bytes + bytes / 4) {
        slots *= 2;
    }
    if (shared) {
        shared->slots = calloc(slots, sizeof *shared->slots);
        shared->mask = slots - 1;
        shared->hosts = hosts;
        hf_random(shared->keys, sizeof shared->keys);
        for (size_t i = 0; i < 3; i++) {
            shared->keys[i] |= 1; /* odd: multiplying loses nothing */
        }
    }
    if (!shared || !shared->slots) {
        shared_free(shared);
        return NULL;
    }
    return shared;
}

void shared_free(struct hf_shared *shared)
{
    if (shared) {
        free(shared->slots);
        free(shared);
    }
}

static uint64_t hash_of(const struct hf_shared *shared, const uint8_t *window)
{
    uint64_t low = hf_get_le64(window) * shared->keys[0];
    uint64_t high = hf_get_le64(window + 8) * shared->keys[1];
    uint64_t hash = low ^ (high << 32 | high >> 32);
    hash = (hash ^ hash >> 29) * shared->keys[2];
    return hash ^ hash >> 32;
}

/* The window's slot, or a free one for it; NULL when there is none near. */
static struct slot *find_slot(const struct hf_shared *shared, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    for (size_t i = 0; i < PROBES; i++) {
        struct slot *slot = &shared->slots[(hash + i) & shared->mask];
        if (slot->seen == 0 || slot->tag == tag) {
            return slot;
        }
    }
    return NULL;
}

void shared_add(struct hf_shared *shared, uint64_t host, struct hf_bytes content)
{
    if (shared->ordinal == 0 || shared->host != host) {
        shared->host = host;
        shared->ordinal++;
    }
    for (size_t at = 0; at + HF_SHARED_WINDOW <= content.size; at++) {
        uint64_t hash = hash_of(shared, content.data + at);
        struct slot *slot = find_slot(shared, hash);
        uint32_t count = slot ? slot->seen & SEEN_COUNT_MASK : 0;
        if (!slot || (slot->seen != 0 && slot->seen >> SEEN_COUNT_BITS == shared->ordinal)) {
            continue;
        }
        count += count < shared->hosts;
        slot->tag = (uint32_t)(hash >> 32);
        slot->seen = shared->ordinal << SEEN_COUNT_BITS | count;
    }
}

static bool is_shared(const struct hf_shared *shared, const uint8_t *window)
{
    const struct slot *slot = find_slot(shared, hash_of(shared, window));
    return slot && (slot->seen & SEEN_COUNT_MASK) >= shared->hosts;
}

int shared_extract(const struct hf_shared *shared, struct hf_bytes content, struct hf_buf *out)
{
    size_t taken = 0; /* up to there the content was judged and what is shared appended */
    int rc = HF_OK;
    for (size_t at = 0; rc == HF_OK && at + HF_SHARED_WINDOW <= content.size; at++) {
        if (is_shared(shared, content.data + at)) {
            size_t from = taken > at ? taken : at;
            taken = at + HF_SHARED_WINDOW;
            rc = hf_buf_append(out, content.data + from, taken - from);
        }
    }
    return rc;
}
