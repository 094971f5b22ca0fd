/* A small file of a kind of which there are many. */
#ifndef HF_TESTS_COMMON_SMALL_FILE_H
#define HF_TESTS_COMMON_SMALL_FILE_H

#include <stdio.h>

/* Returns its size. */
static inline size_t small_file(char *out, size_t size, unsigned seed)
{
    return (size_t)snprintf(
        out, size,
        "{\"workflow\": \"nightly-import\", \"step\": %u, \"state\": \"waiting\",\n"
        " \"retries\": {\"allowed\": 5, \"left\": %u}, \"owner\": \"robot-%02u\",\n"
        " \"checkpoint\": \"/var/lib/casare/checkpoints/%08x.json\"}\n",
        seed, seed % 5, seed % 40, seed * 2654435761u);
}

#endif
