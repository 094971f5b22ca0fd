/* The journal's decoder: no input may crash it, leak, or read past its end; and what it accepts can
 * be journalled again with the same meaning. Seeds: corpus/event, written by the unit test
 * collector.catalog.event_test --write-samples DIR. */
#include <stdlib.h>
#include <string.h>

#include "collector/catalog/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct hf_event *event, struct hf_buf *out)
{
    if (event_encode(event, out, NULL) != HF_OK) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_event event;
    struct hf_event again;
    struct hf_error error;
    struct hf_buf first = {0};
    struct hf_buf second = {0};
    if (event_decode(data, size, &event, &error) != HF_OK) {
        return 0;
    }
    encode(&event, &first);
    if (event_decode(first.data, first.size, &again, &error) != HF_OK) {
        abort();
    }
    encode(&again, &second);
    if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0) {
        abort();
    }
    event_free(&again);
    event_free(&event);
    hf_buf_free(&first);
    hf_buf_free(&second);
    return 0;
}
