#include "collector/store/pack_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pack_header header;
    struct record_header record;
    struct hf_error error;
    if (size >= PACK_HEADER_BYTES) {
        pack_header_decode(data, &header, &error);
    }
    if (size >= RECORD_HEADER_BYTES) {
        record_header_decode(data, &record);
    }
    return 0;
}
