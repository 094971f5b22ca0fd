#include "agent/session/pack.h"

#include <stdlib.h>

#include "common/compress.h"

struct hf_packer {
    struct hf_compressor *compressor;
    int (*send)(void *context, const struct hf_frame *frame);
    void *context;
    struct hf_chunk chunks[HF_FRAME_CHUNKS_MAX];
    size_t
        offsets[HF_FRAME_CHUNKS_MAX]; /* of each chunk's data in arena, which moves as it grows */
    size_t count;
    struct hf_buf arena;
};

struct hf_packer *packer_new(int compress_level,
                             int (*send)(void *context, const struct hf_frame *frame),
                             void *context)
{
    struct hf_packer *packer = calloc(1, sizeof(*packer));
    if (!packer)
        return NULL;
    packer->send = send;
    packer->context = context;
    packer->compressor = hf_compressor_new(compress_level);
    if (!packer->compressor) {
        free(packer);
        return NULL;
    }
    return packer;
}

void packer_free(struct hf_packer *packer)
{
    if (!packer)
        return;
    hf_compressor_free(packer->compressor);
    hf_buf_free(&packer->arena);
    free(packer);
}

static int flush_chunks(struct hf_packer *packer)
{
    if (packer->count == 0)
        return 0;
    for (size_t i = 0; i < packer->count; i++)
        packer->chunks[i].data.data = packer->arena.data + packer->offsets[i];
    struct hf_frame frame = {
        .type = HF_FRAME_CHUNKS,
        .chunks = {.chunks = packer->chunks, .count = packer->count},
    };
    int result = packer->send(packer->context, &frame);
    hf_buf_clear(&packer->arena);
    packer->count = 0;
    return result;
}

static int add_chunk(struct hf_packer *packer, const struct hf_unit_chunk *chunk)
{
    /* Looked at before each chunk: with one of 512 KiB on top a frame still is within its limit. */
    if (packer->arena.size >= HF_PACK_FRAME_BYTES || packer->count == HF_FRAME_CHUNKS_MAX) {
        int result = flush_chunks(packer);
        if (result)
            return result;
    }
    size_t offset = packer->arena.size;
    enum hf_codec codec = chunk->codec;
    int result = codec == HF_CODEC_RAW
                     ? hf_compress(packer->compressor, chunk->data.data, chunk->data.size,
                                   &packer->arena, &codec)
                     : hf_buf_append(&packer->arena, chunk->data.data, chunk->data.size);
    if (result)
        return result;
    packer->offsets[packer->count] = offset;
    packer->chunks[packer->count++] = (struct hf_chunk){
        .id = chunk->id,
        .codec = codec,
        .plain_size = chunk->plain_size,
        .data = {.size = packer->arena.size - offset},
    };
    return 0;
}

int packer_send_chunks(struct hf_packer *packer, const struct hf_unit *unit, const uint8_t *needed)
{
    int result = 0;
    packer->count = 0;
    hf_buf_clear(&packer->arena);
    for (size_t i = 0; !result && i < unit->chunk_count; i++)
        if (!needed || (needed[i / 8] & (1u << (i % 8))))
            result = add_chunk(packer, &unit->chunks[i]);
    return result ? result : flush_chunks(packer);
}

int packer_send_versions(struct hf_packer *packer, const struct hf_unit *unit, uint32_t stream)
{
    size_t first = 0;
    while (first < unit->version_count) {
        size_t count = 0, bytes = 0;
        while (first + count < unit->version_count && count < HF_FRAME_VERSIONS_MAX) {
            size_t next = proto_version_size_bound(&unit->versions[first + count]);
            if (count > 0 && bytes + next > HF_PACK_FRAME_BYTES)
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
