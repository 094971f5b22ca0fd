#include "agent/restore/local.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/chunker.h"
#include "common/fs.h"
#include "proto/version.h"

/* Room for one chunk at its longest behind another. */
#define WINDOW_BYTES (2u * HF_CHUNK_MAX_BYTES)

struct local_chunk {
    uint8_t id[HF_HASH_BYTES];
    uint64_t offset;
    uint32_t size;
};

struct hf_local {
    int fd;
    struct local_chunk *chunks; /* in the file's order */
    size_t count, capacity;
    struct local_chunk **by_id; /* made at the first look-up */
};

static int add_chunk(struct hf_local *local, const uint8_t *data, size_t size, uint64_t offset)
{
    if (local->count == local->capacity) {
        size_t capacity = local->capacity > 0 ? 2 * local->capacity : 16;
        struct local_chunk *grown = realloc(local->chunks, capacity * sizeof(*grown));
        if (!grown)
            return HF_ERR_NO_MEMORY;
        local->chunks = grown;
        local->capacity = capacity;
    }
    struct local_chunk *chunk = &local->chunks[local->count++];
    hf_sha256(data, size, chunk->id);
    chunk->offset = offset;
    chunk->size = (uint32_t)size;
    return 0;
}

/* Cut what lies in window[0..filled); *filled becomes what is left for the next round. */
static int cut_window(struct hf_local *local, uint8_t *window, size_t *filled, uint64_t *offset,
                      bool last, bool single)
{
    size_t at = 0;
    while (at < *filled) {
        size_t left = *filled - at;
        if (!last && left < hf_chunker_default.max_bytes)
            break;
        size_t size = single ? left : hf_chunker_cut(&hf_chunker_default, window + at, left, last);
        int result = add_chunk(local, window + at, size, *offset);
        if (result)
            return result;
        at += size;
        *offset += size;
    }
    memmove(window, window + at, *filled - at);
    *filled -= at;
    return 0;
}

struct hf_local *local_cut(int fd, uint64_t size)
{
    struct hf_local *local = calloc(1, sizeof(*local));
    uint8_t *window = malloc(size < WINDOW_BYTES ? (size_t)size + 1 : WINDOW_BYTES);
    uint64_t offset = 0, left = size;
    size_t filled = 0;
    if (!local || !window)
        goto fail;
    local->fd = fd;
    while (left > 0) {
        size_t part = WINDOW_BYTES - filled < left ? WINDOW_BYTES - filled : (size_t)left;
        if (hf_pread_all(fd, window + filled, part, size - left, NULL))
            goto fail;
        filled += part;
        left -= part;
        if (cut_window(local, window, &filled, &offset, left == 0,
                       size <= HF_CHUNK_SINGLE_MAX_BYTES))
            goto fail;
    }
    free(window);
    return local;
fail:
    free(window);
    if (local)
        free(local->chunks);
    free(local);
    return NULL;
}

void local_free(struct hf_local *local)
{
    if (!local)
        return;
    close(local->fd);
    free(local->chunks);
    free(local->by_id);
    free(local);
}

bool local_equals(const struct hf_local *local, struct hf_bytes refs)
{
    if (refs.size != local->count * HF_CHUNK_REF_BYTES)
        return false;
    for (size_t i = 0; i < local->count; i++) {
        const uint8_t *ref = refs.data + i * HF_CHUNK_REF_BYTES;
        if (memcmp(ref, local->chunks[i].id, HF_HASH_BYTES) != 0 ||
            hf_get_le32(ref + HF_HASH_BYTES) != local->chunks[i].size)
            return false;
    }
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct local_chunk *const *left = a, *const *right = b;
    return memcmp((*left)->id, (*right)->id, HF_HASH_BYTES);
}

static int compare_key(const void *key, const void *element)
{
    const struct local_chunk *const *chunk = element;
    return memcmp(key, (*chunk)->id, HF_HASH_BYTES);
}

bool local_read(struct hf_local *local, const uint8_t id[HF_HASH_BYTES], uint32_t size,
                uint8_t *out)
{
    if (!local->by_id) {
        local->by_id = calloc(local->count + 1, sizeof(struct local_chunk *));
        if (!local->by_id)
            return false;
        for (size_t i = 0; i < local->count; i++)
            local->by_id[i] = &local->chunks[i];
        qsort(local->by_id, local->count, sizeof(struct local_chunk *), compare_ids);
    }
    struct local_chunk **found =
        bsearch(id, local->by_id, local->count, sizeof(struct local_chunk *), compare_key);
    return found && (*found)->size == size &&
           local_read_at(local->fd, (*found)->offset, id, size, out);
}

bool local_read_at(int fd, uint64_t offset, const uint8_t id[HF_HASH_BYTES], uint32_t size,
                   uint8_t *out)
{
    uint8_t hash[HF_HASH_BYTES];
    if (hf_pread_all(fd, out, size, offset, NULL))
        return false;
    hf_sha256(out, size, hash);
    return !memcmp(hash, id, HF_HASH_BYTES);
}
