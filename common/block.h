/* Blocks: some chunks, compressed together. A block is the unit in which content travels and is
 * stored; a chunk is a stretch of a block's plaintext. Many small files that are compressed
 * together take a fifth less than each alone, and cost less work.
 *
 * A block is compressed by itself, or against something that both sides have, named by its id: the
 * block's aid. */
#ifndef HF_COMMON_BLOCK_H
#define HF_COMMON_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/chunker.h"
#include "common/compress.h"
#include "common/error.h"
#include "common/hash.h"

/* A reference to a chunk: its id, then its length (32 bits, little endian). */
#define HF_CHUNK_REF_BYTES 36
/* Of a block's plaintext. With it a block that does not shrink still fits into a frame. */
#define HF_BLOCK_MAX_BYTES  786432u /* 768 KiB */
#define HF_BLOCK_CHUNKS_MAX 1024u

struct hf_block {
    enum hf_codec codec;
    struct hf_bytes aid; /* HF_HASH_BYTES: what it was compressed against; else empty */
    struct hf_bytes
        chunks; /* references, in the order of their content; 1 to HF_BLOCK_CHUNKS_MAX */
    struct hf_bytes data;
};

size_t hf_block_chunk_count(const struct hf_block *block);
/* The length of chunk i, and its id. */
uint32_t hf_block_chunk_size(const struct hf_block *block, size_t i);
const uint8_t *hf_block_chunk_id(const struct hf_block *block, size_t i);
/* The length of its plaintext; 0 when a rule is broken: each chunk's length in
 * 1..HF_CHUNK_MAX_BYTES, their number and sum within the limits (with HF_CODEC_DICTIONARY at most
 * HF_DICTIONARY_CONTENT_MAX_BYTES), an aid where the codec wants one and nowhere else, raw data as
 * long as it says. */
uint32_t hf_block_plain_size(const struct hf_block *block);

/* Decode into plain (hf_block_plain_size bytes). aid: the content of what block->aid names. The
 * chunks' hashes are not looked at. HF_ERR_CORRUPT when the data is not such a block's. */
int hf_block_decode(const struct hf_block *block, struct hf_decompressor *decompressor,
                    struct hf_bytes aid, uint8_t *plain);
/* Whether plain, the block's plaintext, is what its chunks' ids say. If not, *wrong (may be NULL)
 * is the first whose hash is another. */
bool hf_block_verify(const struct hf_block *block, const uint8_t *plain, size_t *wrong);

/* Makes blocks. Zero-initialised it is empty and valid. */
struct hf_block_builder {
    struct hf_buf plain, chunks, data;
};

/* Room for a chunk of that size? Of an empty one: always. */
bool hf_block_fits(const struct hf_block_builder *builder, size_t size);
/* size is in 1..HF_CHUNK_MAX_BYTES, and fits. HF_ERR_NO_MEMORY. */
int hf_block_add(struct hf_block_builder *builder, const uint8_t id[HF_HASH_BYTES],
                 const uint8_t *data, size_t size);
/* Compress what was added. The block's views are the builder's, until it is cleared. */
int hf_block_finish(struct hf_block_builder *builder, struct hf_compressor *compressor,
                    struct hf_block *out);
/* Where that makes it shorter, the aid counted, compress a finished block with the dictionary of
 * that id instead; data takes the bytes, and id and data are viewed by the block then. */
int hf_block_shorten(const struct hf_block_builder *builder, struct hf_compressor *compressor,
                     const uint8_t id[HF_HASH_BYTES], const struct hf_dictionary *dictionary,
                     struct hf_buf *data, struct hf_block *block);
void hf_block_clear(struct hf_block_builder *builder); /* memory is kept */
void hf_block_builder_free(struct hf_block_builder *builder);

#endif
