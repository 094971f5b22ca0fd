#include "proto/frame.h"
#include "proto/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_version version;
    struct hf_error error;
    struct hf_buf out = {0};
    if (proto_version_decode(data, size, &version, &error) == HF_OK) {
        proto_version_encode(&version, &out);
    }
    hf_buf_free(&out);
    return 0;
}
