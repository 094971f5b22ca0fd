/* The repository keeps what was synced, serves nothing else, and says what is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int try_open(struct repository *repository, uint64_t target_bytes, struct hf_error *error)
{
    struct hf_store_options options = {.directory = repository->directory,
                                       .key = key,
                                       .pack_target_bytes = target_bytes,
                                       .durable_pack = repository->durable.pack,
                                       .durable_offset = repository->durable.offset};
    *error = (struct hf_error){0};
    return store_open(&options, &repository->store, error);
}

static void open_again(struct repository *repository)
{
    struct hf_error error;
    if (try_open(repository, 0, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static void repository_new(struct repository *repository)
{
    struct hf_error error = {0};
    *repository = (struct repository){0};
    strcpy(repository->directory, "/tmp/holdfast-store-XXXXXX");
    assert_non_null(mkdtemp(repository->directory));
    assert_int_equal(rmdir(repository->directory), 0);
    assert_int_equal(store_create(repository->directory, key, &error), HF_OK);
}

static void repository_free(struct repository *repository)
{
    store_close(repository->store);
    assert_int_equal(nftw(repository->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int append(struct repository *repository, size_t size, bool journal)
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

static void sync_all(struct repository *repository)
{
    struct hf_error error = {0};
    if (store_sync(repository->store, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

/* Blocks of these tests stand on nothing. */
static int find_nothing(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                        struct hf_error *error)
{
    (void)context, (void)id, (void)out;
    return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no such chunk");
}

static int read_record(struct repository *repository, const struct record *record)
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

static int walk_block(void *context, const struct hf_location *location,
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

static int walk_journal(void *context, const struct hf_location *location, const uint8_t *data,
                        size_t size)
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

static int replay(struct repository *repository, size_t *found)
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

static char *pack_path(const struct repository *repository, unsigned number)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/packs/%016x.pack", repository->directory, number);
    return path;
}

static struct hf_buf slurp(const char *path)
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

static void spill(const char *path, const uint8_t *data, size_t size)
{
    chmod(path, 0600); /* sealed packs are read-only */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static void what_was_synced_is_there_again_in_its_order(void **state)
{
    struct repository repository;
    size_t found;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(append(&repository, 20 + 25 * i, i % 3 == 0), HF_OK);
        if (i % 4 == 3) {
            sync_all(&repository);
        }
    }
    for (size_t round = 0; round < 2; round++) {
        store_close(repository.store);
        open_again(&repository);
        assert_int_equal(replay(&repository, &found), HF_OK);
        assert_int_equal(found, 20);
        for (size_t i = 0; i < 20; i++) {
            if (!repository.records[i].journal) {
                assert_int_equal(read_record(&repository, &repository.records[i]), HF_OK);
            }
        }
    }
    repository_free(&repository);
}

static void what_was_not_synced_is_gone(void **state)
{
    struct repository repository;
    size_t found;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    assert_int_equal(append(&repository, 100, false), HF_OK);
    sync_all(&repository);
    assert_int_equal(append(&repository, 100, false), HF_OK);
    store_discard(repository.store);
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, 1);
    repository_free(&repository);
}

/* A crash leaves any beginning of what was written after the last sync, or something else in its
 * place. */
static void a_torn_tail_costs_nothing_that_was_synced(void **state)
{
    struct repository repository;
    size_t found;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(append(&repository, 50, i == 1), HF_OK);
    }
    sync_all(&repository);
    struct hf_buf synced = slurp(pack_path(&repository, 1));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(append(&repository, 70, i == 1), HF_OK);
    }
    sync_all(&repository);
    struct hf_buf all = slurp(pack_path(&repository, 1));
    store_close(repository.store);
    size_t second = (size_t)repository.records[5].location.offset;
    for (size_t cut = synced.size; cut <= all.size; cut++) {
        for (int garbage = 0; garbage < 2; garbage++) {
            struct hf_buf torn = {0};
            assert_int_equal(hf_buf_append(&torn, all.data, cut), HF_OK);
            for (size_t i = 0; garbage && i < 90; i++) {
                assert_int_equal(hf_buf_append_byte(&torn, (uint8_t)(i * 37)), HF_OK);
            }
            spill(pack_path(&repository, 1), torn.data, torn.size);
            hf_buf_free(&torn);
            open_again(&repository);
            assert_int_equal(replay(&repository, &found), HF_OK);
            assert_int_equal(found, cut == all.size ? 6 : cut >= second ? 5 : 4);
            store_close(repository.store);
            repository.store = NULL;
        }
    }
    hf_buf_free(&synced);
    hf_buf_free(&all);
    repository_free(&repository);
}

/* Three groups of two records, unsealed as a crash leaves them. */
static struct hf_buf three_groups(struct repository *repository)
{
    repository_new(repository);
    open_again(repository);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(append(repository, 60, i % 3 == 1), HF_OK);
        if (i % 2 == 1) {
            sync_all(repository);
        }
    }
    struct hf_buf bytes = slurp(pack_path(repository, 1));
    store_close(repository->store);
    repository->store = NULL;
    return bytes;
}

static size_t record_at(const struct repository *repository, uint64_t offset)
{
    size_t i = repository->count - 1;
    while (repository->records[i].location.offset > offset) {
        i--;
    }
    return i;
}

static void expect_all_but(struct repository *repository, size_t lost)
{
    for (size_t i = 0; i < repository->count; i++) {
        if (!repository->records[i].journal) {
            assert_int_equal(read_record(repository, &repository->records[i]),
                             i == lost ? HF_ERR_CORRUPT : HF_OK);
        }
    }
}

static void damage_where_it_was_durable_costs_what_is_damaged_and_nothing_else(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    uint64_t last_group = repository.records[4].location.offset;
    for (uint64_t at = repository.records[0].location.offset; at < bytes.size; at += 3) {
        /* The last group's durability is nobody's word but the caller's. */
        repository.durable =
            at >= last_group ? repository.records[5].location : (struct hf_location){0};
        bytes.data[at] ^= 0x10;
        spill(pack_path(&repository, 1), bytes.data, bytes.size);
        open_again(&repository);
        expect_all_but(&repository, record_at(&repository, at));
        assert_int_equal(store_verify_pack(repository.store, 1, &error), HF_ERR_CORRUPT);
        store_close(repository.store);
        struct hf_buf after = slurp(pack_path(&repository, 1));
        assert_int_equal(after.size, bytes.size);
        assert_memory_equal(after.data, bytes.data, bytes.size);
        hf_buf_free(&after);
        bytes.data[at] ^= 0x10;
    }
    /* What comes later goes into another pack, and the torn tail of a damaged one is cut. */
    bytes.data[repository.records[0].location.offset + 20] ^= 1;
    spill(pack_path(&repository, 1), bytes.data, bytes.size - 3);
    repository.durable = (struct hf_location){0};
    open_again(&repository);
    assert_int_equal(append(&repository, 60, false), HF_OK);
    sync_all(&repository);
    assert_int_equal(repository.records[6].location.pack, 2);
    struct hf_buf after = slurp(pack_path(&repository, 1));
    assert_int_equal(after.size, repository.records[5].location.offset);
    hf_buf_free(&after);
    hf_buf_free(&bytes);
    repository_free(&repository);
}

static void a_group_that_reached_the_disk_in_the_wrong_order_is_gone(void **state)
{
    struct repository repository;
    size_t found;
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    uint64_t hole = repository.records[4].location.offset;
    memset(bytes.data + hole, 0, repository.records[5].location.offset - hole);
    spill(pack_path(&repository, 1), bytes.data, bytes.size);
    hf_buf_free(&bytes);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, 4);
    repository_free(&repository);
}

static int nothing_block(void *context, const struct hf_location *location,
                         const struct hf_stored_block *stored)
{
    (void)context, (void)location, (void)stored;
    return 0;
}

static int nothing_journal(void *context, const struct hf_location *location, const uint8_t *data,
                           size_t size)
{
    (void)context, (void)location, (void)data, (void)size;
    return 0;
}

static void a_repository_that_lacks_what_is_known_is_not_taken_for_whole(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    struct hf_store_replay replay = {.block = nothing_block, .journal = nothing_journal};
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    hf_buf_free(&bytes);
    open_again(&repository);
    struct hf_location from = repository.records[5].location;
    assert_int_equal(store_replay(repository.store, &from, &replay, &error), HF_OK);
    from.offset += from.size;
    assert_int_equal(store_replay(repository.store, &from, &replay, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "Restore it from a replica"));
    from = (struct hf_location){.pack = 2, .offset = PACK_HEADER_BYTES};
    assert_int_equal(store_replay(repository.store, &from, &replay, &error), HF_ERR_CORRUPT);
    repository_free(&repository);
}

static void entries_between_two_blocks_are_one_record_and_replayed_from_any_of_them(void **state)
{
    struct repository repository;
    struct hf_store_stats stats;
    size_t found;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 22; i++) {
        assert_int_equal(append(&repository, 500, i != 10), HF_OK);
    }
    sync_all(&repository);
    for (size_t i = 0; i < 22; i++) {
        const struct hf_location *location = &repository.records[i].location;
        assert_int_equal(location->entry, i < 10 ? i : i > 10 ? i - 11 : 0);
        if (i != 10) {
            assert_int_equal(location->offset, repository.records[i < 10 ? 0 : 11].location.offset);
        }
    }
    store_stats(repository.store, &stats);
    assert_true(stats.bytes < 2500); /* 21 entries of 500 bytes that are alike */
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, 22);
    for (size_t first = 0; first < 22; first++) {
        struct walk walk = {.repository = &repository, .at = first};
        struct hf_store_replay replay = {
            .context = &walk, .block = walk_block, .journal = walk_journal};
        struct hf_error error = {0};
        assert_int_equal(
            store_replay(repository.store, &repository.records[first].location, &replay, &error),
            HF_OK);
        assert_int_equal(walk.at, 22);
    }
    repository_free(&repository);
}

/* Its aid is the chunk of the record that the context names. */
static int find_record(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                       struct hf_error *error)
{
    const struct record *record = context;
    (void)error;
    assert_memory_equal(id, record->id, HF_HASH_BYTES);
    *out = (struct hf_place){.location = record->location, .size = (uint32_t)record->size};
    return HF_OK;
}

static void a_block_that_stands_on_itself_is_damage_and_not_an_endless_road(void **state)
{
    struct repository repository;
    struct hf_store_reader *reader = NULL;
    struct hf_buf plain = {0};
    struct hf_error error = {0};
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    assert_int_equal(append(&repository, 100, false), HF_OK);
    struct record record = repository.records[0];
    struct hf_block block = {.codec = HF_CODEC_DELTA,
                             .aid = {record.id, HF_HASH_BYTES},
                             .chunks = {record.id, HF_CHUNK_REF_BYTES},
                             .data = {record.data, 20}};
    assert_int_equal(store_append_block(repository.store, 7, 1, &block, &record.location, &error),
                     HF_OK);
    sync_all(&repository);
    struct hf_store_resolver resolver = {.find = find_record, .context = &record};
    struct hf_place place = {.location = record.location, .size = (uint32_t)record.size};
    assert_int_equal(store_reader_new(repository.store, resolver, &reader, &error), HF_OK);
    assert_int_equal(store_read_chunk(reader, &place, record.id, &plain, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "stands on more others than it may"));
    store_reader_free(reader);
    hf_buf_free(&plain);
    repository_free(&repository);
}

static void what_is_no_block_is_not_stored(void **state)
{
    struct repository repository;
    struct hf_location location;
    struct hf_error error = {0};
    uint8_t ref[HF_CHUNK_REF_BYTES] = {0};
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    hf_put_le32(ref + HF_HASH_BYTES, 5);
    struct hf_block block = {.chunks = {ref, sizeof ref}, .data = {ref, 5}};
    assert_int_equal(store_append_block(repository.store, 7, 1, &block, &location, &error),
                     HF_ERR_INVALID); /* it stands on nothing */
    block.data.size = 4;
    assert_int_equal(store_append_block(repository.store, 7, 0, &block, &location, &error),
                     HF_ERR_INVALID);
    block.codec = HF_CODEC_DELTA;
    block.aid = (struct hf_bytes){ref, HF_HASH_BYTES};
    assert_int_equal(
        store_append_block(repository.store, 7, HF_STORE_DEPTH_MAX + 1, &block, &location, &error),
        HF_ERR_INVALID);
    assert_int_equal(
        store_append_block(repository.store, 7, HF_STORE_DEPTH_MAX, &block, &location, &error),
        HF_OK);
    repository_free(&repository);
}

static void an_index_never_shares_a_nonce_with_a_record(void **state)
{
    uint8_t header[PACK_HEADER_BYTES] = {0};
    uint8_t record[RECORD_HEADER_BYTES];
    uint8_t plain[32] = {0};
    uint8_t out[3][32 + HF_AEAD_TAG_BYTES];
    static const enum record_type types[] = {RECORD_BLOCK, RECORD_JOURNAL, RECORD_INDEX};
    struct pack_cipher cipher;
    (void)state;
    assert_int_equal(pack_cipher_open(&cipher, key, header), HF_OK);
    for (size_t i = 0; i < 3; i++) {
        record_header_encode(&(struct record_header){.size = 48, .type = types[i]}, record);
        assert_int_equal(pack_cipher_seal(&cipher, 4096, record, plain, sizeof plain, out[i]),
                         HF_OK);
    }
    pack_cipher_close(&cipher);
    /* Zeros encrypt to the key stream, which the nonce decides. */
    assert_memory_equal(out[0], out[1], sizeof plain);
    assert_memory_not_equal(out[0], out[2], sizeof plain);
}

static void no_flipped_bit_is_ever_served_and_every_one_is_found(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(append(&repository, 40, i == 2), HF_OK);
    }
    sync_all(&repository);
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(store_verify_pack(repository.store, 1, &error), HF_OK);
    struct hf_buf pack = slurp(pack_path(&repository, 1));
    for (size_t i = 0; i < pack.size; i++) {
        pack.data[i] ^= (uint8_t)(1u << i % 8);
        spill(pack_path(&repository, 1), pack.data, pack.size);
        pack.data[i] ^= (uint8_t)(1u << i % 8);
        error = (struct hf_error){0};
        assert_int_not_equal(store_verify_pack(repository.store, 1, &error), HF_OK);
        assert_true(error.message[0] != '\0');
        for (size_t j = 0; j < 5; j++) {
            if (!repository.records[j].journal) {
                read_record(&repository, &repository.records[j]); /* the truth, or a refusal */
            }
        }
    }
    hf_buf_free(&pack);
    repository_free(&repository);
}

static void a_chunk_is_not_served_under_anothers_name(void **state)
{
    struct repository repository;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    assert_int_equal(append(&repository, 100, false), HF_OK);
    assert_int_equal(append(&repository, 100, false), HF_OK);
    sync_all(&repository);
    struct record mixed = repository.records[0];
    mixed.location = repository.records[1].location;
    assert_int_equal(read_record(&repository, &mixed), HF_ERR_CORRUPT);
    mixed.location.pack = 99;
    assert_int_not_equal(read_record(&repository, &mixed), HF_OK);
    mixed.location = repository.records[0].location;
    mixed.location.offset++;
    assert_int_not_equal(read_record(&repository, &mixed), HF_OK);
    repository_free(&repository);
}

static void a_full_pack_is_sealed_and_another_one_begun(void **state)
{
    struct repository repository;
    struct hf_store_stats stats;
    struct hf_error error;
    size_t found;
    (void)state;
    repository_new(&repository);
    assert_int_equal(try_open(&repository, 2000, &error), HF_OK);
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(append(&repository, 400, i % 5 == 0), HF_OK);
        sync_all(&repository);
    }
    store_stats(repository.store, &stats);
    assert_true(stats.packs >= 4);
    for (uint64_t pack = 1; pack + 1 < stats.packs; pack++) {
        assert_int_equal(store_verify_pack(repository.store, pack, &error), HF_OK);
    }
    for (size_t i = 0; i < 30; i++) {
        if (!repository.records[i].journal) {
            assert_int_equal(read_record(&repository, &repository.records[i]), HF_OK);
        }
    }
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, 30);
    repository_free(&repository);
}

static void another_key_a_second_process_and_a_later_format_are_told_apart(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    char path[128];
    uint8_t other[HF_STORE_KEY_BYTES] = {9};
    struct hf_store *second = NULL;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    struct hf_store_options options = {.directory = repository.directory, .key = key};
    assert_int_equal(store_open(&options, &second, &error), HF_ERR_AGAIN);
    assert_true(error.message[0] != '\0');
    store_close(repository.store);
    repository.store = NULL;
    options.key = other;
    assert_int_equal(store_open(&options, &second, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "key"));
    snprintf(path, sizeof path, "%s/config", repository.directory);
    struct hf_buf config = slurp(path);
    assert_int_equal(hf_buf_terminate(&config), HF_OK);
    char *format = strstr((char *)config.data, "format = 2");
    assert_non_null(format);
    memcpy(format, "format = 3", 10);
    spill(path, config.data, config.size);
    options.key = key;
    assert_int_equal(store_open(&options, &second, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    memcpy(format, "format = 1", 10);
    spill(path, config.data, config.size);
    assert_int_equal(store_open(&options, &second, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "before the first release"));
    hf_buf_free(&config);
    repository_free(&repository);
}

static void a_directory_that_holds_a_repository_is_not_made_one_again(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    (void)state;
    repository_new(&repository);
    assert_int_not_equal(store_create(repository.directory, key, &error), HF_OK);
    open_again(&repository);
    repository_free(&repository);
}

static void limit_files_to(rlim_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A write that fails in the middle, as on a full disk. */
static void a_group_that_does_not_fit_is_gone_and_all_before_it_stands(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    size_t found;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    repository_new(&repository);
    open_again(&repository);
    assert_int_equal(append(&repository, 300, false), HF_OK);
    assert_int_equal(append(&repository, 300, true), HF_OK);
    sync_all(&repository);
    size_t whole = repository.count;
    limit_files_to(1200);
    int rc = HF_OK;
    for (size_t i = 0; i < 5 && rc == HF_OK; i++) {
        rc = append(&repository, 500, false);
    }
    rc = rc == HF_OK ? store_sync(repository.store, &error) : rc;
    assert_int_not_equal(rc, HF_OK);
    assert_true(error.message[0] != '\0');
    repository.count = whole; /* the group is gone */
    assert_int_equal(read_record(&repository, &repository.records[0]), HF_OK);
    limit_files_to(RLIM_INFINITY);
    assert_int_equal(append(&repository, 500, false), HF_OK);
    sync_all(&repository);
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, whole + 1);
    assert_int_equal(read_record(&repository, &repository.records[whole]), HF_OK);
    repository_free(&repository);
}

/* From here on pread64 at that offset fails with EIO; it can't be undone, so only in a child. */
static void fail_reads_at(uint32_t offset)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_pread64, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, offset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(77);
    }
}

/* Open in a child that can't read at an offset; the child's store_open result, negated. */
static int open_without(struct repository *repository, uint64_t offset)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct hf_error error = {0};
        fail_reads_at((uint32_t)offset);
        int rc = try_open(repository, 0, &error);
        if (rc == HF_OK) {
            store_close(repository->store);
        }
        _exit(-rc);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    return WEXITSTATUS(status);
}

static void a_read_error_at_any_record_changes_no_byte(void **state)
{
    struct repository repository;
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    for (size_t i = 0; i < 6; i++) {
        for (size_t part = 0; part <= RECORD_HEADER_BYTES; part += RECORD_HEADER_BYTES) {
            spill(pack_path(&repository, 1), bytes.data, bytes.size);
            assert_int_equal(
                open_without(&repository, repository.records[i].location.offset + part),
                -HF_ERR_IO);
            struct hf_buf after = slurp(pack_path(&repository, 1));
            assert_int_equal(after.size, bytes.size);
            assert_memory_equal(after.data, bytes.data, bytes.size);
            hf_buf_free(&after);
        }
    }
    open_again(&repository);
    expect_all_but(&repository, SIZE_MAX);
    hf_buf_free(&bytes);
    repository_free(&repository);
}

/* All before an index was good once, whether the trailer behind it can be read or not. */
static void a_pack_that_was_sealed_loses_nothing_when_its_trailer_is_bad_too(void **state)
{
    struct repository repository;
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    hf_buf_free(&bytes);
    bytes = slurp(pack_path(&repository, 1)); /* with its seal */
    size_t trailer = bytes.size - PACK_TRAILER_BYTES;
    for (size_t damaged = 0; damaged < 6; damaged++) {
        uint8_t *record = bytes.data + repository.records[damaged].location.offset;
        record[RECORD_HEADER_BYTES] ^= 1;
        for (int unreadable = 0; unreadable < 2; unreadable++) {
            bytes.data[trailer] ^= unreadable ? 0 : 1;
            spill(pack_path(&repository, 1), bytes.data, bytes.size);
            if (unreadable) {
                assert_int_equal(open_without(&repository, trailer), -HF_ERR_IO);
            }
            open_again(&repository);
            expect_all_but(&repository, damaged);
            store_close(repository.store);
            repository.store = NULL;
            struct hf_buf after = slurp(pack_path(&repository, 1));
            assert_int_equal(after.size, bytes.size);
            assert_memory_equal(after.data, bytes.data, bytes.size);
            hf_buf_free(&after);
            bytes.data[trailer] ^= unreadable ? 0 : 1;
        }
        record[RECORD_HEADER_BYTES] ^= 1;
    }
    hf_buf_free(&bytes);
    repository_free(&repository);
}

/* The page's words, by what it is made of. */
static void how_content_is_cut_is_a_secret_of_each_repository(void **state)
{
    (void)state;
    struct repository one, other;
    uint8_t seed[HF_CHUNK_SEED_BYTES], again[HF_CHUNK_SEED_BYTES], page[HF_CHUNK_SEED_BYTES],
        id[16];
    char path[128], text[4096] = "";
    repository_new(&one);
    repository_new(&other);
    open_again(&one);
    open_again(&other);
    store_chunking_seed(one.store, seed);
    store_chunking_seed(other.store, again);
    assert_memory_not_equal(seed, again, sizeof seed); /* the same key, another id */
    store_close(one.store);
    one.store = NULL;
    open_again(&one);
    store_chunking_seed(one.store, again);
    assert_memory_equal(seed, again, sizeof seed);
    snprintf(path, sizeof path, "%s/config", one.directory);
    struct hf_buf config = slurp(path);
    memcpy(text, config.data, config.size < sizeof text ? config.size : sizeof text - 1);
    char *hex = strstr(text, "\nid = ");
    assert_non_null(hex);
    hex[6 + 32] = '\0';
    assert_int_equal(hf_hex_decode(hex + 6, id, sizeof id), HF_OK);
    assert_int_equal(
        hf_hkdf_sha256(key, sizeof key, id, sizeof id, "holdfast chunking v1", page, sizeof page),
        HF_OK);
    assert_memory_equal(seed, page, sizeof seed);
    hf_buf_free(&config);
    repository_free(&one);
    repository_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_is_there_again_in_its_order),
        cmocka_unit_test(what_was_not_synced_is_gone),
        cmocka_unit_test(a_torn_tail_costs_nothing_that_was_synced),
        cmocka_unit_test(damage_where_it_was_durable_costs_what_is_damaged_and_nothing_else),
        cmocka_unit_test(a_group_that_reached_the_disk_in_the_wrong_order_is_gone),
        cmocka_unit_test(a_repository_that_lacks_what_is_known_is_not_taken_for_whole),
        cmocka_unit_test(entries_between_two_blocks_are_one_record_and_replayed_from_any_of_them),
        cmocka_unit_test(a_block_that_stands_on_itself_is_damage_and_not_an_endless_road),
        cmocka_unit_test(what_is_no_block_is_not_stored),
        cmocka_unit_test(an_index_never_shares_a_nonce_with_a_record),
        cmocka_unit_test(a_read_error_at_any_record_changes_no_byte),
        cmocka_unit_test(a_pack_that_was_sealed_loses_nothing_when_its_trailer_is_bad_too),
        cmocka_unit_test(no_flipped_bit_is_ever_served_and_every_one_is_found),
        cmocka_unit_test(a_chunk_is_not_served_under_anothers_name),
        cmocka_unit_test(a_full_pack_is_sealed_and_another_one_begun),
        cmocka_unit_test(another_key_a_second_process_and_a_later_format_are_told_apart),
        cmocka_unit_test(a_directory_that_holds_a_repository_is_not_made_one_again),
        cmocka_unit_test(a_group_that_does_not_fit_is_gone_and_all_before_it_stands),
        cmocka_unit_test(how_content_is_cut_is_a_secret_of_each_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
