/* Globs: the input is a pattern, a NUL, and a path. Nothing crashes, a pattern that is refused
 * matches nothing, and a walk never skips what matches. Seeds: corpus/glob. */
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_error error = {0};
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    if (!nul || size > 4096) {
        return 0;
    }
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    const char *pattern = text;
    char *path = text + (nul - data) + 1;
    bool good = hf_glob_check(pattern, &error) == HF_OK;
    bool matched = hf_glob_match(pattern, path);
    if ((matched && !good) || (!good && error.message[0] == '\0')) {
        abort();
    }
    hf_glob_may_match_beneath(pattern, path);
    if (hf_path_check_relative(path, strlen(path), NULL) == HF_OK) {
        for (char *slash; matched && (slash = strrchr(path, '/'));) {
            *slash = '\0';
            if (!hf_glob_may_match_beneath(pattern, path)) {
                abort();
            }
        }
    }
    free(text);
    return 0;
}
