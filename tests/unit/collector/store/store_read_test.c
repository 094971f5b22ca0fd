/* Readers. */
#include "tests/unit/collector/store/repository.h"

int __real_posix_fadvise(int fd, off_t offset, off_t length, int advice);
int __wrap_posix_fadvise(int fd, off_t offset, off_t length, int advice);

/* What the kernel is told that it will be asked for. */
static struct {
    off_t offset, length;
} told[8];
static size_t told_count;

int __wrap_posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
    if (advice == POSIX_FADV_WILLNEED && told_count < 8) {
        told[told_count].offset = offset;
        told[told_count].length = length;
        told_count++;
    }
    return __real_posix_fadvise(fd, offset, length, advice);
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

static void what_lies_together_is_read_ahead_as_one_stretch(void **state)
{
    (void)state;
    struct repository repository;
    struct hf_store_reader *reader = NULL;
    struct hf_error error = {0};
    struct hf_location places[3];
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(append(&repository, 500, false), HF_OK);
        places[i] = repository.records[i].location;
    }
    sync_all(&repository);
    struct hf_store_resolver resolver = {.find = find_nothing};
    assert_int_equal(store_reader_new(repository.store, resolver, &reader, &error), HF_OK);
    told_count = 0;
    store_read_ahead(reader, places, 3);
    assert_int_equal(told_count, 1);
    assert_int_equal(told[0].offset, places[0].offset);
    assert_int_equal(told[0].length, places[2].offset + places[2].size - places[0].offset);
    /* In pieces that the kernel takes. */
    places[2].size = 300000;
    told_count = 0;
    store_read_ahead(reader, &places[2], 1);
    assert_int_equal(told_count, 3);
    assert_int_equal(told[1].offset, told[0].offset + told[0].length);
    assert_int_equal(told[2].offset + told[2].length, places[2].offset + 300000);
    places[2].size = places[1].size;
    /* Far from each other, or in the wrong order: each for itself. */
    places[1].offset = places[0].offset + places[0].size + 200000;
    told_count = 0;
    store_read_ahead(reader, (struct hf_location[]){places[0], places[1], places[2]}, 3);
    assert_int_equal(told_count, 3);
    /* It is a hint: a pack that isn't there is found when it is read. */
    places[0].pack = 99;
    told_count = 0;
    store_read_ahead(reader, places, 1);
    store_read_ahead(reader, places, 0);
    assert_int_equal(told_count, 0);
    store_reader_free(reader);
    assert_int_equal(read_record(&repository, &repository.records[2]), HF_OK);
    repository_free(&repository);
}

/* What the catalog would answer for the one id that there is. */
struct dictionary {
    uint8_t id[HF_HASH_BYTES];
    struct hf_buf bytes;
    unsigned asked;
};

static int find_dictionary(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_buf *out,
                           struct hf_error *error)
{
    struct dictionary *dictionary = context;
    dictionary->asked++;
    if (memcmp(id, dictionary->id, HF_HASH_BYTES) != 0) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no such dictionary");
    }
    return hf_buf_append(out, dictionary->bytes.data, dictionary->bytes.size);
}

static void a_dictionary_is_asked_for_once_checked_and_missed_with_a_sentence(void **state)
{
    (void)state;
    struct repository repository;
    struct hf_store_reader *reader = NULL;
    struct hf_error error = {0};
    struct dictionary dictionary = {.asked = 0};
    struct hf_bytes bytes = {0};
    struct hf_buf plain = {0};
    uint8_t unknown[HF_HASH_BYTES] = {9};
    repository_new(&repository);
    open_again(&repository);
    assert_int_equal(append(&repository, 100, false), HF_OK);
    struct record record = repository.records[0];
    struct hf_block block = {.codec = HF_CODEC_DICTIONARY,
                             .aid = {unknown, HF_HASH_BYTES},
                             .chunks = {record.id, HF_CHUNK_REF_BYTES},
                             .data = {record.data, 20}};
    assert_int_equal(store_append_block(repository.store, 7, 1, &block, &record.location, &error),
                     HF_ERR_INVALID); /* no other block has to be read for it */
    assert_int_equal(store_append_block(repository.store, 7, 0, &block, &record.location, &error),
                     HF_OK);
    sync_all(&repository);
    assert_int_equal(hf_buf_append(&dictionary.bytes, "any bytes", 9), HF_OK);
    hf_sha256("any bytes", 9, dictionary.id);
    struct hf_store_resolver resolver = {find_nothing, find_dictionary, &dictionary};
    assert_int_equal(store_reader_new(repository.store, resolver, &reader, &error), HF_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_read_dictionary(reader, dictionary.id, &bytes, &error), HF_OK);
        assert_int_equal(bytes.size, 9);
    }
    assert_int_equal(dictionary.asked, 1);
    assert_int_equal(store_read_dictionary(reader, unknown, &bytes, &error), HF_ERR_NOT_FOUND);
    struct hf_place place = {.location = record.location, .size = (uint32_t)record.size};
    assert_int_equal(store_read_chunk(reader, &place, record.id, &plain, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "needs a dictionary that no journal entry has"));
    memcpy(dictionary.id, unknown, HF_HASH_BYTES); /* and now it is there, with other bytes */
    assert_int_equal(store_read_dictionary(reader, unknown, &bytes, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "not what its id says"));
    hf_buf_free(&plain);
    hf_buf_free(&dictionary.bytes);
    store_reader_free(reader);
    repository_free(&repository);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_together_is_read_ahead_as_one_stretch),
        cmocka_unit_test(a_dictionary_is_asked_for_once_checked_and_missed_with_a_sentence),
        cmocka_unit_test(a_chunk_is_not_served_under_anothers_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
