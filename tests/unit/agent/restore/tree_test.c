#include "rename_hook.h"
#include "restore_builder.h"

#include <sys/wait.h>

/* A directory with another in it, files in both, and a link. */
static void build_tree(struct builder *b)
{
    builder_version(b, HF_FILE_DIRECTORY, "lost", 0750);
    builder_text(b, "lost/a", "content of a");
    builder_version(b, HF_FILE_DIRECTORY, "lost/deep", 0711);
    builder_text(b, "lost/deep/b", "content of b");
    builder_link(b, "lost/link", "deep/b");
}

static void assert_directory(struct builder *b, const char *name, mode_t mode)
{
    struct stat status;
    assert_int_equal(lstat(builder_path(b, name), &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    assert_int_equal(status.st_mode & 07777, mode);
    assert_int_equal(status.st_mtim.tv_sec, BUILT_MTIME_NS / 1000000000);
    assert_int_equal(status.st_mtim.tv_nsec, BUILT_MTIME_NS % 1000000000);
}

static void assert_tree(struct builder *b)
{
    char target[16] = "";
    assert_directory(b, "lost", 0750);
    assert_directory(b, "lost/deep", 0711);
    assert_content(b, "lost/a", "content of a", 12);
    assert_content(b, "lost/deep/b", "content of b", 12);
    assert_int_equal(readlink(builder_path(b, "lost/link"), target, sizeof(target)), 6);
    assert_memory_equal(target, "deep/b", 6);
    assert_no_staging(b);
}

static void assert_all_restored(struct builder *b)
{
    for (size_t i = 0; i < b->version_count; i++)
        assert_int_equal(builder_outcome(b, i), HF_ACTION_RESTORED);
}

struct seen {
    struct builder *b;
    size_t renames;
};

static void look_at_once(void *context)
{
    struct seen *seen = context;
    seen->renames++;
    assert_directory(seen->b, "lost", 0750);
    assert_directory(seen->b, "lost/deep", 0711);
    assert_content(seen->b, "lost/deep/b", "content of b", 12);
}

static void a_lost_directory_comes_back_whole_by_one_rename(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct seen seen = {.b = b};
    build_tree(b);
    hook_renames(look_at_once, &seen);
    assert_int_equal(builder_restore(b, &error), 0);
    hook_renames(NULL, NULL);
    assert_int_equal(seen.renames, 1);
    assert_int_equal(b->placed, b->version_count);
    assert_all_restored(b);
    assert_tree(b);
    builder_free(b);
}

static void directories_whose_names_come_between_are_apart(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat status;
    /* In the order of the collector's pages: '-' comes before '/'. */
    builder_version(b, HF_FILE_DIRECTORY, "lost", 0755);
    builder_version(b, HF_FILE_DIRECTORY, "lost-too", 0700);
    builder_text(b, "lost-too/c", "c");
    builder_text(b, "lost.txt", "text");
    builder_text(b, "lost/a", "a");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_all_restored(b);
    assert_content(b, "lost-too/c", "c", 1);
    assert_content(b, "lost.txt", "text", 4);
    assert_content(b, "lost/a", "a", 1);
    assert_int_equal(stat(builder_path(b, "lost-too"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_no_staging(b);
    builder_free(b);
}

static void a_restore_elsewhere_makes_what_leads_there(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char name[256];
    build_tree(b);
    b->destination = builder_path(b, "far/away");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_all_restored(b);
    snprintf(name, sizeof(name), "far/away%s/lost", b->root);
    assert_directory(b, name, 0750);
    snprintf(name, sizeof(name), "far/away%s/lost/deep/b", b->root);
    assert_content(b, name, "content of b", 12);
    assert_no_staging(b);
    builder_free(b);
}

static void what_came_into_being_meanwhile_stays_with_what_is_in_it(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct seen seen = {.b = b};
    build_tree(b);
    builder_version(b, HF_FILE_DIRECTORY, "lost/more", 0755);
    builder_text(b, "lost/more/c", "content of c");
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(mkdir(builder_path(b, "lost"), 0700), 0);
    assert_int_equal(mkdir(builder_path(b, "lost/deep"), 0700), 0);
    builder_put(b, "lost/deep/mine", "mine", 4);
    builder_put(b, "lost/a", "mine", 4);
    hook_renames(NULL, &seen);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_all_restored(b);
    assert_tree(b); /* by the rule `replace` */
    assert_content(b, "lost/deep/mine", "mine", 4);
    assert_content(b, "lost/more/c", "content of c", 12);
    builder_free(b);
}

static void the_rule_skip_spares_files_in_a_directory_that_appeared(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    b->conflict = HF_CONFLICT_SKIP;
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(mkdir(builder_path(b, "lost"), 0700), 0);
    builder_put(b, "lost/a", "mine", 4);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_SKIPPED);
    assert_content(b, "lost/a", "mine", 4);
    assert_content(b, "lost/deep/b", "content of b", 12);
    assert_no_staging(b);
    builder_free(b);
}

static void a_file_in_the_place_of_the_directory_fails_it_with_a_remedy(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    assert_int_equal(builder_stage(b, &error), 0);
    builder_put(b, "lost", "mine", 4);
    assert_int_equal(builder_apply(b, &error), 0);
    for (size_t i = 0; i < b->version_count; i++) {
        assert_int_equal(builder_outcome(b, i), HF_ACTION_FAILED);
        assert_non_null(job_remark_of(b->job, i));
    }
    assert_content(b, "lost", "mine", 4);
    assert_no_staging(b);
    builder_free(b);
}

static void an_agent_killed_around_the_rename_finishes_the_job_later(void **state)
{
    (void)state;
    for (size_t renames = 0; renames <= 2; renames++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        build_tree(b);
        builder_version(b, HF_FILE_DIRECTORY, "lost2", 0755);
        builder_text(b, "lost2/c", "content of c");
        kill_restore(b, renames);
        assert_int_equal(builder_restore(b, &error), 0);
        assert_int_equal(b->requested, 0);
        assert_all_restored(b);
        assert_tree(b);
        assert_content(b, "lost2/c", "content of c", 12);
        builder_free(b);
    }
}

static void what_was_moved_before_a_kill_and_changed_since_is_not_called_restored(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    kill_restore(b, 1);
    builder_put(b, "lost/a", "other words!", 12);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_FAILED);
    assert_non_null(strstr(job_remark_of(b->job, 1), "restore again"));
    assert_int_equal(builder_outcome(b, 3), HF_ACTION_RESTORED);
    assert_content(b, "lost/a", "other words!", 12);
    builder_free(b);
}

static void a_staged_tree_that_is_gone_is_not_called_restored(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(rename(builder_path(b, HF_STAGING_PREFIX "7/tree/lost"), builder_path(b, "x")),
                     0);
    targets_forget(b->targets);
    assert_int_equal(builder_apply(b, &error), 0);
    for (size_t i = 0; i < b->version_count; i++)
        if (b->versions[i].type != HF_FILE_DIRECTORY)
            assert_int_equal(builder_outcome(b, i), HF_ACTION_FAILED);
    builder_free(b);
}

static void a_restore_that_was_cut_goes_on_with_what_is_staged(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    builder_file(b, "lost/noise", builder_noise(b, 300000, 5), 300000, 0600);
    b->answer_limit = 1;
    assert_int_equal(builder_stage(b, &error), HF_ERR_CLOSED);
    assert_missing(b, "lost");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_all_restored(b);
    assert_true(b->job->reused_bytes > 0);
    assert_tree(b);
    builder_free(b);
}

/* A collector that was taken over sends a link, and then something beneath it. */
static void a_link_in_the_plan_leads_nowhere(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char outside[96];
    snprintf(outside, sizeof(outside), "%s/outside", b->directory);
    assert_int_equal(mkdir(outside, 0777), 0);
    builder_version(b, HF_FILE_DIRECTORY, "lost", 0755);
    builder_link(b, "lost/link", outside);
    builder_text(b, "lost/link/planted", "planted");
    builder_version(b, HF_FILE_DIRECTORY, "lost/link/dir", 0777);
    builder_text(b, "lost/link/dir/planted", "planted");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 2), HF_ACTION_FAILED);
    assert_int_equal(builder_outcome(b, 3), HF_ACTION_FAILED);
    assert_int_equal(builder_outcome(b, 4), HF_ACTION_FAILED);
    assert_int_equal(rmdir(outside), 0); /* empty */
    builder_free(b);
}

static void names_of_one_file_in_a_lost_directory_are_one_again(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct stat first, second, third;
    builder_text(b, "kept", "shared")->link = 5;
    builder_version(b, HF_FILE_DIRECTORY, "lost", 0755);
    builder_text(b, "lost/one", "shared")->link = 5;
    builder_version(b, HF_FILE_DIRECTORY, "lost/deep", 0755);
    builder_text(b, "lost/deep/two", "shared")->link = 5;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_all_restored(b);
    assert_int_equal(b->requested, 1);
    assert_int_equal(stat(builder_path(b, "kept"), &first), 0);
    assert_int_equal(stat(builder_path(b, "lost/one"), &second), 0);
    assert_int_equal(stat(builder_path(b, "lost/deep/two"), &third), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(first.st_ino, third.st_ino);
    builder_free(b);
}

/* Deeper than there are descriptors for. */
#define DEPTH 200

static void a_deep_tree_that_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    char name[4 + 2 * DEPTH + 8] = "lost";
    builder_version(b, HF_FILE_DIRECTORY, name, 0755);
    for (size_t i = 0; i < DEPTH; i++) {
        strcat(name, "/d");
        if (i % 2) /* the others come with nothing but their files */
            builder_version(b, HF_FILE_DIRECTORY, name, i % 3 ? 0000 : 0500);
        if (strlen(b->root) + strlen(name) > 480)
            break;
    }
    strcat(name, "/f");
    builder_text(b, name, "content");
    assert_int_equal(builder_stage(b, &error), 0);
    targets_remove_staging(b->targets);
    assert_no_staging(b);
    assert_missing(b, "lost");
    builder_free(b);
}

/* Whoever isn't root can't take anything out of a directory without its write bit, nor move it. */
static void directories_that_may_not_be_written_come_back_without_root(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct builder *b = builder_new();
    struct hf_error error = {0};
    int status;
    assert_int_equal(chown(b->directory, 65534, 65534), 0);
    assert_int_equal(chown(b->root, 65534, 65534), 0);
    assert_int_equal(chown(b->state, 65534, 65534), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setgid(65534) || setuid(65534))
            _exit(3);
        builder_version(b, HF_FILE_DIRECTORY, "lost", 0555);
        builder_text(b, "lost/a", "content of a");
        builder_version(b, HF_FILE_DIRECTORY, "lost/deep", 0500);
        builder_text(b, "lost/deep/b", "content of b");
        builder_version(b, HF_FILE_DIRECTORY, "secret", 0311);
        builder_text(b, "secret/d", "content of d");
        builder_version(b, HF_FILE_DIRECTORY, "there", 0555);
        builder_text(b, "there/c", "content of c");
        int result = builder_stage(b, &error);
        result = result ? result : mkdir(builder_path(b, "there"), 0700);
        result = result ? result : builder_apply(b, &error);
        for (size_t i = 0; !result && i < b->version_count; i++)
            result = builder_outcome(b, i) == HF_ACTION_RESTORED ? 0 : 10 + (int)i;
        _exit(result);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_directory(b, "lost", 0555);
    assert_directory(b, "lost/deep", 0500);
    assert_directory(b, "there", 0555);
    assert_content(b, "lost/deep/b", "content of b", 12);
    assert_content(b, "there/c", "content of c", 12);
    assert_directory(b, "secret", 0311);
    assert_content(b, "secret/d", "content of d", 12);
    assert_no_staging(b);
    builder_free(b);
}

static void a_lost_root_comes_back_whenever_the_agent_is_killed(void **state)
{
    (void)state;
    for (size_t renames = 0; renames <= 2; renames++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        builder_version(b, HF_FILE_DIRECTORY, "", 0755);
        build_tree(b);
        builder_text(b, "single", "content");
        assert_int_equal(rmdir(b->root), 0);
        kill_restore(b, renames);
        assert_int_equal(builder_restore(b, &error), 0);
        assert_all_restored(b);
        assert_tree(b);
        assert_directory(b, "", 0755);
        assert_content(b, "single", "content", 7);
        builder_free(b);
    }
}

static void a_file_system_that_can_not_promise_to_replace_nothing_will_do(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    no_rename_flags = true;
    assert_int_equal(builder_stage(b, &error), 0);
    targets_remove_staging(b->targets);
    assert_no_staging(b);
    assert_missing(b, "lost");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_all_restored(b);
    assert_tree(b);
    builder_free(b);
    /* What came into being stays there too. */
    b = builder_new();
    build_tree(b);
    assert_int_equal(builder_stage(b, &error), 0);
    assert_int_equal(mkdir(builder_path(b, "lost"), 0700), 0);
    builder_put(b, "lost/mine", "mine", 4);
    assert_int_equal(builder_apply(b, &error), 0);
    no_rename_flags = false;
    assert_tree(b);
    assert_content(b, "lost/mine", "mine", 4);
    builder_free(b);
}

static void what_the_plan_does_not_name_any_more_stays_behind(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    builder_text(b, "lost/late", "deleted before that moment, as came to light later");
    assert_int_equal(builder_stage(b, &error), 0);
    b->version_count--;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(b->requested, 0); /* the others were taken up */
    assert_all_restored(b);
    assert_missing(b, "lost/late");
    assert_tree(b);
    builder_free(b);
}

static void what_another_job_of_that_number_left_is_not_used(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    build_tree(b);
    builder_text(b, "lost/other", "of another collector's job");
    assert_int_equal(builder_stage(b, &error), 0);
    builder_end_run(b);
    nftw(b->state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(b->state, 0700), 0);
    b->version_count--;
    assert_int_equal(builder_restore(b, &error), 0);
    assert_missing(b, "lost/other");
    assert_tree(b);
    builder_free(b);
}

/* The directory is there: its files are staged in a shard; or it is lost, and they are in the tree.
 */
static void restore_what_is_no_link_any_more(bool there)
{
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_version(b, HF_FILE_DIRECTORY, "dir", 0755);
    builder_text(b, "dir/a", "one file")->link = 5;
    builder_text(b, "dir/b", "one file")->link = 5;
    if (there)
        assert_int_equal(mkdir(builder_path(b, "dir"), 0755), 0);
    assert_int_equal(builder_stage(b, &error), 0); /* then the connection is cut */
    b->version_count = 1;
    builder_text(b, "dir/a", "one file");
    builder_text(b, "dir/b", "a later version of b");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_all_restored(b);
    assert_content(b, "dir/a", "one file", 8);
    assert_content(b, "dir/b", "a later version of b", 20);
    builder_free(b);
}

static void a_staged_name_of_several_is_not_written_through(void **state)
{
    (void)state;
    restore_what_is_no_link_any_more(false);
    restore_what_is_no_link_any_more(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_directory_comes_back_whole_by_one_rename),
        cmocka_unit_test(directories_whose_names_come_between_are_apart),
        cmocka_unit_test(a_restore_elsewhere_makes_what_leads_there),
        cmocka_unit_test(what_came_into_being_meanwhile_stays_with_what_is_in_it),
        cmocka_unit_test(the_rule_skip_spares_files_in_a_directory_that_appeared),
        cmocka_unit_test(a_file_in_the_place_of_the_directory_fails_it_with_a_remedy),
        cmocka_unit_test(an_agent_killed_around_the_rename_finishes_the_job_later),
        cmocka_unit_test(what_was_moved_before_a_kill_and_changed_since_is_not_called_restored),
        cmocka_unit_test(a_staged_tree_that_is_gone_is_not_called_restored),
        cmocka_unit_test(a_restore_that_was_cut_goes_on_with_what_is_staged),
        cmocka_unit_test(a_link_in_the_plan_leads_nowhere),
        cmocka_unit_test(names_of_one_file_in_a_lost_directory_are_one_again),
        cmocka_unit_test(a_deep_tree_that_is_given_up_leaves_nothing),
        cmocka_unit_test(directories_that_may_not_be_written_come_back_without_root),
        cmocka_unit_test(a_lost_root_comes_back_whenever_the_agent_is_killed),
        cmocka_unit_test(a_file_system_that_can_not_promise_to_replace_nothing_will_do),
        cmocka_unit_test(what_the_plan_does_not_name_any_more_stays_behind),
        cmocka_unit_test(what_another_job_of_that_number_left_is_not_used),
        cmocka_unit_test(a_staged_name_of_several_is_not_written_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
