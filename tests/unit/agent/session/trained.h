/* A dictionary, trained on small files of one kind. */
#ifndef HF_TESTS_AGENT_SESSION_TRAINED_H
#define HF_TESTS_AGENT_SESSION_TRAINED_H

#include <cmocka.h>
#include <stdio.h>

#include "common/dictionary.h"
#include "common/hash.h"

#define TRAINED_ON 600u

struct trained {
    struct hf_buf bytes;
    uint8_t id[HF_HASH_BYTES];
};

/* One of these files; returns its size. */
static inline size_t trained_sample(char *out, size_t size, unsigned seed)
{
    return (size_t)snprintf(
        out, size,
        "{\"workflow\": \"nightly-import\", \"step\": %u, \"state\": \"waiting\",\n"
        " \"retries\": {\"allowed\": 5, \"left\": %u}, \"owner\": \"robot-%02u\",\n"
        " \"checkpoint\": \"/var/lib/casare/checkpoints/%08x.json\"}\n",
        seed, seed % 5, seed % 40, seed * 2654435761u);
}

static inline void trained_new(struct trained *trained)
{
    static size_t sizes[TRAINED_ON];
    struct hf_buf samples = {0};
    char text[512];
    *trained = (struct trained){0};
    for (unsigned i = 0; i < TRAINED_ON; i++) {
        sizes[i] = trained_sample(text, sizeof(text), i * 7);
        assert_int_equal(hf_buf_append(&samples, text, sizes[i]), 0);
    }
    assert_int_equal(hf_dictionary_train((struct hf_bytes){samples.data, samples.size}, sizes,
                                         TRAINED_ON, &trained->bytes),
                     0);
    hf_sha256(trained->bytes.data, trained->bytes.size, trained->id);
    hf_buf_free(&samples);
}

#endif
