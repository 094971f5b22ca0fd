/* What workers do with CHUNKS: decode every block, compare every chunk with its id, and find out
 * what of it has to be stored. A block of which some chunks are here already is made anew without
 * them; one that stands on too many others is made anew without those. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/log.h"

void blocks_free(struct ingest_blocks *blocks)
{
    if (!blocks) {
        return;
    }
    for (size_t i = 0; i < blocks->memory_count; i++) {
        hf_buf_free(&blocks->memory[i]);
    }
    free(blocks->memory);
    hf_buf_free(&blocks->known);
    free(blocks->blocks);
    free(blocks);
}

static struct ingest_blocks *blocks_new(size_t count)
{
    struct ingest_blocks *blocks = calloc(1, sizeof *blocks);
    if (!blocks) {
        return NULL;
    }
    blocks->blocks = calloc(count, sizeof *blocks->blocks);
    blocks->memory = calloc(count, sizeof *blocks->memory);
    if (!blocks->blocks || !blocks->memory) {
        blocks_free(blocks);
        return NULL;
    }
    blocks->memory_count = count;
    return blocks;
}

static int no_memory(struct hf_error *error)
{
    return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to verify a block");
}

/* The dictionary that the block was compressed with. There is none but what SOURCE_STATE named:
 * other ids are no mistake of an honest agent's. */
static int read_dictionary(struct ingest_worker *worker, struct ingest_item *item,
                           const struct hf_block *block)
{
    struct hf_error *error = &worker->failure;
    struct hf_bytes bytes = {0};
    int rc = item->session->dictionaries
                 ? store_read_dictionary(worker->store, block->aid.data, &bytes, error)
                 : HF_ERR_NOT_FOUND;
    if (rc == HF_ERR_NOT_FOUND) {
        char id[17];
        hf_hex_encode(block->aid.data, 8, id);
        item->is_false = true;
        return hf_error_set(error, HF_ERR_CORRUPT, 0,
                            "A block is compressed with dictionary %s, which this collector has "
                            "not trained or not offered",
                            id);
    }
    rc = rc == HF_OK ? hf_buf_append(&worker->aid, bytes.data, bytes.size) : rc;
    return rc == HF_ERR_NO_MEMORY ? no_memory(error) : rc;
}

/* The content that the block was compressed against, if this very host has stored it: a host must
 * not learn what others have. HF_ERR_NOT_FOUND. */
static int read_aid(struct ingest_worker *worker, uint64_t host_row, const struct hf_block *block,
                    uint8_t *depth, struct hf_error *error)
{
    struct hf_chunk_place place;
    bool held = false;
    hf_buf_clear(&worker->aid);
    *depth = 0;
    if (block->codec != HF_CODEC_DELTA) {
        return HF_OK;
    }
    int rc = catalog_chunk_held(worker->catalog, host_row, block->aid.data, &held, &place, error);
    if (rc == HF_OK && !held) {
        return HF_ERR_NOT_FOUND;
    }
    *depth = (uint8_t)(place.depth + 1);
    if (rc == HF_OK) {
        rc = store_read_chunk(worker->store, &place.place, block->aid.data, &worker->aid, error);
    }
    if (rc != HF_OK && rc != HF_ERR_NO_MEMORY) {
        /* Damage here is no fault of the host's, which will be asked for the whole content. */
        hf_log_error("A block can't be compared with what it stands on: %s", error->message);
        *error = (struct hf_error){0};
        return HF_ERR_NOT_FOUND;
    }
    return rc;
}

/* *plain is the block's plaintext, with every chunk what its id says. */
static int verify_block(struct ingest_worker *worker, struct ingest_item *item,
                        const struct hf_block *block, const uint8_t **plain)
{
    struct hf_error *error = &worker->failure;
    size_t wrong = 0;
    uint8_t *out = NULL;
    *plain = block->data.data;
    if (block->codec != HF_CODEC_RAW) {
        hf_buf_clear(&worker->plain);
        if (hf_buf_extend(&worker->plain, hf_block_plain_size(block), &out) != HF_OK) {
            return no_memory(error);
        }
        if (hf_block_decode(block, worker->decompressor,
                            (struct hf_bytes){worker->aid.data, worker->aid.size}, out) != HF_OK) {
            item->is_false = true;
            return hf_error_set(error, HF_ERR_CORRUPT, 0,
                                "A block's data is not what its codec and its chunks' lengths say");
        }
        *plain = out;
    }
    if (!hf_block_verify(block, *plain, &wrong)) {
        char id[17];
        hf_hex_encode(hf_block_chunk_id(block, wrong), 8, id);
        item->is_false = true;
        return hf_error_set(error, HF_ERR_CORRUPT, 0,
                            "The content sent for chunk %s has another hash or length than it says",
                            id);
    }
    return HF_OK;
}

/* The block without what is known, in memory of its own. */
static int make_anew(struct ingest_worker *worker, const struct hf_block *block,
                     const uint8_t *plain, const bool *known, struct hf_buf *memory,
                     struct hf_block *out)
{
    struct hf_block made;
    int rc = HF_OK;
    hf_block_clear(&worker->builder);
    for (size_t i = 0; rc == HF_OK && i < hf_block_chunk_count(block); i++) {
        uint32_t size = hf_block_chunk_size(block, i);
        if (!known[i]) {
            rc = hf_block_add(&worker->builder, hf_block_chunk_id(block, i), plain, size);
        }
        plain += size;
    }
    rc = rc == HF_OK ? hf_block_finish(&worker->builder, worker->compressor, &made) : rc;
    rc = rc == HF_OK ? hf_buf_append(memory, made.chunks.data, made.chunks.size) : rc;
    rc = rc == HF_OK ? hf_buf_append(memory, made.data.data, made.data.size) : rc;
    if (rc == HF_OK) {
        *out = (struct hf_block){.codec = made.codec,
                                 .chunks = {memory->data, made.chunks.size},
                                 .data = {memory->data + made.chunks.size, made.data.size}};
    }
    return rc;
}

/* What is to be stored of a block that was verified. */
static int sort_out(struct ingest_worker *worker, struct ingest_item *item, size_t index,
                    const uint8_t *plain, uint8_t depth)
{
    const struct hf_block *block = &item->frame.chunks.blocks[index];
    struct ingest_blocks *blocks = item->blocks;
    struct ingest_block *out = &blocks->blocks[blocks->count];
    bool known[HF_BLOCK_CHUNKS_MAX];
    size_t count = hf_block_chunk_count(block);
    size_t known_count = 0;
    int rc = catalog_refs_known(worker->catalog, block->chunks, known, &worker->failure);
    if (rc != HF_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        known_count += known[i];
        if (known[i] &&
            hf_buf_append(&blocks->known, hf_block_chunk_id(block, i), HF_HASH_BYTES) != HF_OK) {
            return no_memory(&worker->failure);
        }
    }
    if (known_count == count) {
        return HF_OK;
    }
    if (known_count == 0 && depth <= HF_STORE_DEPTH_MAX) {
        out->block = *block;
        out->depth = depth;
    } else if (make_anew(worker, block, plain, known, &blocks->memory[index], &out->block) !=
               HF_OK) {
        return no_memory(&worker->failure);
    }
    blocks->count++;
    return HF_OK;
}

static void verify_all(struct ingest_worker *worker, struct ingest_item *item)
{
    int rc = HF_OK;
    for (size_t i = 0; rc == HF_OK && i < item->frame.chunks.count; i++) {
        const struct hf_block *block = &item->frame.chunks.blocks[i];
        const uint8_t *plain = NULL;
        uint8_t depth = 0;
        rc = read_aid(worker, item->session->host_row, block, &depth, &worker->failure);
        if (rc == HF_OK && block->codec == HF_CODEC_DICTIONARY) {
            rc = read_dictionary(worker, item, block);
        }
        if (rc == HF_ERR_NOT_FOUND) {
            rc = HF_OK; /* as if it had not been sent: its version will be refused for it */
            continue;
        }
        rc = rc == HF_OK ? verify_block(worker, item, block, &plain) : rc;
        rc = rc == HF_OK ? sort_out(worker, item, i, plain, depth) : rc;
    }
}

void verify_chunks(struct ingest_worker *worker, struct ingest_item *item)
{
    worker->failure = (struct hf_error){0};
    item->blocks = blocks_new(item->frame.chunks.count);
    if (!item->blocks) {
        no_memory(&worker->failure);
    } else if (catalog_reader_begin(worker->catalog, &worker->failure) == HF_OK) {
        verify_all(worker, item);
        catalog_reader_end(worker->catalog);
    }
    if (worker->failure.code != HF_OK) {
        item_fail(item, worker->failure.code, worker->failure.message);
    }
}
