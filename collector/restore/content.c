/* Content for the agent: blocks as they are stored where it wants enough of one, and what it wants
 * of others in blocks made anew. */
#include "collector/restore/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define CONTENT_BYTES_MAX (256u * 1024u) /* of one CHUNKS frame, unless one block is larger */
#define LEVEL             1              /* of zstd, for blocks made anew: they are read once */

struct wanted {
    const uint8_t *id;
    struct hf_chunk_place chunk;
};

static int compare_places(const void *a, const void *b)
{
    const struct hf_place *left = &((const struct wanted *)a)->chunk.place;
    const struct hf_place *right = &((const struct wanted *)b)->chunk.place;
    if (left->location.pack != right->location.pack) {
        return left->location.pack < right->location.pack ? -1 : 1;
    }
    if (left->location.offset != right->location.offset) {
        return left->location.offset < right->location.offset ? -1 : 1;
    }
    return (left->position > right->position) - (left->position < right->position);
}

/* In the order of the packs, each once; returns how many that are. */
static size_t sort_places(struct wanted *wanted, size_t count)
{
    size_t kept = 0;
    qsort(wanted, count, sizeof *wanted, compare_places);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_places(&wanted[kept - 1], &wanted[i]) != 0) {
            wanted[kept++] = wanted[i];
        }
    }
    return kept;
}

/* How many from the first on are of one block; *plain: bytes of them. */
static size_t same_block(const struct wanted *wanted, size_t count, uint64_t *plain)
{
    const struct hf_location *first = &wanted->chunk.place.location;
    size_t same = 0;
    *plain = 0;
    while (same < count && wanted[same].chunk.place.location.pack == first->pack &&
           wanted[same].chunk.place.location.offset == first->offset) {
        *plain += wanted[same++].chunk.place.size;
    }
    return same;
}

/* Blocks of one frame; their bytes are in a reply's memory, which moves as it grows. */
struct gathered {
    struct {
        enum hf_codec codec;
        size_t at, chunks, data; /* where it begins, and the sizes of its parts */
    } blocks[HF_FRAME_BLOCKS_MAX];
    size_t count;
};

static int gather(struct gathered *gathered, struct hf_buf *memory, const struct hf_block *block)
{
    size_t at = memory->size;
    int rc = hf_buf_append(memory, block->chunks.data, block->chunks.size);
    rc = rc == HF_OK ? hf_buf_append(memory, block->data.data, block->data.size) : rc;
    if (rc == HF_OK) {
        gathered->blocks[gathered->count].codec = block->codec;
        gathered->blocks[gathered->count].at = at;
        gathered->blocks[gathered->count].chunks = block->chunks.size;
        gathered->blocks[gathered->count].data = block->data.size;
        gathered->count++;
    }
    return rc;
}

/* Only these chunks of it. */
static int gather_anew(struct hf_restore *restore, struct hf_store_reader *store,
                       const struct wanted *wanted, size_t count, struct gathered *gathered,
                       struct hf_buf *memory, struct hf_error *error)
{
    struct hf_block block;
    struct hf_buf plain = {0};
    int rc = HF_OK;
    if (!restore->compressor) {
        restore->compressor = hf_compressor_new(LEVEL);
        rc = restore->compressor ? HF_OK : HF_ERR_NO_MEMORY;
    }
    hf_block_clear(&restore->builder);
    for (size_t i = 0; rc == HF_OK && i < count; i++) {
        hf_buf_clear(&plain);
        rc = store_read_chunk(store, &wanted[i].chunk.place, wanted[i].id, &plain, error);
        rc = rc == HF_OK ? hf_block_add(&restore->builder, wanted[i].id, plain.data, plain.size)
                         : rc;
    }
    hf_buf_free(&plain);
    rc = rc == HF_OK ? hf_block_finish(&restore->builder, restore->compressor, &block) : rc;
    return rc == HF_OK ? gather(gathered, memory, &block) : rc;
}

/* A block of which a third is wanted goes out whole. To make it anew costs more than all other
 * work on it: it has to be decompressed for that as well, and the rest compressed. */
#define ENOUGH_OF 3

/* Whether a block may go out as it is: it can be read by itself (an agent that restores has no
 * dictionary), and all of it is wanted, or enough and this host has sent it whole: of another's
 * it gets what its job names and nothing beside that. */
static bool may_go_out(const struct hf_restore *restore, const struct hf_stored_block *stored,
                       size_t count, uint64_t plain)
{
    bool whole = count == hf_block_chunk_count(&stored->block);
    bool enough = plain >= hf_block_plain_size(&stored->block) / ENOUGH_OF;
    return stored->block.aid.size == 0 &&
           (whole || (enough && stored->owner == restore->options.host_row));
}

static int gather_block(struct hf_restore *restore, struct hf_store_reader *store,
                        const struct wanted *wanted, size_t count, uint64_t plain,
                        struct gathered *gathered, struct hf_buf *memory, struct hf_error *error)
{
    struct hf_stored_block stored;
    int rc = store_read_block(store, &wanted->chunk.place.location, &stored, error);
    if (rc == HF_OK && may_go_out(restore, &stored, count, plain)) {
        return gather(gathered, memory, &stored.block);
    }
    return rc == HF_OK ? gather_anew(restore, store, wanted, count, gathered, memory, error) : rc;
}

static int finish_frame(struct hf_ingest_reply *reply, const struct gathered *gathered)
{
    static const uint8_t zeros[16];
    uint8_t *out = NULL;
    /* The structs go behind the content, in the same memory. */
    int rc = hf_buf_append(&reply->memory, zeros, (16 - reply->memory.size % 16) % 16);
    rc = rc == HF_OK
             ? hf_buf_extend(&reply->memory, gathered->count * sizeof(struct hf_block), &out)
             : rc;
    struct hf_block *blocks = (struct hf_block *)(void *)out;
    for (size_t i = 0; rc == HF_OK && i < gathered->count; i++) {
        const uint8_t *at = reply->memory.data + gathered->blocks[i].at;
        blocks[i] = (struct hf_block){
            .codec = gathered->blocks[i].codec,
            .chunks = {at, gathered->blocks[i].chunks},
            .data = {at + gathered->blocks[i].chunks, gathered->blocks[i].data},
        };
    }
    reply->frame.chunks.blocks = blocks;
    reply->frame.chunks.count = gathered->count;
    reply->bytes = reply->memory.size;
    return rc;
}

/* One CHUNKS frame from wanted[*next] on. */
static int send_content(struct hf_restore *restore, struct hf_store_reader *store,
                        const struct wanted *wanted, size_t count, size_t *next,
                        struct hf_error *error)
{
    struct hf_ingest_reply *reply = driver_frame(HF_FRAME_CHUNKS);
    struct gathered gathered = {.count = 0};
    int rc = reply ? HF_OK : HF_ERR_NO_MEMORY;
    while (rc == HF_OK && *next < count && gathered.count < HF_FRAME_BLOCKS_MAX) {
        uint64_t plain = 0;
        size_t same = same_block(wanted + *next, count - *next, &plain);
        if (gathered.count > 0 && reply->memory.size + plain > CONTENT_BYTES_MAX) {
            break;
        }
        rc = gather_block(restore, store, wanted + *next, same, plain, &gathered, &reply->memory,
                          error);
        restore->fetched_bytes += rc == HF_OK ? plain : 0;
        *next += same;
    }
    rc = rc == HF_OK ? finish_frame(reply, &gathered) : rc;
    if (rc != HF_OK) {
        ingest_reply_free(reply);
        return rc;
    }
    reply->frame.chunks.job = restore->job;
    restore_send(restore, reply);
    return HF_OK;
}

/* Once a job: an agent that goes on asking must not fill the journal. */
static void audit_denied(struct hf_restore *restore, size_t count)
{
    if (restore->denied_job == restore->job) {
        return;
    }
    restore->denied_job = restore->job;
    char actor[96];
    char detail[128];
    struct hf_error error = {0};
    struct hf_event event = driver_event(restore, HF_EVENT_AUDIT, actor);
    snprintf(detail, sizeof detail, "asked for %zu chunks that are not of its job %llu", count,
             (unsigned long long)restore->job);
    event.audit.action = event_text("chunk.denied");
    event.audit.object = event_text(restore->host_id);
    event.audit.detail = event_text(detail);
    event.audit.outcome = HF_AUDIT_REFUSED;
    driver_commit(restore, &event, 1, &error);
}

/* Its blocks are on their way from the disk while the first of them is sent. */
static void read_ahead(struct hf_store_reader *store, const struct wanted *wanted, size_t count)
{
    struct hf_location *places = calloc(count, sizeof *places);
    for (size_t i = 0; places && i < count; i++) {
        places[i] = wanted[i].chunk.place.location;
    }
    if (places) {
        store_read_ahead(store, places, count);
    }
    free(places);
}

bool driver_send_chunks(struct hf_restore *restore, struct restore_task *task,
                        struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    struct hf_bytes ids = task->frame.ids.ids;
    size_t count = ids.size / HF_HASH_BYTES;
    struct hf_chunk_place *places = calloc(count, sizeof *places);
    bool *held = calloc(count, sizeof *held);
    struct wanted *wanted = calloc(count, sizeof *wanted);
    struct hf_buf denied = {0};
    struct hf_error error = {0};
    size_t wanted_count = 0;
    int rc = places && held && wanted ? catalog_chunks_locate(catalog, restore->origin_row,
                                                              ids.data, count, places, held, &error)
                                      : HF_ERR_NO_MEMORY;
    for (size_t i = 0; rc == HF_OK && i < count; i++) {
        const uint8_t *id = ids.data + i * HF_HASH_BYTES;
        if (held[i]) {
            wanted[wanted_count++] = (struct wanted){id, places[i]};
        } else {
            rc = hf_buf_append(&denied, id, HF_HASH_BYTES);
        }
    }
    if (rc == HF_OK && denied.size > 0 && !task->begun) {
        driver_refuse(restore, task, HF_WIRE_DENIED,
                      "The job's origin host never stored these chunks",
                      (struct hf_bytes){denied.data, denied.size});
        audit_denied(restore, denied.size / HF_HASH_BYTES);
    }
    if (rc == HF_OK) {
        wanted_count = sort_places(wanted, wanted_count);
    }
    if (rc == HF_OK && wanted_count > 0 && !task->begun) {
        read_ahead(store, wanted, wanted_count);
    }
    task->begun = true;
    do {
        rc = rc == HF_OK && task->sent < wanted_count
                 ? send_content(restore, store, wanted, wanted_count, &task->sent, &error)
                 : rc;
    } while (rc == HF_OK && task->sent < wanted_count && !restore_is_full(restore));
    bool more = rc == HF_OK && task->sent < wanted_count;
    if (rc != HF_OK) {
        hf_log_error("Restore job %llu: %s", (unsigned long long)restore->job,
                     error.message[0] ? error.message : "out of memory");
        driver_refuse(restore, task, HF_WIRE_INTERNAL,
                      error.message[0] ? error.message : "The collector is out of memory", ids);
    }
    hf_buf_free(&denied);
    free(wanted);
    free(held);
    free(places);
    return more;
}
