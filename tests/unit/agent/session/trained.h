/* A dictionary, trained on small files of one kind. */
#ifndef HF_TESTS_AGENT_SESSION_TRAINED_H
#define HF_TESTS_AGENT_SESSION_TRAINED_H

#include <cmocka.h>

#include "common/dictionary.h"
#include "common/hash.h"
#include "tests/unit/common/small_file.h"

#define TRAINED_ON 600u

struct trained {
    struct hf_buf bytes;
    uint8_t id[HF_HASH_BYTES];
};

static inline void trained_new(struct trained *trained)
{
    static size_t sizes[TRAINED_ON];
    struct hf_buf samples = {0};
    char text[512];
    *trained = (struct trained){0};
    for (unsigned i = 0; i < TRAINED_ON; i++) {
        sizes[i] = small_file(text, sizeof(text), i * 7);
        assert_int_equal(hf_buf_append(&samples, text, sizes[i]), 0);
    }
    assert_int_equal(hf_dictionary_train((struct hf_bytes){samples.data, samples.size}, sizes,
                                         TRAINED_ON, &trained->bytes),
                     0);
    hf_sha256(trained->bytes.data, trained->bytes.size, trained->id);
    hf_buf_free(&samples);
}

#endif
