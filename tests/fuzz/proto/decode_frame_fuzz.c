/* What decodes, encodes again, and that decodes to the same. */
#include <stdlib.h>

#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_frame frame;
    struct hf_frame again;
    struct hf_error error;
    struct hf_buf first = {0};
    struct hf_buf second = {0};
    if (proto_decode(data, size, &frame, &error) != HF_OK) {
        return 0;
    }
    if (proto_encode(&frame, &first) == HF_OK) {
        if (proto_decode(first.data, first.size, &again, &error) != HF_OK ||
            proto_encode(&again, &second) != HF_OK || first.size != second.size ||
            __builtin_memcmp(first.data, second.data, first.size) != 0) {
            abort();
        }
        proto_frame_free(&again);
    }
    proto_frame_free(&frame);
    hf_buf_free(&first);
    hf_buf_free(&second);
    return 0;
}
