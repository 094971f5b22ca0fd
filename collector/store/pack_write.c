#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/log.h"

#define WRITE_OUT_BYTES                                                                            \
    (8u * 1024u * 1024u) /* a group larger than this is written before its sync */

static int fail_io(struct hf_error *error, int sys_errno, const char *doing, const char *name)
{
    bool full = sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG;
    return hf_error_set(error, full ? HF_ERR_NO_SPACE : HF_ERR_IO, sys_errno, "%s %s", doing, name);
}

/* Forget the open pack without a seal; the file stays as it is. */
static void close_pack(struct hf_store *store)
{
    struct open_pack *pack = &store->pack;
    if (pack->fd >= 0) {
        close(pack->fd);
    }
    pack_cipher_close(&pack->cipher);
    hf_hash_free(pack->hash);
    hf_buf_free(&pack->pending);
    hf_buf_free(&pack->index);
    hf_buf_free(&pack->unhashed);
    *pack = (struct open_pack){.fd = -1};
}

static int begin_pack(struct hf_store *store, struct hf_error *error)
{
    struct open_pack *pack = &store->pack;
    struct pack_header header = {.number = store->last_number + 1};
    uint8_t bytes[PACK_HEADER_BYTES];
    char name[PACK_NAME_BYTES];
    memcpy(header.repository, store->repository, PACK_ID_BYTES);
    hf_random(header.salt, sizeof header.salt);
    pack_header_encode(&header, bytes);
    pack_name(header.number, name);
    *pack = (struct open_pack){.fd = -1, .number = header.number};
    pack->hash = hf_hash_new();
    if (!pack->hash || pack_cipher_open(&pack->cipher, store->key, bytes) != HF_OK ||
        hf_buf_append(&pack->pending, bytes, sizeof bytes) != HF_OK) {
        close_pack(store);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to begin pack %s", name);
    }
    pack->fd =
        openat(store->directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (pack->fd < 0) {
        int saved = errno;
        close_pack(store);
        return fail_io(error, saved, "Can't make pack", name);
    }
    store->last_number = header.number;
    uint64_t *grown = reallocarray(store->numbers, store->number_count + 1, sizeof *grown);
    if (!grown) {
        unlinkat(store->directory_fd, name, 0);
        close_pack(store);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to begin pack %s", name);
    }
    store->numbers = grown;
    store->numbers[store->number_count++] = header.number;
    int packs_fd = openat(store->directory_fd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = packs_fd < 0 || fsync(packs_fd) != 0;
    int saved = errno;
    if (packs_fd >= 0) {
        close(packs_fd);
    }
    if (failed) {
        unlinkat(store->directory_fd, name, 0);
        store->number_count--;
        close_pack(store);
        return fail_io(error, saved, "Can't write to disk the directory of pack", name);
    }
    atomic_fetch_add(&store->stat_packs, 1);
    return HF_OK;
}

/* The pending bytes were written: they are to be hashed once they are durable. */
static int await_hash(struct open_pack *pack)
{
    int rc = HF_OK;
    if (pack->unhashed.size == 0) { /* nearly always: then they need no copy */
        struct hf_buf empty = pack->unhashed;
        pack->unhashed = pack->pending;
        pack->pending = empty;
    } else {
        rc = hf_buf_append(&pack->unhashed, pack->pending.data, pack->pending.size);
    }
    hf_buf_clear(&pack->pending);
    return rc;
}

/* Hand the pending bytes to the kernel. */
static int write_out(struct hf_store *store, struct hf_error *error)
{
    struct open_pack *pack = &store->pack;
    if (lseek(pack->fd, (off_t)pack->written, SEEK_SET) < 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "Can't seek in a pack");
    }
    int rc = hf_write_all(pack->fd, pack->pending.data, pack->pending.size, error);
    if (rc != HF_OK) {
        hf_error_prefix(error, "Writing to the repository %s", store->directory);
        return rc;
    }
    pack->written += pack->pending.size;
    rc = await_hash(pack);
    return rc == HF_OK ? rc : hf_error_set(error, rc, 0, "No memory to write a pack");
}

/* Give the pack up at its last good sync. The bytes after that may have reached the disk under
 * nonces that would be used again, so no record is ever appended to it; the index has its own. */
static void abandon(struct hf_store *store)
{
    struct open_pack *pack = &store->pack;
    struct hf_error error = {0};
    hf_buf_clear(&store->entries);
    store->entry_count = 0;
    if (pack->fd < 0) {
        return;
    }
    if (pack->synced == 0) {
        char name[PACK_NAME_BYTES];
        pack_name(pack->number, name);
        unlinkat(store->directory_fd, name, 0);
        atomic_fetch_sub(&store->stat_packs, 1);
        store->number_count--; /* it is the last one */
    } else if (ftruncate(pack->fd, (off_t)pack->synced) == 0) {
        pack->index.size = pack->index_synced;
        /* The seal may fail on a full disk: then the next start repairs the pack. */
        if (pack_write_seal(pack->fd, &pack->cipher, pack->synced, &pack->index, pack->hash,
                            &error) != HF_OK) {
            hf_log_warning("%s; the pack will be sealed at the next start", error.message);
            if (ftruncate(pack->fd, (off_t)pack->synced) != 0) {
                hf_log_warning("Pack %llu could not be cut back", (unsigned long long)pack->number);
            }
        }
    }
    close_pack(store);
}

/* An open pack with room for a record. */
static int prepare(struct hf_store *store, struct hf_error *error)
{
    if (store->read_only) {
        return hf_error_set(error, HF_ERR_CONFLICT, 0, "The repository is open for reading only");
    }
    int rc = store->pack.fd < 0 ? begin_pack(store, error) : HF_OK;
    if (rc == HF_OK && store->pack.pending.size >= WRITE_OUT_BYTES) {
        rc = write_out(store, error);
    }
    return rc;
}

static uint64_t end_of(const struct open_pack *pack)
{
    return pack->written + pack->pending.size;
}

/* A record of what is in store->payload and data. */
static int append(struct hf_store *store, struct record_header *header, struct hf_bytes data,
                  struct hf_location *location, struct hf_error *error)
{
    struct open_pack *pack = &store->pack;
    struct hf_bytes prefix = {store->payload.data, store->payload.size};
    uint8_t *out = NULL;
    int rc = prepare(store, error);
    if (rc != HF_OK) {
        return rc;
    }
    uint64_t offset = end_of(pack);
    uint64_t group = offset - (pack->synced > 0 ? pack->synced : PACK_HEADER_BYTES);
    if (group > UINT32_MAX || prefix.size + data.size > RECORD_PAYLOAD_MAX) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "Too much was written without a sync");
    }
    header->group = (uint32_t)group;
    header->size = (uint32_t)(prefix.size + data.size + HF_AEAD_TAG_BYTES);
    rc = hf_buf_extend(&pack->pending, RECORD_HEADER_BYTES + header->size, &out);
    if (rc != HF_OK) {
        return hf_error_set(error, rc, 0, "No memory for a record of %u bytes", header->size);
    }
    uint8_t *payload = out + RECORD_HEADER_BYTES;
    record_header_encode(header, out);
    if (prefix.size > 0) {
        memcpy(payload, prefix.data, prefix.size);
    }
    if (data.size > 0) {
        memcpy(payload + prefix.size, data.data, data.size);
    }
    rc = pack_cipher_seal(&pack->cipher, offset, out, payload, prefix.size + data.size, payload);
    if (rc != HF_OK) {
        pack->pending.size -= RECORD_HEADER_BYTES + header->size;
        return hf_error_set(error, rc, 0, "Encrypting a record failed");
    }
    *location = (struct hf_location){
        .pack = pack->number, .offset = offset, .size = RECORD_HEADER_BYTES + header->size};
    rc = index_append(&pack->index, location->offset, location->size);
    return rc == HF_OK ? rc : hf_error_set(error, rc, 0, "No memory for the index of a pack");
}

/* Gathered entries become a record. */
static int append_entries(struct hf_store *store, struct hf_error *error)
{
    struct record_header header = {.type = RECORD_JOURNAL};
    struct hf_location location;
    if (store->entry_count == 0) {
        return HF_OK;
    }
    header.plain_size = (uint32_t)store->entries.size;
    hf_buf_clear(&store->payload);
    int rc = hf_compress(store->compressor, store->entries.data, store->entries.size,
                         &store->payload, &header.codec);
    if (rc != HF_OK) {
        return hf_error_set(error, rc, 0, "No memory for journal entries");
    }
    rc = append(store, &header, (struct hf_bytes){0}, &location, error);
    hf_buf_clear(&store->entries);
    store->entry_count = 0;
    return rc;
}

int store_append_block(struct hf_store *store, uint64_t owner, uint8_t depth,
                       const struct hf_block *block, struct hf_location *location,
                       struct hf_error *error)
{
    struct record_header header = {.type = RECORD_BLOCK,
                                   .codec = block->codec,
                                   .depth = depth,
                                   .plain_size = hf_block_plain_size(block)};
    if (header.plain_size == 0 || depth > HF_STORE_DEPTH_MAX ||
        (depth > 0) != (block->codec == HF_CODEC_DELTA)) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "That is no block that can be stored");
    }
    int rc = append_entries(store, error);
    if (rc != HF_OK) {
        return rc;
    }
    hf_buf_clear(&store->payload);
    rc = block_prefix_append(&store->payload, owner, block);
    return rc == HF_OK ? append(store, &header, block->data, location, error)
                       : hf_error_set(error, rc, 0, "No memory for a block");
}

int store_append_journal(struct hf_store *store, const uint8_t *data, size_t size,
                         struct hf_location *location, struct hf_error *error)
{
    uint8_t length[4];
    if (size > HF_STORE_JOURNAL_MAX_BYTES) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "A journal entry of %zu bytes is too large",
                            size);
    }
    int rc = store->entries.size >= JOURNAL_GATHER_BYTES ? append_entries(store, error) : HF_OK;
    /* The record will be where the pack ends now: whatever else is written comes after it. */
    rc = rc == HF_OK ? prepare(store, error) : rc;
    if (rc != HF_OK) {
        return rc;
    }
    size_t start = store->entries.size;
    hf_put_le32(length, (uint32_t)size);
    rc = hf_buf_append(&store->entries, length, sizeof length);
    rc = rc == HF_OK ? hf_buf_append(&store->entries, data, size) : rc;
    if (rc != HF_OK) {
        store->entries.size = start;
        return hf_error_set(error, rc, 0, "No memory for a journal entry");
    }
    *location = (struct hf_location){
        .pack = store->pack.number, .offset = end_of(&store->pack), .entry = store->entry_count++};
    return HF_OK;
}

int store_sync(struct hf_store *store, struct hf_error *error)
{
    struct open_pack *pack = &store->pack;
    if (pack->fd < 0) {
        return HF_OK;
    }
    int rc = append_entries(store, error);
    rc = rc == HF_OK ? write_out(store, error) : rc;
    if (rc == HF_OK && fdatasync(pack->fd) != 0) {
        char name[PACK_NAME_BYTES];
        pack_name(pack->number, name);
        rc = fail_io(error, errno, "Can't write to disk pack", name);
    }
    if (rc != HF_OK) {
        abandon(store);
        return rc;
    }
    hf_hash_update(pack->hash, pack->unhashed.data, pack->unhashed.size);
    hf_buf_clear(&pack->unhashed);
    atomic_fetch_add(&store->stat_bytes, pack->written - pack->synced);
    pack->synced = pack->written;
    pack->index_synced = pack->index.size;
    if (pack->synced >= store->pack_target_bytes) {
        struct hf_error seal_error = {0};
        if (store_seal(store, &seal_error) != HF_OK) {
            hf_log_warning("%s; the pack will be sealed at the next start", seal_error.message);
        }
    }
    return HF_OK;
}

void store_discard(struct hf_store *store)
{
    abandon(store);
}

int store_seal(struct hf_store *store, struct hf_error *error)
{
    struct open_pack *pack = &store->pack;
    if (pack->fd < 0) {
        return HF_OK;
    }
    int rc = HF_OK;
    if (pack->written != pack->synced || pack->pending.size > 0 || store->entry_count > 0) {
        abandon(store); /* unsynced records: the caller dropped them */
        return HF_OK;
    }
    rc = pack_write_seal(pack->fd, &pack->cipher, pack->synced, &pack->index, pack->hash, error);
    close_pack(store);
    return rc;
}
