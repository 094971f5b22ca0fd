#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/bytes.h"
#include "common/dictionary.h"
#include "tests/unit/common/small_file.h"

#define SAMPLES 600u

struct trained {
    struct hf_buf bytes;
    uint8_t id[HF_HASH_BYTES];
    struct hf_dictionary *dictionary;
    struct hf_compressor *compressor;
    struct hf_decompressor *decompressor;
};

static int train(struct hf_buf *out, unsigned count)
{
    struct hf_buf samples = {0};
    size_t *sizes = calloc(count + 1, sizeof *sizes);
    char text[512];
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = small_file(text, sizeof text, i * 7);
        assert_int_equal(hf_buf_append(&samples, text, sizes[i]), HF_OK);
    }
    int rc = hf_dictionary_train((struct hf_bytes){samples.data, samples.size}, sizes, count, out);
    free(sizes);
    hf_buf_free(&samples);
    return rc;
}

static int set_up(void **state)
{
    static struct trained trained;
    trained =
        (struct trained){.compressor = hf_compressor_new(1), .decompressor = hf_decompressor_new()};
    *state = &trained;
    if (train(&trained.bytes, SAMPLES) != HF_OK) {
        return 1;
    }
    hf_sha256(trained.bytes.data, trained.bytes.size, trained.id);
    trained.dictionary = hf_dictionary_new(
        (struct hf_bytes){trained.bytes.data, trained.bytes.size}, HF_DICTIONARY_LEVEL);
    return trained.dictionary ? 0 : 1;
}

static int tear_down(void **state)
{
    struct trained *trained = *state;
    hf_dictionary_free(trained->dictionary);
    hf_compressor_free(trained->compressor);
    hf_decompressor_free(trained->decompressor);
    hf_buf_free(&trained->bytes);
    return 0;
}

static struct hf_bytes view(const struct hf_buf *buf)
{
    return (struct hf_bytes){buf->data, buf->size};
}

static void one_that_was_trained_is_one_and_other_bytes_are_none(void **state)
{
    const struct trained *trained = *state;
    static const uint8_t text[4096] = "no dictionary";
    uint8_t huge[8] = {0};
    assert_true(hf_dictionary_is_one(view(&trained->bytes)));
    assert_in_range(trained->bytes.size, 1024, HF_DICTIONARY_MAX_BYTES);
    assert_false(hf_dictionary_is_one((struct hf_bytes){text, sizeof text}));
    assert_false(hf_dictionary_is_one((struct hf_bytes){NULL, 0}));
    assert_false(hf_dictionary_is_one((struct hf_bytes){trained->bytes.data, 4}));
    memcpy(huge, trained->bytes.data, sizeof huge);
    assert_null(hf_dictionary_new((struct hf_bytes){text, sizeof text}, 1));
    /* The beginning alone does not make one that can be used. */
    assert_null(hf_dictionary_new((struct hf_bytes){huge, sizeof huge}, 1));
    struct hf_buf longer = {0};
    assert_int_equal(hf_buf_append(&longer, trained->bytes.data, trained->bytes.size), HF_OK);
    while (longer.size <= HF_DICTIONARY_MAX_BYTES) {
        assert_int_equal(hf_buf_append(&longer, text, sizeof text), HF_OK);
    }
    assert_false(hf_dictionary_is_one(view(&longer)));
    hf_buf_free(&longer);
}

static void too_little_teaches_nothing(void **state)
{
    struct hf_buf out = {0};
    (void)state;
    assert_int_equal(train(&out, 0), HF_ERR_LIMIT);
    assert_int_equal(train(&out, 10), HF_ERR_LIMIT);
    assert_int_equal(out.size, 0);
    hf_buf_free(&out);
}

static void what_was_made_with_one_comes_back_with_it_alone(void **state)
{
    struct trained *trained = *state;
    char text[512];
    char plain[512];
    struct hf_buf data = {0};
    struct hf_buf whole = {0};
    enum hf_codec codec;
    size_t size = small_file(text, sizeof text, 4001);
    assert_int_equal(hf_compress(trained->compressor, (uint8_t *)text, size, &whole, &codec),
                     HF_OK);
    assert_int_equal(hf_compress_dictionary(trained->compressor, trained->dictionary,
                                            (uint8_t *)text, size, whole.size / 2, &data),
                     HF_OK);
    assert_true(data.size < whole.size / 2);
    for (int round = 0; round < 3; round++) {
        memset(plain, 0, sizeof plain);
        assert_int_equal(hf_decompress(trained->decompressor, HF_CODEC_DICTIONARY,
                                       view(&trained->bytes), data.data, data.size,
                                       (uint8_t *)plain, size),
                         HF_OK);
        assert_memory_equal(plain, text, size);
        /* Nothing of it stays behind in either context. */
        assert_int_equal(hf_decompress(trained->decompressor, codec, (struct hf_bytes){0},
                                       whole.data, whole.size, (uint8_t *)plain, size),
                         HF_OK);
        struct hf_buf again = {0};
        enum hf_codec same;
        assert_int_equal(hf_compress(trained->compressor, (uint8_t *)text, size, &again, &same),
                         HF_OK);
        assert_int_equal(again.size, whole.size);
        assert_memory_equal(again.data, whole.data, whole.size);
        hf_buf_free(&again);
    }
    assert_int_equal(hf_decompress(trained->decompressor, HF_CODEC_DICTIONARY, (struct hf_bytes){0},
                                   data.data, data.size, (uint8_t *)plain, size),
                     HF_ERR_CORRUPT);
    assert_int_equal(hf_decompress(trained->decompressor, HF_CODEC_DICTIONARY,
                                   (struct hf_bytes){(uint8_t *)text, size}, data.data, data.size,
                                   (uint8_t *)plain, size),
                     HF_ERR_CORRUPT);
    assert_int_equal(hf_decompress(trained->decompressor, HF_CODEC_DICTIONARY,
                                   view(&trained->bytes), data.data, data.size, (uint8_t *)plain,
                                   size - 1),
                     HF_ERR_CORRUPT);
    assert_int_equal(hf_decompress(trained->decompressor, HF_CODEC_DICTIONARY,
                                   view(&trained->bytes), data.data, data.size - 1,
                                   (uint8_t *)plain, size),
                     HF_ERR_CORRUPT);
    hf_buf_free(&data);
    hf_buf_free(&whole);
}

/* More than are kept prepared, in turns. */
static void several_can_be_used_in_turns(void **state)
{
    struct trained *trained = *state;
    struct hf_buf bytes[6] = {{0}};
    struct hf_buf data[6] = {{0}};
    char text[512];
    char plain[512];
    size_t size = small_file(text, sizeof text, 77);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(train(&bytes[i], SAMPLES + 50 * i), HF_OK);
        struct hf_dictionary *dictionary = hf_dictionary_new(view(&bytes[i]), 1);
        assert_non_null(dictionary);
        assert_int_equal(hf_compress_dictionary(trained->compressor, dictionary, (uint8_t *)text,
                                                size, size, &data[i]),
                         HF_OK);
        hf_dictionary_free(dictionary);
    }
    for (unsigned i = 0; i < 30; i++) {
        unsigned which = i * 5 % 6;
        assert_int_equal(hf_decompress(trained->decompressor, HF_CODEC_DICTIONARY,
                                       view(&bytes[which]), data[which].data, data[which].size,
                                       (uint8_t *)plain, size),
                         HF_OK);
        assert_memory_equal(plain, text, size);
    }
    for (unsigned i = 0; i < 6; i++) {
        hf_buf_free(&bytes[i]);
        hf_buf_free(&data[i]);
    }
}

/* As a compressor does that was never used for anything else. */
static void assert_compresses_as_new(struct hf_compressor *compressor, const uint8_t *data,
                                     size_t size)
{
    struct hf_compressor *fresh = hf_compressor_new(1);
    struct hf_buf expected = {0};
    struct hf_buf out = {0};
    enum hf_codec codec;
    enum hf_codec same;
    assert_int_equal(hf_compress(fresh, data, size, &expected, &codec), HF_OK);
    assert_int_equal(hf_compress(compressor, data, size, &out, &same), HF_OK);
    assert_int_equal(codec, HF_CODEC_ZSTD);
    assert_int_equal(same, HF_CODEC_ZSTD);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, out.size);
    hf_buf_free(&out);
    hf_buf_free(&expected);
    hf_compressor_free(fresh);
}

static void what_did_not_fit_leaves_nothing_behind(void **state)
{
    enum { SIZE = 600000, NOISE = 100000 };
    struct trained *trained = *state;
    struct hf_compressor *compressor = trained->compressor;
    struct hf_buf out = {0};
    enum hf_codec codec;
    uint8_t *long_text = malloc(SIZE + 512);
    uint8_t *noise = malloc(NOISE);
    static uint8_t alike[20000];
    char text[512];
    size_t size = small_file(text, sizeof text, 77);
    const uint8_t *data = (const uint8_t *)text;
    assert_non_null(long_text);
    assert_non_null(noise);
    hf_random(noise, NOISE);
    memcpy(alike, noise, sizeof alike);
    for (size_t at = 0, i = 0; at < SIZE; i++) { /* what is alike lies far apart */
        at += small_file((char *)long_text + at, 512, (unsigned)(i * i % 997));
    }
    for (int round = 0; round < 2; round++) {
        /* A dictionary that shortens nothing is not used for what comes next. */
        assert_int_equal(
            hf_compress_dictionary(compressor, trained->dictionary, data, size, 5, &out),
            HF_ERR_LIMIT);
        assert_compresses_as_new(compressor, data, size);
        /* Nor a delta, nor the window that it needed. */
        assert_int_equal(
            hf_compress_delta(compressor, (struct hf_bytes){data, 100}, noise, 400, 100, &out),
            HF_ERR_LIMIT);
        assert_compresses_as_new(compressor, long_text, SIZE);
        /* What does not shrink, found by a probe or by trying, keeps neither from being made. */
        for (size_t many = 3000; many <= NOISE; many += NOISE - 3000) {
            assert_int_equal(hf_compress(compressor, noise, many, &out, &codec), HF_OK);
            assert_int_equal(codec, HF_CODEC_RAW);
            hf_buf_clear(&out);
            assert_int_equal(
                hf_compress_dictionary(compressor, trained->dictionary, data, size, size / 2, &out),
                HF_OK);
            hf_buf_clear(&out);
        }
        assert_true(hf_is_incompressible(compressor, noise, NOISE));
        assert_int_equal(hf_compress_delta(compressor, (struct hf_bytes){noise, 20000}, alike,
                                           sizeof alike, 500, &out),
                         HF_OK);
        hf_buf_clear(&out);
    }
    hf_buf_free(&out);
    free(long_text);
    free(noise);
}

static void a_block_is_shortened_only_where_that_pays_and_may(void **state)
{
    struct trained *trained = *state;
    struct hf_block_builder builder = {0};
    struct hf_buf data = {0};
    struct hf_block block;
    char text[512];
    uint8_t id[HF_HASH_BYTES];
    static uint8_t random[2000];
    static uint8_t plain[HF_DICTIONARY_CONTENT_MAX_BYTES];
    size_t size = small_file(text, sizeof text, 5003);
    hf_sha256(text, size, id);
    assert_int_equal(hf_block_add(&builder, id, (uint8_t *)text, size), HF_OK);
    assert_int_equal(hf_block_finish(&builder, trained->compressor, &block), HF_OK);
    size_t whole = block.data.size;
    assert_int_equal(hf_block_shorten(&builder, trained->compressor, trained->id,
                                      trained->dictionary, &data, &block),
                     HF_OK);
    assert_int_equal(block.codec, HF_CODEC_DICTIONARY);
    assert_memory_equal(block.aid.data, trained->id, HF_HASH_BYTES);
    assert_true(block.data.size + block.aid.size < whole);
    assert_int_equal(hf_block_plain_size(&block), size);
    assert_int_equal(hf_block_decode(&block, trained->decompressor, view(&trained->bytes), plain),
                     HF_OK);
    assert_true(hf_block_verify(&block, plain, NULL));
    hf_block_clear(&builder);
    hf_random(random, sizeof random);
    hf_sha256(random, sizeof random, id);
    assert_int_equal(hf_block_add(&builder, id, random, sizeof random), HF_OK);
    assert_int_equal(hf_block_finish(&builder, trained->compressor, &block), HF_OK);
    assert_int_equal(hf_block_shorten(&builder, trained->compressor, trained->id,
                                      trained->dictionary, &data, &block),
                     HF_OK);
    assert_int_equal(block.codec, HF_CODEC_RAW);
    assert_int_equal(block.aid.size, 0);
    /* Too long a plaintext: of the many that it holds each shrinks, and it stays as it is. */
    hf_block_clear(&builder);
    for (unsigned i = 0; builder.plain.size <= HF_DICTIONARY_CONTENT_MAX_BYTES; i++) {
        size = small_file(text, sizeof text, i);
        hf_sha256(text, size, id);
        assert_int_equal(hf_block_add(&builder, id, (uint8_t *)text, size), HF_OK);
    }
    assert_int_equal(hf_block_finish(&builder, trained->compressor, &block), HF_OK);
    assert_int_equal(hf_block_shorten(&builder, trained->compressor, trained->id,
                                      trained->dictionary, &data, &block),
                     HF_OK);
    assert_int_equal(block.codec, HF_CODEC_ZSTD);
    block.codec = HF_CODEC_DICTIONARY;
    block.aid = (struct hf_bytes){trained->id, HF_HASH_BYTES};
    assert_int_equal(hf_block_plain_size(&block), 0); /* and it would be no block */
    hf_buf_free(&data);
    hf_block_builder_free(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_was_trained_is_one_and_other_bytes_are_none),
        cmocka_unit_test(too_little_teaches_nothing),
        cmocka_unit_test(what_was_made_with_one_comes_back_with_it_alone),
        cmocka_unit_test(several_can_be_used_in_turns),
        cmocka_unit_test(what_did_not_fit_leaves_nothing_behind),
        cmocka_unit_test(a_block_is_shortened_only_where_that_pays_and_may),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
