#include "common/rate_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/hash.h"

#define SLOTS 4096

struct bucket {
    uint8_t key[HF_HASH_BYTES]; /* hash of the key */
    int64_t full_at_ns;         /* when it will be full again; before that, tries are missing */
};

struct hf_rate_limit {
    pthread_mutex_t lock; /* protects buckets */
    int64_t try_ns;       /* what one try costs in refilling time */
    int64_t burst_ns;     /* what a full bucket is worth */
    struct bucket buckets[SLOTS];
};

struct hf_rate_limit *hf_rate_limit_new(unsigned burst, unsigned per_minute)
{
    struct hf_rate_limit *limit = calloc(1, sizeof *limit);
    if (limit) {
        pthread_mutex_init(&limit->lock, NULL);
        limit->try_ns = 60 * HF_NS_PER_SECOND / per_minute;
        limit->burst_ns = limit->try_ns * burst;
    }
    return limit;
}

void hf_rate_limit_free(struct hf_rate_limit *limit)
{
    if (limit) {
        pthread_mutex_destroy(&limit->lock);
        free(limit);
    }
}

static uint32_t check(struct hf_rate_limit *limit, const char *key, int64_t cost_ns)
{
    uint8_t hash[HF_HASH_BYTES];
    int64_t now = hf_clock_monotonic_ns();
    hf_sha256(key, strlen(key), hash);
    pthread_mutex_lock(&limit->lock);
    struct bucket *bucket = &limit->buckets[hf_get_le32(hash) % SLOTS];
    if (memcmp(bucket->key, hash, sizeof hash) != 0) {
        memcpy(bucket->key, hash, sizeof hash);
        bucket->full_at_ns = now;
    }
    if (bucket->full_at_ns < now) {
        bucket->full_at_ns = now;
    }
    int64_t missing_ns = bucket->full_at_ns + limit->try_ns - (now + limit->burst_ns);
    if (missing_ns <= 0) {
        bucket->full_at_ns += cost_ns;
    }
    pthread_mutex_unlock(&limit->lock);
    return missing_ns <= 0 ? 0 : (uint32_t)(missing_ns / HF_NS_PER_SECOND) + 1;
}

uint32_t hf_rate_limit_wait(struct hf_rate_limit *limit, const char *key)
{
    return check(limit, key, 0);
}

uint32_t hf_rate_limit_take(struct hf_rate_limit *limit, const char *key)
{
    return check(limit, key, limit->try_ns);
}
