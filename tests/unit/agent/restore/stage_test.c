#include "restore_builder.h"
#include "tests/unit/agent/access_time.h"

#include <grp.h>
#include <sched.h>
#include <sys/wait.h>

#include "agent/restore/metadata.h"

static void a_lost_tree_comes_back_with_content_mode_and_time(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    builder_version(b, HF_FILE_DIRECTORY, "deep", 0750);
    builder_version(b, HF_FILE_DIRECTORY, "deep/er", 0700);
    builder_file(b, "deep/er/empty", "", 0, 0600);
    builder_text(b, "deep/er/text", "hello");
    builder_link(b, "deep/link", "er/text");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_content(b, "deep/er/text", "hello", 5);
    assert_content(b, "deep/er/empty", "", 0);
    char target[16] = {0};
    assert_int_equal(readlink(builder_path(b, "deep/link"), target, sizeof(target)), 7);
    assert_string_equal(target, "er/text");
    static const struct {
        const char *name;
        mode_t mode;
    } wanted[] = {{"deep", 0750}, {"deep/er", 0700}, {"deep/er/text", 0644}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(lstat(builder_path(b, wanted[i].name), &status), 0);
        assert_int_equal(status.st_mode & 07777, wanted[i].mode);
        assert_int_equal(status.st_mtim.tv_sec, BUILT_MTIME_NS / 1000000000);
        assert_int_equal(status.st_mtim.tv_nsec, BUILT_MTIME_NS % 1000000000);
    }
    assert_int_equal(b->placed, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
    assert_no_staging(b);
    builder_free(b);
}

static void what_is_as_wanted_is_not_fetched(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_text(b, "a", "same");
    builder_text(b, "b", "same");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, 1); /* one content, two files */
    job_remove(b->job);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_IDENTICAL);
    assert_int_equal(b->placed, 0);
    assert_int_equal(chmod(builder_path(b, "a"), 0600), 0);
    job_remove(b->job);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    struct stat status;
    assert_int_equal(stat(builder_path(b, "a"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
    builder_free(b);
}

static void content_that_is_elsewhere_on_the_host_is_not_fetched(void **state)
{
    (void)state;
    const size_t sizes[] = {10, 60000, 1500000};
    for (size_t i = 0; i < 3; i++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        uint8_t *content = builder_noise(b, sizes[i], 7 + i);
        builder_file(b, "lost", content, sizes[i], 0640);
        builder_put(b, "moved", content, sizes[i]);
        b->elsewhere = "moved";
        assert_int_equal(builder_restore(b, &error), 0);
        assert_content(b, "lost", content, sizes[i]);
        assert_int_equal(b->requested, 0);
        assert_int_equal(b->job->reused_bytes, sizes[i]);
        struct stat status;
        assert_int_equal(stat(builder_path(b, "lost"), &status), 0);
        assert_int_equal(status.st_mode & 07777, 0640);
        builder_free(b);
    }
}

static void a_local_file_that_is_no_longer_what_it_was_is_not_believed(void **state)
{
    (void)state;
    static const size_t sizes[] = {10, 60000, 1500000};
    for (size_t i = 0; i < 6; i++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        size_t size = sizes[i / 2];
        uint8_t *content = builder_noise(b, size, 7 + i);
        builder_file(b, "lost", content, size, 0640);
        content[size / 2] ^= 1;
        builder_put(b, "moved", content, i % 2 ? size : size / 3); /* changed, or cut off */
        content[size / 2] ^= 1;
        b->elsewhere = "moved";
        assert_int_equal(builder_restore(b, &error), 0);
        assert_content(b, "lost", content, size);
        assert_true(b->requested >= 1);
        builder_free(b);
    }
}

static void only_the_changed_part_of_a_large_file_travels(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    const size_t size = 4 * 1024 * 1024;
    uint8_t *content = builder_noise(b, size, 1), *damaged = builder_keep(b, malloc(size + 3));
    builder_file(b, "large", content, size, 0644);
    /* Shifted by three bytes in the middle, so that equal content lies at other offsets. */
    memcpy(damaged, content, size / 2);
    memset(damaged + size / 2, 'x', 3);
    memcpy(damaged + size / 2 + 3, content + size / 2, size - size / 2);
    builder_put(b, "large", damaged, size + 3);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_content(b, "large", content, size);
    assert_true(b->requested >= 1 && b->requested <= 3);
    builder_free(b);
}

static void use_other_chunking(struct builder *b)
{
    static const uint8_t other[HF_CHUNK_SEED_BYTES] = "another collector's";
    hf_chunker_free(b->chunker);
    b->chunker = hf_chunker_new(other);
    assert_non_null(b->chunker);
}

static void content_that_was_cut_by_another_rule_is_known_all_the_same(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        struct hf_chunker *chunker = b->chunker;
        const size_t size = 3 * 1024 * 1024;
        uint8_t *content = builder_noise(b, size, 21);
        builder_file(b, "same", content, size, 0644);
        builder_file(b, "begins alike", content, size, 0644);
        builder_put(b, "same", content, size);
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {BUILT_MTIME_NS / 1000000000, BUILT_MTIME_NS % 1000000000}};
        assert_int_equal(utimensat(AT_FDCWD, builder_path(b, "same"), times, 0), 0);
        assert_int_equal(chmod(builder_path(b, "same"), 0644), 0);
        builder_put(b, "begins alike", content, size * 2 / 3);
        if (known)
            use_other_chunking(b);
        else
            b->chunker = NULL; /* never connected */
        assert_int_equal(builder_restore(b, &error), 0);
        assert_int_equal(builder_outcome(b, 0), HF_ACTION_IDENTICAL);
        assert_content(b, "begins alike", content, size);
        assert_in_range(b->job->reused_bytes - size, size / 3, size * 2 / 3);
        if (!known)
            hf_chunker_free(chunker);
        builder_free(b);
    }
}

static int become_nobody(void)
{
    return setgroups(0, NULL) || setgid(65534) || setuid(65534);
}

/* In a user namespace that has no other user. */
static int become_root_of_little(void)
{
    if (unshare(CLONE_NEWUSER))
        return -1;
    int failed = 0;
    static const char *const settings[][2] = {{"/proc/self/setgroups", "deny"},
                                              {"/proc/self/uid_map", "0 0 1"},
                                              {"/proc/self/gid_map", "0 0 1"}};
    for (size_t i = 0; i < 3; i++) {
        int fd = open(settings[i][0], O_WRONLY | O_CLOEXEC);
        failed |= fd < 0 || write(fd, settings[i][1], strlen(settings[i][1])) < 0;
        close(fd);
    }
    return failed;
}

/* Whoever can't give files away: what comes back is the agent's own, all there, and of no powers.
 */
static void comes_back_where_its_owner_can_not_be_set(int (*become)(void), uid_t agent)
{
    if (geteuid() != 0)
        skip();
    static const char *const names[] = {"short", "long", "lost/long", "link", "listed"};
    const size_t size = 1500000; /* of many chunks */
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    int ended;
    uint8_t *content = builder_noise(b, size, 31);
    const char *const given[] = {b->directory, b->root, b->state};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(chown(given[i], agent, agent), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (become())
            _exit(3);
        b->privileged = true;
        builder_file(b, names[0], content, 100, 06640);
        builder_file(b, names[1], content, size, 06640);
        builder_file(b, names[2], content, size, 0640);
        builder_link(b, names[3], "nowhere");
        builder_deepen(b, builder_file(b, names[4], content, size, 0640), 5);
        builder_version(b, HF_FILE_DIRECTORY, "lost", 0750);
        for (size_t i = 0; i < b->version_count; i++)
            b->versions[i].uid = b->versions[i].gid = 12345;
        int result = builder_restore(b, &error) ? 4 : 0;
        for (size_t i = 0; !result && i < b->version_count; i++)
            result = builder_outcome(b, i) == HF_ACTION_RESTORED ? 0 : 10 + (int)i;
        for (size_t i = 0; !result && i < b->version_count; i++) {
            const char *said = job_remark_of(b->job, i);
            bool named = said && strstr(said, "its owner (12345:12345) can't be set");
            result = named ? 0 : 20 + (int)i;
        }
        _exit(result);
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    if (WEXITSTATUS(ended) == 3) { /* no namespaces here */
        builder_free(b);
        skip();
    }
    assert_int_equal(WEXITSTATUS(ended), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(lstat(builder_path(b, names[i]), &status), 0);
        assert_int_equal(status.st_uid, agent);
        assert_int_equal(status.st_mtim.tv_sec, BUILT_MTIME_NS / 1000000000);
        if (S_ISREG(status.st_mode)) {
            assert_int_equal(status.st_mode & 07777, 0640);
            assert_content(b, names[i], content, i == 0 ? 100 : size);
        }
    }
    assert_no_staging(b);
    builder_free(b);
}

static void content_of_any_length_comes_back_where_an_agent_can_not_set_its_owner(void **state)
{
    (void)state;
    comes_back_where_its_owner_can_not_be_set(become_nobody, 65534);
}

static void content_of_any_length_comes_back_where_root_can_not_set_its_owner(void **state)
{
    (void)state;
    comes_back_where_its_owner_can_not_be_set(become_root_of_little, 0);
}

/* Neither of what is there already, nor of what else has the content. */
static void reading_what_the_host_has_leaves_no_time_of_access(void **state)
{
    (void)state;
    for (size_t size = 1000; size <= 1000000; size *= 1000) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        uint8_t *content = builder_noise(b, size, size);
        builder_file(b, "there", content, size, 0644);
        builder_file(b, "gone", content, size, 0644);
        builder_put(b, "there", content, size);
        builder_put(b, "moved", content, size);
        b->conflict = HF_CONFLICT_SKIP; /* it is compared, and stays */
        b->elsewhere = "moved";
        if (!access_times_are_kept(builder_path(b, "there"))) {
            builder_free(b);
            skip();
        }
        access_time_set(builder_path(b, "there"));
        access_time_set(builder_path(b, "moved"));
        assert_int_equal(builder_restore(b, &error), 0);
        assert_int_equal(builder_outcome(b, 0), HF_ACTION_SKIPPED);
        assert_int_equal(builder_outcome(b, 1), HF_ACTION_RESTORED);
        assert_int_equal(b->requested, 0);
        assert_true(access_time_is_as_set(builder_path(b, "there")));
        assert_true(access_time_is_as_set(builder_path(b, "moved")));
        builder_free(b);
    }
}

static void many_files_are_asked_for_in_few_requests(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    for (int i = 0; i < 200; i++) {
        char name[16], text[16];
        snprintf(name, sizeof(name), "f%d", i);
        snprintf(text, sizeof(text), "content %d", i);
        builder_file(b, name, builder_keep(b, strdup(text)), strlen(text), 0644);
    }
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, 200);
    assert_true(b->requests <= 2);
    builder_free(b);
}

static void a_file_of_lists_is_put_together(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    const size_t size = 40 * 1024 * 1024; /* over the window, so that it fills and drains */
    uint8_t *content = builder_noise(b, size, 2);
    builder_deepen(b, builder_file(b, "large", content, size, 0644), 50);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_content(b, "large", content, size);
    builder_free(b);
}

static void content_with_the_wrong_hash_never_replaces_anything(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_text(b, "bad", "wanted");
    builder_text(b, "good", "also wanted");
    b->chunks[0].corrupted = true;
    builder_put(b, "bad", "the old", 7);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "does not match its hash"));
    assert_content(b, "bad", "the old", 7);
    assert_content(b, "good", "also wanted", 11);
    assert_no_staging(b);
    builder_free(b);
}

static void a_chunk_that_the_collector_lost_fails_its_file_alone(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    const size_t size = 1024 * 1024;
    builder_file(b, "large", builder_noise(b, size, 3), size, 0644);
    builder_text(b, "small", "x");
    b->chunks[1].lost = true;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_missing(b, "large");
    assert_content(b, "small", "x", 1);
    builder_free(b);
}

static void a_chunk_list_that_lies_about_the_size_fails_the_file(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct hf_version *version;
    /* Only lists can lie: a version that names its data itself is checked when it is decoded. */
    version = builder_file(b, "long", builder_noise(b, 200000, 5), 200000, 0644);
    builder_deepen(b, version, 50);
    version->size--;
    version = builder_file(b, "short", builder_noise(b, 200000, 6), 200000, 0644);
    builder_deepen(b, version, 50);
    version->size++;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_FAILED);
    assert_missing(b, "long");
    assert_missing(b, "short");
    builder_free(b);
}

static void a_restore_that_can_not_fit_changes_nothing(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "a", "the old", 7);
    builder_text(b, "a", "the new");
    builder_text(b, "huge", "x")->size = UINT64_C(1) << 50;
    assert_int_equal(builder_restore(b, &error), HF_ERR_NO_SPACE);
    assert_non_null(strstr(error.message, "nothing was changed"));
    assert_content(b, "a", "the old", 7);
    builder_free(b);
}

static void no_setuid_bit_is_ever_restored(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    builder_version(b, HF_FILE_DIRECTORY, "dir", 07755);
    builder_file(b, "program", "#!", 2, 06755);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(stat(builder_path(b, "program"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    assert_int_equal(stat(builder_path(b, "dir"), &status), 0);
    assert_int_equal(status.st_mode & 04000, 0);
    builder_free(b);
}

static void a_dry_run_says_what_it_would_do_and_does_nothing(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "there", "old", 3);
    builder_text(b, "there", "new");
    builder_text(b, "gone", "new");
    b->dry_run = true;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_WOULD);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_WOULD);
    assert_int_equal(b->requested, 0);
    assert_content(b, "there", "old", 3);
    assert_missing(b, "gone");
    assert_no_staging(b);
    builder_free(b);
}

static void staged_content_is_kept_when_the_connection_is_cut(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    const size_t size = 4 * 1024 * 1024;
    uint8_t *content = builder_noise(b, size, 4);
    builder_text(b, "first", "small");
    builder_file(b, "large", content, size, 0644);
    size_t all = b->chunk_count;
    b->answer_limit = all / 2;
    assert_int_equal(builder_restore(b, &error), HF_ERR_CLOSED);
    assert_missing(b, "large");
    assert_missing(b, "first");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, all - all / 2);
    assert_content(b, "large", content, size);
    assert_content(b, "first", "small", 5);
    assert_no_staging(b);
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_tree_comes_back_with_content_mode_and_time),
        cmocka_unit_test(what_is_as_wanted_is_not_fetched),
        cmocka_unit_test(content_that_is_elsewhere_on_the_host_is_not_fetched),
        cmocka_unit_test(content_of_any_length_comes_back_where_an_agent_can_not_set_its_owner),
        cmocka_unit_test(content_of_any_length_comes_back_where_root_can_not_set_its_owner),
        cmocka_unit_test(reading_what_the_host_has_leaves_no_time_of_access),
        cmocka_unit_test(a_local_file_that_is_no_longer_what_it_was_is_not_believed),
        cmocka_unit_test(only_the_changed_part_of_a_large_file_travels),
        cmocka_unit_test(content_that_was_cut_by_another_rule_is_known_all_the_same),
        cmocka_unit_test(many_files_are_asked_for_in_few_requests),
        cmocka_unit_test(a_file_of_lists_is_put_together),
        cmocka_unit_test(content_with_the_wrong_hash_never_replaces_anything),
        cmocka_unit_test(a_chunk_that_the_collector_lost_fails_its_file_alone),
        cmocka_unit_test(a_chunk_list_that_lies_about_the_size_fails_the_file),
        cmocka_unit_test(a_restore_that_can_not_fit_changes_nothing),
        cmocka_unit_test(no_setuid_bit_is_ever_restored),
        cmocka_unit_test(a_dry_run_says_what_it_would_do_and_does_nothing),
        cmocka_unit_test(staged_content_is_kept_when_the_connection_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
