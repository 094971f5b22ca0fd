#include "common/chunker.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/bytes.h"
#include "common/chunker_private.h"
#include "common/hash.h"

#define SEED_INFO "holdfast chunking v1"
/* Normalisation: that many bits harder before the average, easier after it. */
#define LEVEL 2u
/* How many decisions libcrypto makes at a time: enough to hide what a call of it costs. */
#define BATCH 256u

#define KIB ((size_t)1024)

/* --- parameters --- */

/* The minimum is half the average: nothing is judged before it, which is a third of the work less,
 * for one to three percent of deduplication. */
#define AVERAGE(kib, max_kib, single)                                                              \
    {                                                                                              \
        .single_max_bytes = (single), .min_bytes = (kib)*KIB / 2, .average_bytes = (kib)*KIB,      \
        .max_bytes = (max_kib)*KIB                                                                 \
    }

/* Changes are small and all over: databases, what people edit. */
static const struct hf_chunker_params fine = AVERAGE(16, 128, HF_CHUNK_SINGLE_MAX_BYTES);
/* Rewritten whole again and again, little of it changed: one chunk has one predecessor, against
 * which it is next to nothing. */
static const struct hf_chunker_params whole = AVERAGE(16, 128, HF_CHUNK_MAX_BYTES);
/* Changes are at the end, or there is much and little is known of it. */
static const struct hf_chunker_params coarse = AVERAGE(64, 512, HF_CHUNK_SINGLE_MAX_BYTES);
/* So long that the number of chunks counts: what names them has an end too. */
static const struct hf_chunker_params large = AVERAGE(128, 512, HF_CHUNK_SINGLE_MAX_BYTES);

static const struct {
    const char *class_name;
    const struct hf_chunker_params *params;
} classes[] = {
    {"checkpoints", &whole}, {"config", &fine},    {"credentials", &fine}, {"database", &fine},
    {"logs", &coarse},       {"metrics", &coarse}, {"workflows", &fine},
};

const struct hf_chunker_params *hf_chunker_params_of(const char *class_name, uint64_t size)
{
    if (size > HF_CHUNK_LARGE_BYTES) {
        return &large;
    }
    for (size_t i = 0; class_name && i < sizeof classes / sizeof classes[0]; i++) {
        if (strcmp(classes[i].class_name, class_name) == 0) {
            return classes[i].params;
        }
    }
    return &coarse;
}

/* --- the secret --- */

struct hf_chunker *hf_chunker_new(const uint8_t seed[HF_CHUNK_SEED_BYTES])
{
    uint8_t secret[CHUNKER_KEY_BYTES + 256 * sizeof(uint64_t)];
    struct hf_chunker *chunker = aligned_alloc(16, (sizeof *chunker + 15) / 16 * 16);
    if (!chunker) {
        return NULL;
    }
    memset(chunker, 0, sizeof *chunker);
    if (hf_hkdf_sha256(seed, HF_CHUNK_SEED_BYTES, NULL, 0, SEED_INFO, secret, sizeof secret) != 0) {
        free(chunker);
        return NULL;
    }
    memcpy(chunker->key, secret, sizeof chunker->key);
    for (size_t i = 0; i < 256; i++) {
        chunker->gear[i] = hf_get_le64(secret + CHUNKER_KEY_BYTES + i * sizeof(uint64_t));
    }
    hf_wipe(secret, sizeof secret);
    chunker->scan = chunker_scan_portable;
#ifdef CHUNKER_X86
    if (chunker_has_aesni()) {
        chunker_expand_key(chunker);
        chunker->scan = chunker_has_vaes() ? chunker_scan_vaes : chunker_scan_aesni;
    }
#endif
    atomic_init(&chunker->owners, 1);
    return chunker;
}

struct hf_chunker *hf_chunker_share(struct hf_chunker *chunker)
{
    atomic_fetch_add(&chunker->owners, 1);
    return chunker;
}

void hf_chunker_free(struct hf_chunker *chunker)
{
    if (chunker && atomic_fetch_sub(&chunker->owners, 1) == 1) {
        hf_wipe(chunker, sizeof *chunker);
        free(chunker);
    }
}

/* --- cutting --- */

uint64_t chunker_warm(const struct hf_chunker *chunker, const uint8_t *data, size_t at)
{
    uint64_t hash = 0;
    for (size_t i = at - (CHUNKER_WINDOW_BYTES - 1); i < at; i++) {
        hash = (hash << 1) + chunker->gear[data[i]];
    }
    return hash;
}

/* libcrypto's ciphers fail only when out of memory or misused; another cut than every other agent's
 * is no way out. */
static void must(int ok)
{
    if (ok != 1) {
        abort();
    }
}

size_t chunker_scan_portable(const struct hf_chunker *chunker, const uint8_t *data, size_t begin,
                             size_t end, uint32_t limit)
{
    uint8_t blocks[BATCH][16] = {{0}};
    uint8_t judged[BATCH][16];
    uint64_t hash = chunker_warm(chunker, data, begin);
    size_t found = 0;
    EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
    must(aes != NULL);
    must(EVP_EncryptInit_ex(aes, EVP_aes_128_ecb(), NULL, chunker->key, NULL));
    must(EVP_CIPHER_CTX_set_padding(aes, 0));
    for (size_t at = begin; at < end && found == 0;) {
        size_t count = end - at < BATCH ? end - at : BATCH;
        int size = 0;
        for (size_t i = 0; i < count; i++) {
            hash = (hash << 1) + chunker->gear[data[at + i]];
            hf_put_le64(blocks[i], hash);
        }
        must(EVP_EncryptUpdate(aes, judged[0], &size, blocks[0], (int)(count * 16)));
        for (size_t i = 0; i < count && found == 0; i++) {
            found = hf_get_le32(judged[i]) < limit ? at + i + 1 : 0;
        }
        at += count;
    }
    EVP_CIPHER_CTX_free(aes);
    return found;
}

size_t hf_chunker_cut(const struct hf_chunker *chunker, const struct hf_chunker_params *params,
                      const uint8_t *data, size_t size, int last)
{
    (void)last; /* the caller's promise: without it size >= max_bytes, so the end is never a cut */
    if (size <= params->min_bytes) {
        return size;
    }
    unsigned bits = (unsigned)__builtin_ctzll(params->average_bytes);
    size_t end = size < params->max_bytes ? size : params->max_bytes;
    size_t normal = end < params->average_bytes ? end : params->average_bytes;
    size_t cut =
        chunker->scan(chunker, data, params->min_bytes, normal, UINT32_C(1) << (32 - bits - LEVEL));
    if (cut == 0) {
        cut = chunker->scan(chunker, data, normal, end, UINT32_C(1) << (32 - bits + LEVEL));
    }
    return cut > 0 ? cut : end;
}
