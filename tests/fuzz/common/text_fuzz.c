/* What people and configuration files write: ini, moments, durations, sizes, globs, tokens. The
 * first byte chooses. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/glob.h"
#include "common/ini.h"
#include "common/join_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    char *text = strndup((const char *)data + 1, size - 1);
    struct hf_ini *ini = NULL;
    struct hf_join_token token;
    struct hf_error error;
    int64_t ns = 0;
    uint64_t bytes = 0;
    if (!text) {
        return 0;
    }
    switch (data[0] % 5) {
    case 0:
        if (hf_ini_parse("fuzz", text, &ini, &error) == HF_OK) {
            hf_ini_free(ini);
        }
        break;
    case 1:
        hf_moment_parse(text, INT64_C(1764000000000000000), &ns, &error);
        break;
    case 2:
        hf_duration_parse(text, &ns, &error);
        hf_size_parse(text, &bytes, &error);
        break;
    case 3:
        if (strchr(text, '\n')) {
            char *path = strchr(text, '\n');
            *path = '\0';
            hf_glob_match(text, path + 1);
            hf_glob_may_match_beneath(text, path + 1);
        }
        break;
    default:
        join_token_parse(text, &token, &error);
        break;
    }
    free(text);
    return 0;
}
