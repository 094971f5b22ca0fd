#include "common/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>

struct hf_hash {
    EVP_MD_CTX *context;
};

/* libcrypto's digest calls fail only when out of memory or misused: neither leaves a hash to give.
 */
static void must(int ok)
{
    if (ok != 1) {
        abort();
    }
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_hash; /* frees a thread's context when it ends */
static EVP_MD *sha256;

static void free_thread_hash(void *hash)
{
    hf_hash_free(hash);
}

static void set_up(void)
{
    /* Fetched once: EVP_sha256() makes every init look the algorithm up anew. */
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(sha256 != NULL);
    must(pthread_key_create(&thread_hash, free_thread_hash) == 0);
}

struct hf_hash *hf_hash_new(void)
{
    pthread_once(&once, set_up);
    struct hf_hash *hash = calloc(1, sizeof *hash);
    if (hash) {
        hash->context = EVP_MD_CTX_new();
        if (!hash->context) {
            free(hash);
            return NULL;
        }
        hf_hash_reset(hash);
    }
    return hash;
}

void hf_hash_free(struct hf_hash *hash)
{
    if (hash) {
        EVP_MD_CTX_free(hash->context);
        free(hash);
    }
}

void hf_hash_reset(struct hf_hash *hash)
{
    must(EVP_DigestInit_ex(hash->context, sha256, NULL));
}

void hf_hash_update(struct hf_hash *hash, const void *data, size_t size)
{
    must(EVP_DigestUpdate(hash->context, data, size));
}

void hf_hash_final(struct hf_hash *hash, uint8_t out[HF_HASH_BYTES])
{
    must(EVP_DigestFinal_ex(hash->context, out, NULL));
    hf_hash_reset(hash);
}

void hf_sha256(const void *data, size_t size, uint8_t out[HF_HASH_BYTES])
{
    pthread_once(&once, set_up);
    struct hf_hash *hash = pthread_getspecific(thread_hash);
    if (!hash) {
        hash = hf_hash_new();
        must(hash != NULL && pthread_setspecific(thread_hash, hash) == 0);
    }
    hf_hash_update(hash, data, size);
    hf_hash_final(hash, out);
}

void hf_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                    uint8_t out[HF_HASH_BYTES])
{
    must(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_size, data, size, out,
                   HF_HASH_BYTES, NULL) != NULL);
}

int hf_hkdf_sha256(const void *key, size_t key_size, const void *salt, size_t salt_size,
                   const char *info, uint8_t *out, size_t out_size)
{
    if (out_size > (size_t)255 * HF_HASH_BYTES) {
        return HF_ERR_LIMIT;
    }
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    size_t length = out_size;
    int ok =
        context && EVP_PKEY_derive_init(context) == 1 &&
        EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1 &&
        /* libcrypto refuses an empty salt; none means the same (RFC 5869, section 2.2). */
        (salt_size == 0 || EVP_PKEY_CTX_set1_hkdf_salt(context, salt, (int)salt_size) == 1) &&
        EVP_PKEY_CTX_set1_hkdf_key(context, key, (int)key_size) == 1 &&
        EVP_PKEY_CTX_add1_hkdf_info(context, (const unsigned char *)info, (int)strlen(info)) == 1 &&
        EVP_PKEY_derive(context, out, &length) == 1;
    EVP_PKEY_CTX_free(context);
    return ok ? HF_OK : HF_ERR_CRYPTO;
}
