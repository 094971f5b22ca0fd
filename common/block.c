#include "common/block.h"

#include <string.h>

#include "common/bytes.h"

size_t hf_block_chunk_count(const struct hf_block *block)
{
    return block->chunks.size / HF_CHUNK_REF_BYTES;
}

const uint8_t *hf_block_chunk_id(const struct hf_block *block, size_t i)
{
    return block->chunks.data + i * HF_CHUNK_REF_BYTES;
}

uint32_t hf_block_chunk_size(const struct hf_block *block, size_t i)
{
    return hf_get_le32(hf_block_chunk_id(block, i) + HF_HASH_BYTES);
}

uint32_t hf_block_plain_size(const struct hf_block *block)
{
    size_t count = hf_block_chunk_count(block);
    size_t aid = hf_codec_has_aid(block->codec) ? HF_HASH_BYTES : 0;
    uint32_t total = 0;
    if (block->chunks.size % HF_CHUNK_REF_BYTES != 0 || count == 0 || count > HF_BLOCK_CHUNKS_MAX ||
        block->aid.size != aid) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t size = hf_block_chunk_size(block, i);
        if (size == 0 || size > HF_CHUNK_MAX_BYTES || size > HF_BLOCK_MAX_BYTES - total) {
            return 0;
        }
        total += size;
    }
    if (block->codec == HF_CODEC_DICTIONARY && total > HF_DICTIONARY_CONTENT_MAX_BYTES) {
        return 0;
    }
    return block->codec == HF_CODEC_RAW && block->data.size != total ? 0 : total;
}

int hf_block_decode(const struct hf_block *block, struct hf_decompressor *decompressor,
                    struct hf_bytes aid, uint8_t *plain)
{
    return hf_decompress(decompressor, block->codec, aid, block->data.data, block->data.size, plain,
                         hf_block_plain_size(block));
}

bool hf_block_verify(const struct hf_block *block, const uint8_t *plain, size_t *wrong)
{
    uint8_t hash[HF_HASH_BYTES];
    for (size_t i = 0; i < hf_block_chunk_count(block); i++) {
        uint32_t size = hf_block_chunk_size(block, i);
        hf_sha256(plain, size, hash);
        if (memcmp(hash, hf_block_chunk_id(block, i), HF_HASH_BYTES) != 0) {
            if (wrong) {
                *wrong = i;
            }
            return false;
        }
        plain += size;
    }
    return true;
}

bool hf_block_fits(const struct hf_block_builder *builder, size_t size)
{
    return builder->plain.size + size <= HF_BLOCK_MAX_BYTES &&
           builder->chunks.size < (size_t)HF_BLOCK_CHUNKS_MAX * HF_CHUNK_REF_BYTES;
}

int hf_block_add(struct hf_block_builder *builder, const uint8_t id[HF_HASH_BYTES],
                 const uint8_t *data, size_t size)
{
    uint8_t *ref = NULL;
    int rc = hf_buf_reserve(&builder->plain, size);
    rc = rc == HF_OK ? hf_buf_extend(&builder->chunks, HF_CHUNK_REF_BYTES, &ref) : rc;
    if (rc == HF_OK) {
        memcpy(ref, id, HF_HASH_BYTES);
        hf_put_le32(ref + HF_HASH_BYTES, (uint32_t)size);
        rc = hf_buf_append(&builder->plain, data, size);
    }
    return rc;
}

int hf_block_finish(struct hf_block_builder *builder, struct hf_compressor *compressor,
                    struct hf_block *out)
{
    *out = (struct hf_block){.chunks = {builder->chunks.data, builder->chunks.size}};
    hf_buf_clear(&builder->data);
    int rc = hf_compress(compressor, builder->plain.data, builder->plain.size, &builder->data,
                         &out->codec);
    out->data = (struct hf_bytes){builder->data.data, builder->data.size};
    return rc;
}

int hf_block_shorten(const struct hf_block_builder *builder, struct hf_compressor *compressor,
                     const uint8_t id[HF_HASH_BYTES], const struct hf_dictionary *dictionary,
                     struct hf_buf *data, struct hf_block *block)
{
    size_t now = block->data.size;
    if (builder->plain.size > HF_DICTIONARY_CONTENT_MAX_BYTES || now <= HF_HASH_BYTES) {
        return HF_OK;
    }
    hf_buf_clear(data);
    int rc = hf_compress_dictionary(compressor, dictionary, builder->plain.data,
                                    builder->plain.size, now - HF_HASH_BYTES, data);
    if (rc == HF_OK) {
        block->codec = HF_CODEC_DICTIONARY;
        block->aid = (struct hf_bytes){id, HF_HASH_BYTES};
        block->data = (struct hf_bytes){data->data, data->size};
    }
    return rc == HF_ERR_LIMIT ? HF_OK : rc;
}

void hf_block_clear(struct hf_block_builder *builder)
{
    hf_buf_clear(&builder->plain);
    hf_buf_clear(&builder->chunks);
    hf_buf_clear(&builder->data);
}

void hf_block_builder_free(struct hf_block_builder *builder)
{
    hf_buf_free(&builder->plain);
    hf_buf_free(&builder->chunks);
    hf_buf_free(&builder->data);
}
