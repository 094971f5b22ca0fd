/* Chunks on their way from the collector. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/restore/stage_private.h"
#include "common/bytes.h"

/* Ids go out when this many bytes are gathered: enough that most blocks of the repository, which
 * are up to HF_BLOCK_MAX_BYTES, are asked for as a whole and need not be made anew. */
#define REQUEST_BYTES (4u * 1024u * 1024u)

static struct stage_wanted **bucket_of(struct hf_stage *stage, const uint8_t *id)
{
    return &stage->buckets[hf_get_le32(id) % STAGE_BUCKETS];
}

static struct stage_wanted **find_wanted(struct hf_stage *stage, const uint8_t *id)
{
    struct stage_wanted **at = bucket_of(stage, id);
    while (*at && memcmp((*at)->id, id, HF_HASH_BYTES) != 0)
        at = &(*at)->next;
    return at;
}

static int send_request(struct hf_stage *stage, struct hf_error *error)
{
    if (stage->request.size == 0)
        return 0;
    int result = stage->options.request(
        stage->options.context, (struct hf_bytes){stage->request.data, stage->request.size}, error);
    hf_buf_clear(&stage->request);
    stage->request_bytes = 0;
    return result;
}

int stage_flush(struct hf_stage *stage, struct hf_error *error)
{
    return stage->outstanding_bytes - stage->request_bytes < REQUEST_BYTES
               ? send_request(stage, error)
               : 0;
}

/* file NULL: the plain bytes are wanted, a list. */
static struct hf_write_use *use_new(struct stage_file *file, uint64_t offset)
{
    struct hf_write_use *use = calloc(1, sizeof(*use));
    if (!use)
        return NULL;
    *use = (struct hf_write_use){.file = file, .offset = offset, .fd = -1};
    if (file) {
        use->whole = file->whole;
        use->index = file->index;
        use->staging_fd = file->staging_fd;
        use->name = file->name;
        use->metadata = file->metadata;
        use->sparse = file->sparse;
    }
    return use;
}

int stage_want(struct hf_stage *stage, const uint8_t *id, uint32_t plain_size,
               struct stage_file *file, uint64_t offset, struct hf_error *error)
{
    struct hf_write_use *use = use_new(file, offset);
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
    use->next = wanted->uses;
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
    stage->outstanding_count++;
    stage->outstanding_bytes += plain_size;
    stage->request_bytes += plain_size;
    if (stage->request_bytes >= REQUEST_BYTES ||
        stage->request.size >= HF_STAGE_REQUEST_IDS * HF_HASH_BYTES || !file)
        return send_request(stage, error);
    return 0;
}

int stage_copy(struct hf_stage *stage, const uint8_t *id, uint32_t plain_size,
               struct stage_file *file, const char *path, struct hf_error *error)
{
    struct hf_write_work *work = write_work_new(1);
    if (work) {
        work->local_path = strdup(path);
        work->parts[0].uses = use_new(file, 0);
    }
    if (!work || !work->local_path || !work->parts[0].uses) {
        write_work_free(work);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for restored content");
    }
    memcpy(work->parts[0].id, id, HF_HASH_BYTES);
    work->parts[0].size = plain_size;
    work->plain_size = plain_size;
    file->waiting++;
    stage->outstanding_count++;
    stage->outstanding_bytes += plain_size;
    writers_push(stage->writers, work);
    return 0;
}

static int take_list(struct hf_stage *stage, struct hf_buf *plain)
{
    hf_buf_free(&stage->list);
    stage->list = *plain;
    *plain = (struct hf_buf){0};
    stage->refs = (struct hf_bytes){stage->list.data, stage->list.size};
    stage->ref_at = 0;
    stage->list_wanted = false;
    stage->list_at++;
    return 0;
}

/* message: what is wrong with the chunk, NULL when it was written. */
static int finish_use(struct hf_stage *stage, const struct hf_write_use *use, struct hf_buf *plain,
                      const char *message, struct hf_error *error)
{
    char text[HF_ERROR_MESSAGE_BYTES];
    if (!use->file && !message) {
        assert(plain); /* work for a list keeps its plaintext */
        return take_list(stage, plain);
    }
    if (!use->file) {
        stage->list_wanted = false;
        if (stage->current)
            stage_fail(stage, stage->current, message);
        return 0;
    }
    use->file->waiting--;
    if (!message && use->result) {
        struct hf_error why;
        int result =
            hf_error_set(&why, (enum hf_err)use->result, use->sys_errno,
                         use->of_file ? "%s failed" : "%s failed; nothing was changed", use->doing);
        if (!use->of_file) {
            if (error)
                *error = why;
            return result;
        }
        snprintf(text, sizeof(text), "%s", why.message);
        message = text;
    }
    if (message)
        stage_fail(stage, use->file, message);
    else
        use->file->made = use->whole;
    if (use->shortfall)
        job_remark(stage->options.job, use->file->index, use->shortfall);
    return stage_settle(stage, use->file, error);
}

/* The chunk is dealt with, one way or the other. */
static int finish_chunk(struct hf_stage *stage, uint32_t plain_size, struct hf_write_use *uses,
                        struct hf_buf *plain, const char *message, struct hf_error *error)
{
    int result = 0;
    stage->outstanding_count--;
    stage->outstanding_bytes -= plain_size;
    for (struct hf_write_use *use = uses; use && !result; use = use->next)
        result = finish_use(stage, use, plain, message, error);
    return result;
}

static struct stage_wanted *take_wanted(struct stage_wanted **at)
{
    struct stage_wanted *wanted = *at;
    *at = wanted->next;
    return wanted;
}

static size_t count_wanted(struct hf_stage *stage, const struct hf_block *block)
{
    size_t count = 0;
    for (size_t i = 0; i < hf_block_chunk_count(block); i++)
        count += *find_wanted(stage, hf_block_chunk_id(block, i)) != NULL;
    return count;
}

/* What was asked for goes to the part, with the files that it is for open. */
static int take_part(struct hf_stage *stage, struct stage_wanted **at, uint32_t position,
                     uint32_t size, struct hf_write_part *part, struct hf_error *error)
{
    struct stage_wanted *wanted = take_wanted(at);
    int result = 0;
    memcpy(part->id, wanted->id, HF_HASH_BYTES);
    part->position = position;
    part->size = wanted->plain_size;
    part->mismatch = wanted->plain_size != size;
    part->uses = wanted->uses;
    free(wanted);
    for (struct hf_write_use *use = part->uses; use; use = use->next) {
        part->keep_plain = part->keep_plain || !use->file;
        if (!result && use->file && !use->whole && !use->file->failed) {
            result = stage_open(stage, use->file, error);
            use->fd = use->file->fd;
        }
    }
    return result;
}

static int take_block(struct hf_stage *stage, const struct hf_block *block, struct hf_error *error)
{
    size_t count = count_wanted(stage, block);
    if (count == 0)
        return 0; /* nothing that is missing: a repeat */
    struct hf_write_work *work = write_work_new(count);
    if (!work || hf_buf_append(&work->stored, block->data.data, block->data.size)) {
        write_work_free(work);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for restored content");
    }
    work->codec = block->codec;
    work->plain_size = hf_block_plain_size(block);
    work->part_count = 0;
    stage->options.job->fetched_bytes += block->data.size;
    int result = 0;
    uint32_t position = 0;
    for (size_t i = 0; i < hf_block_chunk_count(block); i++) {
        struct stage_wanted **at = find_wanted(stage, hf_block_chunk_id(block, i));
        uint32_t size = hf_block_chunk_size(block, i);
        struct hf_error *why = result ? NULL : error;
        if (*at) {
            int failed =
                take_part(stage, at, position, size, &work->parts[work->part_count++], why);
            result = result ? result : failed;
        }
        position += size;
    }
    /* Even after a failure: what it is for must be accounted for. */
    writers_push(stage->writers, work);
    return result;
}

/* The local file has changed since it was captured: the chunk has to come after all. */
static int fetch_instead(struct hf_stage *stage, const struct hf_write_part *part,
                         struct hf_error *error)
{
    struct stage_file *file = part->uses->file;
    file->waiting--;
    stage->outstanding_count--;
    stage->outstanding_bytes -= part->size;
    return stage_want(stage, part->id, part->size, file, 0, error);
}

static int finish_part(struct hf_stage *stage, struct hf_write_part *part, bool local,
                       struct hf_error *error)
{
    if (local && part->mismatch)
        return fetch_instead(stage, part, error);
    if (local)
        stage->options.job->reused_bytes += part->size;
    if (part->uses->file)
        flusher_note(stage->flusher, part->uses->file->staging_fd, part->size);
    return finish_chunk(stage, part->size, part->uses, &part->plain,
                        part->mismatch ? "the collector sent content that does not match its hash; "
                                         "have its repository checked, the old file stands"
                                       : NULL,
                        error);
}

static int finish_work(struct hf_stage *stage, struct hf_write_work *work, struct hf_error *error)
{
    int result = 0;
    for (size_t i = 0; i < work->part_count; i++) {
        if (result)
            stage_abandon(stage, work->parts[i].uses);
        else
            result = finish_part(stage, &work->parts[i], work->local_path != NULL, error);
    }
    return result;
}

int stage_collect(struct hf_stage *stage, int timeout_ms, struct hf_error *error)
{
    struct hf_write_work *work;
    int result = 0;
    while (!result && (work = writers_collect(stage->writers, timeout_ms))) {
        timeout_ms = 0;
        result = finish_work(stage, work, error);
        write_work_free(work);
    }
    return result ? result : stage_advance(stage, error);
}

int stage_take(struct hf_stage *stage, const struct hf_frame *frame, struct hf_error *error)
{
    for (size_t i = 0; i < frame->chunks.count; i++) {
        int result = take_block(stage, &frame->chunks.blocks[i], error);
        if (result)
            return result;
    }
    return stage_collect(stage, 0, error);
}

int stage_lack(struct hf_stage *stage, struct hf_bytes ids, const char *reason,
               struct hf_error *error)
{
    for (size_t i = 0; i + HF_HASH_BYTES <= ids.size; i += HF_HASH_BYTES) {
        struct stage_wanted **at = find_wanted(stage, ids.data + i);
        if (!*at)
            continue;
        struct stage_wanted *wanted = take_wanted(at);
        int result = finish_chunk(stage, wanted->plain_size, wanted->uses, NULL, reason, error);
        stage_wanted_free(wanted);
        if (result)
            return result;
    }
    return stage_advance(stage, error);
}

void stage_wanted_free(struct stage_wanted *wanted)
{
    while (wanted->uses) {
        struct hf_write_use *use = wanted->uses;
        wanted->uses = use->next;
        free(use);
    }
    free(wanted);
}
