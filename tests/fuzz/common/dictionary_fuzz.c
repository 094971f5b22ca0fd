/* Dictionaries as they come off the wire: whatever passes for one can be used, and what was
 * compressed with it comes back. Seeds: corpus/dictionary. */
#include <stdlib.h>
#include <string.h>

#include "common/compress.h"
#include "common/dictionary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] =
    "{\"workflow\": \"import\", \"step\": 12, \"state\": \"waiting for input\"}\n"
    "{\"workflow\": \"export\", \"step\": 13, \"state\": \"waiting for input\"}\n";

static void expect(int holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_bytes bytes = {data, size};
    char plain[sizeof text];
    struct hf_buf out = {0};
    struct hf_dictionary *dictionary = hf_dictionary_new(bytes, HF_DICTIONARY_LEVEL);
    struct hf_compressor *compressor = hf_compressor_new(1);
    struct hf_decompressor *decompressor = hf_decompressor_new();
    expect(compressor && decompressor);
    if (dictionary && hf_compress_dictionary(compressor, dictionary, (const uint8_t *)text,
                                             sizeof text, sizeof text, &out) == HF_OK) {
        expect(hf_decompress(decompressor, HF_CODEC_DICTIONARY, bytes, out.data, out.size,
                             (uint8_t *)plain, sizeof plain) == HF_OK);
        expect(memcmp(plain, text, sizeof text) == 0);
    }
    /* And what was not made with it. */
    (void)hf_decompress(decompressor, HF_CODEC_DICTIONARY, bytes, data, size, (uint8_t *)plain,
                        sizeof plain);
    hf_buf_free(&out);
    hf_decompressor_free(decompressor);
    hf_compressor_free(compressor);
    hf_dictionary_free(dictionary);
    return 0;
}
