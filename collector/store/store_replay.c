#include <fcntl.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"

static int lacks(const struct hf_store *store, uint64_t pack, uint64_t offset,
                 struct hf_error *error)
{
    return hf_error_set(
        error, HF_ERR_CORRUPT, 0,
        "The repository %s lacks what was durable: pack %llu at offset %llu. Restore "
        "it from a replica; to go on with what is there, move the catalog away, "
        "and it will be made anew from the packs",
        store->directory, (unsigned long long)pack, (unsigned long long)offset);
}

static int damaged(const struct hf_store *store, const struct hf_location *location, int rc,
                   struct hf_error *error)
{
    return hf_error_set(error, (enum hf_err)rc, 0,
                        "Pack %llu of %s is damaged at offset %llu: what follows in it can't be "
                        "read. Restore the file from a replica",
                        (unsigned long long)location->pack, store->directory,
                        (unsigned long long)location->offset);
}

/* From location->entry on. */
static int replay_entries(const struct hf_store *store, struct hf_decompressor *decompressor,
                          const struct record_header *header, const struct hf_buf *payload,
                          const struct hf_location *location, const struct hf_store_replay *replay,
                          struct hf_error *error)
{
    struct hf_buf entries = {0};
    struct hf_location entry = *location;
    uint32_t first = location->entry;
    uint8_t *plain = NULL;
    int rc = hf_buf_extend(&entries, header->plain_size, &plain);
    if (rc == HF_OK) {
        rc = hf_decompress(decompressor, header->codec, (struct hf_bytes){0}, payload->data,
                           payload->size, plain, header->plain_size);
    }
    if (rc != HF_OK) {
        hf_buf_free(&entries);
        return damaged(store, location, rc, error);
    }
    entry.entry = 0;
    entry.size = 0;
    for (size_t at = 0; rc == HF_OK && at < entries.size; entry.entry++) {
        size_t left = entries.size - at;
        uint32_t size = left < 4 ? UINT32_MAX : hf_get_le32(plain + at);
        if (left < 4 || size > left - 4) {
            rc = damaged(store, location, HF_ERR_CORRUPT, error);
            break;
        }
        if (entry.entry >= first) {
            rc = replay->journal(replay->context, &entry, plain + at + 4, size);
        }
        at += 4 + (size_t)size;
    }
    hf_buf_free(&entries);
    return rc;
}

static int replay_block(const struct hf_store *store, const struct record_header *header,
                        const struct hf_buf *payload, const struct hf_location *location,
                        const struct hf_store_replay *replay, struct hf_error *error)
{
    struct hf_stored_block block;
    int rc = block_decode(header, payload->data, payload->size, &block);
    return rc == HF_OK ? replay->block(replay->context, location, &block)
                       : damaged(store, location, rc, error);
}

/* known: the record at offset has been read before, its entries before `entry` too. */
static int replay_pack(struct hf_store *store, uint64_t number, uint64_t offset, uint32_t entry,
                       bool known, const struct hf_store_replay *replay, struct hf_error *error)
{
    struct pack_cipher cipher = {0};
    struct record_header header;
    struct hf_buf payload = {0};
    int fd = -1;
    struct hf_decompressor *decompressor = hf_decompressor_new();
    int rc = decompressor ? pack_open_file(store, number, O_RDONLY, &fd, &cipher, error)
                          : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to read packs");
    while (rc == HF_OK) {
        rc = pack_read_record(fd, &cipher, offset, &header, &payload);
        if (known && (rc == HF_ERR_NOT_FOUND || (rc == HF_OK && header.type == RECORD_INDEX))) {
            rc = lacks(store, number, offset, error);
            break;
        }
        known = false;
        if (rc == HF_ERR_NOT_FOUND || (rc == HF_OK && header.type == RECORD_INDEX)) {
            rc = HF_OK;
            break;
        }
        if (rc != HF_OK) {
            rc = damaged(store, &(struct hf_location){.pack = number, .offset = offset}, rc, error);
            break;
        }
        struct hf_location location = {.pack = number,
                                       .offset = offset,
                                       .entry = entry,
                                       .size = RECORD_HEADER_BYTES + header.size};
        entry = 0;
        rc = header.type == RECORD_BLOCK
                 ? replay_block(store, &header, &payload, &location, replay, error)
                 : replay_entries(store, decompressor, &header, &payload, &location, replay, error);
        offset += location.size;
    }
    hf_decompressor_free(decompressor);
    hf_buf_free(&payload);
    pack_cipher_close(&cipher);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

int store_replay(struct hf_store *store, const struct hf_location *from,
                 const struct hf_store_replay *replay, struct hf_error *error)
{
    int rc = HF_OK;
    bool from_record = from->pack > 0 && from->offset >= PACK_HEADER_BYTES;
    bool found = !from_record;
    for (size_t i = 0; i < store->number_count && rc == HF_OK; i++) {
        uint64_t number = store->numbers[i];
        if (number < from->pack) {
            continue;
        }
        if (!found && number != from->pack) {
            break;
        }
        found = true;
        bool known = from_record && number == from->pack;
        rc = replay_pack(store, number, known ? from->offset : PACK_HEADER_BYTES,
                         known ? from->entry : 0, known, replay, error);
    }
    return rc == HF_OK && !found ? lacks(store, from->pack, from->offset, error) : rc;
}
