#include "common/chunker.h"

#include <pthread.h>

const struct hf_chunker_params hf_chunker_default = {
    .min_bytes = (size_t)32 * 1024,
    .average_bytes = (size_t)128 * 1024,
    .max_bytes = HF_CHUNK_MAX_BYTES,
};

#define GEAR_SEED UINT64_C(0x486f6c6466617374) /* "Holdfast" */

static uint64_t gear[256];
static pthread_once_t gear_once = PTHREAD_ONCE_INIT;

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014). */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void fill_gear(void)
{
    uint64_t state = GEAR_SEED;
    for (size_t i = 0; i < 256; i++) {
        gear[i] = splitmix64(&state);
    }
}

/* The upper `bits` bits: with a gear hash they depend on the most bytes before. */
static uint64_t mask_of(unsigned bits)
{
    return ~UINT64_C(0) << (64 - bits);
}

size_t hf_chunker_cut(const struct hf_chunker_params *params, const uint8_t *data, size_t size,
                      int last)
{
    pthread_once(&gear_once, fill_gear);
    if (size <= params->min_bytes) {
        return size;
    }
    (void)last; /* the caller's promise: without it size >= max_bytes, so the end is never a cut */
    size_t end = size < params->max_bytes ? size : params->max_bytes;
    size_t normal = end < params->average_bytes ? end : params->average_bytes;
    unsigned bits = (unsigned)__builtin_ctzll(params->average_bytes);
    /* Normalised chunking, level 2: harder before the average, easier after it. */
    uint64_t hard = mask_of(bits + 2);
    uint64_t easy = mask_of(bits - 2);
    uint64_t hash = 0;
    size_t i = params->min_bytes;
    for (; i < normal; i++) {
        hash = (hash << 1) + gear[data[i]];
        if ((hash & hard) == 0) {
            return i + 1;
        }
    }
    for (; i < end; i++) {
        hash = (hash << 1) + gear[data[i]];
        if ((hash & easy) == 0) {
            return i + 1;
        }
    }
    return end;
}
