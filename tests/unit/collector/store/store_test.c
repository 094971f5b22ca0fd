/* The repository keeps what was synced and serves nothing else. */
#include "tests/unit/collector/store/repository.h"

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
    format[9] = '3';
    spill(path, config.data, config.size);
    options.key = key;
    assert_int_equal(store_open(&options, &second, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    format[9] = '1';
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
        cmocka_unit_test(entries_between_two_blocks_are_one_record_and_replayed_from_any_of_them),
        cmocka_unit_test(a_block_that_stands_on_itself_is_damage_and_not_an_endless_road),
        cmocka_unit_test(what_is_no_block_is_not_stored),
        cmocka_unit_test(an_index_never_shares_a_nonce_with_a_record),
        cmocka_unit_test(a_full_pack_is_sealed_and_another_one_begun),
        cmocka_unit_test(another_key_a_second_process_and_a_later_format_are_told_apart),
        cmocka_unit_test(a_directory_that_holds_a_repository_is_not_made_one_again),
        cmocka_unit_test(how_content_is_cut_is_a_secret_of_each_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
