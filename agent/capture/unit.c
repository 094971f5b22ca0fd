#include "agent/capture/unit.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"

#define BLOCK_BYTES       (64u * 1024u)
#define FIRST_BLOCK_BYTES 1024u /* many units hold one version */

/* Views point into blocks, so they never move. */
struct unit_block {
    struct unit_block *next;
    size_t used, size;
    uint8_t bytes[];
};

struct hf_unit *unit_new(size_t source)
{
    struct hf_unit *unit = calloc(1, sizeof *unit);
    if (unit) {
        unit->source = source;
        unit->bytes = sizeof *unit;
    }
    return unit;
}

void unit_free(struct hf_unit *unit)
{
    if (!unit) {
        return;
    }
    while (unit->blocks) {
        struct unit_block *block = unit->blocks;
        unit->blocks = block->next;
        free(block);
    }
    free(unit->versions);
    free(unit->chunks);
    free(unit);
}

uint8_t *unit_alloc(struct hf_unit *unit, size_t size)
{
    struct unit_block *block = unit->blocks;
    if (!block || block->size - block->used < size) {
        size_t usual = block ? BLOCK_BYTES : FIRST_BLOCK_BYTES;
        size_t room = size > usual / 2 ? size : usual;
        block = malloc(sizeof *block + room);
        if (!block) {
            return NULL;
        }
        block->used = 0;
        block->size = room;
        /* A block of its own for something large goes behind, so that the open one stays open. */
        if (room == size && unit->blocks) {
            block->next = unit->blocks->next;
            unit->blocks->next = block;
        } else {
            block->next = unit->blocks;
            unit->blocks = block;
        }
        unit->bytes += sizeof *block + room;
    }
    uint8_t *out = block->bytes + block->used;
    block->used += size;
    return out;
}

struct hf_bytes unit_copy(struct hf_unit *unit, struct hf_bytes bytes)
{
    uint8_t *out = bytes.size > 0 ? unit_alloc(unit, bytes.size) : NULL;
    if (!out) {
        return (struct hf_bytes){0};
    }
    memcpy(out, bytes.data, bytes.size);
    return (struct hf_bytes){out, bytes.size};
}

static void *grow(void *array, size_t count, size_t *capacity, size_t element_size,
                  struct hf_unit *unit)
{
    if (count < *capacity) {
        return array;
    }
    size_t larger = *capacity ? *capacity * 2 : 16;
    void *grown = reallocarray(array, larger, element_size);
    if (grown) {
        unit->bytes += (larger - *capacity) * element_size;
        *capacity = larger;
    }
    return grown;
}

int unit_add_chunk(struct hf_unit *unit, const uint8_t id[HF_HASH_BYTES], enum hf_codec codec,
                   uint32_t plain_size, struct hf_bytes data)
{
    struct hf_unit_chunk *chunks =
        grow(unit->chunks, unit->chunk_count, &unit->chunk_capacity, sizeof *chunks, unit);
    if (!chunks) {
        return HF_ERR_NO_MEMORY;
    }
    unit->chunks = chunks;
    struct hf_unit_chunk *chunk = &chunks[unit->chunk_count++];
    *chunk = (struct hf_unit_chunk){.codec = codec, .plain_size = plain_size, .data = data};
    memcpy(chunk->id, id, HF_HASH_BYTES);
    return HF_OK;
}

int unit_add_version(struct hf_unit *unit, const struct hf_version *version)
{
    struct hf_version *versions =
        grow(unit->versions, unit->version_count, &unit->version_capacity, sizeof *versions, unit);
    if (!versions) {
        return HF_ERR_NO_MEMORY;
    }
    unit->versions = versions;
    struct hf_version copy = *version;
    copy.path = unit_copy(unit, version->path);
    copy.owner = unit_copy(unit, version->owner);
    copy.group = unit_copy(unit, version->group);
    copy.target = unit_copy(unit, version->target);
    copy.refs = unit_copy(unit, version->refs);
    copy.xattrs = unit_copy(unit, version->xattrs);
    if (copy.path.size != version->path.size || copy.owner.size != version->owner.size ||
        copy.group.size != version->group.size || copy.target.size != version->target.size ||
        copy.refs.size != version->refs.size || copy.xattrs.size != version->xattrs.size) {
        return HF_ERR_NO_MEMORY;
    }
    versions[unit->version_count++] = copy;
    return HF_OK;
}

uint64_t unit_first_seq(const struct hf_unit *unit)
{
    return unit->version_count ? unit->versions[0].seq : 0;
}

uint64_t unit_last_seq(const struct hf_unit *unit)
{
    return unit->version_count ? unit->versions[unit->version_count - 1].seq : 0;
}
