/* Chunks as they come off the wire: the codec, the plain size in four bytes, and the chunk's bytes.
 * Decompression writes into a block of exactly that size; what it accepts must survive being
 * compressed and decompressed again. Seeds: corpus/decompress. */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/chunker.h"
#include "common/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER_BYTES 5u

static void expect(int holds)
{
    if (!holds) {
        abort();
    }
}

/* Contexts live as long as the process, as those of a worker do: what one input leaves behind in
 * them must not change the next. */
static struct hf_compressor *compressor;
static struct hf_decompressor *decompressor;

static void repeat(const uint8_t *plain, size_t plain_size)
{
    struct hf_buf stored = {0};
    enum hf_codec codec;
    uint8_t *again = malloc(plain_size + 1);
    expect(again != NULL);
    expect(hf_compress(compressor, plain, plain_size, &stored, &codec) == HF_OK);
    expect(stored.size <= plain_size);
    expect(hf_decompress(decompressor, codec, (struct hf_bytes){0}, stored.data, stored.size, again,
                         plain_size) == HF_OK);
    expect(memcmp(plain, again, plain_size) == 0);
    free(again);
    hf_buf_free(&stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEADER_BYTES) {
        return 0;
    }
    if (!compressor) {
        compressor = hf_compressor_new(1);
        decompressor = hf_decompressor_new();
        expect(compressor && decompressor);
    }
    size_t plain_size = hf_get_le32(data + 1);
    if (plain_size > HF_CHUNK_MAX_BYTES) {
        return 0; /* the callers' check */
    }
    uint8_t *plain = malloc(plain_size ? plain_size : 1);
    expect(plain != NULL);
    int rc = hf_decompress(decompressor, (enum hf_codec)data[0], (struct hf_bytes){0},
                           data + HEADER_BYTES, size - HEADER_BYTES, plain, plain_size);
    expect(rc == HF_OK || rc == HF_ERR_CORRUPT);
    if (rc == HF_OK) {
        repeat(plain, plain_size);
    }
    free(plain);
    return 0;
}
