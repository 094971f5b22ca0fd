/* A block gives back every chunk that went into it, and nothing but blocks is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/bytes.h"

struct codecs {
    struct hf_compressor *compressor;
    struct hf_decompressor *decompressor;
    struct hf_block_builder builder;
};

static int open_codecs(void **state)
{
    struct codecs *codecs = calloc(1, sizeof *codecs);
    codecs->compressor = hf_compressor_new(3);
    codecs->decompressor = hf_decompressor_new();
    *state = codecs;
    return codecs->compressor && codecs->decompressor ? 0 : -1;
}

static int close_codecs(void **state)
{
    struct codecs *codecs = *state;
    hf_compressor_free(codecs->compressor);
    hf_decompressor_free(codecs->decompressor);
    hf_block_builder_free(&codecs->builder);
    free(codecs);
    return 0;
}

/* Text that repeats within itself and, with another seed, is half alike. */
static void fill(uint8_t *data, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        size_t letter = i % 7 == 0 ? 'a' + (i / 7 * seed) % 26 : (size_t) "key: value, "[i % 12];
        data[i] = (uint8_t)letter;
    }
}

static void add(struct codecs *codecs, const uint8_t *data, size_t size)
{
    uint8_t id[HF_HASH_BYTES];
    hf_sha256(data, size, id);
    assert_true(hf_block_fits(&codecs->builder, size));
    assert_int_equal(hf_block_add(&codecs->builder, id, data, size), HF_OK);
}

static void chunks_come_back_from_a_block_in_their_order(void **state)
{
    struct codecs *codecs = *state;
    struct hf_block block;
    uint8_t data[3000];
    size_t single = 0;
    for (unsigned i = 0; i < 40; i++) {
        fill(data, 100 + 70 * i, i);
        add(codecs, data, 100 + 70 * i);
        struct hf_buf alone = {0};
        enum hf_codec codec;
        assert_int_equal(hf_compress(codecs->compressor, data, 100 + 70 * i, &alone, &codec), 0);
        single += alone.size;
        hf_buf_free(&alone);
    }
    assert_int_equal(hf_block_finish(&codecs->builder, codecs->compressor, &block), HF_OK);
    assert_int_equal(hf_block_chunk_count(&block), 40);
    assert_true(block.data.size < single / 2); /* what they have in common is there once */
    uint32_t size = hf_block_plain_size(&block);
    uint8_t *plain = malloc(size);
    assert_int_equal(hf_block_decode(&block, codecs->decompressor, (struct hf_bytes){0}, plain),
                     HF_OK);
    assert_true(hf_block_verify(&block, plain, NULL));
    size_t at = 0;
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(hf_block_chunk_size(&block, i), 100 + 70 * i);
        fill(data, 100 + 70 * i, i);
        assert_memory_equal(plain + at, data, 100 + 70 * i);
        at += 100 + 70 * i;
    }
    size_t wrong = 0;
    plain[100] ^= 1; /* of the second chunk */
    assert_false(hf_block_verify(&block, plain, &wrong));
    assert_int_equal(wrong, 1);
    free(plain);
}

static void a_builder_is_full_at_its_limits_and_empty_again(void **state)
{
    struct codecs *codecs = *state;
    uint8_t id[HF_HASH_BYTES] = {0};
    uint8_t *data = calloc(1, HF_CHUNK_MAX_BYTES);
    for (size_t i = 0; i < HF_BLOCK_CHUNKS_MAX; i++) {
        assert_true(hf_block_fits(&codecs->builder, 1));
        assert_int_equal(hf_block_add(&codecs->builder, id, data, 1), HF_OK);
    }
    assert_false(hf_block_fits(&codecs->builder, 1));
    hf_block_clear(&codecs->builder);
    assert_true(hf_block_fits(&codecs->builder, HF_CHUNK_MAX_BYTES));
    assert_int_equal(hf_block_add(&codecs->builder, id, data, HF_CHUNK_MAX_BYTES), HF_OK);
    assert_true(hf_block_fits(&codecs->builder, HF_BLOCK_MAX_BYTES - HF_CHUNK_MAX_BYTES));
    assert_false(hf_block_fits(&codecs->builder, HF_BLOCK_MAX_BYTES - HF_CHUNK_MAX_BYTES + 1));
    free(data);
}

static void what_breaks_a_rule_is_no_block(void **state)
{
    (void)state;
    uint8_t refs[3 * HF_CHUNK_REF_BYTES] = {0};
    uint8_t data[12] = {0};
    uint8_t aid[HF_HASH_BYTES] = {0};
    hf_put_le32(refs + HF_HASH_BYTES, 5);
    hf_put_le32(refs + HF_CHUNK_REF_BYTES + HF_HASH_BYTES, 7);
    const struct hf_block good = {.chunks = {refs, 2 * HF_CHUNK_REF_BYTES}, .data = {data, 12}};
    assert_int_equal(hf_block_plain_size(&good), 12);
    struct hf_block bad = good;
    bad.chunks.size = 0;
    assert_int_equal(hf_block_plain_size(&bad), 0);
    bad.chunks.size = HF_CHUNK_REF_BYTES + 1;
    assert_int_equal(hf_block_plain_size(&bad), 0);
    bad.chunks.size = sizeof refs; /* the third has no length */
    assert_int_equal(hf_block_plain_size(&bad), 0);
    bad = good;
    bad.data.size = 11; /* raw data is as long as it says */
    assert_int_equal(hf_block_plain_size(&bad), 0);
    bad = good;
    bad.aid = (struct hf_bytes){aid, sizeof aid}; /* only a delta has one */
    assert_int_equal(hf_block_plain_size(&bad), 0);
    bad.codec = HF_CODEC_DELTA;
    assert_int_equal(hf_block_plain_size(&bad), 12);
    bad.aid.size = 0;
    assert_int_equal(hf_block_plain_size(&bad), 0);
    bad = good;
    bad.codec = HF_CODEC_ZSTD;
    hf_put_le32(refs + HF_HASH_BYTES, HF_CHUNK_MAX_BYTES + 1);
    assert_int_equal(hf_block_plain_size(&bad), 0);
    hf_put_le32(refs + HF_HASH_BYTES, HF_CHUNK_MAX_BYTES);
    assert_int_equal(hf_block_plain_size(&bad), HF_CHUNK_MAX_BYTES + 7);
    hf_put_le32(refs + HF_CHUNK_REF_BYTES + HF_HASH_BYTES, HF_CHUNK_MAX_BYTES);
    assert_int_equal(hf_block_plain_size(&bad), 0); /* together they are too long */
    hf_put_le32(refs + HF_CHUNK_REF_BYTES + HF_HASH_BYTES, UINT32_MAX);
    assert_int_equal(hf_block_plain_size(&bad), 0);
}

static void a_delta_is_short_and_needs_just_what_it_was_made_against(void **state)
{
    struct codecs *codecs = *state;
    static uint8_t base[200000], next[200100], plain[200100];
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_buf delta = {0};
    hf_random(base, sizeof base);
    memcpy(next, base, 90000);
    memset(next + 90000, 'x', 100);
    memcpy(next + 90100, base + 90000, sizeof base - 90000);
    struct hf_bytes aid = {base, sizeof base};
    assert_int_equal(hf_compress_delta(codecs->compressor, aid, next, sizeof next, 1000, &delta),
                     HF_OK);
    assert_in_range(delta.size, 1, 200);
    hf_sha256(next, sizeof next, ref);
    hf_put_le32(ref + HF_HASH_BYTES, sizeof next);
    struct hf_block block = {.codec = HF_CODEC_DELTA,
                             .aid = {ref, HF_HASH_BYTES},
                             .chunks = {ref, sizeof ref},
                             .data = {delta.data, delta.size}};
    assert_int_equal(hf_block_decode(&block, codecs->decompressor, aid, plain), HF_OK);
    assert_true(hf_block_verify(&block, plain, NULL));
    /* Nothing of it stays behind in either context. */
    assert_int_not_equal(hf_block_decode(&block, codecs->decompressor, (struct hf_bytes){0}, plain),
                         HF_OK);
    base[50] ^= 1;
    assert_true(hf_block_decode(&block, codecs->decompressor, aid, plain) != HF_OK ||
                !hf_block_verify(&block, plain, NULL));
    struct hf_buf whole = {0};
    enum hf_codec codec;
    assert_int_equal(hf_compress(codecs->compressor, next, sizeof next, &whole, &codec), HF_OK);
    assert_int_equal(codec, HF_CODEC_RAW);
    /* Where there is little in common it is not made. */
    hf_buf_clear(&delta);
    hf_random(next, sizeof next);
    assert_int_equal(hf_compress_delta(codecs->compressor, aid, next, sizeof next, 100000, &delta),
                     HF_ERR_LIMIT);
    assert_int_equal(delta.size, 0);
    hf_buf_free(&whole);
    hf_buf_free(&delta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chunks_come_back_from_a_block_in_their_order, open_codecs,
                                        close_codecs),
        cmocka_unit_test_setup_teardown(a_builder_is_full_at_its_limits_and_empty_again,
                                        open_codecs, close_codecs),
        cmocka_unit_test(what_breaks_a_rule_is_no_block),
        cmocka_unit_test_setup_teardown(a_delta_is_short_and_needs_just_what_it_was_made_against,
                                        open_codecs, close_codecs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
