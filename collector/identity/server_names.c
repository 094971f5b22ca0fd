#include "collector/identity/server_names.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A DNS name (RFC 1123) or an IP address: it ends up in a certificate and in configuration files.
 */
static bool is_name(const char *name)
{
    unsigned char address[16];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        return true;
    }
    size_t length = strlen(name);
    return length > 0 && length <= 253 && name[0] != '-' && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
               length;
}

int server_names_parse(const char *text, struct server_names *out, struct hf_error *error)
{
    *out = (struct server_names){.memory = strdup(text)};
    if (!out->memory) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for --name");
    }
    for (char *rest = out->memory, *name; (name = strsep(&rest, ","));) {
        if (!is_name(name)) {
            return hf_error_set(error, HF_ERR_INVALID, 0,
                                "'%s' in --name is neither a DNS name nor an IP address; write for "
                                "example --name backup.example.com,192.0.2.7",
                                name);
        }
        if (out->count == SERVER_NAMES_MAX) {
            return hf_error_set(error, HF_ERR_LIMIT, 0, "--name takes at most %d names",
                                SERVER_NAMES_MAX);
        }
        out->names[out->count++] = name;
    }
    return HF_OK;
}

void server_names_free(struct server_names *names)
{
    free(names->memory);
    *names = (struct server_names){0};
}
