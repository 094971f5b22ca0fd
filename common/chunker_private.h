/* The scans for a cut that hf_chunker_new chooses from: one for every machine, others for those
 * that have the instructions. All find the same. */
#ifndef HF_COMMON_CHUNKER_PRIVATE_H
#define HF_COMMON_CHUNKER_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/chunker.h"

#define CHUNKER_WINDOW_BYTES 64u /* what a decision depends on: a gear hash forgets the rest */
#define CHUNKER_KEY_BYTES    16u
#define CHUNKER_ROUNDS       10u

/* The first i in begin..end-1 where what stands in data[i-63..i] demands a cut, plus one; 0 for
 * none. begin is 63 at least. It demands one when the first four bytes of AES-128(hash, eight
 * zeros), all little endian, are a number below limit. */
typedef size_t chunker_scan(const struct hf_chunker *chunker, const uint8_t *data, size_t begin,
                            size_t end, uint32_t limit);

struct hf_chunker {
    _Alignas(16) uint8_t round_keys[CHUNKER_ROUNDS + 1][16]; /* for the scans that use them */
    uint64_t gear[256];
    uint8_t key[CHUNKER_KEY_BYTES];
    chunker_scan *scan;
    atomic_uint owners;
};

/* The hash before data[at]. */
uint64_t chunker_warm(const struct hf_chunker *chunker, const uint8_t *data, size_t at);

chunker_scan chunker_scan_portable; /* AES by libcrypto */

#if defined(__x86_64__)
#define CHUNKER_X86 1
bool chunker_has_aesni(void);
bool chunker_has_vaes(void); /* and AVX2 */
/* Fills round_keys; only where there is AES-NI. */
void chunker_expand_key(struct hf_chunker *chunker);
chunker_scan chunker_scan_aesni;
chunker_scan chunker_scan_vaes;
#endif

#endif
