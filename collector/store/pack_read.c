#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"
#include "common/fs.h"

/* HF_ERR_NOT_FOUND when not one byte is there, HF_ERR_CORRUPT when some are missing. */
static int read_at(int fd, void *out, size_t size, uint64_t offset)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = pread(fd, (uint8_t *)out + got, size - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return HF_ERR_IO;
        }
        if (n == 0) {
            return got == 0 ? HF_ERR_NOT_FOUND : HF_ERR_CORRUPT;
        }
        got += (size_t)n;
    }
    return HF_OK;
}

int pack_open_file(const struct hf_store *store, uint64_t number, int flags, int *fd,
                   struct pack_cipher *cipher, struct hf_error *error)
{
    char name[PACK_NAME_BYTES];
    uint8_t bytes[PACK_HEADER_BYTES];
    struct pack_header header = {0};
    pack_name(number, name);
    *fd = openat(store->directory_fd, name, flags | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0) {
        int saved = errno;
        return hf_error_set(error, saved == ENOENT ? HF_ERR_NOT_FOUND : HF_ERR_IO, saved,
                            "Can't open pack %s/%s", store->directory, name);
    }
    int rc = read_at(*fd, bytes, sizeof bytes, 0);
    if (rc != HF_OK) {
        rc = hf_error_set(error, rc == HF_ERR_IO ? rc : HF_ERR_CORRUPT, 0, "its header is cut off");
    } else {
        rc = pack_header_decode(bytes, &header, error);
    }
    if (rc == HF_OK && (header.number != number ||
                        memcmp(header.repository, store->repository, PACK_ID_BYTES) != 0)) {
        rc = hf_error_set(error, HF_ERR_CORRUPT, 0, "it belongs to another place or repository");
    }
    if (rc == HF_OK) {
        rc = pack_cipher_open(cipher, store->key, bytes);
    }
    if (rc != HF_OK) {
        hf_error_prefix(error, "Pack %s/%s", store->directory, name);
        close(*fd);
        *fd = -1;
    }
    return rc;
}

int pack_read_record(int fd, struct pack_cipher *cipher, uint64_t offset,
                     struct record_header *header, struct hf_buf *payload)
{
    uint8_t bytes[RECORD_HEADER_BYTES];
    uint8_t *data = NULL;
    int rc = read_at(fd, bytes, sizeof bytes, offset);
    if (rc != HF_OK) {
        return rc;
    }
    if (memcmp(bytes, PACK_TRAILER_MAGIC, 8) == 0) {
        return HF_ERR_NOT_FOUND;
    }
    rc = record_header_decode(bytes, header);
    if (rc != HF_OK) {
        return rc;
    }
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return HF_ERR_IO;
    }
    if ((uint64_t)status.st_size - offset < RECORD_HEADER_BYTES ||
        header->size > (uint64_t)status.st_size - offset - RECORD_HEADER_BYTES) {
        return HF_ERR_CORRUPT; /* checked before memory is taken for it */
    }
    hf_buf_clear(payload);
    rc = hf_buf_extend(payload, header->size, &data);
    if (rc == HF_OK) {
        rc = read_at(fd, data, header->size, offset + RECORD_HEADER_BYTES);
        rc = rc == HF_ERR_NOT_FOUND ? HF_ERR_CORRUPT : rc;
    }
    if (rc == HF_OK) {
        rc = pack_cipher_unseal(cipher, offset, bytes, data, header->size, data);
        payload->size -= HF_AEAD_TAG_BYTES;
    }
    return rc;
}

int pack_find_seal(int fd, uint64_t *index_offset)
{
    struct stat status;
    uint8_t trailer[PACK_TRAILER_BYTES];
    if (fstat(fd, &status) != 0) {
        return HF_ERR_IO;
    }
    if (status.st_size < (off_t)(PACK_HEADER_BYTES + PACK_TRAILER_BYTES)) {
        return HF_ERR_NOT_FOUND;
    }
    uint64_t at = (uint64_t)status.st_size - PACK_TRAILER_BYTES;
    int rc = read_at(fd, trailer, sizeof trailer, at);
    if (rc != HF_OK) {
        return rc == HF_ERR_IO ? rc : HF_ERR_NOT_FOUND;
    }
    *index_offset = hf_get_le64(trailer + 8);
    return memcmp(trailer, PACK_TRAILER_MAGIC, 8) == 0 && *index_offset >= PACK_HEADER_BYTES &&
                   *index_offset < at
               ? HF_OK
               : HF_ERR_NOT_FOUND;
}
