/* A unit holds copies of what was captured, and comes back from its bytes as it was or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "agent/capture/unit_codec.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "common/hash.h"
#include "proto/frame.h"

static struct hf_bytes text(const char *value)
{
    return (struct hf_bytes){(const uint8_t *)value, strlen(value)};
}

static void fill_noise(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(rand() >> 3);
    }
}

static void add_chunk(struct hf_unit *unit, const uint8_t *plain, size_t size)
{
    uint8_t id[HF_HASH_BYTES];
    hf_sha256(plain, size, id);
    struct hf_bytes data = unit_copy(unit, (struct hf_bytes){plain, size});
    assert_int_equal(data.size, size);
    assert_int_equal(unit_add_chunk(unit, id, HF_CODEC_RAW, (uint32_t)size, data), HF_OK);
}

/* A file, its deletion, a link and a directory, with two chunks: one that compresses, one that does
 * not. */
static struct hf_unit *make(void)
{
    uint8_t refs[HF_CHUNK_REF_BYTES] = {9, 8, 7};
    uint8_t chunk[3000];
    hf_put_le32(refs + HF_HASH_BYTES, 123);
    const struct hf_version versions[] = {
        {.seq = 7,
         .type = HF_FILE_REGULAR,
         .flags = HF_VERSION_RESTORED,
         .path = text("srv/\xff\xfe"),
         .captured_ns = HF_TIME_MAX_NS,
         .mode = 07777,
         .uid = UINT32_MAX,
         .gid = 5,
         .owner = text("daemon"),
         .group = text("staff"),
         .mtime_ns = -5,
         .size = 123,
         .refs = {refs, sizeof refs},
         .job = 12},
        {.seq = 8, .type = HF_FILE_ABSENT, .path = text("srv/gone"), .captured_ns = 1},
        {.seq = 9, .type = HF_FILE_SYMLINK, .path = text("srv/l"), .target = text("/etc/\x80")},
        {.seq = 10, .type = HF_FILE_DIRECTORY, .path = text("srv"), .mode = 0700},
    };
    struct hf_unit *unit = unit_new(4);
    assert_non_null(unit);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        assert_int_equal(unit_add_version(unit, &versions[i]), HF_OK);
    }
    memset(chunk, 'a', sizeof chunk);
    add_chunk(unit, chunk, sizeof chunk);
    fill_noise(chunk, sizeof chunk);
    add_chunk(unit, chunk, sizeof chunk);
    return unit;
}

static void encode(const struct hf_unit *unit, struct hf_buf *body)
{
    struct hf_compressor *compressor = hf_compressor_new(1);
    assert_non_null(compressor);
    assert_int_equal(unit_encode(unit, compressor, body), HF_OK);
    hf_compressor_free(compressor);
}

static bool same_bytes(struct hf_bytes a, struct hf_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void assert_same_version(const struct hf_version *a, const struct hf_version *b)
{
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->flags, b->flags);
    assert_true(same_bytes(a->path, b->path));
    assert_true(a->captured_ns == b->captured_ns);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_true(same_bytes(a->owner, b->owner));
    assert_true(same_bytes(a->group, b->group));
    assert_true(a->mtime_ns == b->mtime_ns);
    assert_int_equal(a->size, b->size);
    assert_true(same_bytes(a->target, b->target));
    assert_int_equal(a->depth, b->depth);
    assert_true(same_bytes(a->refs, b->refs));
    assert_int_equal(a->job, b->job);
}

/* Its plaintext is what its id says. */
static void assert_chunk_is_sound(const struct hf_unit_chunk *chunk)
{
    uint8_t plain[4096], id[HF_HASH_BYTES];
    struct hf_decompressor *decompressor = hf_decompressor_new();
    assert_non_null(decompressor);
    assert_in_range(chunk->plain_size, 1, sizeof plain);
    assert_int_equal(hf_decompress(decompressor, chunk->codec, (struct hf_bytes){0},
                                   chunk->data.data, chunk->data.size, plain, chunk->plain_size),
                     HF_OK);
    hf_decompressor_free(decompressor);
    hf_sha256(plain, chunk->plain_size, id);
    assert_memory_equal(id, chunk->id, HF_HASH_BYTES);
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
    struct hf_buf body = {0};
    struct hf_unit *unit = make();
    (void)state;
    encode(unit, &body);
    struct hf_unit *got = unit_decode(6, body.data, body.size);
    memset(body.data, 0, body.size); /* nothing of it is a view into the bytes */
    hf_buf_free(&body);
    assert_non_null(got);
    assert_int_equal(got->source, 6);
    assert_int_equal(got->version_count, unit->version_count);
    for (size_t i = 0; i < got->version_count; i++) {
        assert_same_version(&got->versions[i], &unit->versions[i]);
    }
    assert_int_equal(got->chunk_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_memory_equal(got->chunks[i].id, unit->chunks[i].id, HF_HASH_BYTES);
        assert_int_equal(got->chunks[i].plain_size, unit->chunks[i].plain_size);
        assert_chunk_is_sound(&got->chunks[i]);
    }
    unit_free(got);
    unit_free(unit);
}

static void chunks_are_compressed_when_that_helps_and_only_once(void **state)
{
    struct hf_buf body = {0}, again = {0};
    struct hf_unit *unit = make();
    (void)state;
    encode(unit, &body);
    struct hf_unit *got = unit_decode(0, body.data, body.size);
    assert_non_null(got);
    assert_int_equal(got->chunks[0].codec, HF_CODEC_ZSTD);
    assert_true(got->chunks[0].data.size < 100);
    assert_int_equal(got->chunks[1].codec, HF_CODEC_RAW);
    encode(got, &again);
    assert_int_equal(again.size, body.size);
    assert_memory_equal(again.data, body.data, body.size);
    unit_free(got);
    unit_free(unit);
    hf_buf_free(&body);
    hf_buf_free(&again);
}

static void a_unit_is_appended_to_what_the_buffer_holds(void **state)
{
    struct hf_buf body = {0};
    struct hf_unit *unit = make();
    (void)state;
    assert_int_equal(hf_buf_append_str(&body, "before"), HF_OK);
    encode(unit, &body);
    assert_memory_equal(body.data, "before", 6);
    struct hf_unit *got = unit_decode(0, body.data + 6, body.size - 6);
    assert_non_null(got);
    unit_free(got);
    unit_free(unit);
    hf_buf_free(&body);
}

/* Decode from memory that ends where the bytes end, so that a read beyond them is noticed. */
static struct hf_unit *decode_exactly(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct hf_unit *unit = unit_decode(0, copy, size);
    free(copy);
    return unit;
}

static void bytes_that_end_early_or_late_are_no_unit(void **state)
{
    struct hf_buf body = {0};
    struct hf_unit *unit = make();
    (void)state;
    encode(unit, &body);
    for (size_t size = 0; size < body.size; size++) {
        assert_null(decode_exactly(body.data, size));
    }
    assert_int_equal(hf_buf_append_byte(&body, 0), HF_OK);
    assert_null(decode_exactly(body.data, body.size));
    unit_free(unit);
    hf_buf_free(&body);
}

static void bytes_that_were_changed_decode_to_something_of_sound_form_or_not_at_all(void **state)
{
    struct hf_buf body = {0}, again = {0};
    struct hf_unit *unit = make();
    size_t refused = 0;
    (void)state;
    encode(unit, &body);
    srand(4);
    for (size_t i = 0; i < body.size; i++) {
        uint8_t was = body.data[i];
        body.data[i] = (uint8_t)(was ^ (1 + rand() % 255));
        struct hf_unit *got = decode_exactly(body.data, body.size);
        body.data[i] = was;
        if (!got) {
            refused++;
            continue;
        }
        hf_buf_clear(&again);
        encode(got, &again);
        struct hf_unit *twice = decode_exactly(again.data, again.size);
        assert_non_null(twice);
        unit_free(twice);
        unit_free(got);
    }
    assert_in_range(refused, 20, body.size - 3000); /* the chunk's own bytes are not looked at */
    unit_free(unit);
    hf_buf_free(&body);
    hf_buf_free(&again);
}

static void noise_is_no_unit(void **state)
{
    uint8_t noise[600];
    (void)state;
    srand(5);
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = (size_t)rand() % sizeof noise;
        fill_noise(noise, size);
        if (size >= 4 && round % 2 == 0) {
            hf_put_le32(noise, round % 4 / 2); /* few versions, so that the chunks are reached */
        }
        assert_null(decode_exactly(noise, size));
    }
}

/* One chunk, of these properties and without data. */
static struct hf_unit *decode_chunk(uint32_t codec, uint32_t plain_size)
{
    uint8_t body[4 + 4 + HF_HASH_BYTES + 12] = {0};
    hf_put_le32(body + 4, 1);
    hf_put_le32(body + 8 + HF_HASH_BYTES, codec);
    hf_put_le32(body + 12 + HF_HASH_BYTES, plain_size);
    return decode_exactly(body, sizeof body);
}

static void chunks_that_no_capture_makes_are_refused(void **state)
{
    (void)state;
    struct hf_unit *unit = decode_chunk(HF_CODEC_ZSTD, HF_CHUNK_MAX_BYTES);
    assert_non_null(unit);
    unit_free(unit);
    assert_null(decode_chunk(HF_CODEC_ZSTD, HF_CHUNK_MAX_BYTES + 1));
    assert_null(decode_chunk(HF_CODEC_ZSTD, UINT32_MAX));
    assert_null(decode_chunk(HF_CODEC_ZSTD + 1, 1));
    assert_null(decode_chunk(UINT32_MAX, 1));
}

static void counts_and_lengths_beyond_what_is_there_take_no_memory(void **state)
{
    uint8_t body[12] = {0};
    (void)state;
    hf_put_le32(body, UINT32_MAX); /* versions */
    assert_null(decode_exactly(body, sizeof body));
    hf_put_le32(body, 1);
    hf_put_le32(body + 4, UINT32_MAX); /* the length of the first */
    assert_null(decode_exactly(body, sizeof body));
    hf_put_le32(body, 0);
    hf_put_le32(body + 4, UINT32_MAX); /* chunks */
    assert_null(decode_exactly(body, sizeof body));
    assert_null(unit_decode(0, NULL, 0));
}

static void a_version_that_cannot_travel_is_refused_when_it_is_written(void **state)
{
    struct hf_buf body = {0};
    struct hf_version version = {.seq = 1, .type = HF_FILE_ABSENT}; /* without a path */
    struct hf_unit *unit = unit_new(0);
    struct hf_compressor *compressor = hf_compressor_new(1);
    (void)state;
    assert_int_equal(unit_add_version(unit, &version), HF_OK);
    assert_int_not_equal(unit_encode(unit, compressor, &body), HF_OK);
    hf_compressor_free(compressor);
    hf_buf_free(&body);
    unit_free(unit);
}

static void a_unit_keeps_copies_that_stay_where_they_are(void **state)
{
    char path[] = "srv/00000";
    struct hf_unit *unit = unit_new(0);
    (void)state;
    assert_non_null(unit);
    assert_int_equal(unit_first_seq(unit), 0);
    assert_int_equal(unit_last_seq(unit), 0);
    struct hf_bytes first = unit_copy(unit, text("first"));
    for (unsigned i = 0; i < 5000; i++) {
        for (unsigned digit = 0, rest = i; digit < 5; digit++, rest /= 10) {
            path[8 - digit] = (char)('0' + rest % 10);
        }
        struct hf_version version = {.seq = i + 1, .type = HF_FILE_ABSENT, .path = text(path)};
        assert_int_equal(unit_add_version(unit, &version), HF_OK);
    }
    assert_memory_equal(first.data, "first", 5);
    assert_int_equal(unit->version_count, 5000);
    assert_memory_equal(unit->versions[0].path.data, "srv/00000", 9);
    assert_memory_equal(unit->versions[1234].path.data, "srv/01234", 9);
    assert_memory_equal(unit->versions[4999].path.data, "srv/04999", 9);
    assert_int_equal(unit_first_seq(unit), 1);
    assert_int_equal(unit_last_seq(unit), 5000);
    assert_null(unit_copy(unit, (struct hf_bytes){0}).data);
    unit_free(unit);
    unit_free(NULL);
}

static void pieces_of_any_size_do_not_overlap(void **state)
{
    static const size_t sizes[] = {1, 511, 512, 513, 1024, 32767, 32769, 65536, 300000, 1, 65535};
    struct { /* which byte fills it */
        uint8_t *data;
        size_t size;
    } pieces[220];
    struct hf_unit *unit = unit_new(0);
    (void)state;
    assert_non_null(unit);
    for (size_t i = 0; i < 220; i++) {
        pieces[i].size = sizes[i * 7 % 11];
        pieces[i].data = unit_alloc(unit, pieces[i].size);
        assert_non_null(pieces[i].data);
        memset(pieces[i].data, (int)i, pieces[i].size);
    }
    for (size_t i = 0; i < 220; i++) {
        for (size_t j = 0; j < pieces[i].size; j++) {
            if (pieces[i].data[j] != (uint8_t)i) {
                fail_msg("piece %zu was written over at %zu", i, j);
            }
        }
    }
    unit_free(unit);
}

static void a_block_is_used_to_its_last_byte_and_no_further(void **state)
{
    struct hf_unit *unit = unit_new(0);
    (void)state;
    assert_non_null(unit);
    memset(unit_alloc(unit, 1), 1, 1); /* so that the ends of blocks are met in the midst of two */
    for (unsigned i = 0; i < 80000; i++) {
        uint8_t *two = unit_alloc(unit, 2);
        assert_non_null(two);
        memset(two, 2, 2);
    }
    unit_free(unit);
}

static void the_memory_that_a_unit_holds_is_counted_and_little_is_taken_for_little(void **state)
{
    struct hf_unit *unit = unit_new(0);
    struct hf_version version = {.seq = 1, .type = HF_FILE_ABSENT, .path = text("a")};
    (void)state;
    size_t empty = unit->bytes;
    assert_true(empty >= sizeof *unit);
    assert_int_equal(unit_add_version(unit, &version), HF_OK);
    assert_in_range(unit->bytes, empty + sizeof version, 8192);
    size_t before = unit->bytes;
    assert_non_null(unit_alloc(unit, 100000));
    assert_in_range(unit->bytes, before + 100000, before + 101000);
    before = unit->bytes;
    for (unsigned i = 0; i < 1000; i++) { /* the block that was open before goes on being used */
        assert_non_null(unit_alloc(unit, 100));
    }
    assert_in_range(unit->bytes, before + 90000, before + 3 * 66000);
    before = unit->bytes;
    for (unsigned i = 0; i < 100; i++) { /* nor does something large between cost it */
        assert_non_null(unit_alloc(unit, 40000));
        assert_non_null(unit_alloc(unit, 100));
    }
    assert_in_range(unit->bytes, before + 4000000, before + 4000000 + 3 * 66000);
    uint8_t id[HF_HASH_BYTES] = {0};
    before = unit->bytes;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(unit_add_chunk(unit, id, HF_CODEC_RAW, 1, (struct hf_bytes){id, 1}),
                         HF_OK);
    }
    assert_in_range(unit->bytes, before + 100 * sizeof(struct hf_unit_chunk),
                    before + 256 * sizeof(struct hf_unit_chunk));
    unit_free(unit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_decodes_to_the_same),
        cmocka_unit_test(chunks_are_compressed_when_that_helps_and_only_once),
        cmocka_unit_test(a_unit_is_appended_to_what_the_buffer_holds),
        cmocka_unit_test(bytes_that_end_early_or_late_are_no_unit),
        cmocka_unit_test(bytes_that_were_changed_decode_to_something_of_sound_form_or_not_at_all),
        cmocka_unit_test(noise_is_no_unit),
        cmocka_unit_test(chunks_that_no_capture_makes_are_refused),
        cmocka_unit_test(counts_and_lengths_beyond_what_is_there_take_no_memory),
        cmocka_unit_test(a_version_that_cannot_travel_is_refused_when_it_is_written),
        cmocka_unit_test(a_unit_keeps_copies_that_stay_where_they_are),
        cmocka_unit_test(pieces_of_any_size_do_not_overlap),
        cmocka_unit_test(a_block_is_used_to_its_last_byte_and_no_further),
        cmocka_unit_test(the_memory_that_a_unit_holds_is_counted_and_little_is_taken_for_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
