/* Trained dictionaries: zstd's. */
#include "common/dictionary.h"

#include <stdlib.h>

#include <zdict.h>

#include "common/dictionary_private.h"

/* zstd's manual recommends a hundred times as much to learn from; a tenth of that still pays. */
#define SAMPLES_PER_BYTE 10u
#define DICTIONARY_MIN   1024u

struct hf_dictionary {
    ZSTD_CDict *prepared;
};

bool hf_dictionary_is_one(struct hf_bytes bytes)
{
    return bytes.size > 0 && bytes.size <= HF_DICTIONARY_MAX_BYTES &&
           ZSTD_getDictID_fromDict(bytes.data, bytes.size) != 0;
}

struct hf_dictionary *hf_dictionary_new(struct hf_bytes bytes, int level)
{
    if (!hf_dictionary_is_one(bytes)) {
        return NULL;
    }
    struct hf_dictionary *dictionary = calloc(1, sizeof *dictionary);
    if (!dictionary) {
        return NULL;
    }
    dictionary->prepared = ZSTD_createCDict(bytes.data, bytes.size, level);
    if (!dictionary->prepared) {
        free(dictionary);
        return NULL;
    }
    return dictionary;
}

void hf_dictionary_free(struct hf_dictionary *dictionary)
{
    if (dictionary) {
        ZSTD_freeCDict(dictionary->prepared);
        free(dictionary);
    }
}

const ZSTD_CDict *dictionary_of(const struct hf_dictionary *dictionary)
{
    return dictionary->prepared;
}

int hf_dictionary_train(struct hf_bytes samples, const size_t *sizes, unsigned count,
                        struct hf_buf *out)
{
    size_t capacity = samples.size / SAMPLES_PER_BYTE;
    uint8_t *bytes = NULL;
    size_t start = out->size;
    capacity = capacity < HF_DICTIONARY_MAX_BYTES ? capacity : HF_DICTIONARY_MAX_BYTES;
    if (capacity < DICTIONARY_MIN) {
        return HF_ERR_LIMIT;
    }
    int rc = hf_buf_extend(out, capacity, &bytes);
    if (rc != HF_OK) {
        return rc;
    }
    size_t got = ZDICT_trainFromBuffer(bytes, capacity, samples.data, sizes, count);
    out->size = start + (ZDICT_isError(got) ? 0 : got);
    return ZDICT_isError(got) ? HF_ERR_LIMIT : HF_OK;
}
