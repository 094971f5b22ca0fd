#include "agent/session/pack.h"

#include <stdlib.h>
#include <string.h>

#include "agent/session/history.h"
#include "common/block.h"

#define BLOCKS_MAX        64u                  /* of one frame */
#define HISTORY_BYTES_MAX (4u * 1024u * 1024u) /* of contents to compare with */
/* A unit of more versions is not a file that changes, but many that came. */
#define FEW_VERSIONS 16u
/* Shorter content is as short by itself. */
#define DELTA_FROM_BYTES 256u
/* Up to here the level costs less time than a frame on its way, and is most of what is saved. */
#define SHORT_BYTES (32u * 1024u)
#define SHORT_LEVEL 6

struct hf_packer {
    struct hf_compressor *compressor;
    struct hf_decompressor *decompressor;
    int (*send)(void *context, const struct hf_frame *frame);
    void *context;
    struct hf_block_builder builder; /* the block that is being filled */
    struct hf_buf plain;             /* of a chunk that came from the spool */
    struct hf_buf delta;
    const struct hf_known_dictionary *dictionary; /* may be NULL */
    struct hf_buf shortened;                      /* what it makes of a block */
    struct hf_history *history;
    /* Finished blocks of the next frame; their parts are in arena, which moves as it grows. */
    struct {
        enum hf_codec codec;
        size_t at, aid, chunks, data; /* where it begins, and the sizes of its parts */
    } blocks[BLOCKS_MAX];
    size_t count;
    size_t frame_bytes;
    struct hf_buf arena;
    int level; /* of zstd, for all that isn't short */
};

struct hf_packer *packer_new(int (*send)(void *context, const struct hf_frame *frame),
                             void *context)
{
    struct hf_packer *packer = calloc(1, sizeof(*packer));
    if (!packer)
        return NULL;
    packer->send = send;
    packer->context = context;
    packer->frame_bytes = HF_PACK_FRAME_BYTES;
    packer->level = 1;
    packer->compressor = hf_compressor_new(packer->level);
    packer->decompressor = hf_decompressor_new();
    packer->history = history_new(HISTORY_BYTES_MAX);
    if (!packer->compressor || !packer->decompressor || !packer->history) {
        packer_free(packer);
        return NULL;
    }
    return packer;
}

void packer_free(struct hf_packer *packer)
{
    if (!packer)
        return;
    hf_compressor_free(packer->compressor);
    hf_decompressor_free(packer->decompressor);
    hf_block_builder_free(&packer->builder);
    hf_buf_free(&packer->plain);
    hf_buf_free(&packer->delta);
    hf_buf_free(&packer->shortened);
    history_free(packer->history);
    hf_buf_free(&packer->arena);
    free(packer);
}

void packer_set_level(struct hf_packer *packer, int level)
{
    packer->level = level;
}

static void set_level_for(struct hf_packer *packer, size_t bytes)
{
    bool is_short = bytes <= SHORT_BYTES && packer->level < SHORT_LEVEL;
    hf_compressor_set_level(packer->compressor, is_short ? SHORT_LEVEL : packer->level);
}

void packer_set_frame_bytes(struct hf_packer *packer, size_t bytes)
{
    packer->frame_bytes = bytes < HF_PACK_FRAME_BYTES ? bytes : HF_PACK_FRAME_BYTES;
}

void packer_rest(struct hf_packer *packer)
{
    hf_compressor_rest(packer->compressor);
    hf_block_builder_free(&packer->builder);
    packer->builder = (struct hf_block_builder){0};
    hf_buf_free(&packer->plain);
    hf_buf_free(&packer->delta);
    hf_buf_free(&packer->shortened);
    hf_buf_free(&packer->arena);
}

void packer_use_dictionary(struct hf_packer *packer, const struct hf_known_dictionary *dictionary)
{
    packer->dictionary = dictionary;
}

static int flush_frame(struct hf_packer *packer)
{
    struct hf_block blocks[BLOCKS_MAX];
    if (packer->count == 0)
        return 0;
    for (size_t i = 0; i < packer->count; i++) {
        const uint8_t *aid = packer->arena.data + packer->blocks[i].at;
        const uint8_t *chunks = aid + packer->blocks[i].aid;
        blocks[i] = (struct hf_block){
            .codec = packer->blocks[i].codec,
            .aid = {aid, packer->blocks[i].aid},
            .chunks = {chunks, packer->blocks[i].chunks},
            .data = {chunks + packer->blocks[i].chunks, packer->blocks[i].data},
        };
    }
    struct hf_frame frame = {
        .type = HF_FRAME_CHUNKS,
        .chunks = {.blocks = blocks, .count = packer->count},
    };
    int result = packer->send(packer->context, &frame);
    hf_buf_clear(&packer->arena);
    packer->count = 0;
    return result;
}

static int put_block(struct hf_packer *packer, const struct hf_block *block)
{
    size_t size = block->aid.size + block->chunks.size + block->data.size;
    int result = 0;
    if (packer->arena.size > 0 && packer->arena.size + size > packer->frame_bytes)
        result = flush_frame(packer);
    size_t at = packer->arena.size;
    result = result ? result : hf_buf_append(&packer->arena, block->aid.data, block->aid.size);
    result =
        result ? result : hf_buf_append(&packer->arena, block->chunks.data, block->chunks.size);
    result = result ? result : hf_buf_append(&packer->arena, block->data.data, block->data.size);
    if (result)
        return result;
    packer->blocks[packer->count].codec = block->codec;
    packer->blocks[packer->count].at = at;
    packer->blocks[packer->count].aid = block->aid.size;
    packer->blocks[packer->count].chunks = block->chunks.size;
    packer->blocks[packer->count].data = block->data.size;
    return ++packer->count == BLOCKS_MAX ? flush_frame(packer) : 0;
}

/* Where frames are short, so are blocks, but for one chunk. */
static bool fits(const struct hf_packer *packer, size_t size)
{
    size_t have = packer->builder.plain.size;
    bool enough =
        packer->frame_bytes < HF_PACK_FRAME_BYTES && have > 0 && have + size > packer->frame_bytes;
    return !enough && hf_block_fits(&packer->builder, size);
}

/* The block that was filled goes into the frame. */
static int flush_block(struct hf_packer *packer)
{
    struct hf_block block;
    if (packer->builder.plain.size == 0)
        return 0;
    set_level_for(packer, packer->builder.plain.size);
    int result = hf_block_finish(&packer->builder, packer->compressor, &block);
    if (!result && packer->dictionary)
        result = hf_block_shorten(&packer->builder, packer->compressor, packer->dictionary->id,
                                  packer->dictionary->dictionary, &packer->shortened, &block);
    result = result ? result : put_block(packer, &block);
    hf_block_clear(&packer->builder);
    return result;
}

/* The chunk as it is read from disk; chunks from the spool are compressed one by one. */
static int plain_of(struct hf_packer *packer, const struct hf_unit_chunk *chunk,
                    struct hf_bytes *plain)
{
    uint8_t *out = NULL;
    *plain = chunk->data;
    if (chunk->codec == HF_CODEC_RAW)
        return 0;
    hf_buf_clear(&packer->plain);
    int result = hf_buf_extend(&packer->plain, chunk->plain_size, &out);
    result = result ? result
                    : hf_decompress(packer->decompressor, chunk->codec, (struct hf_bytes){0},
                                    chunk->data.data, chunk->data.size, out, chunk->plain_size);
    *plain = (struct hf_bytes){packer->plain.data, packer->plain.size};
    return result;
}

/* The version, of few, that consists of that chunk. */
static const struct hf_version *version_of(const struct hf_unit *unit, const uint8_t *id)
{
    if (unit->version_count > FEW_VERSIONS)
        return NULL;
    for (size_t i = 0; i < unit->version_count; i++) {
        const struct hf_version *version = &unit->versions[i];
        if (version->depth == 0 && version->refs.size == HF_CHUNK_REF_BYTES &&
            memcmp(version->refs.data, id, HF_HASH_BYTES) == 0)
            return version;
    }
    return NULL;
}

/* The chunk as what is different from an earlier version of its file; HF_ERR_NOT_FOUND when there
 * is none that is enough alike. */
static int add_delta(struct hf_packer *packer, size_t source, const struct hf_version *version,
                     uint64_t acked_seq, struct hf_bytes plain)
{
    struct hf_history_base base;
    if (!history_base(packer->history, source, version->path, acked_seq, &base))
        return HF_ERR_NOT_FOUND;
    hf_buf_clear(&packer->delta);
    set_level_for(packer, plain.size);
    int result = hf_compress_delta(packer->compressor, base.content, plain.data, plain.size,
                                   plain.size / 4, &packer->delta);
    if (result)
        return result == HF_ERR_LIMIT ? HF_ERR_NOT_FOUND : result;
    struct hf_block block = {
        .codec = HF_CODEC_DELTA,
        .aid = {base.id, HF_HASH_BYTES},
        .chunks = version->refs,
        .data = {packer->delta.data, packer->delta.size},
    };
    return put_block(packer, &block);
}

/* A chunk that is all of a file that changes. */
static int add_changed(struct hf_packer *packer, const struct hf_unit *unit,
                       const struct hf_version *version, uint64_t acked_seq, struct hf_bytes plain)
{
    const uint8_t *id = version->refs.data;
    int result = add_delta(packer, unit->source, version, acked_seq, plain);
    enum hf_history_sent sent = result ? HF_HISTORY_WHOLE : HF_HISTORY_DELTA;
    if (result == HF_ERR_NOT_FOUND && !fits(packer, plain.size))
        result = flush_block(packer);
    else if (result == HF_ERR_NOT_FOUND)
        result = 0;
    if (!result && sent == HF_HISTORY_WHOLE)
        result = hf_block_add(&packer->builder, id, plain.data, plain.size);
    if (!result)
        history_add(packer->history, unit->source, version->path, version->seq, id, plain, sent);
    return result;
}

static int add_chunk(struct hf_packer *packer, const struct hf_unit *unit,
                     const struct hf_unit_chunk *chunk, uint64_t acked_seq)
{
    struct hf_bytes plain;
    int result = plain_of(packer, chunk, &plain);
    if (result)
        return result;
    const struct hf_version *version = version_of(unit, chunk->id);
    if (version && plain.size >= DELTA_FROM_BYTES)
        return add_changed(packer, unit, version, acked_seq, plain);
    /* What does not shrink stays apart: it is stored as it is, and costs no work. */
    bool apart = hf_is_incompressible(packer->compressor, plain.data, plain.size);
    if (apart || !fits(packer, plain.size))
        result = flush_block(packer);
    result = result ? result : hf_block_add(&packer->builder, chunk->id, plain.data, plain.size);
    return !result && apart ? flush_block(packer) : result;
}

void packer_forget(struct hf_packer *packer, size_t source)
{
    history_forget(packer->history, source);
}

int packer_send_chunks(struct hf_packer *packer, const struct hf_unit *unit, const uint8_t *needed,
                       uint64_t acked_seq)
{
    int result = 0;
    packer->count = 0;
    hf_buf_clear(&packer->arena);
    hf_block_clear(&packer->builder);
    for (size_t i = 0; !result && i < unit->chunk_count; i++)
        if (!needed || (needed[i / 8] & (1u << (i % 8))))
            result = add_chunk(packer, unit, &unit->chunks[i], acked_seq);
    result = result ? result : flush_block(packer);
    return result ? result : flush_frame(packer);
}

int packer_send_versions(struct hf_packer *packer, const struct hf_unit *unit, uint32_t stream)
{
    size_t first = 0;
    while (first < unit->version_count) {
        size_t count = 0, bytes = 0;
        while (first + count < unit->version_count && count < HF_FRAME_VERSIONS_MAX) {
            size_t next = proto_version_size_bound(&unit->versions[first + count]);
            if (count > 0 && bytes + next > packer->frame_bytes)
                break;
            bytes += next;
            count++;
        }
        struct hf_frame frame = {
            .type = HF_FRAME_VERSIONS,
            .versions = {.stream = stream, .versions = unit->versions + first, .count = count},
        };
        int result = packer->send(packer->context, &frame);
        if (result)
            return result;
        first += count;
    }
    return 0;
}
