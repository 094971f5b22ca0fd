#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>

#include "collector/catalog/recent.h"
#include "common/bytes.h"

static const uint8_t *id_of(uint32_t number)
{
    static uint8_t id[HF_HASH_BYTES];
    hf_put_le32(id, number);
    return id;
}

static void what_was_added_is_known_to_its_owner_with_its_length(void **state)
{
    (void)state;
    struct recent_chunks *recent = calloc(1, sizeof *recent);
    assert_false(recent_has(recent, id_of(0), 0, 0)); /* nothing is in an empty table */
    recent_add(recent, id_of(5), 3, 100);
    assert_true(recent_has(recent, id_of(5), 3, 100));
    assert_false(recent_has(recent, id_of(5), 4, 100));
    assert_false(recent_has(recent, id_of(5), 3, 101));
    assert_false(recent_has(recent, id_of(6), 3, 100));
    recent_clear(recent);
    assert_false(recent_has(recent, id_of(5), 3, 100));
    free(recent);
}

static void what_takes_a_chunks_place_is_not_taken_for_it(void **state)
{
    (void)state;
    struct recent_chunks *recent = calloc(1, sizeof *recent);
    recent_add(recent, id_of(5), 3, 100);
    recent_add(recent, id_of(5 + RECENT_CHUNKS), 3, 100);
    assert_false(recent_has(recent, id_of(5), 3, 100));
    assert_true(recent_has(recent, id_of(5 + RECENT_CHUNKS), 3, 100));
    free(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_known_to_its_owner_with_its_length),
        cmocka_unit_test(what_takes_a_chunks_place_is_not_taken_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
