/* What decodes, encodes again, and that decodes. */
#include <stdlib.h>

#include "agent/capture/unit_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hf_compressor *compressor;
    compressor = compressor ? compressor : hf_compressor_new(1);
    struct hf_unit *unit = unit_decode(0, data, size);
    struct hf_buf body = {0};
    if (unit && unit_encode(unit, compressor, &body) == HF_OK) {
        struct hf_unit *again = unit_decode(0, body.data, body.size);
        if (!again || again->version_count != unit->version_count ||
            again->chunk_count != unit->chunk_count) {
            abort();
        }
        unit_free(again);
    }
    hf_buf_free(&body);
    unit_free(unit);
    return 0;
}
