/* The store's inside: shared by the files that write, read, seal and open. */
#ifndef HF_COLLECTOR_STORE_STORE_PRIVATE_H
#define HF_COLLECTOR_STORE_STORE_PRIVATE_H

#include <stdatomic.h>

#include "collector/store/pack_format.h"

/* The pack that is written to. */
struct open_pack {
    int fd; /* -1: none */
    uint64_t number;
    struct pack_cipher cipher;
    uint64_t synced;        /* bytes that are durable */
    uint64_t written;       /* bytes handed to the kernel, >= synced */
    struct hf_buf pending;  /* bytes after `written` */
    struct hf_buf index;    /* INDEX_ENTRY_BYTES a record */
    size_t index_synced;    /* of which belong to durable records */
    struct hf_hash *hash;   /* over the first `hashed` bytes of the file */
    struct hf_buf unhashed; /* bytes between the hash and `written` */
};

struct hf_store {
    char *directory;
    int directory_fd;
    int lock_fd;
    uint8_t key[HF_STORE_KEY_BYTES];
    uint8_t repository[PACK_ID_BYTES];
    uint64_t pack_target_bytes;
    bool read_only;
    uint64_t durable_pack, durable_offset; /* as in the options */
    uint64_t last_number;                  /* highest pack number that ever was */
    uint64_t *numbers;                     /* packs found at open, ascending */
    size_t number_count;
    struct open_pack pack;
    struct hf_buf entries; /* of the journal, gathered: each its length (32 bits), then itself */
    uint32_t entry_count;
    struct hf_buf payload; /* of the record that is made */
    struct hf_compressor *compressor;
    _Atomic uint64_t stat_packs, stat_bytes;
};

/* Read a record's header and payload at an offset; the payload is decrypted into *payload (cleared
 * first). HF_ERR_NOT_FOUND at the clean end of the file or at the trailer, HF_ERR_CORRUPT for
 * anything torn or changed. */
int pack_read_record(int fd, struct pack_cipher *cipher, uint64_t offset,
                     struct record_header *header, struct hf_buf *payload);
/* Open a pack file and its cipher. */
int pack_open_file(const struct hf_store *store, uint64_t number, int flags, int *fd,
                   struct pack_cipher *cipher, struct hf_error *error);
/* Where the index record is of a file that ends with a trailer; HF_ERR_NOT_FOUND when it does not.
 * HF_ERR_IO when that can't be told: a sealed pack must not be repaired for it. */
int pack_find_seal(int fd, uint64_t *index_offset);
/* Write index and trailer behind `size` bytes and fsync. hash covers exactly those bytes. */
int pack_write_seal(int fd, struct pack_cipher *cipher, uint64_t size, const struct hf_buf *index,
                    struct hf_hash *hash, struct hf_error *error);
/* HF_ERR_NO_MEMORY: an index without the record must not be written. It would be encrypted under
 * the nonce that the right one gets when the pack is repaired. */
int index_append(struct hf_buf *index, uint64_t offset, uint32_t size);
/* Hash the first size bytes of a file. */
int pack_hash_file(int fd, uint64_t size, struct hf_hash *hash, struct hf_error *error);
/* Cut and seal what a crash left of a pack. A pack that is damaged where it was durable keeps all
 * that it has, and gets no seal. HF_ERR_NOT_FOUND when nothing of it was ever durable, and it is
 * gone; HF_ERR_IO, HF_ERR_NO_MEMORY when it can't be told, and nothing was changed. */
int pack_repair(struct hf_store *store, uint64_t number, struct hf_error *error);

#endif
