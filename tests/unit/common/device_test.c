#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <string.h>
#include <sys/sysmacros.h>

#include "common/device.h"

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static void numbers_come_back_as_they_were(void **state)
{
    static const unsigned numbers[][2] = {
        {0, 0}, {1, 3}, {8, 0}, {259, 65536}, {HF_DEVICE_MAJOR_MAX, HF_DEVICE_MINOR_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[HF_DEVICE_TEXT_BYTES];
        dev_t back = 0;
        hf_device_format(makedev(numbers[i][0], numbers[i][1]), text);
        assert_true(hf_device_parse(bytes_of(text), &back));
        assert_int_equal(major(back), numbers[i][0]);
        assert_int_equal(minor(back), numbers[i][1]);
    }
    char text[HF_DEVICE_TEXT_BYTES];
    hf_device_format(makedev(8, 17), text);
    assert_string_equal(text, "8:17");
}

static void anything_else_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",          ":",    "1:",     ":3",   "1",         "01:3",          "1:03",
        "+1:3",      "-1:3", "1:3 ",   " 1:3", "1:3:5",     "a:b",           "4096:0",
        "0:1048576", "1/3",  "1:3\n1", "1:-3", "1:9999999", "99999999999:1", "0x1:3"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dev_t out = makedev(7, 7);
        assert_false(hf_device_parse(bytes_of(wrong[i]), &out));
        assert_int_equal(out, makedev(7, 7));
    }
    dev_t out = 0;
    assert_false(hf_device_parse((struct hf_bytes){(const uint8_t *)"1:3", 4}, &out)); /* its NUL */
    assert_false(hf_device_parse((struct hf_bytes){NULL, 0}, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_come_back_as_they_were),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
