/* What long content is cut by. It comes from the collector, whose secret it is, with every
 * connection, and is kept in <state>/chunking for the time without one. Until it came once, long
 * content waits: cut by anything else it would be stored twice. */
#include <stdio.h>
#include <string.h>

#include "agent/capture/capture_private.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/log.h"

static void path_in_state(const struct hf_capture *capture, char out[4200])
{
    snprintf(out, 4200, "%s/chunking", capture->config->state);
}

/* Whether it is another one. */
static bool use(struct hf_capture *capture, const uint8_t seed[HF_CHUNK_SEED_BYTES])
{
    pthread_mutex_lock(&capture->chunking_lock);
    bool same = capture->chunker && memcmp(capture->chunking, seed, sizeof capture->chunking) == 0;
    struct hf_chunker *chunker = same ? NULL : hf_chunker_new(seed);
    if (chunker) {
        hf_chunker_free(capture->chunker); /* whose file is being read has a share of its own */
        capture->chunker = chunker;
        memcpy(capture->chunking, seed, sizeof capture->chunking);
    }
    pthread_mutex_unlock(&capture->chunking_lock);
    return chunker != NULL;
}

void chunking_load(struct hf_capture *capture)
{
    char path[4200];
    struct hf_buf seed = {0};
    struct hf_error error = {0};
    path_in_state(capture, path);
    int rc = hf_read_file(path, HF_CHUNK_SEED_BYTES, &seed, &error);
    if (rc == HF_OK && seed.size == HF_CHUNK_SEED_BYTES) {
        use(capture, seed.data);
    } else if (rc != HF_ERR_NOT_FOUND) {
        hf_log_warning("%s does not hold what long content is cut by; such content waits for the "
                       "collector, which gives it anew",
                       path);
    }
    hf_buf_wipe_free(&seed);
}

void capture_set_chunking(struct hf_capture *capture, const uint8_t seed[HF_CHUNK_SEED_BYTES])
{
    char path[4200];
    struct hf_error error = {0};
    bool had_one = capture_chunker(capture, NULL);
    if (!use(capture, seed)) {
        return;
    }
    if (had_one) {
        hf_log_info("This collector has content cut otherwise than the one before: what changes "
                    "is stored whole once");
    }
    path_in_state(capture, path);
    if (hf_write_file_atomic(path, seed, HF_CHUNK_SEED_BYTES, 0600, &error) != HF_OK) {
        hf_log_warning("What long content is cut by can't be kept, so after a restart such content "
                       "waits for the collector: %s",
                       error.message);
    }
}

bool capture_chunker(struct hf_capture *capture, struct hf_chunker **out)
{
    pthread_mutex_lock(&capture->chunking_lock);
    bool known = capture->chunker != NULL;
    if (known && out) {
        *out = hf_chunker_share(capture->chunker);
    }
    pthread_mutex_unlock(&capture->chunking_lock);
    return known;
}

void chunking_free(struct hf_capture *capture)
{
    hf_chunker_free(capture->chunker);
    capture->chunker = NULL;
    hf_wipe(capture->chunking, sizeof capture->chunking);
}
