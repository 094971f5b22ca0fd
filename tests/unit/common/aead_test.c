#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <limits.h>
#include <string.h>

#include "common/aead.h"
#include "common/bytes.h"

/* Test cases 13, 14 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation". */
static const struct {
    const char *key, *nonce, *plain, *aad, *sealed;
} vectors[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "00000000000000000000000000000000", "",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static size_t unhex(const char *text, uint8_t *out)
{
    size_t size = strlen(text) / 2;
    assert_int_equal(hf_hex_decode(text, out, size), 0);
    return size;
}

static void gcm_gives_the_published_results_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t key[32];
        uint8_t nonce[12];
        uint8_t plain[64];
        uint8_t aad[32];
        uint8_t expected[96];
        uint8_t out[96];
        unhex(vectors[i].key, key);
        unhex(vectors[i].nonce, nonce);
        size_t size = unhex(vectors[i].plain, plain);
        size_t aad_size = unhex(vectors[i].aad, aad);
        size_t sealed_size = unhex(vectors[i].sealed, expected);
        assert_int_equal(sealed_size, size + HF_AEAD_TAG_BYTES);
        struct hf_aead *aead = hf_aead_new(key);
        assert_non_null(aead);
        assert_int_equal(hf_aead_seal(aead, nonce, aad, aad_size, plain, size, out), 0);
        assert_memory_equal(out, expected, sealed_size);
        assert_int_equal(hf_aead_open(aead, nonce, aad, aad_size, expected, sealed_size, out), 0);
        assert_int_equal(memcmp(out, plain, size), 0);
        hf_aead_free(aead);
    }
}

struct sealed {
    struct hf_aead *aead;
    uint8_t nonce[HF_AEAD_NONCE_BYTES];
    uint8_t aad[5];
    uint8_t plain[40];
    uint8_t bytes[40 + HF_AEAD_TAG_BYTES];
};

static int seal_sample(void **state)
{
    static struct sealed sample;
    uint8_t key[HF_AEAD_KEY_BYTES];
    hf_random(key, sizeof key);
    hf_random(&sample, sizeof sample);
    sample.aead = hf_aead_new(key);
    *state = &sample;
    return !sample.aead || hf_aead_seal(sample.aead, sample.nonce, sample.aad, sizeof sample.aad,
                                        sample.plain, sizeof sample.plain, sample.bytes) != 0;
}

static int free_sample(void **state)
{
    struct sealed *sample = *state;
    hf_aead_free(sample->aead);
    return 0;
}

static int open_sample(struct sealed *sample, uint8_t *out)
{
    return hf_aead_open(sample->aead, sample->nonce, sample->aad, sizeof sample->aad, sample->bytes,
                        sizeof sample->bytes, out);
}

static void every_flipped_bit_is_noticed_and_nothing_is_given_out(void **state)
{
    struct sealed *sample = *state;
    const struct {
        uint8_t *bytes;
        size_t size;
    } parts[] = {{sample->bytes, sizeof sample->bytes},
                 {sample->aad, sizeof sample->aad},
                 {sample->nonce, sizeof sample->nonce}};
    const uint8_t zeros[sizeof sample->plain] = {0};
    for (size_t part = 0; part < 3; part++) {
        for (size_t bit = 0; bit < 8 * parts[part].size; bit++) {
            uint8_t out[sizeof sample->plain];
            memset(out, 'x', sizeof out);
            parts[part].bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            assert_int_equal(open_sample(sample, out), HF_ERR_CORRUPT);
            assert_memory_equal(out, zeros, sizeof out);
            parts[part].bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
    /* A failure leaves the context fit for use. */
    uint8_t out[sizeof sample->plain];
    assert_int_equal(open_sample(sample, out), 0);
    assert_memory_equal(out, sample->plain, sizeof out);
}

static void cut_messages_do_not_open(void **state)
{
    struct sealed *sample = *state;
    uint8_t out[sizeof sample->bytes];
    for (size_t size = 0; size < sizeof sample->bytes; size++) {
        assert_int_equal(hf_aead_open(sample->aead, sample->nonce, sample->aad, sizeof sample->aad,
                                      sample->bytes, size, out),
                         HF_ERR_CORRUPT);
    }
}

static void another_key_does_not_open(void **state)
{
    struct sealed *sample = *state;
    const uint8_t key[HF_AEAD_KEY_BYTES] = {0};
    uint8_t out[sizeof sample->plain];
    struct hf_aead *other = hf_aead_new(key);
    assert_non_null(other);
    assert_int_equal(hf_aead_open(other, sample->nonce, sample->aad, sizeof sample->aad,
                                  sample->bytes, sizeof sample->bytes, out),
                     HF_ERR_CORRUPT);
    hf_aead_free(other);
}

static void sealing_and_opening_may_be_done_in_place(void **state)
{
    struct sealed *sample = *state;
    uint8_t bytes[sizeof sample->bytes];
    memcpy(bytes, sample->plain, sizeof sample->plain);
    assert_int_equal(hf_aead_seal(sample->aead, sample->nonce, sample->aad, sizeof sample->aad,
                                  bytes, sizeof sample->plain, bytes),
                     0);
    assert_memory_equal(bytes, sample->bytes, sizeof bytes);
    assert_int_equal(hf_aead_open(sample->aead, sample->nonce, sample->aad, sizeof sample->aad,
                                  bytes, sizeof bytes, bytes),
                     0);
    assert_memory_equal(bytes, sample->plain, sizeof sample->plain);
}

static void nothing_at_all_is_sealed_too(void **state)
{
    struct sealed *sample = *state;
    uint8_t tag[HF_AEAD_TAG_BYTES];
    uint8_t none;
    assert_int_equal(hf_aead_seal(sample->aead, sample->nonce, NULL, 0, NULL, 0, tag), 0);
    assert_int_equal(hf_aead_open(sample->aead, sample->nonce, NULL, 0, tag, sizeof tag, &none), 0);
    tag[0] ^= 1;
    assert_int_equal(hf_aead_open(sample->aead, sample->nonce, NULL, 0, tag, sizeof tag, &none),
                     HF_ERR_CORRUPT);
}

static void sizes_beyond_the_library_are_refused_unread(void **state)
{
    struct sealed *sample = *state;
    uint8_t byte = 0;
    assert_int_equal(
        hf_aead_seal(sample->aead, sample->nonce, NULL, 0, &byte, (size_t)INT_MAX + 1, &byte),
        HF_ERR_LIMIT);
    assert_int_equal(
        hf_aead_seal(sample->aead, sample->nonce, &byte, (size_t)INT_MAX + 1, &byte, 1, &byte),
        HF_ERR_LIMIT);
    assert_int_equal(hf_aead_open(sample->aead, sample->nonce, &byte, (size_t)INT_MAX + 1,
                                  sample->bytes, sizeof sample->bytes, &byte),
                     HF_ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_gives_the_published_results_both_ways),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_noticed_and_nothing_is_given_out,
                                        seal_sample, free_sample),
        cmocka_unit_test_setup_teardown(cut_messages_do_not_open, seal_sample, free_sample),
        cmocka_unit_test_setup_teardown(another_key_does_not_open, seal_sample, free_sample),
        cmocka_unit_test_setup_teardown(sealing_and_opening_may_be_done_in_place, seal_sample,
                                        free_sample),
        cmocka_unit_test_setup_teardown(nothing_at_all_is_sealed_too, seal_sample, free_sample),
        cmocka_unit_test_setup_teardown(sizes_beyond_the_library_are_refused_unread, seal_sample,
                                        free_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
