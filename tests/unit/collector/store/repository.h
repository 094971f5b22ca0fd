/* A repository of its own for each test of the store. */
#ifndef HF_TEST_REPOSITORY_H
#define HF_TEST_REPOSITORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/store/pack_format.h"
#include "common/bytes.h"

#define RECORDS_MAX 64
static const uint8_t key[HF_STORE_KEY_BYTES] = {1, 2, 3};

struct record {
    uint8_t id[HF_CHUNK_REF_BYTES]; /* of a block its one reference */
    uint8_t data[600];
    size_t size;
    bool journal;
    struct hf_location location;
};

struct repository {
    char directory[64];
    struct hf_store *store;
    struct record records[RECORDS_MAX];
    size_t count;
    struct hf_location durable; /* what is told to store_open */
};

static inline int remove_entry(const char *path, const struct stat *status, int flag,
                               struct FTW *ftw)
{
    (void)status;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int try_open(struct repository *repository, uint64_t target_bytes,
                           struct hf_error *error)
{
    struct hf_store_options options = {.directory = repository->directory,
                                       .key = key,
                                       .pack_target_bytes = target_bytes,
                                       .durable_pack = repository->durable.pack,
                                       .durable_offset = repository->durable.offset};
    *error = (struct hf_error){0};
    return store_open(&options, &repository->store, error);
}

static inline void open_again(struct repository *repository)
{
    struct hf_error error;
    if (try_open(repository, 0, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static inline void repository_new(struct repository *repository)
{
    struct hf_error error = {0};
    *repository = (struct repository){0};
    strcpy(repository->directory, "/tmp/holdfast-store-XXXXXX");
    assert_non_null(mkdtemp(repository->directory));
    assert_int_equal(rmdir(repository->directory), 0);
    assert_int_equal(store_create(repository->directory, key, &error), HF_OK);
}

static inline void repository_free(struct repository *repository)
{
    store_close(repository->store);
    assert_int_equal(nftw(repository->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline int append(struct repository *repository, size_t size, bool journal)
{
    struct record *record = &repository->records[repository->count];
    struct hf_error error = {0};
    assert_in_range(repository->count, 0, RECORDS_MAX - 1);
    *record = (struct record){.size = size, .journal = journal};
    memset(record->data, (int)repository->count + 1, size);
    hf_sha256(record->data, size, record->id);
    hf_put_le32(record->id + HF_HASH_BYTES, (uint32_t)size);
    struct hf_block block = {.chunks = {record->id, HF_CHUNK_REF_BYTES},
                             .data = {record->data, size}};
    int rc =
        journal
            ? store_append_journal(repository->store, record->data, size, &record->location, &error)
            : store_append_block(repository->store, 7, 0, &block, &record->location, &error);
    repository->count += rc == HF_OK;
    return rc;
}

static inline void sync_all(struct repository *repository)
{
    struct hf_error error = {0};
    if (store_sync(repository->store, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

/* Blocks of these tests stand on nothing. */
static inline int find_nothing(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                               struct hf_error *error)
{
    (void)context, (void)id, (void)out;
    return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no such chunk");
}

static inline int read_record(struct repository *repository, const struct record *record)
{
    struct hf_store_reader *reader = NULL;
    struct hf_buf plain = {0};
    struct hf_error error = {0};
    struct hf_store_resolver resolver = {.find = find_nothing};
    struct hf_place place = {.location = record->location, .size = (uint32_t)record->size};
    assert_int_equal(store_reader_new(repository->store, resolver, &reader, &error), HF_OK);
    int rc = store_read_chunk(reader, &place, record->id, &plain, &error);
    if (rc == HF_OK) {
        assert_int_equal(plain.size, record->size);
        assert_memory_equal(plain.data, record->data, record->size);
    } else {
        assert_true(error.message[0] != '\0');
    }
    hf_buf_free(&plain);
    store_reader_free(reader);
    return rc;
}

/* What a replay finds, in order, has to be the records from the first on. */
struct walk {
    struct repository *repository;
    size_t at;
};

static inline int walk_block(void *context, const struct hf_location *location,
                             const struct hf_stored_block *stored)
{
    struct walk *walk = context;
    const struct record *record = &walk->repository->records[walk->at++];
    assert_false(record->journal);
    assert_int_equal(stored->block.chunks.size, HF_CHUNK_REF_BYTES);
    assert_memory_equal(stored->block.chunks.data, record->id, HF_CHUNK_REF_BYTES);
    assert_int_equal(location->offset, record->location.offset);
    assert_int_equal(location->size, record->location.size);
    assert_int_equal(stored->owner, 7);
    assert_int_equal(stored->depth, 0);
    return 0;
}

static inline int walk_journal(void *context, const struct hf_location *location,
                               const uint8_t *data, size_t size)
{
    struct walk *walk = context;
    const struct record *record = &walk->repository->records[walk->at++];
    assert_true(record->journal);
    assert_int_equal(location->offset, record->location.offset);
    assert_int_equal(location->entry, record->location.entry);
    assert_int_equal(size, record->size);
    assert_memory_equal(data, record->data, size);
    return 0;
}

static inline int replay(struct repository *repository, size_t *found)
{
    struct walk walk = {.repository = repository};
    struct hf_store_replay replay = {
        .context = &walk, .block = walk_block, .journal = walk_journal};
    struct hf_location from = {.pack = 1};
    struct hf_error error = {0};
    int rc = store_replay(repository->store, &from, &replay, &error);
    *found = walk.at;
    return rc;
}

static inline char *pack_path(const struct repository *repository, unsigned number)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/packs/%016x.pack", repository->directory, number);
    return path;
}

static inline struct hf_buf slurp(const char *path)
{
    struct hf_buf buf = {0};
    struct stat status;
    uint8_t *data = NULL;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(hf_buf_extend(&buf, (size_t)status.st_size, &data), HF_OK);
    assert_int_equal(read(fd, buf.data, buf.size), status.st_size);
    close(fd);
    return buf;
}

static inline void spill(const char *path, const uint8_t *data, size_t size)
{
    chmod(path, 0600); /* sealed packs are read-only */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
}

#endif
