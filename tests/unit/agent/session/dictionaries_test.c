#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/session/dictionaries.h"
#include "trained.h"

static void one_is_asked_for_once_and_there_when_it_came(void **state)
{
    struct hf_dictionaries dictionaries = {.count = 0};
    struct trained trained;
    struct hf_error error = {0};
    bool ask = false;
    (void)state;
    trained_new(&trained);
    assert_null(dictionaries_find(&dictionaries, trained.id, &ask));
    assert_true(ask);
    assert_null(dictionaries_find(&dictionaries, trained.id, &ask));
    assert_false(ask);
    struct hf_bytes id = {trained.id, sizeof(trained.id)};
    struct hf_bytes bytes = {trained.bytes.data, trained.bytes.size};
    assert_int_equal(dictionaries_take(&dictionaries, id, bytes, &error), 0);
    const struct hf_known_dictionary *known = dictionaries_find(&dictionaries, trained.id, &ask);
    assert_non_null(known);
    assert_false(ask);
    assert_memory_equal(known->id, trained.id, HF_HASH_BYTES);
    dictionaries_clear(&dictionaries);
    assert_null(dictionaries_find(&dictionaries, trained.id, &ask));
    assert_true(ask);
    dictionaries_clear(&dictionaries);
    hf_buf_free(&trained.bytes);
}

static void what_was_not_asked_for_or_is_another_is_refused(void **state)
{
    struct hf_dictionaries dictionaries = {.count = 0};
    struct trained trained;
    struct hf_error error = {0};
    uint8_t other[HF_HASH_BYTES];
    bool ask = false;
    (void)state;
    trained_new(&trained);
    struct hf_bytes id = {trained.id, sizeof(trained.id)};
    struct hf_bytes bytes = {trained.bytes.data, trained.bytes.size};
    assert_int_equal(dictionaries_take(&dictionaries, id, bytes, &error), HF_ERR_INVALID);
    dictionaries_find(&dictionaries, trained.id, &ask);
    trained.bytes.data[trained.bytes.size - 1] ^= 1;
    assert_int_equal(dictionaries_take(&dictionaries, id, bytes, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "other bytes than dictionary"));
    trained.bytes.data[trained.bytes.size - 1] ^= 1;
    /* Its hash is right, and it is none. */
    static const uint8_t text[] = "no dictionary of zstd's";
    hf_sha256(text, sizeof(text), other);
    dictionaries_find(&dictionaries, other, &ask);
    assert_true(ask);
    assert_int_equal(dictionaries_take(&dictionaries, (struct hf_bytes){other, sizeof(other)},
                                       (struct hf_bytes){text, sizeof(text)}, &error),
                     HF_ERR_CORRUPT);
    assert_int_equal(dictionaries_take(&dictionaries, id, bytes, &error), 0);
    assert_int_equal(dictionaries_take(&dictionaries, id, bytes, &error), HF_ERR_INVALID);
    dictionaries_clear(&dictionaries);
    hf_buf_free(&trained.bytes);
}

static void more_than_there_are_classes_are_left_alone(void **state)
{
    struct hf_dictionaries dictionaries = {.count = 0};
    uint8_t id[HF_HASH_BYTES] = {0};
    bool ask = false;
    (void)state;
    for (uint8_t i = 0; i < HF_DICTIONARIES_MAX + 3; i++) {
        id[0] = i;
        assert_null(dictionaries_find(&dictionaries, id, &ask));
        assert_int_equal(ask, i < HF_DICTIONARIES_MAX);
    }
    dictionaries_clear(&dictionaries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_asked_for_once_and_there_when_it_came),
        cmocka_unit_test(what_was_not_asked_for_or_is_another_is_refused),
        cmocka_unit_test(more_than_there_are_classes_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
