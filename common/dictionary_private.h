/* What compress.c needs of dictionary.c. */
#ifndef HF_COMMON_DICTIONARY_PRIVATE_H
#define HF_COMMON_DICTIONARY_PRIVATE_H

#include <zstd.h>

#include "common/dictionary.h"

const ZSTD_CDict *dictionary_of(const struct hf_dictionary *dictionary);

#endif
