#include "agent/session/dictionaries.h"

#include <string.h>

#include "common/bytes.h"

static struct hf_known_dictionary *find(struct hf_dictionaries *dictionaries, const uint8_t *id)
{
    for (size_t i = 0; i < dictionaries->count; i++)
        if (memcmp(dictionaries->known[i].id, id, HF_HASH_BYTES) == 0)
            return &dictionaries->known[i];
    return NULL;
}

const struct hf_known_dictionary *dictionaries_find(struct hf_dictionaries *dictionaries,
                                                    const uint8_t id[HF_HASH_BYTES], bool *ask)
{
    struct hf_known_dictionary *known = find(dictionaries, id);
    *ask = !known && dictionaries->count < HF_DICTIONARIES_MAX;
    if (*ask) {
        known = &dictionaries->known[dictionaries->count++];
        memcpy(known->id, id, HF_HASH_BYTES);
        known->dictionary = NULL;
    }
    return known && known->dictionary ? known : NULL;
}

int dictionaries_take(struct hf_dictionaries *dictionaries, struct hf_bytes id,
                      struct hf_bytes bytes, struct hf_error *error)
{
    uint8_t hash[HF_HASH_BYTES];
    char text[17];
    struct hf_known_dictionary *known =
        id.size == HF_HASH_BYTES ? find(dictionaries, id.data) : NULL;
    if (!known || known->dictionary)
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "the collector sent a dictionary that was not asked for");
    hf_hex_encode(id.data, 8, text);
    hf_sha256(bytes.data, bytes.size, hash);
    if (memcmp(hash, id.data, HF_HASH_BYTES) != 0 || !hf_dictionary_is_one(bytes))
        return hf_error_set(error, HF_ERR_CORRUPT, 0,
                            "the collector sent other bytes than dictionary %s", text);
    known->dictionary = hf_dictionary_new(bytes, HF_DICTIONARY_LEVEL);
    if (!known->dictionary)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for dictionary %s", text);
    return 0;
}

void dictionaries_clear(struct hf_dictionaries *dictionaries)
{
    for (size_t i = 0; i < dictionaries->count; i++)
        hf_dictionary_free(dictionaries->known[i].dictionary);
    *dictionaries = (struct hf_dictionaries){0};
}
