/* SHA-256 (FIPS 180-4), HMAC (RFC 2104) and HKDF (RFC 5869) by libcrypto.
 * A chunk's id is the SHA-256 of its plaintext. */
#ifndef HF_COMMON_HASH_H
#define HF_COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define HF_HASH_BYTES 32

struct hf_hash; /* a running SHA-256; one thread at a time */

struct hf_hash *hf_hash_new(void); /* NULL when out of memory */
void hf_hash_free(struct hf_hash *hash);
void hf_hash_reset(struct hf_hash *hash);
void hf_hash_update(struct hf_hash *hash, const void *data, size_t size);
void hf_hash_final(struct hf_hash *hash, uint8_t out[HF_HASH_BYTES]); /* then reset */

/* One shot. Keeps a context per thread, so it costs no allocation per call. */
void hf_sha256(const void *data, size_t size, uint8_t out[HF_HASH_BYTES]);
void hf_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                    uint8_t out[HF_HASH_BYTES]);
/* HKDF-SHA256; out_size <= 8160, else HF_ERR_LIMIT. Without a salt salt_size is 0; info may be "".
 */
int hf_hkdf_sha256(const void *key, size_t key_size, const void *salt, size_t salt_size,
                   const char *info, uint8_t *out, size_t out_size);

#endif
