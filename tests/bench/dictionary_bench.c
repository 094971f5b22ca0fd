/* What a dictionary saves. Small files come on the standard input, host by host, each as its host
 * (32 bits, little endian), its size (likewise) and its bytes; a dictionary is trained as the
 * collector does, and tried on the fifth of them that it did not see. `dictionaries` feeds it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/dictionary/train.h"
#include "common/bytes.h"
#include "common/dictionary.h"

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "dictionary_bench: %s\n", what);
        exit(1);
    }
}

/* Until the input ends, or there are as many as the collector would take. */
static void read_samples(struct hf_samples *samples)
{
    static uint8_t content[HF_DICTIONARY_CONTENT_MAX_BYTES];
    uint8_t header[8];
    uint8_t id[HF_HASH_BYTES];
    int rc = HF_OK;
    while (rc == HF_OK && fread(header, 1, sizeof header, stdin) == sizeof header) {
        size_t size = hf_get_le32(header + 4);
        must(size <= sizeof content && fread(content, 1, size, stdin) == size,
             "the input is no list of small files");
        hf_sha256(content, size, id);
        rc = samples_add(samples, hf_get_le32(header), id, (struct hf_bytes){content, size});
    }
    must(rc == HF_OK || rc == HF_ERR_LIMIT, "out of memory");
}

int main(void)
{
    struct hf_samples samples = {0};
    struct hf_training training;
    struct hf_buf trained = {0};
    struct hf_error error = {0};
    read_samples(&samples);
    double start = seconds();
    must(train_dictionary(&samples, (struct hf_bytes){0}, &trained, &training, &error) == HF_OK,
         error.message);
    double took = seconds() - start;
    printf("%zu contents, %zu KiB, %zu learned from: ", samples.count, samples.bytes.size / 1024,
           training.samples);
    if (trained.size > 0) {
        printf("a dictionary of %zu bytes; what was held out takes %llu bytes instead of %llu "
               "(%.1f %%); ",
               trained.size, (unsigned long long)training.trained_bytes,
               (unsigned long long)training.present_bytes,
               (double)training.trained_bytes * 100 / (double)training.present_bytes);
    } else {
        printf("no dictionary (%llu bytes instead of %llu); ",
               (unsigned long long)training.trained_bytes,
               (unsigned long long)training.present_bytes);
    }
    printf("%.2f s of one core\n", took);
    hf_buf_free(&trained);
    samples_free(&samples);
    return 0;
}
