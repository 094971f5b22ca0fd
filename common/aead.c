#include "common/aead.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "common/bytes.h"

struct hf_aead {
    EVP_CIPHER_CTX *seal; /* keyed once; each call only sets the nonce */
    EVP_CIPHER_CTX *open;
};

struct hf_aead *hf_aead_new(const uint8_t key[HF_AEAD_KEY_BYTES])
{
    struct hf_aead *aead = calloc(1, sizeof *aead);
    if (!aead) {
        return NULL;
    }
    aead->seal = EVP_CIPHER_CTX_new();
    aead->open = EVP_CIPHER_CTX_new();
    if (!aead->seal || !aead->open ||
        EVP_EncryptInit_ex(aead->seal, EVP_aes_256_gcm(), NULL, key, NULL) != 1 ||
        EVP_DecryptInit_ex(aead->open, EVP_aes_256_gcm(), NULL, key, NULL) != 1) {
        hf_aead_free(aead);
        return NULL;
    }
    return aead;
}

void hf_aead_free(struct hf_aead *aead)
{
    if (aead) {
        EVP_CIPHER_CTX_free(aead->seal); /* these wipe the key schedule */
        EVP_CIPHER_CTX_free(aead->open);
        free(aead);
    }
}

int hf_aead_seal(struct hf_aead *aead, const uint8_t nonce[HF_AEAD_NONCE_BYTES], const void *aad,
                 size_t aad_size, const uint8_t *in, size_t size, uint8_t *out)
{
    int written = 0;
    int last = 0;
    if (size > INT_MAX || aad_size > INT_MAX) {
        return HF_ERR_LIMIT;
    }
    if (EVP_EncryptInit_ex(aead->seal, NULL, NULL, NULL, nonce) != 1 ||
        (aad_size > 0 && EVP_EncryptUpdate(aead->seal, NULL, &written, aad, (int)aad_size) != 1) ||
        EVP_EncryptUpdate(aead->seal, out, &written, in, (int)size) != 1 ||
        EVP_EncryptFinal_ex(aead->seal, out + written, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(aead->seal, EVP_CTRL_AEAD_GET_TAG, HF_AEAD_TAG_BYTES, out + size) !=
            1) {
        return HF_ERR_CRYPTO;
    }
    return HF_OK;
}

int hf_aead_open(struct hf_aead *aead, const uint8_t nonce[HF_AEAD_NONCE_BYTES], const void *aad,
                 size_t aad_size, const uint8_t *in, size_t size, uint8_t *out)
{
    int written = 0;
    int last = 0;
    uint8_t tag[HF_AEAD_TAG_BYTES];
    if (size < HF_AEAD_TAG_BYTES) {
        return HF_ERR_CORRUPT;
    }
    if (size > INT_MAX || aad_size > INT_MAX) {
        return HF_ERR_LIMIT;
    }
    size_t plain_size = size - HF_AEAD_TAG_BYTES;
    for (size_t i = 0; i < sizeof tag; i++) {
        tag[i] = in[plain_size + i];
    }
    if (EVP_DecryptInit_ex(aead->open, NULL, NULL, NULL, nonce) != 1 ||
        (aad_size > 0 && EVP_DecryptUpdate(aead->open, NULL, &written, aad, (int)aad_size) != 1) ||
        EVP_DecryptUpdate(aead->open, out, &written, in, (int)plain_size) != 1 ||
        EVP_CIPHER_CTX_ctrl(aead->open, EVP_CTRL_AEAD_SET_TAG, HF_AEAD_TAG_BYTES, tag) != 1) {
        return HF_ERR_CRYPTO;
    }
    if (EVP_DecryptFinal_ex(aead->open, out + written, &last) != 1) {
        hf_wipe(out, plain_size);
        return HF_ERR_CORRUPT;
    }
    return HF_OK;
}
