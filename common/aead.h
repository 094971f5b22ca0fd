/* AES-256-GCM (NIST SP 800-38D) by libcrypto. The caller guarantees that a
 * (key, nonce) pair never encrypts twice. A context belongs to one thread. */
#ifndef HF_COMMON_AEAD_H
#define HF_COMMON_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define HF_AEAD_KEY_BYTES   32
#define HF_AEAD_NONCE_BYTES 12
#define HF_AEAD_TAG_BYTES   16

struct hf_aead;

struct hf_aead *hf_aead_new(const uint8_t key[HF_AEAD_KEY_BYTES]);
void hf_aead_free(struct hf_aead *aead); /* wipes the key */

/* out receives size bytes of ciphertext and then the tag. in == out is allowed. */
int hf_aead_seal(struct hf_aead *aead, const uint8_t nonce[HF_AEAD_NONCE_BYTES], const void *aad,
                 size_t aad_size, const uint8_t *in, size_t size, uint8_t *out);
/* in has size bytes, the tag last; out receives size - HF_AEAD_TAG_BYTES.
 * HF_ERR_CORRUPT when the tag does not verify (out is then wiped). */
int hf_aead_open(struct hf_aead *aead, const uint8_t nonce[HF_AEAD_NONCE_BYTES], const void *aad,
                 size_t aad_size, const uint8_t *in, size_t size, uint8_t *out);

#endif
