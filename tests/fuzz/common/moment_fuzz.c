/* Moments, durations and sizes as people type them: nothing crashes or overflows, a refusal has its
 * reason, and what is accepted comes out the same when it is written and read again.
 * Seeds: corpus/moment. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW      (INT64_C(1795343460) * HF_NS_PER_SECOND)
#define YEAR2200 (INT64_C(7258118400) * HF_NS_PER_SECOND)

static void expect(int holds)
{
    if (!holds) {
        abort();
    }
}

static void read_moment(const char *text)
{
    struct hf_error error = {0};
    char written[HF_TIME_TEXT_BYTES];
    int64_t ns;
    int64_t again;
    if (hf_moment_parse(text, NOW, &ns, &error) != HF_OK) {
        expect(error.code == HF_ERR_INVALID && error.message[0] != '\0');
        return;
    }
    hf_time_local(ns, written);
    hf_time_rfc3339(ns, written);
    if (ns >= 0 && ns < YEAR2200) { /* the years that are read */
        expect(hf_moment_parse(written, NOW, &again, NULL) == HF_OK && again == ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_error error = {0};
    char written[HF_TIME_TEXT_BYTES];
    int64_t ns;
    uint64_t bytes;
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    memcpy(text, data, size);
    text[size] = '\0';
    read_moment(text);
    if (hf_duration_parse(text, &ns, &error) == HF_OK) {
        expect(ns >= 0);
        hf_duration_text(ns, written);
    }
    if (hf_size_parse(text, &bytes, &error) == HF_OK) {
        hf_size_text(bytes, written);
    }
    free(text);
    return 0;
}
