#include "restore_builder.h"

#include <sys/xattr.h>

static struct hf_version *named(struct builder *b, const char *name, const char *text,
                                uint64_t link)
{
    struct hf_version *version = builder_text(b, name, text);
    version->link = link;
    return version;
}

static struct stat status_of(struct builder *b, const char *name)
{
    struct stat status;
    assert_int_equal(lstat(builder_path(b, name), &status), 0);
    return status;
}

static bool one_file(struct builder *b, const char *one, const char *other)
{
    return status_of(b, one).st_ino == status_of(b, other).st_ino;
}

static void restore(struct builder *b)
{
    struct hf_error error = {0};
    if (b->job)
        job_remove(b->job);
    if (builder_restore(b, &error))
        fail_msg("%s", error.message);
    assert_no_staging(b);
}

static void names_of_one_file_come_back_as_such_and_are_fetched_once(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    const size_t size = 700000;
    uint8_t *content = builder_noise(b, size, 1);
    named(b, "a", "short", 5);
    builder_file(b, "c", content, size, 0600)->link = 6;
    named(b, "d", "short", 5);
    named(b, "e", "short", 0);
    builder_file(b, "f", content, size, 0600)->link = 6;
    builder_link(b, "s", "a")->link = 8;
    builder_link(b, "t", "a")->link = 8;
    restore(b);
    assert_true(one_file(b, "a", "d"));
    assert_true(one_file(b, "c", "f"));
    assert_true(one_file(b, "s", "t"));
    assert_int_equal(status_of(b, "a").st_nlink, 2);
    assert_int_equal(status_of(b, "e").st_nlink, 1);
    assert_content(b, "d", "short", 5);
    assert_content(b, "f", content, size);
    assert_int_equal(b->placed, 7);
    assert_in_range(b->requested, 2, 2 + b->versions[1].refs.size / HF_CHUNK_REF_BYTES);
    restore(b); /* there is nothing to do any more */
    assert_int_equal(b->placed, 0);
    assert_true(one_file(b, "a", "d"));
    builder_free(b);
}

static void two_files_that_once_had_the_same_number_stay_two(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    named(b, "a", "this", 5);
    named(b, "b", "that", 5);
    named(b, "c", "this", 5)->mode = 0600;
    named(b, "d", "this", 6);
    restore(b);
    assert_int_equal(status_of(b, "a").st_nlink, 1);
    assert_int_equal(status_of(b, "b").st_nlink, 1);
    assert_int_equal(status_of(b, "c").st_nlink, 1);
    assert_int_equal(status_of(b, "d").st_nlink, 1);
    assert_content(b, "b", "that", 4);
    builder_free(b);
}

static void a_name_that_was_lost_joins_those_that_are_there(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    for (const char *name = "abcd"; *name; name++)
        named(b, (const char[]){*name, 0}, "text", 5);
    restore(b);
    assert_int_equal(unlink(builder_path(b, "c")), 0);
    restore(b);
    assert_int_equal(status_of(b, "c").st_nlink, 4);
    assert_true(one_file(b, "a", "c") && one_file(b, "a", "d"));
    builder_free(b);
}

static void names_that_were_parted_are_joined_without_being_read_again(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    named(b, "a", "text", 5);
    named(b, "b", "text", 5);
    named(b, "c", "text", 5);
    restore(b);
    /* A copy, alike in all but that it is one. */
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {BUILT_MTIME_NS / 1000000000, BUILT_MTIME_NS % 1000000000}};
    assert_int_equal(unlink(builder_path(b, "b")), 0);
    builder_put(b, "b", "text", 4);
    assert_int_equal(chmod(builder_path(b, "b"), 0644), 0);
    assert_int_equal(utimensat(AT_FDCWD, builder_path(b, "b"), times, 0), 0);
    restore(b);
    assert_int_equal(b->requested, 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_IDENTICAL);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_RESTORED);
    assert_int_equal(status_of(b, "a").st_nlink, 3);
    assert_true(one_file(b, "a", "b"));
    builder_free(b);
}

static void what_is_there_stays_apart_where_nothing_may_be_replaced(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    named(b, "a", "text", 5);
    named(b, "b", "text", 5);
    restore(b);
    assert_int_equal(unlink(builder_path(b, "b")), 0);
    b->conflict = HF_CONFLICT_SKIP;
    restore(b);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_IDENTICAL);
    assert_content(b, "b", "text", 4);
    builder_free(b);
}

static void a_name_fails_with_its_file(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    named(b, "a", "lost", 5);
    named(b, "b", "lost", 5);
    named(b, "c", "kept", 6);
    b->chunks[0].lost = true;
    restore(b);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 1), "another name of"));
    assert_missing(b, "a");
    assert_missing(b, "b");
    assert_content(b, "c", "kept", 4);
    builder_free(b);
}

static void a_connection_that_is_cut_in_between_changes_nothing_of_that(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    named(b, "a", "one", 5);
    named(b, "b", "one", 5);
    named(b, "c", "two", 6);
    named(b, "d", "two", 6);
    b->answer_limit = 1;
    assert_int_equal(builder_restore(b, &error), HF_ERR_CLOSED);
    b->answer_limit = 0;
    if (builder_restore(b, &error))
        fail_msg("%s", error.message);
    assert_true(one_file(b, "a", "b") && one_file(b, "c", "d"));
    assert_content(b, "b", "one", 3);
    assert_content(b, "d", "two", 3);
    assert_no_staging(b);
    builder_free(b);
}

static void any_number_of_files_with_links_finds_its_own(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    char name[16], text[16];
    for (unsigned i = 0; i < 240; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        snprintf(text, sizeof(text), "text %u", i % 80);
        named(b, name, text, 1 + i % 80);
    }
    restore(b);
    for (unsigned i = 0; i < 80; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        assert_int_equal(status_of(b, name).st_nlink, 3);
    }
    builder_free(b);
}

static void attributes_come_with_content_and_powers_only_where_they_are_taken(void **state)
{
    (void)state;
    static const char xattrs[] = "\x06user.a\x01\0\0\0\x31";
    for (int privileged = 0; privileged < 2; privileged++) {
        struct builder *b = builder_new();
        const size_t size = 300000;
        uint8_t *content = builder_noise(b, size, 1);
        const struct hf_bytes wanted = {(const uint8_t *)xattrs, sizeof(xattrs) - 1};
        char value[8];
        b->privileged = privileged;
        builder_version(b, HF_FILE_DIRECTORY, "dir", 0755)->xattrs = wanted;
        builder_text(b, "dir/short", "s")->xattrs = wanted;
        builder_file(b, "dir/long", content, size, 04755)->xattrs = wanted;
        builder_file(b, "dir/setuid", "s", 1, 06755)->xattrs = wanted;
        restore(b);
        static const char *const names[] = {"dir", "dir/short", "dir/long", "dir/setuid"};
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(getxattr(builder_path(b, names[i]), "user.a", value, 8), 1);
        assert_int_equal(status_of(b, "dir/long").st_mode & 07777, privileged ? 04755 : 0755);
        assert_int_equal(status_of(b, "dir/setuid").st_mode & 07777, privileged ? 06755 : 0755);
        assert_int_equal(setxattr(builder_path(b, "dir/short"), "user.b", "x", 1, 0), 0);
        restore(b); /* what has another attribute is another file */
        assert_int_equal(builder_outcome(b, 1), HF_ACTION_RESTORED);
        assert_int_equal(builder_outcome(b, 2), HF_ACTION_IDENTICAL);
        assert_int_equal(getxattr(builder_path(b, "dir/short"), "user.b", value, 8), -1);
        builder_free(b);
    }
}

static void what_an_attribute_can_not_be_set_on_comes_back_with_a_remark(void **state)
{
    (void)state;
    /* No access list is like that. */
    static const char xattrs[] = "\x17system.posix_acl_access\x04\0\0\0\x07\0\0\0";
    struct builder *b = builder_new();
    builder_text(b, "f", "text")->xattrs =
        (struct hf_bytes){(const uint8_t *)xattrs, sizeof(xattrs) - 1};
    restore(b);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "system.posix_acl_access"));
    assert_content(b, "f", "text", 4);
    builder_free(b);
}

static void zeros_of_a_sparse_file_take_no_room(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    const size_t size = 9000000;
    uint8_t *content = builder_keep(b, calloc(1, size));
    memcpy(content + 3000000, builder_noise(b, 100000, 1), 100000);
    content[50000] = 1;
    builder_file(b, "sparse", content, size, 0644)->flags = HF_VERSION_SPARSE;
    builder_file(b, "short", content, 65536, 0644)->flags = HF_VERSION_SPARSE;
    builder_file(b, "zeros", content + 4000000, 60000, 0644)->flags = HF_VERSION_SPARSE;
    builder_file(b, "full", content, size, 0644);
    restore(b);
    assert_content(b, "sparse", content, size);
    assert_content(b, "short", content, 65536);
    assert_content(b, "zeros", content + 4000000, 60000);
    assert_content(b, "full", content, size);
    if (status_of(b, "zeros").st_blocks == 0) { /* else this file system has no holes */
        assert_in_range(status_of(b, "sparse").st_blocks, 1, 300);
        assert_in_range(status_of(b, "short").st_blocks, 1, 16);
        assert_true(status_of(b, "full").st_blocks >= 17000);
    }
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_one_file_come_back_as_such_and_are_fetched_once),
        cmocka_unit_test(two_files_that_once_had_the_same_number_stay_two),
        cmocka_unit_test(a_name_that_was_lost_joins_those_that_are_there),
        cmocka_unit_test(names_that_were_parted_are_joined_without_being_read_again),
        cmocka_unit_test(what_is_there_stays_apart_where_nothing_may_be_replaced),
        cmocka_unit_test(a_name_fails_with_its_file),
        cmocka_unit_test(a_connection_that_is_cut_in_between_changes_nothing_of_that),
        cmocka_unit_test(any_number_of_files_with_links_finds_its_own),
        cmocka_unit_test(attributes_come_with_content_and_powers_only_where_they_are_taken),
        cmocka_unit_test(what_an_attribute_can_not_be_set_on_comes_back_with_a_remark),
        cmocka_unit_test(zeros_of_a_sparse_file_take_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
