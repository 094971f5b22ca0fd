#include "collector/store/pack_format.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"

void pack_header_encode(const struct pack_header *header, uint8_t out[PACK_HEADER_BYTES])
{
    memcpy(out, PACK_MAGIC, 8); /* no text: NOLINT(bugprone-not-null-terminated-result) */
    hf_put_le32(out + 8, PACK_VERSION);
    hf_put_le32(out + 12, 0);
    hf_put_le64(out + 16, header->number);
    memcpy(out + 24, header->repository, PACK_ID_BYTES);
    memcpy(out + 40, header->salt, PACK_SALT_BYTES);
}

int pack_header_decode(const uint8_t data[PACK_HEADER_BYTES], struct pack_header *out,
                       struct hf_error *error)
{
    uint32_t version = hf_get_le32(data + 8);
    if (memcmp(data, PACK_MAGIC, 8) != 0) {
        return hf_error_set(error, HF_ERR_CORRUPT, 0, "it does not begin like a pack");
    }
    if (version != PACK_VERSION) {
        return hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                            "it has format version %u; this collector knows %u", version,
                            PACK_VERSION);
    }
    out->number = hf_get_le64(data + 16);
    memcpy(out->repository, data + 24, PACK_ID_BYTES);
    memcpy(out->salt, data + 40, PACK_SALT_BYTES);
    return HF_OK;
}

void record_header_encode(const struct record_header *header, uint8_t out[RECORD_HEADER_BYTES])
{
    hf_put_le32(out, header->size);
    out[4] = (uint8_t)header->type;
    out[5] = (uint8_t)header->codec;
    out[6] = header->depth;
    out[7] = 0;
    hf_put_le32(out + 8, header->plain_size);
    hf_put_le32(out + 12, header->group);
}

static bool content_is_possible(const struct record_header *header)
{
    switch (header->type) {
    case RECORD_BLOCK:
        return header->plain_size > 0 && header->plain_size <= HF_BLOCK_MAX_BYTES &&
               header->depth <= HF_STORE_DEPTH_MAX &&
               (header->depth > 0) == (header->codec == HF_CODEC_DELTA) &&
               header->size >= BLOCK_PREFIX_BYTES + HF_CHUNK_REF_BYTES + HF_AEAD_TAG_BYTES;
    case RECORD_JOURNAL:
        return header->plain_size > 0 && header->plain_size <= JOURNAL_RECORD_MAX &&
               header->depth == 0 && !hf_codec_has_aid(header->codec);
    default:
        return header->plain_size == 0 && header->depth == 0 && header->codec == HF_CODEC_RAW &&
               header->group == 0;
    }
}

int record_header_decode(const uint8_t data[RECORD_HEADER_BYTES], struct record_header *out)
{
    out->size = hf_get_le32(data);
    out->type = (enum record_type)data[4];
    out->codec = (enum hf_codec)data[5];
    out->depth = data[6];
    out->plain_size = hf_get_le32(data + 8);
    out->group = hf_get_le32(data + 12);
    bool good = out->type >= RECORD_BLOCK && out->type <= RECORD_INDEX &&
                hf_codec_is_known(data[5]) && data[7] == 0 && out->size >= HF_AEAD_TAG_BYTES &&
                out->size <= RECORD_PAYLOAD_MAX + HF_AEAD_TAG_BYTES && content_is_possible(out);
    return good ? HF_OK : HF_ERR_CORRUPT;
}

int block_prefix_append(struct hf_buf *out, uint64_t owner, const struct hf_block *block)
{
    size_t count = hf_block_chunk_count(block);
    uint8_t *prefix = NULL;
    int rc = hf_buf_extend(out, BLOCK_PREFIX_BYTES, &prefix);
    if (rc == HF_OK) {
        hf_put_le64(prefix, owner);
        prefix[8] = (uint8_t)count;
        prefix[9] = (uint8_t)(count >> 8);
        rc = hf_buf_append(out, block->aid.data, block->aid.size);
    }
    return rc == HF_OK ? hf_buf_append(out, block->chunks.data, block->chunks.size) : rc;
}

int block_decode(const struct record_header *header, const uint8_t *payload, size_t size,
                 struct hf_stored_block *out)
{
    if (size < BLOCK_PREFIX_BYTES) {
        return HF_ERR_CORRUPT;
    }
    size_t aid = hf_codec_has_aid(header->codec) ? HF_HASH_BYTES : 0;
    size_t count = (size_t)payload[8] | (size_t)payload[9] << 8;
    size_t chunks = count * HF_CHUNK_REF_BYTES;
    if (size - BLOCK_PREFIX_BYTES < aid + chunks) {
        return HF_ERR_CORRUPT;
    }
    *out = (struct hf_stored_block){.owner = hf_get_le64(payload), .depth = header->depth};
    const uint8_t *at = payload + BLOCK_PREFIX_BYTES;
    out->block = (struct hf_block){
        .codec = header->codec,
        .aid = {at, aid},
        .chunks = {at + aid, chunks},
        .data = {at + aid + chunks, size - BLOCK_PREFIX_BYTES - aid - chunks},
    };
    return hf_block_plain_size(&out->block) == header->plain_size ? HF_OK : HF_ERR_CORRUPT;
}

int pack_cipher_open(struct pack_cipher *cipher, const uint8_t key[HF_STORE_KEY_BYTES],
                     const uint8_t header[PACK_HEADER_BYTES])
{
    uint8_t subkey[HF_AEAD_KEY_BYTES];
    int rc = hf_hkdf_sha256(key, HF_STORE_KEY_BYTES, header + 40, PACK_SALT_BYTES,
                            "holdfast pack v1", subkey, sizeof subkey);
    if (rc == HF_OK) {
        hf_sha256(header, PACK_HEADER_BYTES, cipher->header_hash);
        cipher->aead = hf_aead_new(subkey);
        rc = cipher->aead ? HF_OK : HF_ERR_NO_MEMORY;
    }
    hf_wipe(subkey, sizeof subkey);
    return rc;
}

void pack_cipher_close(struct pack_cipher *cipher)
{
    hf_aead_free(cipher->aead);
    cipher->aead = NULL;
}

/* An index may come to lie where a record was encrypted that a crash or a full disk undid: it never
 * shares a nonce with one. */
static void nonce_of(uint64_t offset, const uint8_t header[RECORD_HEADER_BYTES],
                     uint8_t nonce[HF_AEAD_NONCE_BYTES])
{
    hf_put_le64(nonce, offset);
    hf_put_le32(nonce + 8, header[4] == RECORD_INDEX ? 1 : 0);
}

int pack_cipher_seal(struct pack_cipher *cipher, uint64_t offset,
                     const uint8_t header[RECORD_HEADER_BYTES], const uint8_t *in, size_t size,
                     uint8_t *out)
{
    uint8_t nonce[HF_AEAD_NONCE_BYTES];
    uint8_t aad[HF_HASH_BYTES + RECORD_HEADER_BYTES];
    nonce_of(offset, header, nonce);
    memcpy(aad, cipher->header_hash, HF_HASH_BYTES);
    memcpy(aad + HF_HASH_BYTES, header, RECORD_HEADER_BYTES);
    return hf_aead_seal(cipher->aead, nonce, aad, sizeof aad, in, size, out);
}

int pack_cipher_unseal(struct pack_cipher *cipher, uint64_t offset,
                       const uint8_t header[RECORD_HEADER_BYTES], const uint8_t *in, size_t size,
                       uint8_t *out)
{
    uint8_t nonce[HF_AEAD_NONCE_BYTES];
    uint8_t aad[HF_HASH_BYTES + RECORD_HEADER_BYTES];
    nonce_of(offset, header, nonce);
    memcpy(aad, cipher->header_hash, HF_HASH_BYTES);
    memcpy(aad + HF_HASH_BYTES, header, RECORD_HEADER_BYTES);
    return hf_aead_open(cipher->aead, nonce, aad, sizeof aad, in, size, out);
}

void pack_name(uint64_t number, char out[PACK_NAME_BYTES])
{
    snprintf(out, PACK_NAME_BYTES, "packs/%016llx.pack", (unsigned long long)number);
}
