/* From samples to a dictionary, if a new one pays. Needs nothing but memory. */
#ifndef HF_COLLECTOR_DICTIONARY_TRAIN_H
#define HF_COLLECTOR_DICTIONARY_TRAIN_H

#include "collector/dictionary/samples.h"

/* A new dictionary has to make small content at least that much smaller: changing costs each host a
 * download, and the catalog a row for good. */
#define HF_TRAIN_GAIN_PERCENT 5u

struct hf_training {
    size_t samples;         /* contents that were learned from */
    uint64_t present_bytes; /* what the contents that were held out take as things are */
    uint64_t trained_bytes; /* and with the new dictionary; 0: there is none */
};

/* Train on four fifths of the samples, of what a quarter of the hosts and at least
 * HF_SHARED_HOSTS have in common alone, and try
 * it on the last fifth. present: the bytes of the dictionary in use; empty: none. out gets the new
 * one's bytes if it pays, and nothing otherwise. HF_ERR_NO_MEMORY. */
int train_dictionary(const struct hf_samples *samples, struct hf_bytes present, struct hf_buf *out,
                     struct hf_training *training, struct hf_error *error);

#endif
