#include "collector/catalog/recent.h"

#include <string.h>

#include "common/bytes.h"

/* Ids are hashes, which an attacker may choose a few bits of; all that he wins is a lookup. */
static size_t slot_of(const uint8_t id[HF_HASH_BYTES])
{
    return hf_get_le32(id) % RECENT_CHUNKS;
}

void recent_add(struct recent_chunks *recent, const uint8_t id[HF_HASH_BYTES], uint64_t owner,
                uint32_t size)
{
    size_t slot = slot_of(id);
    memcpy(recent->slots[slot].id, id, HF_HASH_BYTES);
    recent->slots[slot].owner = owner;
    recent->slots[slot].size = size;
}

bool recent_has(const struct recent_chunks *recent, const uint8_t id[HF_HASH_BYTES], uint64_t owner,
                uint32_t size)
{
    size_t slot = slot_of(id);
    return owner != 0 && recent->slots[slot].owner == owner && recent->slots[slot].size == size &&
           memcmp(recent->slots[slot].id, id, HF_HASH_BYTES) == 0;
}

void recent_clear(struct recent_chunks *recent)
{
    memset(recent, 0, sizeof *recent);
}
