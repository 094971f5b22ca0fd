/* What a host sends to be certified, and what a collector answers: bytes of strangers. The first
 * byte chooses whom they are for. */
#include <stdlib.h>
#include <string.h>

#include "common/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_error error = {0};
    struct hf_buf out = {0};
    struct hf_pki_info info;
    size_t count = 0;
    if (size == 0) {
        return 0;
    }
    char *text = strndup((const char *)data + 1, size - 1);
    if (data[0] & 1) {
        hf_pki_request_check(data + 1, size - 1, &out, &error);
    } else if (text) {
        hf_pki_info(text, &info, &error);
        hf_pki_single(text, &out, &error);
        hf_pki_names(text, &out, &count, &error);
    }
    free(text);
    hf_buf_free(&out);
    return 0;
}
