/* Configuration files: whatever stands in one, reading and asking for typed values neither crashes
 * nor leaks, every entry has its place, and a refusal has its reason. Seeds: corpus/ini. */
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct hf_ini *ini, const char *section)
{
    static const char *const keys[] = {"path", "debounce", "size", "number", "flag"};
    struct hf_error error = {0};
    const char *text;
    int64_t duration;
    uint64_t number;
    bool flag;
    hf_ini_get_string(ini, section, keys[0], "", &text, &error);
    hf_ini_get_duration(ini, section, keys[1], 0, &duration, &error);
    hf_ini_get_size(ini, section, keys[2], 0, &number, &error);
    hf_ini_get_u64(ini, section, keys[3], 5, 1, 9, &number, &error);
    hf_ini_get_bool(ini, section, keys[4], false, &flag, &error);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct hf_ini_entry *entry;
        for (size_t n = 0; (entry = hf_ini_get(ini, section, keys[i], n)); n++) {
            if (entry->line < 1 || !entry->used || strcmp(entry->section, section) != 0 ||
                strcmp(entry->key, keys[i]) != 0) {
                abort();
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const known[] = {"path", "debounce", "size", "number", "flag", NULL};
    struct hf_error error = {0};
    struct hf_ini *ini = NULL;
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (hf_ini_parse("fuzz", text, &ini, &error) != HF_OK) {
        if (error.code == HF_OK || error.message[0] == '\0' || ini) {
            abort();
        }
        free(text);
        return 0;
    }
    free(text);
    const char *section;
    for (size_t i = 0; i < 64 && (section = hf_ini_section(ini, i)); i++) {
        ask(ini, section);
    }
    hf_ini_check_all_used(ini, known, &error);
    hf_ini_free(ini);
    return 0;
}
