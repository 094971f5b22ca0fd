#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#include "common/xattr.h"
#include "tests/unit/common/scratch.h"

#define BYTES(literal) ((struct hf_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})
#define A1             "\x06user.a\x01\0\0\0\x31"
#define B0             "\x06user.b\0\0\0\0"
#define CAP                                                                                        \
    "\x13security.capability\x14\0\0\0"                                                            \
    "\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static int make(const struct scratch *scratch, const char *name)
{
    int fd = open(scratch_at(scratch, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void assert_attributes(int fd, struct hf_bytes expected)
{
    struct hf_buf got = {0};
    assert_int_equal(hf_xattrs_read(fd, &got, NULL), HF_OK);
    assert_int_equal(got.size, expected.size);
    assert_memory_equal(got.size ? got.data : (const uint8_t *)"", expected.data, expected.size);
    hf_buf_free(&got);
}

static void only_a_whole_list_in_order_is_valid(void **state)
{
    (void)state;
    assert_true(hf_xattrs_valid(BYTES("")));
    assert_true(hf_xattrs_valid(BYTES(A1)));
    assert_true(hf_xattrs_valid(BYTES(A1 B0)));
    assert_true(hf_xattrs_valid(BYTES("\x05user.\0\0\0\0" A1)));
    assert_false(hf_xattrs_valid(BYTES(B0 A1)));
    assert_false(hf_xattrs_valid(BYTES(A1 A1)));
    assert_false(hf_xattrs_valid(BYTES(A1 "\x06")));
    assert_false(hf_xattrs_valid(BYTES("\0\0\0\0\0")));
    assert_false(hf_xattrs_valid(BYTES("\x06user.\0\0\0\0\0")));
    for (size_t size = 1; size < sizeof(A1 B0) - 1; size++) {
        struct hf_bytes part = BYTES(A1 B0);
        part.size = size;
        assert_int_equal(hf_xattrs_valid(part), size == sizeof(A1) - 1);
    }
    assert_false(hf_xattrs_valid(BYTES("\x06user.a\xff\xff\xff\xff")));
}

static void a_list_over_the_limit_is_not_valid(void **state)
{
    (void)state;
    size_t size = 7 + 4 + 200000;
    uint8_t *list = calloc(1, size);
    assert_non_null(list);
    const uint8_t head[] = {6, 'u', 's', 'e', 'r', '.', 'a', 0x40, 0x0d, 3, 0};
    memcpy(list, head, sizeof head);
    assert_false(hf_xattrs_valid((struct hf_bytes){list, size}));
    free(list);
}

static void what_is_set_is_read_by_order_of_names(void **state)
{
    const struct scratch *scratch = *state;
    int fd = make(scratch, "f");
    int dir = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool changed = true;
    assert_int_equal(hf_xattrs_set(fd, BYTES(""), HF_XATTR_HARMLESS, &changed, NULL), HF_OK);
    assert_false(changed);
    assert_int_equal(fsetxattr(fd, "user.b", "", 0, 0), 0);
    assert_int_equal(fsetxattr(fd, "user.a", "1", 1, 0), 0);
    assert_attributes(fd, BYTES(A1 B0));
    struct hf_buf got = {0};
    assert_int_equal(hf_xattrs_read_at(dir, "f", &got, NULL), HF_OK);
    assert_int_equal(got.size, sizeof(A1 B0) - 1);
    assert_true(hf_xattrs_valid((struct hf_bytes){got.data, got.size}));
    hf_buf_free(&got);
    close(dir);
    close(fd);
}

static void setting_takes_off_what_is_not_named(void **state)
{
    const struct scratch *scratch = *state;
    int fd = make(scratch, "f");
    bool changed = false;
    assert_int_equal(fsetxattr(fd, "user.z", "z", 1, 0), 0);
    assert_int_equal(fsetxattr(fd, "user.a", "other", 5, 0), 0);
    assert_int_equal(hf_xattrs_set(fd, BYTES(A1 B0), HF_XATTR_HARMLESS, &changed, NULL), HF_OK);
    assert_true(changed);
    assert_attributes(fd, BYTES(A1 B0));
    close(fd);
}

static void a_link_is_not_followed(void **state)
{
    const struct scratch *scratch = *state;
    int fd = make(scratch, "f");
    int dir = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct hf_buf got = {0};
    bool changed = false;
    assert_int_equal(fsetxattr(fd, "user.a", "1", 1, 0), 0);
    assert_int_equal(symlinkat("f", dir, "link"), 0);
    assert_int_equal(hf_xattrs_read_at(dir, "link", &got, NULL), HF_OK);
    assert_int_equal(got.size, 0);
    /* The kernel allows links no user attributes: that is told, and the file stays as it is. */
    assert_int_equal(hf_xattrs_set_at(dir, "link", BYTES(B0), HF_XATTR_HARMLESS, &changed, NULL),
                     HF_ERR_IO);
    assert_attributes(fd, BYTES(A1));
    close(dir);
    close(fd);
}

static void powers_are_in_no_harmless_scope(void **state)
{
    const struct scratch *scratch = *state;
    int fd = make(scratch, "f");
    bool changed = false;
    assert_true(hf_xattrs_match(BYTES(CAP A1), BYTES(A1), HF_XATTR_HARMLESS));
    assert_false(hf_xattrs_match(BYTES(CAP A1), BYTES(A1), HF_XATTR_ALL));
    assert_false(hf_xattrs_match(BYTES(A1 B0), BYTES(A1), HF_XATTR_HARMLESS));
    assert_false(hf_xattrs_match(BYTES(A1), BYTES("\x06user.a\x01\0\0\0\x32"), HF_XATTR_HARMLESS));
    assert_int_equal(hf_xattrs_set(fd, BYTES(CAP A1), HF_XATTR_HARMLESS, &changed, NULL), HF_OK);
    assert_attributes(fd, BYTES(A1));
    if (geteuid() == 0) {
        assert_int_equal(hf_xattrs_set(fd, BYTES(CAP A1), HF_XATTR_ALL, &changed, NULL), HF_OK);
        assert_attributes(fd, BYTES(CAP A1));
        /* Nor are they taken off by who may not give them. */
        assert_int_equal(hf_xattrs_set(fd, BYTES(""), HF_XATTR_HARMLESS, &changed, NULL), HF_OK);
        assert_attributes(fd, BYTES(CAP));
    }
    close(fd);
}

static void what_can_not_be_set_is_named_and_the_rest_is_set(void **state)
{
    const struct scratch *scratch = *state;
    int fd = make(scratch, "f");
    struct hf_error error = {0};
    bool changed = false;
    /* No access list is like that. */
    assert_int_equal(hf_xattrs_set(fd,
                                   BYTES("\x18system.posix_acl_default\x04\0\0\0\x07\0\0\0"
                                         "\x06user.a\x01\0\0\0\x31"),
                                   HF_XATTR_HARMLESS, &changed, &error),
                     HF_ERR_IO);
    assert_non_null(strstr(error.message, "system.posix_acl_default"));
    assert_attributes(fd, BYTES(A1));
    close(fd);
}

static void more_than_a_version_can_carry_is_refused(void **state)
{
    const struct scratch *scratch = *state;
    struct hf_error error = {0};
    struct hf_buf got = {0};
    int fd = make(scratch, "f");
    uint8_t *value = calloc(1, 65536);
    bool held = true; /* most file systems hold far less, and there is nothing to refuse then */
    assert_non_null(value);
    for (char name[] = "user.a"; held && name[5] <= 'c'; name[5]++) {
        held = fsetxattr(fd, name, value, 65536, 0) == 0;
    }
    assert_int_equal(hf_xattrs_read(fd, &got, &error), held ? HF_ERR_LIMIT : HF_OK);
    hf_buf_free(&got);
    free(value);
    close(fd);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_whole_list_in_order_is_valid),
        cmocka_unit_test(a_list_over_the_limit_is_not_valid),
        TEST(what_is_set_is_read_by_order_of_names),
        TEST(setting_takes_off_what_is_not_named),
        TEST(a_link_is_not_followed),
        TEST(powers_are_in_no_harmless_scope),
        TEST(what_can_not_be_set_is_named_and_the_rest_is_set),
        TEST(more_than_a_version_can_carry_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
