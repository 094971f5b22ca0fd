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

/* known: the record at offset has been read before. */
static int replay_pack(struct hf_store *store, uint64_t number, uint64_t offset, bool known,
                       const struct hf_store_replay *replay, struct hf_error *error)
{
    struct pack_cipher cipher = {0};
    struct record_header header;
    struct hf_buf payload = {0};
    int fd = -1;
    int rc = pack_open_file(store, number, O_RDONLY, &fd, &cipher, error);
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
            rc = hf_error_set(
                error, rc, 0,
                "Pack %llu of %s is damaged at offset %llu: what follows in it can't be "
                "read. Restore the file from a replica",
                (unsigned long long)number, store->directory, (unsigned long long)offset);
            break;
        }
        struct hf_location location = {
            .pack = number, .offset = offset, .size = RECORD_HEADER_BYTES + header.size};
        rc = header.type == RECORD_CHUNK
                 ? replay->chunk(replay->context, payload.data, &location, header.codec,
                                 header.plain_size, hf_get_le64(payload.data + HF_HASH_BYTES))
                 : replay->journal(replay->context, &location, payload.data, payload.size);
        offset += location.size;
    }
    hf_buf_free(&payload);
    pack_cipher_close(&cipher);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

int store_replay(struct hf_store *store, uint64_t from_pack, uint64_t from_offset,
                 const struct hf_store_replay *replay, struct hf_error *error)
{
    int rc = HF_OK;
    bool from_record = from_pack > 0 && from_offset >= PACK_HEADER_BYTES;
    bool found = !from_record;
    for (size_t i = 0; i < store->number_count && rc == HF_OK; i++) {
        uint64_t number = store->numbers[i];
        if (number < from_pack) {
            continue;
        }
        if (!found && number != from_pack) {
            break;
        }
        found = true;
        bool known = from_record && number == from_pack;
        rc = replay_pack(store, number, known ? from_offset : PACK_HEADER_BYTES, known, replay,
                         error);
    }
    return rc == HF_OK && !found ? lacks(store, from_pack, from_offset, error) : rc;
}
