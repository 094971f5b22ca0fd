/* Whether a text is JSON does not depend on the pieces in which it comes. */
#include <stdlib.h>

#include "agent/capture/json_check.h"

static bool check(const uint8_t *data, size_t size, size_t piece)
{
    struct hf_json_check *json = json_check_new();
    if (!json)
        abort();
    for (size_t at = 0; at < size; at += piece)
        json_check_feed(json, data + at, size - at < piece ? size - at : piece);
    bool good = json_check_end(json);
    json_check_free(json);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t piece = 1 + data[0] % 7;
    if (check(data + 1, size - 1, size) != check(data + 1, size - 1, piece))
        abort();
    return 0;
}
