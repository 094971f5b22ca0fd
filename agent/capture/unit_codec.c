#include "agent/capture/unit_codec.h"

#include "common/bytes.h"
#include "common/chunker.h"
#include "common/error.h"
#include "proto/frame.h"

static int put_u32(struct hf_buf *body, size_t value)
{
    uint8_t bytes[4];
    hf_put_le32(bytes, (uint32_t)value);
    return hf_buf_append(body, bytes, 4);
}

int unit_encode(const struct hf_unit *unit, struct hf_compressor *compressor, struct hf_buf *body)
{
    struct hf_buf scratch = {0};
    int rc = put_u32(body, unit->version_count);
    for (size_t i = 0; rc == HF_OK && i < unit->version_count; i++) {
        hf_buf_clear(&scratch);
        rc = proto_version_encode(&unit->versions[i], &scratch);
        rc = rc == HF_OK ? put_u32(body, scratch.size) : rc;
        rc = rc == HF_OK ? hf_buf_append(body, scratch.data, scratch.size) : rc;
    }
    rc = rc == HF_OK ? put_u32(body, unit->chunk_count) : rc;
    for (size_t i = 0; rc == HF_OK && i < unit->chunk_count; i++) {
        const struct hf_unit_chunk *chunk = &unit->chunks[i];
        enum hf_codec codec = chunk->codec;
        hf_buf_clear(&scratch);
        rc = codec == HF_CODEC_RAW
                 ? hf_compress(compressor, chunk->data.data, chunk->data.size, &scratch, &codec)
                 : hf_buf_append(&scratch, chunk->data.data, chunk->data.size);
        rc = rc == HF_OK ? hf_buf_append(body, chunk->id, HF_HASH_BYTES) : rc;
        rc = rc == HF_OK ? put_u32(body, codec) : rc;
        rc = rc == HF_OK ? put_u32(body, chunk->plain_size) : rc;
        rc = rc == HF_OK ? put_u32(body, scratch.size) : rc;
        rc = rc == HF_OK ? hf_buf_append(body, scratch.data, scratch.size) : rc;
    }
    hf_buf_free(&scratch);
    return rc;
}

struct cursor {
    const uint8_t *data;
    size_t size;
    bool bad;
};

static struct hf_bytes take(struct cursor *cursor, size_t size)
{
    if (cursor->bad || size > cursor->size) {
        cursor->bad = true;
        return (struct hf_bytes){0};
    }
    struct hf_bytes bytes = {cursor->data, size};
    cursor->data += size;
    cursor->size -= size;
    return bytes;
}

static uint32_t take_u32(struct cursor *cursor)
{
    struct hf_bytes bytes = take(cursor, 4);
    return bytes.size == 4 ? hf_get_le32(bytes.data) : 0;
}

struct hf_unit *unit_decode(size_t source, const uint8_t *data, size_t size)
{
    struct cursor cursor = {data, size, false};
    struct hf_unit *unit = unit_new(source);
    uint32_t versions = take_u32(&cursor);
    for (uint32_t i = 0; unit && !cursor.bad && i < versions; i++) {
        struct hf_version version;
        struct hf_bytes bytes = take(&cursor, take_u32(&cursor));
        cursor.bad = cursor.bad ||
                     proto_version_decode(bytes.data, bytes.size, &version, NULL) != HF_OK ||
                     unit_add_version(unit, &version) != HF_OK;
    }
    uint32_t chunks = take_u32(&cursor);
    for (uint32_t i = 0; unit && !cursor.bad && i < chunks; i++) {
        struct hf_bytes id = take(&cursor, HF_HASH_BYTES);
        uint32_t codec = take_u32(&cursor);
        uint32_t plain_size = take_u32(&cursor);
        struct hf_bytes bytes = take(&cursor, take_u32(&cursor));
        struct hf_bytes copy = unit_copy(unit, bytes);
        cursor.bad = cursor.bad || copy.size != bytes.size || plain_size > HF_CHUNK_MAX_BYTES ||
                     codec > HF_CODEC_ZSTD || (codec == HF_CODEC_RAW && plain_size != bytes.size) ||
                     unit_add_chunk(unit, id.data, (enum hf_codec)codec, plain_size, copy) != HF_OK;
    }
    if (unit && (cursor.bad || cursor.size > 0)) {
        unit_free(unit);
        unit = NULL;
    }
    return unit;
}
