/* The store: a repository of packs, append-only files of encrypted records. FORMAT.md specifies the
 * bytes. It knows blocks of chunks and journal entries (opaque) and nothing of what they mean.
 *
 * One writer, used by the committer thread alone: append any number of records, then store_sync
 * once; after that, and not before, they are durable (promise 1). When store_sync fails, everything
 * since the last one that succeeded is gone and has to be appended again: the pack is given up and
 * the next append begins a new one, because a nonce must never encrypt twice.
 *
 * Any number of readers (struct hf_store_reader), one per thread.
 */
#ifndef HF_COLLECTOR_STORE_STORE_H
#define HF_COLLECTOR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/store/location.h"
#include "common/aead.h"
#include "common/block.h"
#include "common/buf.h"
#include "common/chunker.h"
#include "common/error.h"
#include "common/hash.h"

#define HF_STORE_KEY_BYTES         HF_AEAD_KEY_BYTES
#define HF_STORE_PACK_TARGET_BYTES (64u * 1024u * 1024u)
#define HF_STORE_JOURNAL_MAX_BYTES (4u * 1024u * 1024u) /* one journal entry */
/* Of a block: how many others may have to be read for it. */
#define HF_STORE_DEPTH_MAX 8u

struct hf_store;
struct hf_store_reader;

/* Make an empty repository in directory (made when missing; refused when it holds one already). */
int store_create(const char *directory, const uint8_t key[HF_STORE_KEY_BYTES],
                 struct hf_error *error);

struct hf_store_options {
    const char *directory;
    const uint8_t *key;         /* HF_STORE_KEY_BYTES; copied */
    uint64_t pack_target_bytes; /* 0: HF_STORE_PACK_TARGET_BYTES */
    bool read_only;             /* no repair, no lock, no appends */
    /* What somebody remembers to have been durable: the record there and all before it. pack 0 when
     * nobody does. */
    uint64_t durable_pack, durable_offset;
};

/* Open; repairs what a crash left: the torn tail of the last pack is cut off and the pack sealed.
 * What was durable and is damaged now is left as it is, with all around it, and complained about.
 * HF_ERR_DENIED when the key is another one, HF_ERR_AGAIN when another process has it open,
 * HF_ERR_UNSUPPORTED for a newer format, HF_ERR_CORRUPT. Every message says what to do. */
int store_open(const struct hf_store_options *options, struct hf_store **out,
               struct hf_error *error);
/* What agents cut content by: a secret of the repository's own (FORMAT.md). Any thread. */
void store_chunking_seed(const struct hf_store *store, uint8_t out[HF_CHUNK_SEED_BYTES]);
/* Seals the open pack. What was not synced is gone. */
void store_close(struct hf_store *store);

/* Add a record to the group that the next store_sync makes durable. owner: row of the host that
 * sent the block. depth: how many other blocks must be read for it, 0 without an aid. *location is
 * valid once synced. Journal entries between two blocks become one record. HF_ERR_INVALID when it
 * is no block, HF_ERR_LIMIT when an entry is too large. */
int store_append_block(struct hf_store *store, uint64_t owner, uint8_t depth,
                       const struct hf_block *block, struct hf_location *location,
                       struct hf_error *error);
int store_append_journal(struct hf_store *store, const uint8_t *data, size_t size,
                         struct hf_location *location, struct hf_error *error);
/* Write the group out and wait for the disk: one fdatasync. HF_ERR_NO_SPACE, HF_ERR_IO: the group
 * is gone, the store is usable again. */
int store_sync(struct hf_store *store, struct hf_error *error);
/* Drop what was appended since the last store_sync. */
void store_discard(struct hf_store *store);
/* Seal the open pack now; the next append begins another. */
int store_seal(struct hf_store *store, struct hf_error *error);

struct hf_store_stats {
    uint64_t packs;
    uint64_t bytes; /* of all packs */
};
/* Room on the repository's disk that this process may use; UINT64_MAX when it can't be told. Any
 * thread. */
uint64_t store_free_bytes(const struct hf_store *store);
/* Any thread. */
void store_stats(struct hf_store *store, struct hf_store_stats *out);

/* What a block's aid names; HF_ERR_NOT_FOUND. */
struct hf_store_resolver {
    /* Of a delta: where that chunk is. */
    int (*find)(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                struct hf_error *error);
    /* Of HF_CODEC_DICTIONARY: that dictionary's bytes, appended to out. */
    int (*dictionary)(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_buf *out,
                      struct hf_error *error);
    void *context;
};

/* A reader belongs to one thread; it may outlive nothing but must not outlive the store. */
int store_reader_new(struct hf_store *store, struct hf_store_resolver resolver,
                     struct hf_store_reader **out, struct hf_error *error);
void store_reader_free(struct hf_store_reader *reader);

/* Have the kernel read what lies there into its cache meanwhile, all of it at once: count places,
 * best in the order of packs and offsets. A hint: what can't be read is found when it is. */
void store_read_ahead(struct hf_store_reader *reader, const struct hf_location *places,
                      size_t count);

/* Append the chunk's plaintext to plain. The record's tag and the plaintext's hash are verified:
 * HF_ERR_CORRUPT names pack, offset and chunk. What was decoded last is kept: the chunks of one
 * block, in order, cost one reading. */
int store_read_chunk(struct hf_store_reader *reader, const struct hf_place *place,
                     const uint8_t id[HF_HASH_BYTES], struct hf_buf *plain, struct hf_error *error);

/* The bytes of a dictionary; the last few are kept. *bytes holds until the reader's next call.
 * HF_ERR_NOT_FOUND; HF_ERR_CORRUPT when they are not what the id says. */
int store_read_dictionary(struct hf_store_reader *reader, const uint8_t id[HF_HASH_BYTES],
                          struct hf_bytes *bytes, struct hf_error *error);

/* A block as it was stored: for sending on. */
struct hf_stored_block {
    struct hf_block block; /* views that hold until the reader's next call */
    uint64_t owner;
    uint8_t depth;
};
/* Its tag is verified, its chunks' hashes are not (whoever decodes it does that). */
int store_read_block(struct hf_store_reader *reader, const struct hf_location *location,
                     struct hf_stored_block *out, struct hf_error *error);

struct hf_store_replay {
    void *context;
    /* Return 0 to go on; anything else stops the replay, which returns it. The block's data is not
     * there. */
    int (*block)(void *context, const struct hf_location *location,
                 const struct hf_stored_block *block);
    int (*journal)(void *context, const struct hf_location *location, const uint8_t *data,
                   size_t size);
};
/* Every record at or after from, in order; its offset, if not 0, is that of a record, of which the
 * entries before from's are passed over: HF_ERR_CORRUPT says that it is there no more. While no
 * pack is open for appending: before the first append, or after store_seal. The writer's thread
 * only. */
int store_replay(struct hf_store *store, const struct hf_location *from,
                 const struct hf_store_replay *replay, struct hf_error *error);

/* Re-read one sealed pack and compare its whole-file hash. */
int store_verify_pack(struct hf_store *store, uint64_t pack, struct hf_error *error);

#endif
