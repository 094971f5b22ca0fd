#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/error.h"

static void a_message_names_what_failed_and_why(void **state)
{
    (void)state;
    struct hf_error error = {0};
    assert_int_equal(hf_error_set(&error, HF_ERR_IO, EACCES, "Can't open '%s'", "/a"), HF_ERR_IO);
    assert_int_equal(error.code, HF_ERR_IO);
    assert_int_equal(error.sys_errno, EACCES);
    assert_string_equal(error.message, "Can't open '/a': Permission denied");
}

static void without_errno_nothing_is_appended(void **state)
{
    (void)state;
    struct hf_error error = {.sys_errno = EIO};
    hf_error_set(&error, HF_ERR_INVALID, 0, "no");
    assert_string_equal(error.message, "no");
    assert_int_equal(error.sys_errno, 0);
}

static void nobody_need_pass_a_struct(void **state)
{
    (void)state;
    assert_int_equal(hf_error_set(NULL, HF_ERR_LIMIT, 0, "x"), HF_ERR_LIMIT);
    assert_int_equal(hf_error_prefix(NULL, "x"), HF_ERR_INVALID);
}

static void a_prefix_goes_before_and_keeps_the_code(void **state)
{
    (void)state;
    struct hf_error error = {0};
    hf_error_set(&error, HF_ERR_CORRUPT, 0, "bad tag");
    assert_int_equal(hf_error_prefix(&error, "pack %d", 7), HF_ERR_CORRUPT);
    assert_string_equal(error.message, "pack 7: bad tag");
}

static void long_messages_are_cut_at_the_end_of_the_buffer(void **state)
{
    (void)state;
    struct {
        struct hf_error error;
        char after[16];
    } guarded;
    char text[2 * HF_ERROR_MESSAGE_BYTES];
    memset(&guarded, 'G', sizeof guarded);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';

    hf_error_set(&guarded.error, HF_ERR_IO, EACCES, "%s", text);
    assert_int_equal(strlen(guarded.error.message), HF_ERROR_MESSAGE_BYTES - 1);
    hf_error_prefix(&guarded.error, "%s", text);
    assert_int_equal(strlen(guarded.error.message), HF_ERROR_MESSAGE_BYTES - 1);
    hf_error_set(&guarded.error, HF_ERR_IO, EACCES, "%.500s", text);
    hf_error_prefix(&guarded.error, "front");
    assert_int_equal(strlen(guarded.error.message), HF_ERROR_MESSAGE_BYTES - 1);
    assert_memory_equal(guarded.error.message, "front: xxx", 10);
    for (size_t i = 0; i < sizeof guarded.after; i++) {
        assert_int_equal(guarded.after[i], 'G');
    }
}

static void each_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(hf_error_name(HF_OK), "ok");
    assert_string_equal(hf_error_name(HF_ERR_NO_SPACE), "no space");
    assert_string_equal(hf_error_name(HF_ERR_RACED), "raced");
    for (int code = 0; code >= HF_ERR_RACED; code--) {
        assert_string_not_equal(hf_error_name((enum hf_err)code), "unknown");
        for (int other = 0; other > code; other--) {
            assert_string_not_equal(hf_error_name((enum hf_err)code),
                                    hf_error_name((enum hf_err)other));
        }
    }
    assert_string_equal(hf_error_name((enum hf_err)1), "unknown");
    assert_string_equal(hf_error_name((enum hf_err)(HF_ERR_RACED - 1)), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_names_what_failed_and_why),
        cmocka_unit_test(without_errno_nothing_is_appended),
        cmocka_unit_test(nobody_need_pass_a_struct),
        cmocka_unit_test(a_prefix_goes_before_and_keeps_the_code),
        cmocka_unit_test(long_messages_are_cut_at_the_end_of_the_buffer),
        cmocka_unit_test(each_code_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
