/* The bytes of a pack: FORMAT.md in C. Private to store/. */
#ifndef HF_COLLECTOR_STORE_PACK_FORMAT_H
#define HF_COLLECTOR_STORE_PACK_FORMAT_H

#include <stdint.h>

#include "collector/store/store.h"

#define PACK_MAGIC          "HFPACK\r\n"
#define PACK_VERSION        2u
#define PACK_HEADER_BYTES   72u
#define PACK_SALT_BYTES     32u
#define PACK_ID_BYTES       16u /* of the repository */
#define PACK_TRAILER_MAGIC  "HFSEALED"
#define PACK_TRAILER_BYTES  48u
#define RECORD_HEADER_BYTES 16u
#define BLOCK_PREFIX_BYTES  10u /* owner and number of chunks, before a block's aid */
#define INDEX_ENTRY_BYTES   12u
/* Entries are gathered up to this and one more. */
#define JOURNAL_GATHER_BYTES (256u * 1024u)
#define JOURNAL_RECORD_MAX   (JOURNAL_GATHER_BYTES + HF_STORE_JOURNAL_MAX_BYTES + 4u)
/* The largest payload is an index of a pack full of the smallest records. */
#define RECORD_PAYLOAD_MAX (64u * 1024u * 1024u)

enum record_type { RECORD_BLOCK = 1, RECORD_JOURNAL = 2, RECORD_INDEX = 3 };

struct pack_header {
    uint64_t number;
    uint8_t repository[PACK_ID_BYTES];
    uint8_t salt[PACK_SALT_BYTES];
};

struct record_header {
    uint32_t size; /* of the ciphertext with its tag */
    enum record_type type;
    enum hf_codec codec;
    uint8_t depth;       /* of a block; else 0 */
    uint32_t plain_size; /* of a block's or of a journal record's content, decoded; else 0 */
    uint32_t group;      /* bytes from the first record of its group: all before that was durable */
};

void pack_header_encode(const struct pack_header *header, uint8_t out[PACK_HEADER_BYTES]);
/* HF_ERR_CORRUPT, HF_ERR_UNSUPPORTED (newer version). */
int pack_header_decode(const uint8_t data[PACK_HEADER_BYTES], struct pack_header *out,
                       struct hf_error *error);
void record_header_encode(const struct record_header *header, uint8_t out[RECORD_HEADER_BYTES]);
/* HF_ERR_CORRUPT for anything that no writer writes. */
int record_header_decode(const uint8_t data[RECORD_HEADER_BYTES], struct record_header *out);

/* What a block's record decrypts to: the prefix goes before its data. */
int block_prefix_append(struct hf_buf *out, uint64_t owner, const struct hf_block *block);
/* Views into payload. HF_ERR_CORRUPT. */
int block_decode(const struct record_header *header, const uint8_t *payload, size_t size,
                 struct hf_stored_block *out);

/* A pack's cipher: AES-256-GCM under the pack's subkey, the record's offset (of an index: in a
 * space of its own) as nonce, and as additional data the hash of the pack's header and the record's
 * header. */
struct pack_cipher {
    struct hf_aead *aead;
    uint8_t header_hash[HF_HASH_BYTES];
};
int pack_cipher_open(struct pack_cipher *cipher, const uint8_t key[HF_STORE_KEY_BYTES],
                     const uint8_t header[PACK_HEADER_BYTES]);
void pack_cipher_close(struct pack_cipher *cipher);
/* in has size bytes, out size + HF_AEAD_TAG_BYTES. in == out is allowed. */
int pack_cipher_seal(struct pack_cipher *cipher, uint64_t offset,
                     const uint8_t header[RECORD_HEADER_BYTES], const uint8_t *in, size_t size,
                     uint8_t *out);
int pack_cipher_unseal(struct pack_cipher *cipher, uint64_t offset,
                       const uint8_t header[RECORD_HEADER_BYTES], const uint8_t *in, size_t size,
                       uint8_t *out);

#define PACK_NAME_BYTES 32
void pack_name(uint64_t number, char out[PACK_NAME_BYTES]); /* "packs/0000000000000001.pack" */

#endif
