#include <string.h>

#include "agent/config/private.h"

int config_path(const struct hf_ini *ini, const struct hf_ini_entry *entry,
                char path[CONFIG_PATH_BYTES], struct hf_error *error)
{
    size_t length = strlen(entry->value);
    if (entry->value[0] != '/' || length >= CONFIG_PATH_BYTES) {
        return hf_ini_complain(ini, entry, error,
                               "'%s' is not an absolute path; write it from / on, without ~",
                               entry->value);
    }
    memcpy(path, entry->value, length + 1);
    while (length > 1 && path[length - 1] == '/') {
        path[--length] = '\0';
    }
    bool dots_last = (length >= 2 && strcmp(path + length - 2, "/.") == 0) ||
                     (length >= 3 && strcmp(path + length - 3, "/..") == 0);
    if (strstr(path, "/../") || strstr(path, "/./") || strstr(path, "//") || dots_last) {
        return hf_ini_complain(ini, entry, error, "'%s' has '.', '..' or '//' in it", path);
    }
    return HF_OK;
}

int config_directory(struct hf_ini *ini, const char *section, const char *key, const char *fallback,
                     char **out, struct hf_error *error)
{
    char path[CONFIG_PATH_BYTES];
    const struct hf_ini_entry *entry = hf_ini_last(ini, section, key);
    int rc = entry ? config_path(ini, entry, path, error) : HF_OK;
    if (rc == HF_OK && !(*out = strdup(entry ? path : fallback))) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
    }
    return rc;
}
