#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <fcntl.h>

#include "common/sparse.h"
#include "tests/unit/common/scratch.h"

#define KIB 1024u

static int make(const struct scratch *scratch, off_t size)
{
    int fd = open(scratch_at(scratch, "f"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static void put(int fd, off_t at, size_t size)
{
    char bytes[64 * KIB];
    memset(bytes, 'x', sizeof bytes);
    for (; size > 0; size -= size < sizeof bytes ? size : sizeof bytes, at += (off_t)sizeof bytes) {
        size_t part = size < sizeof bytes ? size : sizeof bytes;
        assert_int_equal(pwrite(fd, bytes, part, at), (ssize_t)part);
    }
}

/* Where file systems have no holes all is data, and there is nothing to see. */
static bool has_holes(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return hf_sparse_possible(&status);
}

static void assert_extent(int fd, uint64_t at, uint64_t limit, bool hole, uint64_t end)
{
    bool is_hole = !hole;
    assert_int_equal(hf_sparse_extent(fd, at, limit, &is_hole), end);
    assert_int_equal(is_hole, hole);
}

static void a_file_is_data_and_holes_by_turns(void **state)
{
    int fd = make(*state, 1024 * KIB);
    put(fd, 256 * KIB, 128 * KIB);
    put(fd, 512 * KIB, 4 * KIB);
    if (has_holes(fd)) {
        assert_extent(fd, 0, 1024 * KIB, true, 256 * KIB);
        assert_extent(fd, 256 * KIB, 1024 * KIB, false, 384 * KIB);
        assert_extent(fd, 384 * KIB, 1024 * KIB, true, 512 * KIB);
        assert_extent(fd, 512 * KIB, 1024 * KIB, false, 516 * KIB);
        assert_extent(fd, 516 * KIB, 1024 * KIB, true, 1024 * KIB);
        /* No further than asked for, nor than the file was then. */
        assert_extent(fd, 0, 128 * KIB, true, 128 * KIB);
        assert_extent(fd, 256 * KIB, 300 * KIB, false, 300 * KIB);
    }
    close(fd);
}

static void short_holes_are_data(void **state)
{
    int fd = make(*state, 512 * KIB);
    put(fd, 4 * KIB, 4 * KIB);
    put(fd, 64 * KIB, 4 * KIB);
    put(fd, 500 * KIB, 4 * KIB);
    if (has_holes(fd)) {
        assert_extent(fd, 0, 512 * KIB, false, 68 * KIB);
        assert_extent(fd, 68 * KIB, 512 * KIB, true, 500 * KIB);
        assert_extent(fd, 500 * KIB, 512 * KIB, false, 512 * KIB);
    }
    close(fd);
}

static void what_has_no_holes_is_data_to_its_end(void **state)
{
    int fd = make(*state, 0);
    put(fd, 0, 200 * KIB);
    assert_extent(fd, 0, 200 * KIB, false, 200 * KIB);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_extent(pipes[0], 0, 1000, false, 1000); /* nothing can be asked of that */
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

static void zeros_are_told_from_all_else(void **state)
{
    (void)state;
    uint8_t bytes[4096] = {0};
    assert_true(hf_is_zero(bytes, 0));
    assert_true(hf_is_zero(bytes, sizeof bytes));
    for (size_t i = 0; i < sizeof bytes; i += 1365) {
        bytes[i] = 1;
        assert_false(hf_is_zero(bytes, sizeof bytes));
        assert_true(hf_is_zero(bytes, i));
        bytes[i] = 0;
    }
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_data_and_holes_by_turns),
        TEST(short_holes_are_data),
        TEST(what_has_no_holes_is_data_to_its_end),
        cmocka_unit_test(zeros_are_told_from_all_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
