#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"

#define OPEN_PACKS 32 /* file descriptors and subkeys kept a reader */
/* Linux reads no more for one hint than its read-ahead window, which is 128 KiB unless it was set
 * (mm/readahead.c, force_page_cache_ra). */
#define AHEAD_BYTES 131072u
#define AHEAD_GAP                                                                                  \
    65536u             /* reading so much for nothing costs less than another request of the disk */
#define DECODED      4 /* blocks kept a reader: those that go on being asked for, and their aids */
#define DICTIONARIES 4 /* kept a reader */

struct open_file {
    uint64_t number; /* 0: free */
    uint64_t used;   /* for finding the one that was not used for longest */
    int fd;
    struct pack_cipher cipher;
};

struct decoded {
    uint64_t pack, offset; /* of its record; pack 0: free */
    uint64_t used;
    struct hf_buf plain;
};

struct kept_dictionary {
    uint64_t used; /* 0: free */
    uint8_t id[HF_HASH_BYTES];
    struct hf_buf bytes;
};

struct hf_store_reader {
    struct hf_store *store;
    struct hf_store_resolver resolver;
    struct open_file files[OPEN_PACKS];
    struct decoded decoded[DECODED];
    struct kept_dictionary dictionaries[DICTIONARIES];
    uint64_t clock;
    struct hf_buf payload;
    struct hf_decompressor *decompressor;
};

int store_reader_new(struct hf_store *store, struct hf_store_resolver resolver,
                     struct hf_store_reader **out, struct hf_error *error)
{
    struct hf_store_reader *reader = calloc(1, sizeof *reader);
    if (reader) {
        reader->store = store;
        reader->resolver = resolver;
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
        for (size_t i = 0; i < DECODED; i++) {
            hf_buf_free(&reader->decoded[i].plain);
        }
        for (size_t i = 0; i < DICTIONARIES; i++) {
            hf_buf_free(&reader->dictionaries[i].bytes);
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

/* name: of the chunk, or of the block. */
static int corrupt(const struct hf_store_reader *reader, const struct hf_location *location,
                   const char *name, const char *what, struct hf_error *error)
{
    return hf_error_set(error, HF_ERR_CORRUPT, 0, "%s in pack %llu of %s at offset %llu %s", name,
                        (unsigned long long)location->pack, reader->store->directory,
                        (unsigned long long)location->offset, what);
}

/* Read and decrypt a block's record; its views are into reader->payload. */
static int read_stored(struct hf_store_reader *reader, const struct hf_location *location,
                       struct hf_stored_block *out, struct hf_error *error)
{
    struct record_header header;
    struct open_file *file = NULL;
    int rc = find_file(reader, location->pack, &file, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = pack_read_record(file->fd, &file->cipher, location->offset, &header, &reader->payload);
    if (rc == HF_ERR_CORRUPT || rc == HF_ERR_NOT_FOUND) {
        return corrupt(reader, location, "A block", "is damaged on disk", error);
    }
    if (rc != HF_OK) {
        return hf_error_set(error, rc, 0, "Can't read pack %llu",
                            (unsigned long long)location->pack);
    }
    if (header.type != RECORD_BLOCK ||
        block_decode(&header, reader->payload.data, reader->payload.size, out) != HF_OK) {
        return corrupt(reader, location, "A block", "is not there: another record is", error);
    }
    return HF_OK;
}

/* Whether the record belongs to the stretch that ends there. */
static bool continues(const struct hf_location *last, uint64_t end, const struct hf_location *next)
{
    return next->pack == last->pack && next->offset >= last->offset &&
           next->offset <= end + AHEAD_GAP;
}

void store_read_ahead(struct hf_store_reader *reader, const struct hf_location *places,
                      size_t count)
{
    for (size_t i = 0; i < count;) {
        const struct hf_location *first = &places[i];
        uint64_t end = first->offset;
        do {
            uint64_t its_end = places[i].offset + places[i].size;
            end = its_end > end ? its_end : end;
            i++;
        } while (i < count && continues(&places[i - 1], end, &places[i]));
        struct open_file *file = NULL;
        struct hf_error ignored = {0};
        bool found = find_file(reader, first->pack, &file, &ignored) == HF_OK;
        for (uint64_t at = first->offset; found && at < end; at += AHEAD_BYTES) {
            uint64_t size = end - at < AHEAD_BYTES ? end - at : AHEAD_BYTES;
            (void)posix_fadvise(file->fd, (off_t)at, (off_t)size, POSIX_FADV_WILLNEED);
        }
    }
}

int store_read_block(struct hf_store_reader *reader, const struct hf_location *location,
                     struct hf_stored_block *out, struct hf_error *error)
{
    return read_stored(reader, location, out, error);
}

int store_read_dictionary(struct hf_store_reader *reader, const uint8_t id[HF_HASH_BYTES],
                          struct hf_bytes *bytes, struct hf_error *error)
{
    struct kept_dictionary *oldest = &reader->dictionaries[0];
    uint8_t hash[HF_HASH_BYTES];
    for (size_t i = 0; i < DICTIONARIES; i++) {
        struct kept_dictionary *kept = &reader->dictionaries[i];
        if (kept->used && memcmp(kept->id, id, HF_HASH_BYTES) == 0) {
            kept->used = ++reader->clock;
            *bytes = (struct hf_bytes){kept->bytes.data, kept->bytes.size};
            return HF_OK;
        }
        oldest = kept->used < oldest->used ? kept : oldest;
    }
    hf_buf_clear(&oldest->bytes);
    oldest->used = 0;
    int rc = reader->resolver.dictionary(reader->resolver.context, id, &oldest->bytes, error);
    if (rc != HF_OK) {
        return rc;
    }
    hf_sha256(oldest->bytes.data, oldest->bytes.size, hash);
    if (memcmp(hash, id, HF_HASH_BYTES) != 0) {
        return hf_error_set(error, HF_ERR_CORRUPT, 0,
                            "A dictionary of the catalog is not what its id says: move the catalog "
                            "away, and it will be made anew from the packs");
    }
    memcpy(oldest->id, id, HF_HASH_BYTES);
    oldest->used = ++reader->clock;
    *bytes = (struct hf_bytes){oldest->bytes.data, oldest->bytes.size};
    return HF_OK;
}

static struct decoded *find_decoded(struct hf_store_reader *reader,
                                    const struct hf_location *location)
{
    for (size_t i = 0; i < DECODED; i++) {
        struct decoded *decoded = &reader->decoded[i];
        if (decoded->pack == location->pack && decoded->offset == location->offset) {
            decoded->used = ++reader->clock;
            return decoded;
        }
    }
    return NULL;
}

static struct decoded *oldest_decoded(struct hf_store_reader *reader)
{
    struct decoded *oldest = &reader->decoded[0];
    for (size_t i = 1; i < DECODED; i++) {
        if (reader->decoded[i].used < oldest->used) {
            oldest = &reader->decoded[i];
        }
    }
    return oldest;
}

static int decode_block(struct hf_store_reader *reader, const struct hf_location *location,
                        unsigned depth, struct decoded **out, struct hf_error *error);

/* The content that a block was compressed against. */
static int read_aid(struct hf_store_reader *reader, const uint8_t *id, unsigned depth,
                    struct hf_buf *aid, struct hf_error *error)
{
    struct hf_place place = {0};
    struct decoded *decoded = NULL;
    int rc = reader->resolver.find(reader->resolver.context, id, &place, error);
    rc = rc == HF_OK ? decode_block(reader, &place.location, depth, &decoded, error) : rc;
    if (rc == HF_OK && (place.position > decoded->plain.size ||
                        place.size > decoded->plain.size - place.position)) {
        rc = corrupt(reader, &place.location, "A block", "is shorter than what it holds", error);
    }
    if (rc == HF_OK &&
        hf_buf_append(aid, decoded->plain.data + place.position, place.size) != HF_OK) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for a block");
    }
    return rc;
}

static int decode_anew(struct hf_store_reader *reader, const struct hf_location *location,
                       const struct hf_block *block, struct hf_bytes aid, struct decoded **out,
                       struct hf_error *error)
{
    struct decoded *decoded = oldest_decoded(reader);
    uint8_t *plain = NULL;
    hf_buf_clear(&decoded->plain);
    decoded->pack = 0;
    if (hf_buf_extend(&decoded->plain, hf_block_plain_size(block), &plain) != HF_OK) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for a block");
    }
    if (hf_block_decode(block, reader->decompressor, aid, plain) != HF_OK) {
        return corrupt(reader, location, "A block", "does not have its content", error);
    }
    decoded->pack = location->pack;
    decoded->offset = location->offset;
    decoded->used = ++reader->clock;
    *out = decoded;
    return HF_OK;
}

/* depth: how many aids may still be behind it. */
static int decode_block(struct hf_store_reader *reader, const struct hf_location *location,
                        unsigned depth, struct decoded **out, struct hf_error *error)
{
    struct hf_stored_block stored = {0};
    struct hf_bytes dictionary = {0};
    struct hf_buf aid = {0};
    *out = find_decoded(reader, location);
    if (*out) {
        return HF_OK;
    }
    int rc = read_stored(reader, location, &stored, error);
    if (rc == HF_OK && stored.block.codec == HF_CODEC_DICTIONARY) {
        rc = store_read_dictionary(reader, stored.block.aid.data, &dictionary, error);
    }
    if (rc == HF_ERR_NOT_FOUND) {
        return corrupt(reader, location, "A block", "needs a dictionary that no journal entry has",
                       error);
    }
    if (rc != HF_OK || stored.block.codec != HF_CODEC_DELTA) {
        return rc == HF_OK ? decode_anew(reader, location, &stored.block, dictionary, out, error)
                           : rc;
    }
    if (depth == 0) {
        return corrupt(reader, location, "A block", "stands on more others than it may", error);
    }
    /* What it stands on is read with the same reader: its own bytes have to be out of the way. */
    struct hf_buf payload = reader->payload;
    reader->payload = (struct hf_buf){0};
    rc = read_aid(reader, stored.block.aid.data, depth - 1, &aid, error);
    struct hf_bytes content = {aid.data, aid.size};
    rc = rc == HF_OK ? decode_anew(reader, location, &stored.block, content, out, error) : rc;
    hf_buf_free(&reader->payload);
    reader->payload = payload;
    hf_buf_free(&aid);
    return rc;
}

int store_read_chunk(struct hf_store_reader *reader, const struct hf_place *place,
                     const uint8_t id[HF_HASH_BYTES], struct hf_buf *plain, struct hf_error *error)
{
    uint8_t hash[HF_HASH_BYTES];
    char name[8 + 16 + 1] = "Chunk ";
    struct decoded *decoded = NULL;
    hf_hex_encode(id, 8, name + 6);
    int rc = decode_block(reader, &place->location, HF_STORE_DEPTH_MAX, &decoded, error);
    if (rc != HF_OK) {
        return hf_error_prefix(error, "%s", name);
    }
    if (place->position > decoded->plain.size ||
        place->size > decoded->plain.size - place->position) {
        return corrupt(reader, &place->location, name, "is not there: another block is", error);
    }
    const uint8_t *content = decoded->plain.data + place->position;
    hf_sha256(content, place->size, hash);
    if (memcmp(hash, id, HF_HASH_BYTES) != 0) {
        return corrupt(reader, &place->location, name, "does not have its content", error);
    }
    rc = hf_buf_append(plain, content, place->size);
    return rc == HF_OK ? rc : hf_error_set(error, rc, 0, "No memory for a chunk");
}
