/* The scan with the AES instructions of x86-64: eight decisions at a time, or sixteen where one
 * instruction works on two blocks (VAES). AES bounds both; the gear hash of the next bytes runs
 * beside it in other units of the processor. Loops over lanes and rounds are written out, for not
 * every compiler keeps the lanes in registers else. */
#include "common/chunker_private.h"

#ifdef CHUNKER_X86

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define EACH8(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

bool chunker_has_aesni(void)
{
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1");
}

/* Not every compiler knows "vaes" by name. That the system keeps the long registers is part of the
 * answer for AVX2. */
bool chunker_has_vaes(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 0, &a, &b, &c, &d) == 1 &&
           (c & bit_VAES) != 0;
}

#define NEXT_KEY(n, constant)                                                                      \
    do {                                                                                           \
        __m128i mixed = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, constant), 0xff);         \
        key = _mm_xor_si128(key, _mm_slli_si128(key, 4));                                          \
        key = _mm_xor_si128(key, _mm_slli_si128(key, 8));                                          \
        key = _mm_xor_si128(key, mixed);                                                           \
        _mm_store_si128((__m128i *)chunker->round_keys[n], key);                                   \
    } while (0)

/* FIPS 197, 5.2. */
__attribute__((target("aes,sse4.1"))) void chunker_expand_key(struct hf_chunker *chunker)
{
    __m128i key = _mm_loadu_si128((const __m128i *)(const void *)chunker->key);
    _mm_store_si128((__m128i *)chunker->round_keys[0], key);
    NEXT_KEY(1, 0x01);
    NEXT_KEY(2, 0x02);
    NEXT_KEY(3, 0x04);
    NEXT_KEY(4, 0x08);
    NEXT_KEY(5, 0x10);
    NEXT_KEY(6, 0x20);
    NEXT_KEY(7, 0x40);
    NEXT_KEY(8, 0x80);
    NEXT_KEY(9, 0x1b);
    NEXT_KEY(10, 0x36);
}

/* The first of count lanes whose number is below limit, plus one; 0 for none. */
static size_t first_below(const uint32_t *judged, size_t count, uint32_t limit)
{
    for (size_t i = 0; i < count; i++) {
        if (judged[4 * i] < limit) {
            return i + 1;
        }
    }
    return 0;
}

/* --- AES-NI --- */

#define LANES_AESNI 8u

#define ROLL(i)                                                                                    \
    hash = (hash << 1) + gear[bytes[i]];                                                           \
    __m128i s##i = _mm_xor_si128(_mm_cvtsi64_si128((long long)hash), keys[0]);
#define ENCRYPT(i) s##i = _mm_aesenc_si128(s##i, key);
#define LAST(i)    s##i = _mm_aesenclast_si128(s##i, key);
#define LEAST(i)   least = _mm_min_epu32(least, s##i);
#define STORE(i)   _mm_storeu_si128((__m128i *)(void *)(judged + 4 * (i)), s##i);
#define ROUND(n)                                                                                   \
    do {                                                                                           \
        const __m128i key = keys[n];                                                               \
        EACH8(ENCRYPT)                                                                             \
    } while (0)

/* Whether one of eight lanes is below limit; all that was found goes to judged only then. Returns
 * the hash after the last byte. */
__attribute__((target("aes,sse4.1"), always_inline)) static inline uint64_t judge_aesni(
    const uint64_t *gear, const __m128i *keys, const uint8_t *bytes, uint64_t hash, uint32_t limit,
    bool *below, uint32_t judged[4 * LANES_AESNI])
{
    EACH8(ROLL)
    ROUND(1);
    ROUND(2);
    ROUND(3);
    ROUND(4);
    ROUND(5);
    ROUND(6);
    ROUND(7);
    ROUND(8);
    ROUND(9);
    const __m128i key = keys[CHUNKER_ROUNDS];
    EACH8(LAST)
    __m128i least = s0;
    EACH8(LEAST)
    *below = (uint32_t)_mm_cvtsi128_si32(least) < limit;
    if (__builtin_expect(*below, 0)) {
        EACH8(STORE)
    }
    return hash;
}

__attribute__((target("aes,sse4.1"))) size_t chunker_scan_aesni(const struct hf_chunker *chunker,
                                                                const uint8_t *data, size_t begin,
                                                                size_t end, uint32_t limit)
{
    const __m128i *keys = (const __m128i *)(const void *)chunker->round_keys;
    uint64_t hash = chunker_warm(chunker, data, begin);
    uint32_t judged[4 * LANES_AESNI];
    bool below = false;
    size_t at = begin;
    for (; at + LANES_AESNI <= end; at += LANES_AESNI) {
        hash = judge_aesni(chunker->gear, keys, data + at, hash, limit, &below, judged);
        if (__builtin_expect(below, 0)) {
            return at + first_below(judged, LANES_AESNI, limit);
        }
    }
    uint8_t rest[LANES_AESNI] = {0};
    memcpy(rest, data + at, end - at);
    judge_aesni(chunker->gear, keys, rest, hash, limit, &below, judged);
    size_t found = below ? first_below(judged, end - at, limit) : 0;
    return found > 0 ? at + found : 0;
}

#undef ROLL
#undef ENCRYPT
#undef LAST
#undef LEAST
#undef STORE

/* --- VAES: a lane has two positions --- */

#define LANES_VAES 16u

#define ROLL(i)                                                                                    \
    hash = (hash << 1) + gear[bytes[2 * (i)]];                                                     \
    const __m128i even##i = _mm_cvtsi64_si128((long long)hash);                                    \
    hash = (hash << 1) + gear[bytes[2 * (i) + 1]];                                                 \
    const __m128i odd##i = _mm_cvtsi64_si128((long long)hash);                                     \
    __m256i s##i = _mm256_xor_si256(                                                               \
        _mm256_inserti128_si256(_mm256_castsi128_si256(even##i), odd##i, 1), keys[0]);
#define ENCRYPT(i) s##i = _mm256_aesenc_epi128(s##i, key);
#define LAST(i)    s##i = _mm256_aesenclast_epi128(s##i, key);
#define LEAST(i)   least = _mm256_min_epu32(least, s##i);
#define STORE(i)   _mm256_storeu_si256((__m256i *)(void *)(judged + 8 * (i)), s##i);
#undef ROUND
#define ROUND(n)                                                                                   \
    do {                                                                                           \
        const __m256i key = keys[n];                                                               \
        EACH8(ENCRYPT)                                                                             \
    } while (0)

__attribute__((target("avx2,vaes"), always_inline)) static inline uint64_t judge_vaes(
    const uint64_t *gear, const __m256i *keys, const uint8_t *bytes, uint64_t hash, uint32_t limit,
    bool *below, uint32_t judged[4 * LANES_VAES])
{
    EACH8(ROLL)
    ROUND(1);
    ROUND(2);
    ROUND(3);
    ROUND(4);
    ROUND(5);
    ROUND(6);
    ROUND(7);
    ROUND(8);
    ROUND(9);
    const __m256i key = keys[CHUNKER_ROUNDS];
    EACH8(LAST)
    __m256i least = s0;
    EACH8(LEAST)
    *below = (uint32_t)_mm256_extract_epi32(least, 0) < limit ||
             (uint32_t)_mm256_extract_epi32(least, 4) < limit;
    if (__builtin_expect(*below, 0)) {
        EACH8(STORE)
    }
    return hash;
}

__attribute__((target("avx2,vaes"))) size_t chunker_scan_vaes(const struct hf_chunker *chunker,
                                                              const uint8_t *data, size_t begin,
                                                              size_t end, uint32_t limit)
{
    __m256i keys[CHUNKER_ROUNDS + 1];
    for (size_t i = 0; i <= CHUNKER_ROUNDS; i++) {
        keys[i] = _mm256_broadcastsi128_si256(
            _mm_load_si128((const __m128i *)(const void *)chunker->round_keys[i]));
    }
    uint64_t hash = chunker_warm(chunker, data, begin);
    uint32_t judged[4 * LANES_VAES];
    bool below = false;
    size_t at = begin;
    for (; at + LANES_VAES <= end; at += LANES_VAES) {
        hash = judge_vaes(chunker->gear, keys, data + at, hash, limit, &below, judged);
        if (__builtin_expect(below, 0)) {
            return at + first_below(judged, LANES_VAES, limit);
        }
    }
    uint8_t rest[LANES_VAES] = {0};
    memcpy(rest, data + at, end - at);
    judge_vaes(chunker->gear, keys, rest, hash, limit, &below, judged);
    size_t found = below ? first_below(judged, end - at, limit) : 0;
    return found > 0 ? at + found : 0;
}

#endif
