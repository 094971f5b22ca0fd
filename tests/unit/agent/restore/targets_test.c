#include "restore_builder.h"

static void a_destination_outside_every_root_is_refused(void **state)
{
    (void)state;
    static const char *const destinations[] = {"/etc", "/srv/rootless", "/srv", "/"};
    const char *roots[] = {"/srv/root", "/opt/other/"};
    for (size_t i = 0; i < 4; i++) {
        struct hf_targets *targets;
        struct hf_error error = {0};
        assert_int_equal(targets_new(roots, 2, destinations[i], 1, &targets, &error),
                         HF_ERR_DENIED);
        assert_non_null(strstr(error.message, "restore_root"));
        assert_non_null(strstr(error.message, "/srv/root"));
    }
}

static void long_path(char *out, size_t length)
{
    for (size_t i = 0; i < length; i++)
        out[i] = i % 100 == 0 ? '/' : 'r';
    out[length] = '\0';
}

/* What is said of where a restore may go, with that many roots of that length. */
static void assert_roots_are_named_whole(size_t count, size_t length)
{
    char names[20][512];
    char path[600];
    const char *roots[20];
    struct hf_targets *targets;
    struct hf_error error = {0};
    for (size_t i = 0; i < count; i++) {
        long_path(names[i], length);
        snprintf(names[i] + length, 3, "%02zu", i);
        roots[i] = names[i];
    }
    long_path(path, sizeof(path) - 1);
    assert_int_equal(targets_new(roots, count, path, 1, &targets, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "in the agent's configuration")); /* to its end */
    char *list = strchr(error.message, '(') + 1;
    *strchr(list, ')') = '\0';
    size_t named = 0;
    for (char *one; (one = strsep(&list, ","));) {
        one += *one == ' ';
        if (named < count && !strcmp(one, names[named])) {
            named++;
        } else {
            char rest[64];
            snprintf(rest, sizeof(rest), named > 0 ? "and %zu more" : "there are %zu",
                     count - named);
            if (!one || strncmp(one, rest, strlen(rest)) != 0)
                fail_msg("'%s' is neither a root nor '%s'", one, rest);
            named = count;
        }
    }
    assert_int_equal(named, count);
}

static void the_roots_that_there_are_are_named_whole_or_counted(void **state)
{
    (void)state;
    assert_roots_are_named_whole(1, 20);
    assert_roots_are_named_whole(3, 40);
    assert_roots_are_named_whole(20, 30);
    assert_roots_are_named_whole(20, 3);
    assert_roots_are_named_whole(2, 150);
    assert_roots_are_named_whole(5, 400);
}

static void a_destination_that_climbs_is_refused(void **state)
{
    (void)state;
    static const char *const destinations[] = {"/srv/root/../../etc", "srv/root", "/srv/root/.",
                                               "/srv/root//x"};
    const char *roots[] = {"/srv/root"};
    for (size_t i = 0; i < 4; i++) {
        struct hf_targets *targets;
        assert_int_not_equal(targets_new(roots, 1, destinations[i], 1, &targets, NULL), 0);
    }
}

static int locate(const char *root, const char *destination, const char *path,
                  enum hf_file_type type, struct hf_target *out, char anchor[4096])
{
    const char *roots[] = {root};
    struct hf_targets *targets;
    struct hf_error error = {0};
    struct hf_version version = {.type = type, .path = {(const uint8_t *)path, strlen(path)}};
    assert_int_equal(targets_new(roots, 1, destination, 1, &targets, &error), 0);
    int result = targets_locate(targets, &version, out, &error);
    if (!result)
        strcpy(anchor, targets_anchor_path(targets, out->anchor));
    targets_free(targets);
    return result;
}

static void versions_belong_beneath_their_root_only(void **state)
{
    (void)state;
    struct hf_target target;
    char anchor[4096];
    assert_int_equal(locate("/srv/root", "", "srv/root/a/b", HF_FILE_REGULAR, &target, anchor), 0);
    assert_string_equal(anchor, "/srv/root");
    assert_string_equal(target.path, "a/b");
    assert_int_equal(locate("/srv/root", "", "srv/root", HF_FILE_DIRECTORY, &target, anchor), 0);
    assert_string_equal(target.path, "");
    assert_int_equal(locate("/srv/root", "", "srv/rootless/a", HF_FILE_REGULAR, &target, anchor),
                     HF_ERR_DENIED);
    assert_int_equal(locate("/srv/root", "", "etc/passwd", HF_FILE_REGULAR, &target, anchor),
                     HF_ERR_DENIED);
    assert_int_equal(
        locate("/srv/root", "", "srv/root/../../etc", HF_FILE_REGULAR, &target, anchor),
        HF_ERR_DENIED);
    assert_int_equal(locate("/", "", "etc/passwd", HF_FILE_REGULAR, &target, anchor), 0);
    assert_string_equal(anchor, "/");
    assert_string_equal(target.path, "etc/passwd");
}

static void a_root_that_is_a_file_is_made_where_it_was(void **state)
{
    (void)state;
    struct hf_target target;
    char anchor[4096];
    assert_int_equal(
        locate("/srv/conf.yaml", "", "srv/conf.yaml", HF_FILE_REGULAR, &target, anchor), 0);
    assert_string_equal(anchor, "/srv");
    assert_string_equal(target.path, "conf.yaml");
    assert_int_equal(locate("/srv/conf.yaml", "", "srv/other", HF_FILE_REGULAR, &target, anchor),
                     HF_ERR_DENIED);
}

static void nothing_but_a_directory_takes_the_place_of_a_root_or_of_what_is_above_one(void **state)
{
    (void)state;
    struct hf_target target;
    struct hf_targets *targets;
    char anchor[4096];
    const char *roots[] = {"/srv", "/srv/app/data"};
    struct hf_error error = {0};
    assert_int_equal(locate("/srv/root", "", "srv/root", HF_FILE_SYMLINK, &target, anchor),
                     HF_ERR_DENIED);
    assert_int_equal(
        locate("/srv/conf.yaml", "", "srv/conf.yaml", HF_FILE_SYMLINK, &target, anchor),
        HF_ERR_DENIED);
    assert_int_equal(locate("/srv", "/srv/to", "srv", HF_FILE_SYMLINK, &target, anchor), 0);
    static const struct {
        const char *path;
        enum hf_file_type type;
        int result;
    } cases[] = {
        {"srv/app", HF_FILE_SYMLINK, HF_ERR_DENIED},
        {"srv/app", HF_FILE_REGULAR, HF_ERR_DENIED},
        {"srv/app", HF_FILE_DIRECTORY, 0},
        {"srv/app/data", HF_FILE_SYMLINK, HF_ERR_DENIED},
        {"srv/app/database", HF_FILE_SYMLINK, 0},
        {"srv/ap", HF_FILE_SYMLINK, 0},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct hf_version version = {
            .type = cases[i / 2].type,
            .path = {(const uint8_t *)cases[i / 2].path, strlen(cases[i / 2].path)}};
        /* The second is a root of this job, or of another source's. */
        assert_int_equal(targets_new(roots, i % 2 + 1, "", 1, &targets, &error), 0);
        assert_int_equal(targets_keep(targets, roots[1], &error), 0);
        assert_int_equal(targets_locate(targets, &version, &target, &error), cases[i / 2].result);
        targets_free(targets);
    }
    assert_non_null(strstr(error.message, "restore root"));
}

static void making_a_lost_root_changes_no_directory_that_is_there(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct stat status;
    int fd;
    /* What somebody else put there in the moment between looking and making. */
    assert_int_equal(mkdir(builder_path(b, "theirs"), 0700), 0);
    builder_put(b, "theirs/x", "x", 1);
    fd = open(builder_path(b, "theirs"), O_RDONLY | O_DIRECTORY);
    assert_false(targets_is_fresh(fd));
    close(fd);
    assert_int_equal(mkdir(builder_path(b, "new"), 0700), 0);
    fd = open(builder_path(b, "new"), O_RDONLY | O_DIRECTORY);
    assert_true(targets_is_fresh(fd));
    assert_true(targets_is_fresh(fd)); /* looking changes nothing */
    assert_int_equal(fchmod(fd, 0777), 0);
    assert_false(targets_is_guarded(fd));
    assert_int_equal(fchmod(fd, 0755), 0);
    assert_true(targets_is_guarded(fd));
    if (geteuid() == 0) {
        assert_int_equal(fchown(fd, 12345, 12345), 0);
        assert_false(targets_is_fresh(fd));
        assert_false(targets_is_guarded(fd));
    }
    close(fd);
    assert_int_equal(targets_open_directory(builder_path(b, "a/b"), HF_TARGETS_CREATE, &fd, NULL),
                     0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    close(fd);
    builder_free(b);
}

static void a_version_can_not_write_into_a_working_directory(void **state)
{
    (void)state;
    struct hf_target target;
    char anchor[4096];
    assert_int_equal(
        locate("/srv", "", "srv/" HF_STAGING_PREFIX "9/1", HF_FILE_REGULAR, &target, anchor),
        HF_ERR_DENIED);
    assert_int_equal(
        locate("/srv", "", "srv/x/" HF_STAGING_PREFIX "9", HF_FILE_REGULAR, &target, anchor),
        HF_ERR_DENIED);
    assert_int_equal(
        locate("/srv", "", "srv/x" HF_STAGING_PREFIX "9", HF_FILE_REGULAR, &target, anchor), 0);
}

static void a_link_to_the_root_counts_only_if_nobody_else_can_change_it(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    int fd;
    const char *linked = builder_path(b, "linked");
    mkdir(builder_path(b, "real"), 0755);
    assert_int_equal(symlink("real", linked), 0);
    assert_int_equal(targets_open_directory(linked, HF_TARGETS_LEAVE, &fd, &error), 0);
    close(fd);
    assert_int_equal(chmod(b->root, 0777), 0);
    assert_int_equal(targets_open_directory(linked, HF_TARGETS_LEAVE, &fd, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "symbolic link"));
    assert_int_equal(chmod(b->root, 0755), 0);
    if (geteuid() == 0) {
        assert_int_equal(lchown(linked, 12345, 12345), 0);
        assert_int_equal(targets_open_directory(linked, HF_TARGETS_LEAVE, &fd, &error),
                         HF_ERR_DENIED);
    }
    builder_free(b);
}

static void a_lost_root_is_made_again(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_version(b, HF_FILE_DIRECTORY, "", 0710);
    builder_text(b, "deep/er/file", "x");
    assert_int_equal(rmdir(b->root), 0);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_content(b, "deep/er/file", "x", 1);
    struct stat status;
    assert_int_equal(stat(b->root, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0710);
    builder_free(b);
}

static void an_expired_jobs_working_directory_is_removed_only_if_it_is_ours(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    const char *staging = builder_path(b, HF_STAGING_PREFIX "7");
    assert_int_equal(mkdir(staging, 0700), 0);
    builder_put(b, HF_STAGING_PREFIX "7/1", "x", 1);
    assert_int_equal(chmod(staging, 0755), 0);
    targets_remove_staging_at(b->root, 7);
    assert_int_equal(access(staging, F_OK), 0);
    assert_int_equal(chmod(staging, 0700), 0);
    targets_remove_staging_at(b->root, 7);
    assert_int_equal(access(staging, F_OK), -1);
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_destination_outside_every_root_is_refused),
        cmocka_unit_test(the_roots_that_there_are_are_named_whole_or_counted),
        cmocka_unit_test(a_destination_that_climbs_is_refused),
        cmocka_unit_test(versions_belong_beneath_their_root_only),
        cmocka_unit_test(a_root_that_is_a_file_is_made_where_it_was),
        cmocka_unit_test(nothing_but_a_directory_takes_the_place_of_a_root_or_of_what_is_above_one),
        cmocka_unit_test(making_a_lost_root_changes_no_directory_that_is_there),
        cmocka_unit_test(a_version_can_not_write_into_a_working_directory),
        cmocka_unit_test(a_link_to_the_root_counts_only_if_nobody_else_can_change_it),
        cmocka_unit_test(a_lost_root_is_made_again),
        cmocka_unit_test(an_expired_jobs_working_directory_is_removed_only_if_it_is_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
