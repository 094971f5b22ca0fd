/* Trained dictionaries: what small contents of one kind have in common, in zstd's format. */
#ifndef HF_COMMON_DICTIONARY_H
#define HF_COMMON_DICTIONARY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"

#define HF_DICTIONARY_MAX_BYTES (64u * 1024u)
/* Of the content that one is used for: longer content finds in itself what it could offer. */
#define HF_DICTIONARY_CONTENT_MAX_BYTES (32u * 1024u)
/* The level of zstd that it is used with: what is so small costs little at any. */
#define HF_DICTIONARY_LEVEL 6

/* One made ready to compress with. Any number of threads may use one. */
struct hf_dictionary;

/* Whether these are the bytes of a trained dictionary, by their size and beginning. */
bool hf_dictionary_is_one(struct hf_bytes bytes);
/* level is zstd's. NULL when out of memory, or when the bytes are no trained dictionary's. */
struct hf_dictionary *hf_dictionary_new(struct hf_bytes bytes, int level);
void hf_dictionary_free(struct hf_dictionary *dictionary);

/* Train one from count samples that lie one after the other in samples, and append its bytes to
 * out: at most HF_DICTIONARY_MAX_BYTES and a tenth of the samples'. HF_ERR_LIMIT when the samples
 * are too few or too little alike to learn from, HF_ERR_NO_MEMORY; out is as it was then. */
int hf_dictionary_train(struct hf_bytes samples, const size_t *sizes, unsigned count,
                        struct hf_buf *out);

#endif
