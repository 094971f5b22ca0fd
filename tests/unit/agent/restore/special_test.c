#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "restore_builder.h"

/* Major and minor 0: of no driver, and the one device that everybody may make. */
#define NONE "0:0"

static struct hf_version *device(struct builder *b, const char *name, enum hf_file_type type,
                                 const char *numbers)
{
    struct hf_version *version = builder_version(b, type, name, 0640);
    version->target = (struct hf_bytes){(const uint8_t *)numbers, strlen(numbers)};
    return version;
}

static struct stat status_of(struct builder *b, const char *name)
{
    struct stat status;
    assert_int_equal(lstat(builder_path(b, name), &status), 0);
    return status;
}

static bool may_make(struct builder *b)
{
    bool made = !mknod(builder_path(b, "probe"), S_IFCHR | 0600, 0);
    unlink(builder_path(b, "probe"));
    return made;
}

static void assert_none(struct builder *b, const char *name)
{
    struct stat status = status_of(b, name);
    assert_true(S_ISCHR(status.st_mode));
    assert_int_equal(status.st_rdev, 0);
    assert_int_equal(status.st_mode & 07777, 0640);
}

/* Into a directory that is there, and with one that is missing. */
static void a_device_comes_back_as_it_was(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "other", "lost/third", "file", "link"};
    struct builder *b = builder_new();
    struct hf_error error = {0};
    if (!may_make(b)) {
        builder_free(b);
        skip();
    }
    b->privileged = true;
    builder_put(b, "file", "in its place", 12);
    assert_int_equal(symlink("nowhere", builder_path(b, "link")), 0);
    builder_version(b, HF_FILE_DIRECTORY, "lost", 0755); /* first, as plans have it: a tree */
    for (size_t i = 0; i < 5; i++)
        device(b, names[i], HF_FILE_CHAR_DEVICE, NONE)->link = i < 2 ? 9 : 0;
    assert_int_equal(builder_restore(b, &error), 0);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(builder_outcome(b, i + 1), HF_ACTION_RESTORED);
        assert_none(b, names[i]);
        assert_int_equal(status_of(b, names[i]).st_mtim.tv_sec,
                         b->versions[i + 1].mtime_ns / 1000000000);
    }
    assert_int_equal(status_of(b, "one").st_ino, status_of(b, "other").st_ino);
    job_remove(b->job);
    assert_int_equal(builder_restore(b, &error), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(builder_outcome(b, i + 1), HF_ACTION_IDENTICAL);
    assert_no_staging(b);
    builder_free(b);
}

/* Who owns the root can have all that is made in it get one, for himself. */
static void a_device_takes_over_no_access_list_from_the_directory_that_it_is_made_in(void **state)
{
    (void)state;
    /* As Linux keeps it (acl(5)): version 2; then tag, rights and id. */
    static const uint8_t list[] = {2,    0,    0,    0,    1,    0,    7,  0,    0xff, 0xff, 0xff,
                                   0xff, 2,    0,    6,    0,    57,   48, 0,    0,    4,    0,
                                   5,    0,    0xff, 0xff, 0xff, 0xff, 16, 0,    7,    0,    0xff,
                                   0xff, 0xff, 0xff, 32,   0,    5,    0,  0xff, 0xff, 0xff, 0xff};
    struct builder *b = builder_new();
    struct hf_error error = {0};
    if (!may_make(b) || setxattr(b->root, "system.posix_acl_default", list, sizeof list, 0)) {
        builder_free(b);
        skip();
    }
    b->privileged = true;
    builder_version(b, HF_FILE_DIRECTORY, "lost", 0755);
    device(b, "lost/disk", HF_FILE_CHAR_DEVICE, NONE);
    device(b, "disk", HF_FILE_CHAR_DEVICE, NONE);
    assert_int_equal(builder_restore(b, &error), 0);
    for (size_t i = 1; i < 3; i++)
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
    assert_none(b, "lost/disk");
    assert_none(b, "disk");
    assert_int_equal(getxattr(builder_path(b, "disk"), "system.posix_acl_access", NULL, 0), -1);
    assert_int_equal(getxattr(builder_path(b, "lost/disk"), "system.posix_acl_access", NULL, 0),
                     -1);
    builder_free(b);
}

/* The plan of a job that goes on may name something else where a device was staged. */
static void what_is_staged_as_a_device_is_never_written_to(void **state)
{
    (void)state;
    const size_t size = 700000; /* of several chunks */
    struct builder *b = builder_new();
    struct hf_error error = {0};
    uint8_t *content = builder_noise(b, size, 3);
    if (!may_make(b)) {
        builder_free(b);
        skip();
    }
    b->privileged = true;
    device(b, "first", HF_FILE_CHAR_DEVICE, NONE);
    device(b, "second", HF_FILE_CHAR_DEVICE, NONE);
    builder_text(b, "third", "comes first");
    builder_text(b, "fourth", "does not come");
    b->answer_limit = 1;
    assert_int_equal(builder_stage(b, &error), HF_ERR_CLOSED);
    b->answer_limit = 0;
    b->version_count = 0;
    builder_text(b, "first", "a short one");
    builder_file(b, "second", content, size, 0644);
    device(b, "third", HF_FILE_CHAR_DEVICE, NONE); /* and where a file was staged, a device */
    assert_int_equal(builder_restore(b, &error), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
    assert_content(b, "first", "a short one", 11);
    assert_content(b, "second", content, size);
    assert_none(b, "third");
    builder_free(b);
}

/* Whoever may hand out the device of a disk may read and write all that is on it. */
static void a_device_is_refused_unless_the_administrator_takes_what_is_as_good_as_root(void **state)
{
    (void)state;
    struct hf_error error = {0};
    for (int dry_run = 0; dry_run < 2; dry_run++) {
        struct builder *b = builder_new();
        b->dry_run = dry_run;
        device(b, "null", HF_FILE_CHAR_DEVICE, NONE);
        device(b, "lost/disk", HF_FILE_BLOCK_DEVICE, "8:0");
        builder_text(b, "file", "comes back");
        assert_int_equal(builder_restore(b, &error), 0);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(builder_outcome(b, i), HF_ACTION_FAILED);
            assert_non_null(strstr(job_remark_of(b->job, i), "restore_privileged = yes"));
        }
        assert_missing(b, "null");
        assert_missing(b, "lost/disk");
        assert_int_equal(builder_outcome(b, 2), dry_run ? HF_ACTION_WOULD : HF_ACTION_RESTORED);
        builder_free(b);
    }
}

static void of_a_device_that_is_there_kind_numbers_and_mode_are_compared(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    if (geteuid() != 0 || mknod(builder_path(b, "kind"), S_IFBLK | 0640, makedev(0, 0)) ||
        mknod(builder_path(b, "numbers"), S_IFCHR | 0640, makedev(1, 3)) ||
        mknod(builder_path(b, "mode"), S_IFCHR | 0600, makedev(0, 0)) ||
        mknod(builder_path(b, "in the way"), S_IFCHR | 0600, makedev(0, 0))) {
        builder_free(b);
        skip();
    }
    static const char *const names[] = {"kind", "numbers", "mode"};
    const struct timespec time = {.tv_sec = BUILT_MTIME_NS / 1000000000,
                                  .tv_nsec = BUILT_MTIME_NS % 1000000000};
    for (size_t i = 0; i < 3; i++) { /* they differ in nothing else */
        assert_int_equal(chmod(builder_path(b, names[i]), i < 2 ? 0640 : 0600), 0);
        assert_int_equal(
            utimensat(AT_FDCWD, builder_path(b, names[i]), (struct timespec[]){time, time}, 0), 0);
    }
    b->privileged = true;
    device(b, "kind", HF_FILE_CHAR_DEVICE, NONE);
    device(b, "numbers", HF_FILE_CHAR_DEVICE, NONE);
    device(b, "mode", HF_FILE_CHAR_DEVICE, NONE);
    builder_text(b, "in the way", "a file");
    assert_int_equal(builder_restore(b, &error), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
    assert_none(b, "kind");
    assert_none(b, "numbers");
    assert_none(b, "mode");
    assert_int_equal(builder_outcome(b, 3), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 3), "a device is where the file should be"));
    builder_free(b);
}

/* With root's other powers, as the packaged unit has it. */
static void an_agent_that_may_not_make_devices_says_what_it_lacks(void **state)
{
    (void)state;
    int ended;
    pid_t child;
    if (geteuid() != 0)
        skip();
    struct builder *b = builder_new();
    assert_int_equal(chmod(b->directory, 0755), 0);
    const char *const given[] = {b->directory, b->root, b->state};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(chown(given[i], 12345, 12345), 0);
    assert_true((child = fork()) >= 0);
    if (child == 0) {
        struct hf_error error = {0};
        if (setgid(12345) || setuid(12345))
            _exit(3);
        b->privileged = true;
        device(b, "null", HF_FILE_CHAR_DEVICE, "1:3");
        if (builder_restore(b, &error) || builder_outcome(b, 0) != HF_ACTION_FAILED)
            _exit(4);
        _exit(strstr(job_remark_of(b->job, 0), "CAP_MKNOD") ? 0 : 5);
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), 0);
    assert_missing(b, "null");
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_comes_back_as_it_was),
        cmocka_unit_test(a_device_takes_over_no_access_list_from_the_directory_that_it_is_made_in),
        cmocka_unit_test(what_is_staged_as_a_device_is_never_written_to),
        cmocka_unit_test(
            a_device_is_refused_unless_the_administrator_takes_what_is_as_good_as_root),
        cmocka_unit_test(of_a_device_that_is_there_kind_numbers_and_mode_are_compared),
        cmocka_unit_test(an_agent_that_may_not_make_devices_says_what_it_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
