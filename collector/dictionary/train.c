#include "collector/dictionary/train.h"

#include <stdlib.h>

#include "collector/dictionary/shared.h"
#include "common/compress.h"

/* Less of a content teaches nothing. */
#define LESSON_MIN_BYTES 64u
/* Fewer are no fair try. */
#define HELD_OUT_MIN 8u

struct lessons {
    struct hf_buf bytes;
    size_t *sizes;
    unsigned count;
};

static bool is_held_out(const struct hf_sample *sample)
{
    return sample->id[0] % 5 == 0; /* by chance, and always the same */
}

/* A quarter of those that there are samples of: who has got hold of some hosts could else find out,
 * guess by guess, what one other host has. */
static unsigned hosts_needed(const struct hf_samples *samples)
{
    unsigned hosts = 0;
    for (size_t i = 0; i < samples->count && hosts < 4 * HF_SHARED_HOSTS_MAX; i++) {
        hosts += i == 0 || samples->rows[i].host != samples->rows[i - 1].host;
    }
    return hosts / 4 > HF_SHARED_HOSTS ? hosts / 4 : HF_SHARED_HOSTS;
}

static struct hf_shared *find_shared(const struct hf_samples *samples)
{
    struct hf_shared *shared = shared_new(samples->bytes.size, hosts_needed(samples));
    for (size_t i = 0; shared && i < samples->count; i++) {
        shared_add(shared, samples->rows[i].host, samples_content(samples, i));
    }
    return shared;
}

/* What is shared of each sample that is not held out. */
static int make_lessons(const struct hf_samples *samples, struct lessons *lessons)
{
    struct hf_shared *shared = find_shared(samples);
    lessons->sizes = calloc(samples->count + 1, sizeof *lessons->sizes);
    int rc = shared && lessons->sizes ? HF_OK : HF_ERR_NO_MEMORY;
    for (size_t i = 0; rc == HF_OK && i < samples->count; i++) {
        size_t start = lessons->bytes.size;
        if (samples->rows[i].repeated || is_held_out(&samples->rows[i])) {
            continue;
        }
        rc = shared_extract(shared, samples_content(samples, i), &lessons->bytes);
        if (lessons->bytes.size - start < LESSON_MIN_BYTES) {
            lessons->bytes.size = start;
        } else {
            lessons->sizes[lessons->count++] = lessons->bytes.size - start;
        }
    }
    shared_free(shared);
    return rc;
}

/* What a content takes, as agents and collector write it. */
static int size_of(struct hf_compressor *compressor, const struct hf_dictionary *dictionary,
                   struct hf_bytes content, struct hf_buf *scratch, uint64_t *total)
{
    enum hf_codec codec;
    hf_buf_clear(scratch);
    int rc = hf_compress(compressor, content.data, content.size, scratch, &codec);
    size_t plain = scratch->size;
    if (rc == HF_OK && dictionary && plain > HF_HASH_BYTES) {
        hf_buf_clear(scratch);
        rc = hf_compress_dictionary(compressor, dictionary, content.data, content.size,
                                    plain - HF_HASH_BYTES, scratch);
        *total += rc == HF_OK ? scratch->size + HF_HASH_BYTES : plain;
        return rc == HF_ERR_LIMIT ? HF_OK : rc;
    }
    *total += plain;
    return rc;
}

/* bytes: of a dictionary, or empty. *tried: on how many contents. */
static int try_out(const struct hf_samples *samples, struct hf_bytes bytes, uint64_t *total,
                   size_t *tried)
{
    struct hf_buf scratch = {0};
    struct hf_compressor *compressor = hf_compressor_new(HF_DICTIONARY_LEVEL);
    struct hf_dictionary *dictionary =
        bytes.size > 0 ? hf_dictionary_new(bytes, HF_DICTIONARY_LEVEL) : NULL;
    int rc = compressor && (bytes.size == 0 || dictionary) ? HF_OK : HF_ERR_NO_MEMORY;
    *total = 0;
    *tried = 0;
    for (size_t i = 0; rc == HF_OK && i < samples->count; i++) {
        if (!samples->rows[i].repeated && is_held_out(&samples->rows[i])) {
            rc = size_of(compressor, dictionary, samples_content(samples, i), &scratch, total);
            ++*tried;
        }
    }
    hf_dictionary_free(dictionary);
    hf_compressor_free(compressor);
    hf_buf_free(&scratch);
    return rc;
}

int train_dictionary(const struct hf_samples *samples, struct hf_bytes present, struct hf_buf *out,
                     struct hf_training *training, struct hf_error *error)
{
    struct lessons lessons = {0};
    struct hf_buf trained = {0};
    size_t tried = 0;
    *training = (struct hf_training){0};
    int rc = make_lessons(samples, &lessons);
    training->samples = lessons.count;
    rc = rc == HF_OK ? try_out(samples, present, &training->present_bytes, &tried) : rc;
    if (rc == HF_OK && tried >= HELD_OUT_MIN) {
        rc = hf_dictionary_train((struct hf_bytes){lessons.bytes.data, lessons.bytes.size},
                                 lessons.sizes, lessons.count, &trained);
    }
    if (rc == HF_OK && trained.size > 0) {
        rc = try_out(samples, (struct hf_bytes){trained.data, trained.size},
                     &training->trained_bytes, &tried);
    }
    bool pays =
        training->trained_bytes > 0 &&
        training->trained_bytes * 100 <= training->present_bytes * (100 - HF_TRAIN_GAIN_PERCENT);
    rc = rc == HF_OK && pays ? hf_buf_append(out, trained.data, trained.size) : rc;
    hf_buf_free(&trained);
    hf_buf_free(&lessons.bytes);
    free(lessons.sizes);
    if (rc == HF_ERR_LIMIT) {
        return HF_OK; /* there is too little in common */
    }
    return rc == HF_OK ? rc : hf_error_set(error, rc, 0, "No memory to train a dictionary");
}
