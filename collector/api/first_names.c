#include "collector/api/first_names.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/hash.h"

#define BUCKETS          16384u
#define MEMORY_MAX_BYTES (64u * 1024u * 1024u)
#define NONE             UINT32_MAX

struct entry {
    uint8_t key[HF_HASH_BYTES];
    uint32_t next; /* in its bucket */
    uint32_t offset, size;
};

struct first_names {
    struct hf_hash *hash;
    struct hf_buf entries; /* struct entry */
    struct hf_buf paths;
    uint32_t buckets[BUCKETS];
};

struct first_names *first_names_new(void)
{
    struct first_names *names = calloc(1, sizeof *names);
    if (names && !(names->hash = hf_hash_new())) {
        free(names);
        return NULL;
    }
    if (names) {
        memset(names->buckets, 0xff, sizeof names->buckets);
    }
    return names;
}

void first_names_free(struct first_names *names)
{
    if (names) {
        hf_hash_free(names->hash);
        hf_buf_free(&names->entries);
        hf_buf_free(&names->paths);
        free(names);
    }
}

static void add_number(struct hf_hash *hash, uint64_t number)
{
    uint8_t bytes[8];
    hf_put_le64(bytes, number);
    hf_hash_update(hash, bytes, sizeof bytes);
}

static void add_bytes(struct hf_hash *hash, struct hf_bytes bytes)
{
    add_number(hash, bytes.size);
    hf_hash_update(hash, bytes.data, bytes.size);
}

/* What names of one file have in common; two that differ are two files. */
static void key_of(struct hf_hash *hash, const struct hf_version *version,
                   uint8_t key[HF_HASH_BYTES])
{
    hf_hash_reset(hash);
    add_number(hash, version->link);
    add_number(hash, (uint64_t)version->type << 32 | version->mode);
    add_number(hash, (uint64_t)version->uid << 32 | version->gid);
    add_number(hash, (uint64_t)version->mtime_ns);
    add_number(hash, version->size);
    add_bytes(hash, version->refs);
    add_bytes(hash, version->target);
    add_bytes(hash, version->xattrs);
    hf_hash_final(hash, key);
}

static struct entry *entry_at(struct first_names *names, uint32_t index)
{
    return (struct entry *)(void *)names->entries.data + index;
}

struct hf_bytes first_names_of(struct first_names *names, const struct hf_version *version)
{
    uint8_t key[HF_HASH_BYTES];
    if (version->link == 0) {
        return (struct hf_bytes){0};
    }
    key_of(names->hash, version, key);
    uint32_t *bucket = &names->buckets[hf_get_le32(key) % BUCKETS];
    for (uint32_t i = *bucket; i != NONE; i = entry_at(names, i)->next) {
        const struct entry *entry = entry_at(names, i);
        if (memcmp(entry->key, key, sizeof key) == 0) {
            return (struct hf_bytes){names->paths.data + entry->offset, entry->size};
        }
    }
    struct entry entry = {.next = *bucket,
                          .offset = (uint32_t)names->paths.size,
                          .size = (uint32_t)version->path.size};
    memcpy(entry.key, key, sizeof key);
    uint32_t index = (uint32_t)(names->entries.size / sizeof entry);
    if (names->entries.size + names->paths.size < MEMORY_MAX_BYTES &&
        hf_buf_append(&names->paths, version->path.data, version->path.size) == HF_OK &&
        hf_buf_append(&names->entries, &entry, sizeof entry) == HF_OK) {
        *bucket = index;
    }
    return (struct hf_bytes){0};
}
