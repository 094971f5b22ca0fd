#include <stdlib.h>
#include <string.h>

#include "common/join_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_join_token token;
    struct hf_error error;
    char *text = strndup((const char *)data, size);
    if (text) {
        join_token_parse(text, &token, &error);
    }
    free(text);
    return 0;
}
