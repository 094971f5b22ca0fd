/* Databases that come back to a place where another one's -wal, -shm and -journal lie. */
#include "rename_hook.h"
#include "restore_builder.h"

#include <signal.h>
#include <sys/wait.h>

#include "agent/restore/siblings.h"

static const char *const names[] = {"x.db-wal", "x.db-shm", "x.db-journal"};

static void builder_database(struct builder *b, const char *name, const char *text)
{
    builder_text(b, name, text)->flags = HF_VERSION_DATABASE;
}

static void put_siblings(struct builder *b)
{
    for (size_t i = 0; i < 3; i++)
        builder_put(b, names[i], "stale", 5);
}

static void assert_siblings(struct builder *b, bool there)
{
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(!access(builder_path(b, names[i]), F_OK), there);
}

static void what_another_database_left_is_gone_when_the_restored_one_is_there(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "x.db", "old", 3);
    put_siblings(b);
    builder_put(b, "y.db-wal", "stale", 5); /* of a database that is gone */
    builder_put(b, "z.db-wal", "its own", 7);
    builder_put(b, "z.db", "old", 3);
    builder_database(b, "x.db", "new");
    builder_database(b, "y.db", "new");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    assert_int_equal(builder_outcome(b, 1), HF_ACTION_RESTORED);
    assert_null(job_remark_of(b->job, 0));
    assert_content(b, "x.db", "new", 3);
    assert_content(b, "y.db", "new", 3);
    assert_siblings(b, false);
    assert_missing(b, "y.db-wal");
    assert_content(b, "z.db-wal", "its own", 7);
    assert_no_staging(b);
    builder_free(b);
}

static void files_of_another_kind_keep_what_lies_beside_them(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    put_siblings(b);
    builder_text(b, "x.db", "new");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_siblings(b, true);
    builder_free(b);
}

static void a_database_with_more_in_its_wal_or_journal_is_not_what_its_file_says(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum hf_action outcome;
    } cases[] = {{"x.db-wal", "more", HF_ACTION_RESTORED},
                 {"x.db-journal", "before", HF_ACTION_RESTORED},
                 {"x.db-wal", "", HF_ACTION_IDENTICAL},
                 {"x.db-shm", "index", HF_ACTION_IDENTICAL},
                 {"x.db-other", "else", HF_ACTION_IDENTICAL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        builder_database(b, "x.db", "same");
        assert_int_equal(builder_restore(b, &error), 0);
        builder_put(b, cases[i].name, cases[i].text, strlen(cases[i].text));
        job_remove(b->job);
        assert_int_equal(builder_restore(b, &error), 0);
        assert_int_equal(builder_outcome(b, 0), cases[i].outcome);
        assert_content(b, "x.db", "same", 4);
        if (cases[i].outcome == HF_ACTION_RESTORED)
            assert_missing(b, cases[i].name);
        else
            assert_content(b, cases[i].name, cases[i].text, strlen(cases[i].text));
        builder_free(b);
    }
}

static void a_database_that_is_left_as_it_is_keeps_what_lies_beside_it(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_database(b, "x.db", "new");
    builder_database(b, "full.db", "new");
    b->conflict = HF_CONFLICT_SKIP;
    assert_int_equal(builder_stage(b, &error), 0);
    builder_put(b, "x.db", "appeared", 8);
    put_siblings(b);
    assert_int_equal(builder_apply(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_SKIPPED);
    assert_content(b, "x.db", "appeared", 8);
    assert_siblings(b, true);
    builder_free(b);
}

static void what_was_taken_away_for_nothing_comes_back(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    mkdir(builder_path(b, "x.db"), 0755);
    builder_put(b, "x.db/full", "x", 1);
    put_siblings(b);
    builder_database(b, "x.db", "new");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_FAILED);
    assert_siblings(b, true);
    assert_no_staging(b);
    builder_free(b);
}

static void links_and_directories_with_such_names_are_left_alone(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    builder_put(b, "precious", "p", 1);
    assert_int_equal(symlink("precious", builder_path(b, "x.db-wal")), 0);
    mkdir(builder_path(b, "x.db-journal"), 0755);
    builder_put(b, "x.db-journal/kept", "k", 1);
    builder_database(b, "x.db", "new");
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    assert_content(b, "precious", "p", 1);
    assert_content(b, "x.db-journal/kept", "k", 1);
    builder_free(b);
}

static void who_has_the_database_open_is_told_of_and_held_off_if_he_has_not(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    struct siblings siblings;
    struct flock lock = {.l_type = F_RDLCK, .l_start = 0x40000002, .l_len = 510};
    builder_put(b, "x.db", "old", 3);
    builder_database(b, "x.db", "new");
    int user = open(builder_path(b, "x.db"), O_RDWR | O_CLOEXEC);
    int root = open(b->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int staging = open(b->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(user >= 0 && root >= 0 && staging >= 0);
    assert_int_equal(siblings_take(root, "x.db", staging, 0, &siblings, &error), 0);
    assert_false(siblings.in_use);
    assert_int_equal(fcntl(user, F_OFD_SETLK, &lock), -1);
    siblings_return(&siblings);
    assert_int_equal(fcntl(user, F_OFD_SETLK, &lock), 0);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    assert_non_null(strstr(job_remark_of(b->job, 0), "restart it"));
    close(user);
    close(root);
    close(staging);
    builder_free(b);
}

/* In a child: killed at the worst moment, between the siblings and the database. */
static void take_and_die(struct builder *b)
{
    struct siblings siblings;
    struct hf_version *version = &b->versions[0];
    struct hf_target target;
    struct hf_error error = {0};
    const char *name;
    int parent_fd, staging_fd;
    if (builder_stage(b, &error) || job_save_phase(b->job, HF_JOB_APPLYING, &error) ||
        targets_locate(b->targets, version, &target, &error) ||
        targets_staging(b->targets, target.anchor, 0, &staging_fd, &error) ||
        targets_open_parent(b->targets, &target, HF_TARGETS_LEAVE, &parent_fd, &name, &error) ||
        siblings_take(parent_fd, name, staging_fd, 0, &siblings, &error))
        _exit(1);
    kill(getpid(), SIGKILL);
}

static void wait_for_death(pid_t child)
{
    int status;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void a_restore_that_was_killed_in_between_is_finished_or_undone_whole(void **state)
{
    (void)state;
    for (int fails = 0; fails <= 1; fails++) {
        struct builder *b = builder_new();
        struct hf_error error = {0};
        builder_put(b, "x.db", "old", 3);
        put_siblings(b);
        builder_database(b, "x.db", "new");
        pid_t child = fork();
        if (child == 0)
            take_and_die(b);
        wait_for_death(child);
        assert_siblings(b, false);
        assert_content(b, "x.db", "old", 3);
        if (fails) {
            assert_int_equal(unlink(builder_path(b, "x.db")), 0);
            mkdir(builder_path(b, "x.db"), 0755);
            builder_put(b, "x.db/full", "x", 1);
        }
        assert_int_equal(builder_restore(b, &error), 0);
        assert_int_equal(builder_outcome(b, 0), fails ? HF_ACTION_FAILED : HF_ACTION_RESTORED);
        assert_siblings(b, fails);
        if (!fails)
            assert_content(b, "x.db", "new", 3);
        assert_no_staging(b);
        builder_free(b);
    }
}

static void die_when_placed(void *context)
{
    (void)context;
    kill(getpid(), SIGKILL);
}

static void what_was_written_since_to_a_database_that_is_in_place_is_not_taken_for_old(void **state)
{
    (void)state;
    struct builder *b = builder_new();
    struct hf_error error = {0};
    put_siblings(b);
    builder_database(b, "x.db", "new");
    pid_t child = fork();
    if (child == 0) {
        struct hf_apply_options options = {0};
        hook_renames(die_when_placed, NULL);
        if (builder_stage(b, &error) || job_save_phase(b->job, HF_JOB_APPLYING, &error))
            _exit(1);
        options.job = b->job;
        options.targets = b->targets;
        options.rules.owners = b->owners;
        apply_job(&options, &error);
        _exit(2);
    }
    wait_for_death(child);
    assert_siblings(b, false);
    builder_put(b, "x.db-wal", "of a service that was started again", 35);
    assert_int_equal(builder_restore(b, &error), 0);
    assert_int_equal(builder_outcome(b, 0), HF_ACTION_RESTORED);
    assert_content(b, "x.db", "new", 3);
    assert_content(b, "x.db-wal", "of a service that was started again", 35);
    builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_another_database_left_is_gone_when_the_restored_one_is_there),
        cmocka_unit_test(files_of_another_kind_keep_what_lies_beside_them),
        cmocka_unit_test(a_database_with_more_in_its_wal_or_journal_is_not_what_its_file_says),
        cmocka_unit_test(a_database_that_is_left_as_it_is_keeps_what_lies_beside_it),
        cmocka_unit_test(what_was_taken_away_for_nothing_comes_back),
        cmocka_unit_test(links_and_directories_with_such_names_are_left_alone),
        cmocka_unit_test(who_has_the_database_open_is_told_of_and_held_off_if_he_has_not),
        cmocka_unit_test(a_restore_that_was_killed_in_between_is_finished_or_undone_whole),
        cmocka_unit_test(
            what_was_written_since_to_a_database_that_is_in_place_is_not_taken_for_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
