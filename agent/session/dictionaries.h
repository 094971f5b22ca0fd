/* What the collector trained for small content, as long as this session uses it. One is fetched
 * only when there is small content to send. One thread. */
#ifndef HF_AGENT_SESSION_DICTIONARIES_H
#define HF_AGENT_SESSION_DICTIONARIES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/dictionary.h"
#include "common/error.h"
#include "common/hash.h"

/* There is one a class; what a collector names beyond that many is left alone. */
#define HF_DICTIONARIES_MAX 16u

struct hf_known_dictionary {
    uint8_t id[HF_HASH_BYTES];
    struct hf_dictionary *dictionary; /* NULL: it was asked for and is not here */
};

/* Zero-initialised it is empty and valid. */
struct hf_dictionaries {
    struct hf_known_dictionary known[HF_DICTIONARIES_MAX];
    size_t count;
};

/* The dictionary of that id; NULL when it is not here. *ask: whether to ask for it now, which is
 * said once. Until the next dictionaries_clear. */
const struct hf_known_dictionary *dictionaries_find(struct hf_dictionaries *dictionaries,
                                                    const uint8_t id[HF_HASH_BYTES], bool *ask);
/* It came. HF_ERR_INVALID when it was not asked for or is here already, HF_ERR_CORRUPT when the
 * bytes are not what the id says or no dictionary, HF_ERR_NO_MEMORY. */
int dictionaries_take(struct hf_dictionaries *dictionaries, struct hf_bytes id,
                      struct hf_bytes bytes, struct hf_error *error);
/* Forget all. */
void dictionaries_clear(struct hf_dictionaries *dictionaries);

#endif
