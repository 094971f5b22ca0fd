#include "rename_hook.h"
#include "restore_builder.h"

static void the_rule_skip_leaves_what_is_there(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "there", "mine", 4);
    builder_text(b, "there", "theirs");
    builder_text(b, "gone", "theirs");
    b->conflict = HF_CONFLICT_SKIP;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_SKIPPED);
    assert_content(b, "there", "mine", 4);
    assert_content(b, "gone", "theirs", 6);
    builder_free(b);
}

static void the_rule_skip_also_spares_what_appears_during_the_restore(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_text(b, "file", "theirs");
    b->conflict = HF_CONFLICT_SKIP;
    assert_int_equal(builder_stage(b, &error), 0);
    builder_put(b, "file", "mine", 4);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_SKIPPED);
    assert_content(b, "file", "mine", 4);
    assert_no_staging(b);
    builder_free(b);
}

static void the_rule_rename_puts_the_restored_file_beside(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "there", "mine", 4);
    builder_text(b, "there", "theirs");
    builder_version(b, HF_FILE_DIRECTORY, "", 0751);
    b->conflict = HF_CONFLICT_RENAME;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RENAMED);
    assert_int_equal(b->placed, 1); /* the directory was left as it is, so it is nobody's doing */
    assert_content(b, "there", "mine", 4);
    assert_content(b, "there.restored-7", "theirs", 6);
    builder_free(b);
}

static void the_rule_rename_also_spares_what_appears_during_the_restore(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_text(b, "file", "theirs");
    builder_put(b, "there", "mine", 4);
    builder_text(b, "there", "theirs");
    b->conflict = HF_CONFLICT_RENAME;
    assert_int_equal(builder_stage(b, &error), 0);
    builder_put(b, "file", "mine", 4);
    builder_put(b, "there.restored-7", "mine too", 8);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RENAMED);
    assert_content(b, "file", "mine", 4);
    assert_content(b, "file.restored-7", "theirs", 6);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_FAILED);
    assert_content(b, "there.restored-7", "mine too", 8);
    assert_no_staging(b);
    builder_free(b);
}

static void an_empty_directory_gives_way_to_a_file_and_a_full_one_does_not(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    mkdir(builder_path(b, "empty"), 0755);
    mkdir(builder_path(b, "full"), 0755);
    builder_put(b, "full/x", "x", 1);
    builder_text(b, "empty", "a file");
    builder_text(b, "full", "a file");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_content(b, "empty", "a file", 6);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 1), "not empty"));
    assert_content(b, "full/x", "x", 1);
    builder_free(b);
}

static void a_file_where_a_directory_should_be_fails_with_a_remedy(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "dir", "x", 1);
    builder_version(b, HF_FILE_DIRECTORY, "dir", 0755);
    builder_text(b, "dir/file", "y");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "move it away"));
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_FAILED);
    assert_content(b, "dir", "x", 1);
    builder_free(b);
}

static void a_link_planted_before_the_restore_leads_nowhere(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char outside[128], victim[160];
    snprintf(outside, sizeof(outside), "%s/outside", b->directory);
    snprintf(victim, sizeof(victim), "%s/passwd", outside);
    mkdir(outside, 0755);
    assert_int_equal(symlink(outside, builder_path(b, "etc")), 0);
    builder_text(b, "etc/passwd", "evil");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "symbolic link"));
    assert_int_equal(access(victim, F_OK), -1);
    builder_free(b);
}

static void a_link_planted_during_the_restore_leads_nowhere(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char outside[128], victim[160];
    snprintf(outside, sizeof(outside), "%s/outside", b->directory);
    snprintf(victim, sizeof(victim), "%s/passwd", outside);
    mkdir(outside, 0755);
    mkdir(builder_path(b, "etc"), 0755);
    builder_text(b, "etc/passwd", "evil");
    builder_text(b, "ok", "fine");
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(rmdir(builder_path(b, "etc")), 0);
    assert_int_equal(symlink(outside, builder_path(b, "etc")), 0);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_int_equal(access(victim, F_OK), -1);
    assert_content(b, "ok", "fine", 4);
    builder_free(b);
}

static void a_link_in_the_place_of_the_file_is_replaced_and_not_followed(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    builder_put(b, "victim", "precious", 8);
    assert_int_equal(symlink("victim", builder_path(b, "file")), 0);
    builder_text(b, "file", "restored");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_content(b, "victim", "precious", 8);
    assert_int_equal(lstat(builder_path(b, "file"), &status), 0);
    assert_true(S_ISREG(status.st_mode));
    builder_free(b);
}

static void a_working_directory_that_somebody_else_made_is_not_used(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    const char *planted = builder_path(b, HF_STAGING_PREFIX "7");
    assert_int_equal(mkdir(planted, 0777), 0);
    assert_int_equal(chmod(planted, 0777), 0);
    builder_text(b, "file", "x");
    assert_int_equal(builder_restore(b, &error), HF_ERR_DENIED);
    assert_missing(b, "file");
    builder_free(b);
}

static void a_restore_elsewhere_keeps_the_whole_path(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char name[256];
    builder_put(b, "file", "now", 3);
    builder_text(b, "file", "then");
    b->destination = builder_path(b, "copy");
    assert_int_equal(builder_restore(b, &error), 0);
    snprintf(name, sizeof(name), "copy%s/file", b->root);
    assert_content(b, name, "then", 4);
    assert_content(b, "file", "now", 3);
    builder_free(b);
}

static void an_agent_killed_anywhere_in_applying_finishes_the_job_later(void **state)
{
    (void)state;
    for (size_t renames = 0; renames <= 4; renames++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        builder_put(b, "a", "old a", 5);
        builder_version(b, HF_FILE_DIRECTORY, "", 0755);
        builder_text(b, "a", "new a");
        builder_text(b, "b", "new b");
        builder_link(b, "c", "a");
        builder_text(b, "d", "new d");
        kill_restore(b, renames);
        /* The offer comes again; nothing has to be fetched any more. */
        assert_int_equal(builder_restore(b, &error), 0);
        assert_int_equal(b->requested, 0);
        for (size_t i = 0; i < b->version_count; i++)
            assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
        assert_content(b, "a", "new a", 5);
        assert_content(b, "b", "new b", 5);
        assert_content(b, "c", "new a", 5);
        assert_content(b, "d", "new d", 5);
        assert_no_staging(b);
        builder_free(b);
    }
}

static void a_working_directory_that_was_moved_away_is_no_proof_that_files_are_in_place(
    void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "a", "old a", 5);
    builder_text(b, "a", "new a");
    builder_text(b, "b", "new b");
    builder_link(b, "c", "new c");
    kill_restore(b, 0);
    assert_int_equal(rename(builder_path(b, HF_STAGING_PREFIX "7"), builder_path(b, "moved-away")),
                     0);
    assert_int_equal(builder_restore(b, &error), 0);
    for (size_t i = 0; i < b->version_count; i++) {
        assert_int_equal(builder_outcome(b, i), HF_ACTION_FAILED);
        assert_non_null(strstr(job_remark_of(b->job, i), "restore again"));
    }
    assert_content(b, "a", "old a", 5);
    builder_free(b);
}

static void a_staged_file_that_is_gone_fails_even_if_another_like_it_is_in_place(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_text(b, "a", "content");
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(job_save_phase(b->job, HF_JOB_APPLYING, &error), 0);
    assert_int_equal(unlink(builder_path(b, HF_STAGING_PREFIX "7/0/0")), 0);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    builder_free(b);
}

static void a_file_whose_metadata_alone_differs_is_made_anew(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat before, after, other;
    builder_put(b, "a", "content", 7);
    assert_int_equal(link(builder_path(b, "a"), builder_path(b, "other-name")), 0);
    assert_int_equal(stat(builder_path(b, "a"), &before), 0);
    builder_text(b, "a", "content");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, 0); /* the content is here */
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    assert_int_equal(stat(builder_path(b, "a"), &after), 0);
    assert_int_equal(stat(builder_path(b, "other-name"), &other), 0);
    assert_int_not_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_mode & 07777, 0644);
    assert_int_equal(other.st_ino, before.st_ino);
    assert_int_equal(other.st_mode, before.st_mode);
    assert_int_equal(other.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    builder_free(b);
}

static void a_directory_that_somebody_may_have_planted_is_not_given_away(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    /* The root is the user's, who renamed root's directory in it. */
    assert_int_equal(mkdir(builder_path(b, "sub"), 0700), 0);
    builder_put(b, "sub/secret", "x", 1);
    assert_int_equal(mkdir(builder_path(b, "empty"), 0700), 0);
    assert_int_equal(chown(b->root, 12345, 12345), 0);
    builder_version(b, HF_FILE_DIRECTORY, "sub", 0755)->uid = 12345;
    builder_version(b, HF_FILE_DIRECTORY, "made", 0750)->uid = 12345;
    builder_version(b, HF_FILE_DIRECTORY, "empty", 0750)->uid = 12345;
    builder_text(b, "made/file", "y");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "Change its owner or remove it"));
    assert_int_equal(stat(builder_path(b, "sub"), &status), 0);
    assert_int_equal(status.st_uid, 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
        assert_int_equal(stat(builder_path(b, i == 1 ? "made" : "empty"), &status), 0);
        assert_int_equal(status.st_uid, 12345);
        assert_int_equal(status.st_mode & 07777, 0750);
    }
    builder_free(b);
}

static void owners_that_were_lost_come_back_where_nobody_else_could_write(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    /* chown -R root */
    assert_int_equal(mkdir(builder_path(b, "sub"), 0755), 0);
    builder_put(b, "sub/file", "x", 1);
    builder_version(b, HF_FILE_DIRECTORY, "", 0755)->uid = 12345;
    builder_version(b, HF_FILE_DIRECTORY, "sub", 0755)->uid = 12345;
    builder_text(b, "sub/file", "x")->uid = 12345;
    assert_int_equal(builder_restore(b, &error), 0);
    static const char *const names[] = {"", "sub", "sub/file"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
        assert_int_equal(stat(builder_path(b, names[i]), &status), 0);
        assert_int_equal(status.st_uid, 12345);
    }
    builder_free(b);
}

struct exchange {
    struct builder *b;
    bool done;
};

static void exchange_directory(void *context)
{
    struct exchange *exchange = context;
    if (!exchange->done) {
        exchange->done = true;
        rename(builder_path(exchange->b, "sub"), builder_path(exchange->b, "aside"));
        rename(builder_path(exchange->b, "other"), builder_path(exchange->b, "sub"));
    }
}

static void a_directory_that_is_exchanged_during_the_restore_keeps_what_it_has(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    struct exchange exchange = {.b = b};
    assert_int_equal(mkdir(builder_path(b, "other"), 0700), 0);
    builder_version(b, HF_FILE_DIRECTORY, "sub", 0755);
    builder_text(b, "sub/file", "x");
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(job_save_phase(b->job, HF_JOB_APPLYING, &error), 0);
    struct hf_apply_options options = {
        .job = b->job, .targets = b->targets, .rules = {.owners = b->owners}};
    hook_renames(exchange_directory, &exchange);
    assert_int_equal(apply_job(&options, &error), 0);
    hook_renames(NULL, NULL);
    assert_true(exchange.done);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "exchanged"));
    assert_int_equal(stat(builder_path(b, "sub"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    builder_free(b);
}

static void an_endless_hole_is_not_searched_for_content(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "a", "", 0);
    assert_int_equal(truncate(builder_path(b, "a"), INT64_C(1) << 40), 0);
    builder_file(b, "a", builder_noise(b, 300000, 1), 300000, 0644);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    builder_free(b);
}

static void owners_are_set_when_the_agent_may(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    struct hf_version *by_number = builder_text(b, "by-number", "x");
    by_number->uid = 12345;
    by_number->gid = 23456;
    struct hf_version *by_name = builder_text(b, "by-name", "x");
    by_name->uid = 12345;
    by_name->owner = (struct hf_bytes){(const uint8_t *)"root", 4};
    struct hf_version *link = builder_link(b, "link", "nowhere");
    link->uid = 12345;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(lstat(builder_path(b, "by-number"), &status), 0);
    assert_int_equal(status.st_uid, 12345);
    assert_int_equal(status.st_gid, 23456);
    assert_int_equal(lstat(builder_path(b, "by-name"), &status), 0);
    assert_int_equal(status.st_uid, 0);
    assert_int_equal(lstat(builder_path(b, "link"), &status), 0);
    assert_int_equal(status.st_uid, 12345);
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_skip_leaves_what_is_there),
        cmocka_unit_test(the_rule_skip_also_spares_what_appears_during_the_restore),
        cmocka_unit_test(the_rule_rename_puts_the_restored_file_beside),
        cmocka_unit_test(the_rule_rename_also_spares_what_appears_during_the_restore),
        cmocka_unit_test(an_empty_directory_gives_way_to_a_file_and_a_full_one_does_not),
        cmocka_unit_test(a_file_where_a_directory_should_be_fails_with_a_remedy),
        cmocka_unit_test(a_link_planted_before_the_restore_leads_nowhere),
        cmocka_unit_test(a_link_planted_during_the_restore_leads_nowhere),
        cmocka_unit_test(a_link_in_the_place_of_the_file_is_replaced_and_not_followed),
        cmocka_unit_test(a_working_directory_that_somebody_else_made_is_not_used),
        cmocka_unit_test(a_restore_elsewhere_keeps_the_whole_path),
        cmocka_unit_test(an_agent_killed_anywhere_in_applying_finishes_the_job_later),
        cmocka_unit_test(
            a_working_directory_that_was_moved_away_is_no_proof_that_files_are_in_place),
        cmocka_unit_test(a_staged_file_that_is_gone_fails_even_if_another_like_it_is_in_place),
        cmocka_unit_test(a_file_whose_metadata_alone_differs_is_made_anew),
        cmocka_unit_test(a_directory_that_somebody_may_have_planted_is_not_given_away),
        cmocka_unit_test(owners_that_were_lost_come_back_where_nobody_else_could_write),
        cmocka_unit_test(a_directory_that_is_exchanged_during_the_restore_keeps_what_it_has),
        cmocka_unit_test(an_endless_hole_is_not_searched_for_content),
        cmocka_unit_test(owners_are_set_when_the_agent_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
