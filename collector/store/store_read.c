#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"

#define OPEN_PACKS 32 /* file descriptors and subkeys kept a reader */

struct open_file {
    uint64_t number; /* 0: free */
    uint64_t used;   /* for finding the one that was not used for longest */
    int fd;
    struct pack_cipher cipher;
};

struct hf_store_reader {
    struct hf_store *store;
    struct open_file files[OPEN_PACKS];
    uint64_t clock;
    struct hf_buf payload;
    struct hf_decompressor *decompressor;
};

int store_reader_new(struct hf_store *store, struct hf_store_reader **out, struct hf_error *error)
{
    struct hf_store_reader *reader = calloc(1, sizeof *reader);
    if (reader) {
        reader->store = store;
        reader->decompressor = hf_decompressor_new();
    }
    if (!reader || !reader->decompressor) {
        free(reader);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to read the repository");
    }
    *out = reader;
    return HF_OK;
}

static void close_file(struct open_file *file)
{
    if (file->number != 0) {
        close(file->fd);
        pack_cipher_close(&file->cipher);
        file->number = 0;
    }
}

void store_reader_free(struct hf_store_reader *reader)
{
    if (reader) {
        for (size_t i = 0; i < OPEN_PACKS; i++) {
            close_file(&reader->files[i]);
        }
        hf_buf_free(&reader->payload);
        hf_decompressor_free(reader->decompressor);
        free(reader);
    }
}

static int find_file(struct hf_store_reader *reader, uint64_t number, struct open_file **out,
                     struct hf_error *error)
{
    struct open_file *oldest = &reader->files[0];
    for (size_t i = 0; i < OPEN_PACKS; i++) {
        struct open_file *file = &reader->files[i];
        if (file->number == number) {
            file->used = ++reader->clock;
            *out = file;
            return HF_OK;
        }
        if (file->number == 0 || (oldest->number != 0 && file->used < oldest->used)) {
            oldest = file;
        }
    }
    close_file(oldest);
    int rc = pack_open_file(reader->store, number, O_RDONLY, &oldest->fd, &oldest->cipher, error);
    if (rc == HF_OK) {
        oldest->number = number;
        oldest->used = ++reader->clock;
        *out = oldest;
    }
    return rc;
}

static int corrupt(const struct hf_store_reader *reader, const struct hf_location *location,
                   const uint8_t id[HF_HASH_BYTES], const char *what, struct hf_error *error)
{
    char text[2 * HF_HASH_BYTES + 1];
    hf_hex_encode(id, HF_HASH_BYTES, text);
    return hf_error_set(error, HF_ERR_CORRUPT, 0,
                        "Chunk %.16s in pack %llu of %s at offset %llu %s", text,
                        (unsigned long long)location->pack, reader->store->directory,
                        (unsigned long long)location->offset, what);
}

/* Read and decrypt the chunk's record into reader->payload. */
static int read_record(struct hf_store_reader *reader, const struct hf_location *location,
                       const uint8_t id[HF_HASH_BYTES], struct record_header *header,
                       struct hf_error *error)
{
    struct open_file *file = NULL;
    int rc = find_file(reader, location->pack, &file, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = pack_read_record(file->fd, &file->cipher, location->offset, header, &reader->payload);
    if (rc == HF_ERR_CORRUPT || rc == HF_ERR_NOT_FOUND) {
        return corrupt(reader, location, id, "is damaged on disk", error);
    }
    if (rc != HF_OK) {
        return hf_error_set(error, rc, 0, "Can't read pack %llu",
                            (unsigned long long)location->pack);
    }
    if (header->type != RECORD_CHUNK || memcmp(reader->payload.data, id, HF_HASH_BYTES) != 0) {
        return corrupt(reader, location, id, "is not there: another record is", error);
    }
    return HF_OK;
}

int store_read_stored(struct hf_store_reader *reader, const struct hf_location *location,
                      const uint8_t id[HF_HASH_BYTES], enum hf_codec *codec, uint32_t *plain_size,
                      struct hf_buf *stored, struct hf_error *error)
{
    struct record_header header;
    int rc = read_record(reader, location, id, &header, error);
    if (rc != HF_OK) {
        return rc;
    }
    *codec = header.codec;
    *plain_size = header.plain_size;
    rc = hf_buf_append(stored, reader->payload.data + CHUNK_PREFIX_BYTES,
                       reader->payload.size - CHUNK_PREFIX_BYTES);
    return rc == HF_OK ? rc : hf_error_set(error, rc, 0, "No memory for a chunk");
}

int store_read_chunk(struct hf_store_reader *reader, const struct hf_location *location,
                     const uint8_t id[HF_HASH_BYTES], struct hf_buf *plain, struct hf_error *error)
{
    struct record_header header;
    uint8_t hash[HF_HASH_BYTES];
    uint8_t *out = NULL;
    int rc = read_record(reader, location, id, &header, error);
    if (rc != HF_OK) {
        return rc;
    }
    size_t start = plain->size;
    rc = hf_buf_extend(plain, header.plain_size, &out);
    if (rc != HF_OK) {
        return hf_error_set(error, rc, 0, "No memory for a chunk of %u bytes", header.plain_size);
    }
    rc =
        hf_decompress(reader->decompressor, header.codec, reader->payload.data + CHUNK_PREFIX_BYTES,
                      reader->payload.size - CHUNK_PREFIX_BYTES, out, header.plain_size);
    if (rc == HF_OK) {
        hf_sha256(out, header.plain_size, hash);
        rc = memcmp(hash, id, HF_HASH_BYTES) == 0 ? HF_OK : HF_ERR_CORRUPT;
    }
    if (rc != HF_OK) {
        plain->size = start;
        return corrupt(reader, location, id, "does not have its content", error);
    }
    return HF_OK;
}
