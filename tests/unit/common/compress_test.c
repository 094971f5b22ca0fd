#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/compress.h"

#define CONTENT_BYTES ((size_t)512 * 1024)

struct codecs {
    struct hf_compressor *compressor;
    struct hf_decompressor *decompressor;
    uint8_t *text;   /* shrinks well */
    uint8_t *random; /* doesn't */
};

static int set_up(void **state)
{
    static struct codecs codecs;
    codecs = (struct codecs){.compressor = hf_compressor_new(1),
                             .decompressor = hf_decompressor_new(),
                             .text = malloc(CONTENT_BYTES),
                             .random = malloc(CONTENT_BYTES)};
    *state = &codecs;
    if (!codecs.compressor || !codecs.decompressor || !codecs.text || !codecs.random) {
        return 1;
    }
    hf_random(codecs.random, CONTENT_BYTES);
    for (size_t i = 0; i < CONTENT_BYTES; i++) {
        codecs.text[i] = (uint8_t)("checkpoint of step "[i % 19] ^ (i % 701 == 0));
    }
    return 0;
}

static int tear_down(void **state)
{
    struct codecs *codecs = *state;
    hf_compressor_free(codecs->compressor);
    hf_decompressor_free(codecs->decompressor);
    free(codecs->text);
    free(codecs->random);
    return 0;
}

/* Decompress into a block of exactly plain_size bytes, so that a sanitizer sees a byte too many. */
static int decompress(struct codecs *codecs, enum hf_codec codec, const uint8_t *data, size_t size,
                      size_t plain_size, uint8_t **out)
{
    *out = malloc(plain_size ? plain_size : 1);
    assert_non_null(*out);
    return hf_decompress(codecs->decompressor, codec, (struct hf_bytes){0}, data, size, *out,
                         plain_size);
}

static void assert_comes_back(struct codecs *codecs, const uint8_t *data, size_t size)
{
    struct hf_buf out = {0};
    enum hf_codec codec;
    uint8_t *plain;
    hf_buf_append_str(&out, "before");
    assert_int_equal(hf_compress(codecs->compressor, data, size, &out, &codec), 0);
    assert_memory_equal(out.data, "before", 6);
    assert_true(out.size - 6 <= size);
    assert_true(codec == HF_CODEC_RAW || out.size - 6 < size);
    assert_int_equal(decompress(codecs, codec, out.data + 6, out.size - 6, size, &plain), 0);
    assert_int_equal(memcmp(plain, data, size), 0);
    free(plain);
    hf_buf_free(&out);
}

static void content_of_any_size_comes_back_and_never_grows(void **state)
{
    static const size_t sizes[] = {0,   1,    2,     31,    32,    33,     255,
                                   256, 4096, 65535, 65536, 65537, 131072, CONTENT_BYTES};
    struct codecs *codecs = *state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_comes_back(codecs, codecs->text, sizes[i]);
        assert_comes_back(codecs, codecs->random, sizes[i]);
    }
}

static enum hf_codec codec_of(struct codecs *codecs, const uint8_t *data, size_t size)
{
    struct hf_buf out = {0};
    enum hf_codec codec;
    assert_int_equal(hf_compress(codecs->compressor, data, size, &out, &codec), 0);
    hf_buf_free(&out);
    return codec;
}

static void what_does_not_shrink_is_written_raw(void **state)
{
    struct codecs *codecs = *state;
    assert_int_equal(codec_of(codecs, codecs->random, 1000), HF_CODEC_RAW);
    assert_int_equal(codec_of(codecs, codecs->random, CONTENT_BYTES), HF_CODEC_RAW);
    assert_int_equal(codec_of(codecs, codecs->text, 1000), HF_CODEC_ZSTD);
    assert_int_equal(codec_of(codecs, codecs->text, CONTENT_BYTES), HF_CODEC_ZSTD);
    /* 1 % less is not worth it: random but for a few zeros at the end. */
    memset(codecs->random + 49000, 0, 500);
    assert_int_equal(codec_of(codecs, codecs->random, 49500), HF_CODEC_RAW);
}

static void a_compressible_head_does_not_fool_the_probe(void **state)
{
    struct codecs *codecs = *state;
    memcpy(codecs->random, codecs->text, 8192);
    assert_int_equal(codec_of(codecs, codecs->random, CONTENT_BYTES), HF_CODEC_RAW);
}

static size_t compress_text(struct codecs *codecs, size_t plain_size, struct hf_buf *out)
{
    enum hf_codec codec;
    assert_int_equal(hf_compress(codecs->compressor, codecs->text, plain_size, out, &codec), 0);
    assert_int_equal(codec, HF_CODEC_ZSTD);
    return out->size;
}

static void an_incompressible_middle_does_not_fool_the_probe_either(void **state)
{
    struct codecs *codecs = *state;
    memcpy(codecs->text + CONTENT_BYTES / 2 - 8192, codecs->random, 16384);
    assert_int_equal(codec_of(codecs, codecs->text, CONTENT_BYTES), HF_CODEC_ZSTD);
    assert_comes_back(codecs, codecs->text, CONTENT_BYTES);
}

static void assert_corrupt(struct codecs *codecs, enum hf_codec codec, const uint8_t *data,
                           size_t size, size_t plain_size)
{
    uint8_t *out;
    assert_int_equal(decompress(codecs, codec, data, size, plain_size, &out), HF_ERR_CORRUPT);
    free(out);
}

static void another_size_than_declared_is_corrupt(void **state)
{
    struct codecs *codecs = *state;
    struct hf_buf out = {0};
    size_t size = compress_text(codecs, 5000, &out);
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, size, 4999);
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, size, 5001);
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, size, 0);
    assert_corrupt(codecs, HF_CODEC_RAW, out.data, size, size + 1);
    assert_corrupt(codecs, HF_CODEC_RAW, out.data, size, size - 1);
    hf_buf_free(&out);
}

static void cut_frames_and_trailing_bytes_are_corrupt(void **state)
{
    struct codecs *codecs = *state;
    struct hf_buf out = {0};
    size_t size = compress_text(codecs, 5000, &out);
    for (size_t cut = 0; cut < size; cut++) {
        assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, cut, 5000);
    }
    hf_buf_append_byte(&out, 0);
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, size + 1, 5000);
    out.size = size;
    compress_text(codecs, 5000, &out); /* a second frame after the first */
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, out.size, 5000);
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, out.size, 10000);
    hf_buf_free(&out);
}

static void an_unknown_codec_is_corrupt(void **state)
{
    struct codecs *codecs = *state;
    assert_corrupt(codecs, (enum hf_codec)2, codecs->text, 10, 10);
    assert_corrupt(codecs, (enum hf_codec)255, codecs->text, 10, 10);
}

/* Flips may go unnoticed here (the chunk's hash notices them); they must not do harm. */
static void no_flipped_bit_writes_past_the_end(void **state)
{
    struct codecs *codecs = *state;
    struct hf_buf out = {0};
    size_t size = compress_text(codecs, 2000, &out);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint8_t *plain;
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        int rc = decompress(codecs, HF_CODEC_ZSTD, out.data, size, 2000, &plain);
        assert_true(rc == 0 || rc == HF_ERR_CORRUPT);
        free(plain);
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(codec_of(codecs, codecs->text, 2000), HF_CODEC_ZSTD);
    hf_buf_free(&out);
}

/* A frame with a window descriptor, a content size in two bytes (256 is added to it) and one block
 * of 256 times the same byte: RFC 8878, section 3.1.1. */
static void make_windowed_frame(uint8_t frame[12], uint8_t window, uint16_t declared)
{
    const uint32_t block = 1u | 1u << 1 | 256u << 3; /* last, repeated byte, size */
    hf_put_le32(frame, 0xfd2fb528u);
    frame[4] = 0x40;
    frame[5] = window;
    frame[6] = (uint8_t)(declared - 256);
    frame[7] = (uint8_t)((declared - 256) >> 8);
    hf_put_le32(frame + 8, block | 0x7a000000u);
}

static void a_window_over_the_limit_is_corrupt(void **state)
{
    struct codecs *codecs = *state;
    uint8_t frame[12];
    uint8_t *plain;
    make_windowed_frame(frame, (23 - 10) << 3, 256);
    assert_int_equal(decompress(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 256, &plain), 0);
    assert_int_equal(plain[255], 'z');
    free(plain);
    make_windowed_frame(frame, (23 - 10) << 3 | 1, 256);
    assert_corrupt(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 256);
    make_windowed_frame(frame, (27 - 10) << 3, 256);
    assert_corrupt(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 256);
    make_windowed_frame(frame, 0xff, 256);
    assert_corrupt(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 256);
}

static void a_frame_that_holds_more_than_it_declares_is_corrupt(void **state)
{
    struct codecs *codecs = *state;
    uint8_t frame[12];
    make_windowed_frame(frame, 0, 257);
    assert_corrupt(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 257); /* and less */
    make_windowed_frame(frame, 0, 256);
    hf_put_le32(frame + 8, 1u | 1u << 1 | 1024u << 3 | 0x7a000000u);
    assert_corrupt(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 256);
}

/* Its end would be found only by doing the work. */
static void a_frame_that_does_not_declare_its_size_is_corrupt(void **state)
{
    struct codecs *codecs = *state;
    uint8_t frame[10];
    hf_put_le32(frame, 0xfd2fb528u);
    frame[4] = 0;
    frame[5] = 0;
    hf_put_le32(frame + 6, 1u | 1u << 1 | 256u << 3 | 0x7a000000u);
    assert_corrupt(codecs, HF_CODEC_ZSTD, frame, sizeof frame, 256);
}

/* The library would skip it, and the same content could be stored in endless spellings. */
static void a_skippable_frame_after_or_instead_is_corrupt(void **state)
{
    struct codecs *codecs = *state;
    struct hf_buf out = {0};
    uint8_t skippable[8];
    hf_put_le32(skippable, 0x184d2a50u);
    hf_put_le32(skippable + 4, 0);
    assert_corrupt(codecs, HF_CODEC_ZSTD, skippable, sizeof skippable, 0);
    compress_text(codecs, 5000, &out);
    hf_buf_append(&out, skippable, sizeof skippable);
    assert_corrupt(codecs, HF_CODEC_ZSTD, out.data, out.size, 5000);
    hf_buf_free(&out);
}

static void a_level_that_zstd_has_not_is_brought_into_its_range(void **state)
{
    (void)state;
    struct hf_compressor *compressor = hf_compressor_new(1000);
    struct hf_buf out = {0};
    enum hf_codec codec;
    uint8_t zeros[1000] = {0};
    assert_non_null(compressor);
    assert_int_equal(hf_compress(compressor, zeros, sizeof zeros, &out, &codec), 0);
    assert_int_equal(codec, HF_CODEC_ZSTD);
    hf_buf_free(&out);
    hf_compressor_free(compressor);
    hf_compressor_free(NULL);
    hf_decompressor_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(content_of_any_size_comes_back_and_never_grows, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_shrink_is_written_raw, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_compressible_head_does_not_fool_the_probe, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_incompressible_middle_does_not_fool_the_probe_either,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_size_than_declared_is_corrupt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_frames_and_trailing_bytes_are_corrupt, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_codec_is_corrupt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_flipped_bit_writes_past_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_window_over_the_limit_is_corrupt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_frame_that_holds_more_than_it_declares_is_corrupt, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_frame_that_does_not_declare_its_size_is_corrupt, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_skippable_frame_after_or_instead_is_corrupt, set_up,
                                        tear_down),
        cmocka_unit_test(a_level_that_zstd_has_not_is_brought_into_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
