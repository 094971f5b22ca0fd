#include "agent/restore/local.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/chunker.h"
#include "common/fs.h"
#include "common/sparse.h"
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

/* While it is cut. */
struct cut {
    struct hf_local *local;
    const struct hf_chunker *chunker;
    const struct hf_chunker_params *params;
    uint8_t *window;
    uint64_t size, at; /* the file's, and how far it is cut */
    bool sparse, single;
    uint8_t zero[HF_HASH_BYTES]; /* the id of zero_size zeros */
    uint32_t zero_size;
};

static int put_chunk(struct hf_local *local, const uint8_t id[HF_HASH_BYTES], uint32_t size,
                     uint64_t offset)
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
    memcpy(chunk->id, id, HF_HASH_BYTES);
    chunk->offset = offset;
    chunk->size = size;
    return 0;
}

static int add_chunk(struct hf_local *local, const uint8_t *data, size_t size, uint64_t offset)
{
    uint8_t id[HF_HASH_BYTES];
    hf_sha256(data, size, id);
    return put_chunk(local, id, (uint32_t)size, offset);
}

/* Cut what lies in window[0..filled); *filled becomes what is left for the next round. */
static int cut_window(struct cut *cut, size_t *filled, bool last)
{
    size_t used = 0;
    while (used < *filled) {
        size_t left = *filled - used;
        if (!last && left < cut->params->max_bytes)
            break;
        size_t size =
            cut->single ? left
                        : hf_chunker_cut(cut->chunker, cut->params, cut->window + used, left, last);
        int result = add_chunk(cut->local, cut->window + used, size, cut->at);
        if (result)
            return result;
        used += size;
        cut->at += size;
    }
    memmove(cut->window, cut->window + used, *filled - used);
    *filled -= used;
    return 0;
}

/* Data up to end, cut like a file of its own. */
static int cut_data(struct cut *cut, uint64_t end)
{
    uint64_t read = cut->at;
    size_t filled = 0;
    while (read < end) {
        size_t part =
            WINDOW_BYTES - filled < end - read ? WINDOW_BYTES - filled : (size_t)(end - read);
        int result = hf_pread_all(cut->local->fd, cut->window + filled, part, read, NULL);
        filled += part;
        read += part;
        if (!result)
            result = cut_window(cut, &filled, read == end);
        if (result)
            return result;
    }
    return 0;
}

static const uint8_t *id_of_zeros(struct cut *cut, uint32_t size)
{
    if (size != cut->zero_size) {
        memset(cut->window, 0, size);
        hf_sha256(cut->window, size, cut->zero);
        cut->zero_size = size;
    }
    return cut->zero;
}

/* As capture takes it: chunks of zeros. */
static int cut_hole(struct cut *cut, uint64_t end)
{
    int result = 0;
    while (!result && cut->at < end) {
        uint64_t left = end - cut->at;
        uint32_t size = left < HF_CHUNK_MAX_BYTES ? (uint32_t)left : HF_CHUNK_MAX_BYTES;
        result = put_chunk(cut->local, id_of_zeros(cut, size), size, cut->at);
        cut->at += size;
    }
    return result;
}

static int cut_rest(struct cut *cut)
{
    int result = 0;
    while (!result && cut->at < cut->size) {
        bool hole = false;
        uint64_t end =
            cut->sparse ? hf_sparse_extent(cut->local->fd, cut->at, cut->size, &hole) : cut->size;
        result = hole ? cut_hole(cut, end) : cut_data(cut, end);
    }
    return result;
}

/* Whether the bytes from cut->at on are that chunk; what is a hole isn't read. */
static bool is_chunk(struct cut *cut, const uint8_t *id, uint32_t size)
{
    bool hole = false;
    uint64_t end =
        cut->sparse ? hf_sparse_extent(cut->local->fd, cut->at, cut->size, &hole) : cut->size;
    if (hole && end - cut->at >= size)
        return !memcmp(id_of_zeros(cut, size), id, HF_HASH_BYTES);
    return local_read_at(cut->local->fd, cut->at, id, size, cut->window);
}

/* The file's beginning, as far as it is the version's. */
static int follow(struct cut *cut, struct hf_bytes refs)
{
    int result = 0;
    for (size_t i = 0; !result && i + HF_CHUNK_REF_BYTES <= refs.size; i += HF_CHUNK_REF_BYTES) {
        const uint8_t *ref = refs.data + i;
        uint32_t size = hf_get_le32(ref + HF_HASH_BYTES);
        if (size == 0 || size > HF_CHUNK_MAX_BYTES || size > cut->size - cut->at ||
            !is_chunk(cut, ref, size))
            break;
        result = put_chunk(cut->local, ref, size, cut->at);
        cut->at += size;
    }
    return result;
}

struct hf_local *local_cut(int fd, const struct stat *status, const struct hf_version *version,
                           const struct hf_cutting *cutting)
{
    uint64_t size = (uint64_t)status->st_size;
    const struct hf_chunker_params *params = hf_chunker_params_of(cutting->class_name, size);
    uint8_t *window = malloc(size < WINDOW_BYTES ? (size_t)size + 1 : WINDOW_BYTES);
    struct cut cut = {.local = calloc(1, sizeof(*cut.local)),
                      .chunker = cutting->chunker,
                      .params = params,
                      .window = window,
                      .size = size,
                      .single = size <= params->single_max_bytes};
    cut.sparse = !cut.single && hf_sparse_possible(status);
    int result = cut.local && window ? 0 : HF_ERR_NO_MEMORY;
    if (cut.local)
        cut.local->fd = fd;
    if (!result && version->depth == 0)
        result = follow(&cut, version->refs);
    if (!result && (cut.single || cut.chunker))
        result = cut_rest(&cut);
    free(window);
    if (!result)
        return cut.local;
    if (cut.local)
        free(cut.local->chunks);
    free(cut.local);
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

static bool equals_refs(const struct hf_local *local, struct hf_bytes refs)
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

/* Whether the list behind ref is that of count chunks from the first on. */
static bool equals_list(const struct hf_local *local, const uint8_t *ref, size_t first,
                        size_t count, uint8_t *list)
{
    uint8_t id[HF_HASH_BYTES];
    if (count > local->count - first)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint8_t *at = list + i * HF_CHUNK_REF_BYTES;
        memcpy(at, local->chunks[first + i].id, HF_HASH_BYTES);
        hf_put_le32(at + HF_HASH_BYTES, local->chunks[first + i].size);
    }
    hf_sha256(list, count * HF_CHUNK_REF_BYTES, id);
    return !memcmp(id, ref, HF_HASH_BYTES);
}

static bool equals_lists(const struct hf_local *local, struct hf_bytes refs)
{
    uint8_t *list = malloc(HF_CHUNK_MAX_BYTES);
    size_t first = 0;
    bool equal = list != NULL;
    for (size_t at = 0; equal && at + HF_CHUNK_REF_BYTES <= refs.size; at += HF_CHUNK_REF_BYTES) {
        size_t size = hf_get_le32(refs.data + at + HF_HASH_BYTES);
        size_t count = size / HF_CHUNK_REF_BYTES;
        equal = size <= HF_CHUNK_MAX_BYTES && size % HF_CHUNK_REF_BYTES == 0 &&
                equals_list(local, refs.data + at, first, count, list);
        first += count;
    }
    free(list);
    return equal && first == local->count;
}

bool local_equals(const struct hf_local *local, const struct hf_version *version)
{
    return version->depth > 0 ? equals_lists(local, version->refs)
                              : equals_refs(local, version->refs);
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
