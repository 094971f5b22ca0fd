#include "agent/restore/staged_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "restore_builder.h"

static int root_of(struct builder *b)
{
    int fd = open(b->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* What is at a name is gone, and a file made in its place. */
static void assert_made_anew(struct builder *b, const char *name, bool keep)
{
    struct hf_error error = {0};
    struct stat status;
    int root = root_of(b);
    int fd;
    assert_int_equal(staged_file_open(root, name, 0600, keep, &fd, &error), 0);
    assert_int_equal(write(fd, "new", 3), 3);
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    assert_int_equal(status.st_nlink, 1);
    close(fd);
    close(root);
    assert_content(b, name, "new", 3);
}

static void what_is_no_file_gives_way_unopened(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct builder *b = builder_new();
        builder_put(b, "victim", "old", 3);
        assert_int_equal(symlink("victim", builder_path(b, "link")), 0);
        assert_int_equal(mkfifo(builder_path(b, "pipe"), 0600), 0); /* to open it would wait */
        assert_int_equal(link(builder_path(b, "victim"), builder_path(b, "name")), 0);
        assert_made_anew(b, "link", keep);
        assert_made_anew(b, "pipe", keep);
        assert_made_anew(b, "name", keep);
        if (!mknod(builder_path(b, "device"), S_IFCHR | 0600, 0)) /* it can't be opened */
            assert_made_anew(b, "device", keep);
        assert_made_anew(b, "missing", keep);
        assert_content(b, "victim", "old", 3);
        builder_free(b);
    }
}

static void a_file_is_kept_where_that_is_asked_for_alone(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char begun[5] = "";
    int root = root_of(b);
    int fd;
    builder_put(b, "file", "begun", 5);
    assert_int_equal(staged_file_open(root, "file", 0600, true, &fd, &error), 0);
    assert_int_equal(pread(fd, begun, 5, 0), 5);
    assert_memory_equal(begun, "begun", 5);
    close(fd);
    assert_made_anew(b, "file", false);
    close(root);
    builder_free(b);
}

static void a_link_above_leads_nowhere(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    int root = root_of(b);
    int fd;
    assert_int_equal(mkdir(builder_path(b, "dir"), 0700), 0);
    builder_put(b, "dir/file", "old", 3);
    assert_int_equal(symlink("dir", builder_path(b, "link")), 0);
    assert_int_not_equal(staged_file_open(root, "link/file", 0600, false, &fd, &error), 0);
    assert_int_not_equal(staged_file_open(root, "link/file", 0600, true, &fd, &error), 0);
    staged_file_remove(root, "link/file");
    assert_content(b, "dir/file", "old", 3);
    staged_file_remove(root, "dir/file");
    assert_missing(b, "dir/file");
    close(root);
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_file_gives_way_unopened),
        cmocka_unit_test(a_file_is_kept_where_that_is_asked_for_alone),
        cmocka_unit_test(a_link_above_leads_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
