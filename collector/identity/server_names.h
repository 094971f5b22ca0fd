/* Names of the collector on a command line: "backup.example.com,192.0.2.7". Private to identity/.
 */
#ifndef HF_COLLECTOR_IDENTITY_SERVER_NAMES_H
#define HF_COLLECTOR_IDENTITY_SERVER_NAMES_H

#include <stddef.h>

#include "common/error.h"

#define SERVER_NAMES_MAX 16

struct server_names {
    const char *names[SERVER_NAMES_MAX]; /* DNS names and IP addresses, at least one */
    size_t count;
    char *memory;
};

/* HF_ERR_INVALID, HF_ERR_LIMIT: said in words for the command line. server_names_free in any case.
 */
int server_names_parse(const char *text, struct server_names *out, struct hf_error *error);
void server_names_free(struct server_names *names);

#endif
