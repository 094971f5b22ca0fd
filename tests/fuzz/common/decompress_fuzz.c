#include "common/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[65536];
    static struct hf_decompressor *decompressor;
    if (!decompressor) {
        decompressor = hf_decompressor_new();
    }
    if (size >= 3) {
        size_t plain_size = (size_t)data[0] << 8 | data[1];
        hf_decompress(decompressor, (enum hf_codec)(data[2] % 3), data + 3, size - 3, out,
                      plain_size);
    }
    return 0;
}
