#include "agent/session/history.h"

#include <stdlib.h>
#include <string.h>

/* A version's number has at most that many bits: so deep is a chain of deltas at most. */
#define DEPTH_MAX  8u
#define NUMBER_END (1u << DEPTH_MAX)
#define BUCKETS    256u

struct kept {
    unsigned number; /* counted from the one that was sent whole */
    uint64_t seq;
    uint8_t id[HF_HASH_BYTES];
    uint8_t *content;
    size_t size;
};

struct file {
    struct file *next;          /* in its bucket */
    struct file *newer, *older; /* by the last sending */
    uint8_t key[HF_HASH_BYTES]; /* of its source and path */
    size_t source;
    struct kept kept[DEPTH_MAX + 1]; /* numbers rising, each the one before with one more bit */
    size_t count;
    unsigned next_number;
};

struct hf_history {
    struct file *buckets[BUCKETS];
    struct file *newest, *oldest;
    size_t bytes, bytes_max;
    struct hf_hash *hash;
};

struct hf_history *history_new(size_t bytes_max)
{
    struct hf_history *history = calloc(1, sizeof(*history));
    if (!history)
        return NULL;
    history->bytes_max = bytes_max;
    history->hash = hf_hash_new();
    if (!history->hash) {
        free(history);
        return NULL;
    }
    return history;
}

static void drop_kept(struct hf_history *history, struct file *file, size_t first)
{
    for (size_t i = first; i < file->count; i++) {
        history->bytes -= file->kept[i].size;
        free(file->kept[i].content);
    }
    file->count = first < file->count ? first : file->count;
}

static void unlink_age(struct hf_history *history, struct file *file)
{
    *(file->newer ? &file->newer->older : &history->newest) = file->older;
    *(file->older ? &file->older->newer : &history->oldest) = file->newer;
}

static void make_newest(struct hf_history *history, struct file *file)
{
    file->newer = NULL;
    file->older = history->newest;
    *(history->newest ? &history->newest->newer : &history->oldest) = file;
    history->newest = file;
}

static void drop_file(struct hf_history *history, struct file *file)
{
    struct file **at = &history->buckets[file->key[0] % BUCKETS];
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    unlink_age(history, file);
    drop_kept(history, file, 0);
    history->bytes -= sizeof(*file);
    free(file);
}

void history_free(struct hf_history *history)
{
    if (!history)
        return;
    while (history->newest)
        drop_file(history, history->newest);
    hf_hash_free(history->hash);
    free(history);
}

static struct file *find_file(struct hf_history *history, size_t source, struct hf_bytes path,
                              uint8_t key[HF_HASH_BYTES])
{
    hf_hash_update(history->hash, &source, sizeof(source));
    hf_hash_update(history->hash, path.data, path.size);
    hf_hash_final(history->hash, key);
    struct file *file = history->buckets[key[0] % BUCKETS];
    while (file && memcmp(file->key, key, HF_HASH_BYTES) != 0)
        file = file->next;
    return file;
}

/* How many of the first are what version `number` may stand on: their bits are its own. */
static size_t beneath(const struct file *file, unsigned number)
{
    size_t count = 0;
    while (count < file->count && file->kept[count].number <= (number & (number - 1)))
        count++;
    return count;
}

bool history_base(struct hf_history *history, size_t source, struct hf_bytes path,
                  uint64_t acked_seq, struct hf_history_base *out)
{
    uint8_t key[HF_HASH_BYTES];
    struct file *file = find_file(history, source, path, key);
    if (!file)
        return false;
    size_t at = file->next_number < NUMBER_END ? beneath(file, file->next_number) : 0;
    while (at > 0 && file->kept[at - 1].seq > acked_seq)
        at--;
    if (at == 0)
        return false;
    memcpy(out->id, file->kept[at - 1].id, HF_HASH_BYTES);
    out->content = (struct hf_bytes){file->kept[at - 1].content, file->kept[at - 1].size};
    return true;
}

static struct file *add_file(struct hf_history *history, size_t source,
                             const uint8_t key[HF_HASH_BYTES])
{
    struct file *file = calloc(1, sizeof(*file));
    if (!file)
        return NULL;
    memcpy(file->key, key, HF_HASH_BYTES);
    file->source = source;
    file->next = history->buckets[key[0] % BUCKETS];
    history->buckets[key[0] % BUCKETS] = file;
    history->bytes += sizeof(*file);
    make_newest(history, file);
    return file;
}

void history_add(struct hf_history *history, size_t source, struct hf_bytes path, uint64_t seq,
                 const uint8_t id[HF_HASH_BYTES], struct hf_bytes content,
                 enum hf_history_sent sent)
{
    uint8_t key[HF_HASH_BYTES];
    struct file *file = find_file(history, source, path, key);
    uint8_t *copy = malloc(content.size + 1);
    if (!file && copy)
        file = add_file(history, source, key);
    if (!file || !copy) {
        free(copy);
        if (file)
            drop_file(history, file);
        return;
    }
    if (sent == HF_HISTORY_WHOLE)
        file->next_number = 0;
    /* What it can't stand on, no later one will. */
    drop_kept(history, file, file->next_number > 0 ? beneath(file, file->next_number) : 0);
    if (content.size > 0)
        memcpy(copy, content.data, content.size);
    struct kept *kept = &file->kept[file->count++];
    *kept = (struct kept){
        .number = file->next_number++, .seq = seq, .content = copy, .size = content.size};
    memcpy(kept->id, id, HF_HASH_BYTES);
    history->bytes += content.size;
    unlink_age(history, file);
    make_newest(history, file);
    while (history->bytes > history->bytes_max && history->oldest)
        drop_file(history, history->oldest);
}

void history_forget(struct hf_history *history, size_t source)
{
    for (struct file *file = history->newest, *next; file; file = next) {
        next = file->older;
        if (file->source == source)
            drop_file(history, file);
    }
}
