#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"
#include "common/fs.h"

int index_append(struct hf_buf *index, uint64_t offset, uint32_t size)
{
    uint8_t *entry = NULL;
    int rc = hf_buf_extend(index, INDEX_ENTRY_BYTES, &entry);
    if (rc == HF_OK) {
        hf_put_le64(entry, offset);
        hf_put_le32(entry + 8, size);
    }
    return rc;
}

static int write_at(int fd, const struct hf_buf *bytes, uint64_t offset, struct hf_error *error)
{
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "Can't seek in a pack");
    }
    return hf_write_all(fd, bytes->data, bytes->size, error);
}

int pack_write_seal(int fd, struct pack_cipher *cipher, uint64_t size, const struct hf_buf *index,
                    struct hf_hash *hash, struct hf_error *error)
{
    struct record_header header = {.size = (uint32_t)(index->size + HF_AEAD_TAG_BYTES),
                                   .type = RECORD_INDEX};
    struct hf_buf tail = {0};
    uint8_t *out = NULL;
    uint8_t trailer[PACK_TRAILER_BYTES];
    int rc = hf_buf_extend(&tail, RECORD_HEADER_BYTES + header.size, &out);
    if (rc == HF_OK) {
        record_header_encode(&header, out);
        rc = pack_cipher_seal(cipher, size, out, index->size ? index->data : out, index->size,
                              out + RECORD_HEADER_BYTES);
    }
    if (rc == HF_OK) {
        hf_hash_update(hash, tail.data, tail.size);
        memcpy(trailer, PACK_TRAILER_MAGIC, 8); /* NOLINT(bugprone-not-null-terminated-result) */
        hf_put_le64(trailer + 8, size);
        hf_hash_final(hash, trailer + 16);
        rc = hf_buf_append(&tail, trailer, sizeof trailer);
    }
    if (rc == HF_OK) {
        rc = write_at(fd, &tail, size, error);
    } else {
        hf_error_set(error, rc, 0, "Can't make a pack's index");
    }
    if (rc == HF_OK && fsync(fd) != 0) {
        rc = hf_error_set(error, HF_ERR_IO, errno, "Can't write a pack's seal to disk");
    }
    hf_buf_free(&tail);
    return rc;
}

int pack_hash_file(int fd, uint64_t size, struct hf_hash *hash, struct hf_error *error)
{
    static const size_t step = 1024 * 1024;
    struct hf_buf buf = {0};
    uint8_t *bytes = NULL;
    int rc = hf_buf_extend(&buf, step, &bytes);
    for (uint64_t at = 0; rc == HF_OK && at < size;) {
        size_t part = size - at < step ? (size_t)(size - at) : step;
        rc = hf_pread_all(fd, bytes, part, at, error);
        if (rc == HF_OK) {
            hf_hash_update(hash, bytes, part);
            at += part;
        }
    }
    hf_buf_free(&buf);
    return rc;
}

/* What the hash does not cover: the seal's own word of where the index is. */
static bool index_ends_at(int fd, uint64_t index_offset, uint64_t end)
{
    uint8_t bytes[RECORD_HEADER_BYTES];
    struct record_header header;
    return index_offset <= end && end - index_offset >= RECORD_HEADER_BYTES &&
           hf_pread_all(fd, bytes, sizeof bytes, index_offset, NULL) == HF_OK &&
           record_header_decode(bytes, &header) == HF_OK && header.type == RECORD_INDEX &&
           end - index_offset == RECORD_HEADER_BYTES + (uint64_t)header.size;
}

int store_verify_pack(struct hf_store *store, uint64_t pack, struct hf_error *error)
{
    struct pack_cipher cipher = {0};
    uint8_t expected[HF_HASH_BYTES];
    uint8_t actual[HF_HASH_BYTES];
    uint64_t index_offset = 0;
    struct stat status;
    int fd = -1;
    int rc = pack_open_file(store, pack, O_RDONLY, &fd, &cipher, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_hash *hash = hf_hash_new();
    int seal = pack_find_seal(fd, &index_offset);
    if (!hash || fstat(fd, &status) != 0 || seal == HF_ERR_IO) {
        rc = hf_error_set(error, HF_ERR_IO, 0, "Can't verify pack %llu", (unsigned long long)pack);
    } else if (seal != HF_OK) {
        rc = hf_error_set(error, HF_ERR_CORRUPT, 0,
                          "Pack %llu has no seal: it is being written, or was found damaged",
                          (unsigned long long)pack);
    } else {
        uint64_t size = (uint64_t)status.st_size - PACK_TRAILER_BYTES;
        rc = pack_hash_file(fd, size, hash, error);
        rc = rc == HF_OK ? hf_pread_all(fd, expected, sizeof expected, size + 16, error) : rc;
        hf_hash_final(hash, actual);
        if (rc == HF_OK && (memcmp(expected, actual, sizeof actual) != 0 ||
                            !index_ends_at(fd, index_offset, size))) {
            rc = hf_error_set(error, HF_ERR_CORRUPT, 0,
                              "Pack %llu was changed on disk: its hash is not the one of its seal",
                              (unsigned long long)pack);
        }
    }
    hf_hash_free(hash);
    pack_cipher_close(&cipher);
    close(fd);
    return rc;
}
