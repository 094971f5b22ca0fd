#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "common/buf.h"
#include "common/error.h"

static void a_zeroed_buffer_is_empty_and_may_be_freed(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    hf_buf_clear(&buf);
    hf_buf_consume(&buf, 0);
    hf_buf_free(&buf);
    hf_buf_wipe_free(&buf);
    assert_null(buf.data);
}

static void what_is_appended_stands_in_order(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    assert_int_equal(hf_buf_append(&buf, "ab", 2), 0);
    assert_int_equal(hf_buf_append_str(&buf, "cd"), 0);
    assert_int_equal(hf_buf_append_byte(&buf, 'e'), 0);
    assert_int_equal(hf_buf_append_format(&buf, "%d-%s", 42, "x"), 0);
    assert_int_equal(hf_buf_append(&buf, NULL, 0), 0);
    assert_int_equal(hf_buf_terminate(&buf), 0);
    assert_string_equal((char *)buf.data, "abcde42-x");
    assert_int_equal(buf.size, 9);
    hf_buf_free(&buf);
}

static void growing_keeps_the_contents(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(hf_buf_append_byte(&buf, (uint8_t)(i * 7)), 0);
    }
    assert_int_equal(buf.size, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(buf.data[i], (uint8_t)(i * 7));
    }
    hf_buf_free(&buf);
}

static void a_format_longer_than_the_room_grows_it(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    assert_int_equal(hf_buf_append_format(&buf, "%0500d", 7), 0);
    assert_int_equal(buf.size, 500);
    assert_int_equal(buf.data[499], '7');
    hf_buf_free(&buf);
}

static void sizes_that_overflow_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    uint8_t *part = NULL;
    hf_buf_append_str(&buf, "abc");
    struct hf_buf before = buf;
    assert_int_equal(hf_buf_reserve(&buf, SIZE_MAX), HF_ERR_LIMIT);
    assert_int_equal(hf_buf_append(&buf, "x", SIZE_MAX - 2), HF_ERR_LIMIT);
    assert_int_equal(hf_buf_extend(&buf, SIZE_MAX - 1, &part), HF_ERR_LIMIT);
    assert_null(part);
    assert_memory_equal(&buf, &before, sizeof buf);
    assert_memory_equal(buf.data, "abc", 3);
    hf_buf_free(&buf);
}

static void extend_gives_room_at_the_end(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    uint8_t *part = NULL;
    assert_int_equal(hf_buf_extend(&buf, 0, &part), 0);
    assert_int_equal(buf.size, 0);
    hf_buf_append_str(&buf, "ab");
    assert_int_equal(hf_buf_extend(&buf, 3, &part), 0);
    assert_ptr_equal(part, buf.data + 2);
    assert_int_equal(buf.size, 5);
    assert_int_equal(hf_buf_extend(&buf, 1000, NULL), 0);
    assert_int_equal(buf.size, 1005);
    hf_buf_free(&buf);
}

static void consuming_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    hf_buf_append_str(&buf, "abcdef");
    hf_buf_consume(&buf, 0);
    assert_int_equal(buf.size, 6);
    hf_buf_consume(&buf, 2);
    assert_int_equal(buf.size, 4);
    assert_memory_equal(buf.data, "cdef", 4);
    hf_buf_consume(&buf, 4);
    assert_int_equal(buf.size, 0);
    hf_buf_free(&buf);
}

static void the_terminator_is_not_counted(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    assert_int_equal(hf_buf_terminate(&buf), 0);
    assert_string_equal((char *)buf.data, "");
    /* Exactly full: the NUL needs room of its own. */
    while (buf.size < buf.capacity) {
        hf_buf_append_byte(&buf, 'x');
    }
    size_t size = buf.size;
    assert_int_equal(hf_buf_terminate(&buf), 0);
    assert_int_equal(buf.size, size);
    assert_int_equal(strlen((char *)buf.data), size);
    hf_buf_free(&buf);
}

static void clearing_keeps_the_memory_and_freeing_does_not(void **state)
{
    (void)state;
    struct hf_buf buf = {0};
    hf_buf_append_str(&buf, "abc");
    hf_buf_clear(&buf);
    assert_int_equal(buf.size, 0);
    assert_true(buf.capacity > 0);
    hf_buf_wipe_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_buffer_is_empty_and_may_be_freed),
        cmocka_unit_test(what_is_appended_stands_in_order),
        cmocka_unit_test(growing_keeps_the_contents),
        cmocka_unit_test(a_format_longer_than_the_room_grows_it),
        cmocka_unit_test(sizes_that_overflow_are_refused_and_change_nothing),
        cmocka_unit_test(extend_gives_room_at_the_end),
        cmocka_unit_test(consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(the_terminator_is_not_counted),
        cmocka_unit_test(clearing_keeps_the_memory_and_freeing_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
