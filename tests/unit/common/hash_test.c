#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "common/bytes.h"
#include "common/hash.h"

static void assert_hex(const uint8_t *bytes, size_t size, const char *expected)
{
    char text[256];
    assert_true(2 * size < sizeof text);
    hf_hex_encode(bytes, size, text);
    assert_string_equal(text, expected);
}

/* NIST's examples for FIPS 180-4. */
static void sha256_gives_the_standards_examples(void **state)
{
    (void)state;
    uint8_t out[HF_HASH_BYTES];
    hf_sha256("abc", 3, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hf_sha256(NULL, 0, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hf_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, out);
    assert_hex(out, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void a_running_hash_may_be_fed_in_any_pieces(void **state)
{
    (void)state;
    uint8_t piece[997];
    uint8_t out[HF_HASH_BYTES];
    memset(piece, 'a', sizeof piece);
    struct hf_hash *hash = hf_hash_new();
    assert_non_null(hash);
    for (size_t left = 1000000; left > 0;) {
        size_t size = left < sizeof piece ? left : sizeof piece;
        hf_hash_update(hash, piece, size);
        left -= size;
    }
    hf_hash_final(hash, out);
    assert_hex(out, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");

    /* final has reset it, and reset forgets what came before */
    hf_hash_update(hash, "junk", 4);
    hf_hash_reset(hash);
    hf_hash_update(hash, "a", 1);
    hf_hash_update(hash, "bc", 2);
    hf_hash_final(hash, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hf_hash_free(hash);
    hf_hash_free(NULL);
}

/* RFC 4231, test cases 1, 2 and 6. */
static void hmac_gives_the_rfcs_examples(void **state)
{
    (void)state;
    uint8_t key[131];
    uint8_t out[HF_HASH_BYTES];
    memset(key, 0x0b, 20);
    hf_hmac_sha256(key, 20, "Hi There", 8, out);
    assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hf_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hf_hmac_sha256(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                   out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hf_hmac_sha256("", 0, "", 0, out);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void count_up(uint8_t *out, unsigned first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (uint8_t)(first + i);
    }
}

/* RFC 5869, appendix A, test cases 1 to 3. */
static void hkdf_gives_the_rfcs_examples(void **state)
{
    (void)state;
    uint8_t key[80];
    uint8_t salt[80];
    char info[81] = {0};
    uint8_t out[82];
    memset(key, 0x0b, 22);
    count_up(salt, 0, 13);
    count_up((uint8_t *)info, 0xf0, 10);
    assert_int_equal(hf_hkdf_sha256(key, 22, salt, 13, info, out, 42), 0);
    assert_hex(out, 42,
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
               "34007208d5b887185865");
    assert_int_equal(hf_hkdf_sha256(key, 22, NULL, 0, "", out, 42), 0);
    assert_hex(out, 42,
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
               "9d201395faa4b61a96c8");
    count_up(key, 0, 80);
    count_up(salt, 0x60, 80);
    count_up((uint8_t *)info, 0xb0, 80);
    assert_int_equal(hf_hkdf_sha256(key, 80, salt, 80, info, out, 82), 0);
    assert_hex(out, 82,
               "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
               "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
               "cc30c58179ec3e87c14c01d5c1f3434f1d87");
}

static void hkdf_refuses_more_than_it_can_give(void **state)
{
    (void)state;
    static uint8_t out[8161];
    assert_int_equal(hf_hkdf_sha256("k", 1, "s", 1, "i", out, 8160), 0);
    assert_int_equal(hf_hkdf_sha256("k", 1, "s", 1, "i", out, 8161), HF_ERR_LIMIT);
}

static void *hash_many(void *arg)
{
    unsigned *wrong = arg;
    uint8_t first[HF_HASH_BYTES];
    uint8_t out[HF_HASH_BYTES];
    uint8_t data[100] = {(uint8_t)(uintptr_t)arg};
    hf_sha256(data, sizeof data, first);
    for (int i = 0; i < 2000; i++) {
        hf_sha256(data, sizeof data, out);
        *wrong += memcmp(out, first, sizeof out) != 0;
    }
    return NULL;
}

/* Also shows, under a leak checker, that a thread's context goes with the thread. */
static void threads_hash_without_disturbing_each_other(void **state)
{
    (void)state;
    pthread_t threads[4];
    unsigned wrong[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, &wrong[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_standards_examples),
        cmocka_unit_test(a_running_hash_may_be_fed_in_any_pieces),
        cmocka_unit_test(hmac_gives_the_rfcs_examples),
        cmocka_unit_test(hkdf_gives_the_rfcs_examples),
        cmocka_unit_test(hkdf_refuses_more_than_it_can_give),
        cmocka_unit_test(threads_hash_without_disturbing_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
