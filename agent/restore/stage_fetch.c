/* Chunks on their way from the collector. */
#include <stdlib.h>
#include <string.h>

#include "agent/restore/stage_private.h"
#include "common/bytes.h"

/* Ids go out when this many bytes are gathered; an answer of that size is a few frames. */
#define REQUEST_BYTES (1024u * 1024u)

static struct stage_wanted **bucket_of(struct hf_stage *stage, const uint8_t *id)
{
    return &stage->buckets[hf_get_le32(id) % STAGE_BUCKETS];
}

static struct stage_wanted **find_wanted(struct hf_stage *stage, const uint8_t *id)
{
    struct stage_wanted **at = bucket_of(stage, id);
    while (*at && memcmp((*at)->id, id, HF_HASH_BYTES))
        at = &(*at)->next;
    return at;
}

int stage_flush(struct hf_stage *stage, struct hf_error *error)
{
    if (stage->request.size == 0)
        return 0;
    int result = stage->options.request(
        stage->options.context, (struct hf_bytes){stage->request.data, stage->request.size}, error);
    hf_buf_clear(&stage->request);
    stage->request_bytes = 0;
    return result;
}

int stage_want(struct hf_stage *stage, const uint8_t *id, uint32_t plain_size,
               struct stage_file *file, uint64_t offset, struct hf_error *error)
{
    struct stage_use *use = malloc(sizeof(*use));
    struct stage_wanted *wanted = *find_wanted(stage, id);
    bool asked = wanted != NULL;
    if (!asked)
        wanted = calloc(1, sizeof(*wanted));
    if (!use || !wanted || (!asked && hf_buf_append(&stage->request, id, HF_HASH_BYTES))) {
        free(use);
        if (!asked)
            free(wanted);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory to ask for content");
    }
    *use = (struct stage_use){.next = wanted->uses, .file = file, .offset = offset};
    wanted->uses = use;
    if (file)
        file->waiting++;
    if (asked)
        return 0;
    struct stage_wanted **bucket = bucket_of(stage, id);
    memcpy(wanted->id, id, HF_HASH_BYTES);
    wanted->plain_size = plain_size;
    wanted->next = *bucket;
    *bucket = wanted;
    stage->wanted_count++;
    stage->outstanding_bytes += plain_size;
    stage->request_bytes += plain_size;
    if (stage->request_bytes >= REQUEST_BYTES ||
        stage->request.size >= HF_STAGE_REQUEST_IDS * HF_HASH_BYTES)
        return stage_flush(stage, error);
    return 0;
}

static int use_chunk(struct hf_stage *stage, const struct stage_use *use, size_t size,
                     struct hf_error *error)
{
    if (use->file) {
        use->file->waiting--;
        int result = stage_write(stage, use->file, stage->plain, size, use->offset, error);
        return result ? result : stage_settle(stage, use->file, error);
    }
    hf_buf_clear(&stage->list);
    if (hf_buf_append(&stage->list, stage->plain, size))
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a list of chunks");
    stage->refs = (struct hf_bytes){stage->list.data, stage->list.size};
    stage->ref_at = 0;
    stage->list_wanted = false;
    stage->list_at++;
    return 0;
}

static int use_failed(struct hf_stage *stage, const struct stage_use *use, const char *message,
                      struct hf_error *error)
{
    if (use->file) {
        use->file->waiting--;
        stage_fail(stage, use->file, message);
        return stage_settle(stage, use->file, error);
    }
    stage->list_wanted = false;
    if (stage->current)
        stage_fail(stage, stage->current, message);
    return 0;
}

/* Take the chunk off the table; message NULL: its bytes are in stage->plain. */
static int resolve(struct hf_stage *stage, struct stage_wanted **at, const char *message,
                   struct hf_error *error)
{
    struct stage_wanted *wanted = *at;
    *at = wanted->next;
    stage->wanted_count--;
    stage->outstanding_bytes -= wanted->plain_size;
    int result = 0;
    while (wanted->uses) {
        struct stage_use *use = wanted->uses;
        wanted->uses = use->next;
        if (!result)
            result = message ? use_failed(stage, use, message, error)
                             : use_chunk(stage, use, wanted->plain_size, error);
        free(use);
    }
    free(wanted);
    return result;
}

static int take_chunk(struct hf_stage *stage, const struct hf_chunk *chunk, struct hf_error *error)
{
    struct stage_wanted **at = find_wanted(stage, chunk->id);
    if (!*at)
        return 0; /* nothing that is missing: a repeat */
    uint8_t hash[HF_HASH_BYTES];
    bool good = chunk->plain_size == (*at)->plain_size &&
                !hf_decompress(stage->decompressor, chunk->codec, chunk->data.data,
                               chunk->data.size, stage->plain, chunk->plain_size);
    if (good) {
        hf_sha256(stage->plain, chunk->plain_size, hash);
        good = !memcmp(hash, chunk->id, HF_HASH_BYTES);
    }
    stage->options.job->fetched_bytes += chunk->data.size;
    return resolve(stage, at,
                   good ? NULL
                        : "the collector sent content that does not match its hash; run "
                          "`holdfast-collector` verification there, the old file stands",
                   error);
}

int stage_take(struct hf_stage *stage, const struct hf_frame *frame, struct hf_error *error)
{
    for (size_t i = 0; i < frame->chunks.count; i++) {
        int result = take_chunk(stage, &frame->chunks.chunks[i], error);
        if (result)
            return result;
    }
    return stage_advance(stage, error);
}

int stage_lack(struct hf_stage *stage, struct hf_bytes ids, const char *reason,
               struct hf_error *error)
{
    for (size_t i = 0; i + HF_HASH_BYTES <= ids.size; i += HF_HASH_BYTES) {
        struct stage_wanted **at = find_wanted(stage, ids.data + i);
        int result = *at ? resolve(stage, at, reason, error) : 0;
        if (result)
            return result;
    }
    return stage_advance(stage, error);
}
