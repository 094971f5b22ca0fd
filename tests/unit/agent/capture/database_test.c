/* Sources of databases: what counts as a change, what is recorded, what is left out. The thread is
 * stopped where the order matters. This program is its own reader. */
#include "capture_scene.h"

#include <sys/wait.h>

#include <sqlite3.h>

#include "agent/capture/capture_private.h"
#include "agent/capture/sqlite_reader.h"

static int setup_running(void **state)
{
    return setup_kind(state, HF_KIND_SQLITE);
}

static int setup_stopped(void **state)
{
    setup_running(state);
    struct scene *scene = *state;
    flush(scene);
    capture_stop(scene->capture);
    scene->capture->stopping = false; /* what examines does not end at once */
    return 0;
}

/* The scene counts what is called f. */
static const char *place(const struct scene *scene, const char *suffix)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/f%s", scene->roots[DATA], suffix);
    return path;
}

/* What a program with that argument does to a database, with any third one: without closing it. A
 * program of its own, for the locks of one end with whatever it closes of the file. */
#define SQL_COMMAND "sql"

static int sql_main(int argc, char **argv)
{
    sqlite3 *db;
    char *message = NULL;
    if (sqlite3_open(argv[2], &db) != SQLITE_OK ||
        sqlite3_exec(db, argv[3], NULL, NULL, &message) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", argv[3], message ? message : "?");
        _exit(1);
    }
    if (argc > 4) {
        _exit(0);
    }
    return sqlite3_close(db);
}

static void run_sql(const struct scene *scene, const char *text, const char *stay)
{
    int status;
    const char *path = place(scene, "");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "database_test", SQL_COMMAND, path, text, stay, (char *)NULL);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void sql(const struct scene *scene, const char *text)
{
    run_sql(scene, text, NULL);
}

static void put(const struct scene *scene, const char *suffix, const char *text)
{
    int fd = open(place(scene, suffix), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* Past the tick of the file system's clock in which it was written: what is looked at then is read
 * once. */
static void look_at(struct scene *scene, int64_t unsettled_ns)
{
    usleep(40000);
    examine_path(scene->capture, DATA, place(scene, "") + 1, EXAMINE_ONE, unsettled_ns);
    flush_unit(scene->capture, DATA);
    pump(scene);
}

static const struct hf_version *newest(const struct scene *scene)
{
    assert_non_null(scene->newest[DATA]);
    return &scene->newest[DATA]->versions[0];
}

static struct state_row row_of(const struct scene *scene)
{
    struct state_row row = {0};
    assert_true(on_record(scene->capture, DATA, place(scene, "") + 1, &row));
    state_row_free(&row);
    return row; /* its numbers */
}

static void what_lies_beside_a_database_is_no_file_of_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *path, *of;
    } cases[] = {{"a/x.db-wal", "a/x.db"}, {"a/x.db-shm", "a/x.db"}, {"x.db-journal", "x.db"},
                 {"x-wal-wal", "x-wal"},   {"a/x.db", NULL},         {"a/x-walrus", NULL},
                 {"a/-wal", NULL},         {"-shm", NULL},           {"", NULL}};
    struct hf_config_source databases = {.kind = HF_KIND_SQLITE};
    struct hf_config_source files = {.kind = HF_KIND_FILES};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        assert_int_equal(database_is_sibling(&databases, cases[i].path), cases[i].of != NULL);
        assert_false(database_is_sibling(&files, cases[i].path));
        if (cases[i].of) {
            database_of_sibling(cases[i].path, out, sizeof out);
            assert_string_equal(out, cases[i].of);
        }
    }
}

static void a_look_tells_every_change_of_the_database_or_its_wal(void **state)
{
    struct scene *scene = *state;
    struct stat status;
    struct database_look looks[5];
    int fd = open(scene->roots[DATA], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const char *const steps[][2] = {
        {"", "a"}, {"-wal", ""}, {"-shm", "x"}, {"-wal", "more"}, {"", "ab"}};
    for (size_t i = 0; i < 5; i++) {
        usleep(20000);
        if (i == 1) {
            assert_int_equal(stat(place(scene, ""), &status), 0);
        }
        put(scene, steps[i][0], steps[i][1]);
        assert_int_equal(stat(place(scene, ""), &status), 0);
        looks[i] = database_look(fd, "f", &status);
        assert_true(looks[i].print > 0);
        assert_true(looks[i].changed_ns >= looks[i].mtime_ns);
    }
    assert_int_equal(looks[1].print, looks[0].print); /* an empty -wal, an index */
    assert_int_equal(looks[2].print, looks[0].print);
    assert_int_not_equal(looks[3].print, looks[0].print);
    assert_true(looks[3].mtime_ns > looks[0].mtime_ns);
    assert_int_not_equal(looks[4].print, looks[3].print);
    assert_int_equal(unlink(place(scene, "-wal")), 0);
    assert_int_not_equal(database_look(fd, "f", &status).print, looks[4].print);
    close(fd);
}

static void patch_index(const struct scene *scene, off_t at, uint32_t by)
{
    uint32_t frames;
    int fd = open(place(scene, "-shm"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &frames, sizeof frames, at), sizeof frames);
    frames += by;
    assert_int_equal(pwrite(fd, &frames, sizeof frames, at), sizeof frames);
    close(fd);
}

static void what_is_in_the_wal_and_does_not_count_yet_is_looked_for_again(void **state)
{
    struct scene *scene = *state;
    struct stat status;
    run_sql(scene, "PRAGMA journal_mode = WAL; CREATE TABLE t (v); INSERT INTO t VALUES (1)",
            "and stay");
    int fd = open(scene->roots[DATA], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(stat(place(scene, ""), &status), 0);
    struct database_look whole = database_look(fd, "f", &status);
    assert_false(whole.pending);
    database_look_again(scene->capture, DATA, place(scene, "") + 1, &whole);
    assert_true(dirty_due_ns(scene->capture) == INT64_MAX);
    /* As between the writing of the -wal and the moment in which it counts. */
    patch_index(scene, 16, (uint32_t)-1);
    struct database_look before = database_look(fd, "f", &status);
    assert_true(before.pending);
    assert_int_not_equal(before.print, whole.print);
    struct database_look old = before;
    old.changed_ns -= 3600 * HF_NS_PER_SECOND;
    database_look_again(scene->capture, DATA, place(scene, "") + 1, &old);
    assert_true(dirty_due_ns(scene->capture) == INT64_MAX);
    database_look_again(scene->capture, DATA, place(scene, "") + 1, &before);
    assert_true(dirty_due_ns(scene->capture) < INT64_MAX);
    patch_index(scene, 16, 1);
    struct database_look after = database_look(fd, "f", &status);
    assert_false(after.pending);
    assert_int_equal(after.print, whole.print);
    /* An index that is no index, of any length. */
    for (off_t size = 40; size >= 0; size -= 20) {
        assert_int_equal(truncate(place(scene, "-shm"), size), 0);
        assert_false(database_look(fd, "f", &status).pending);
    }
    close(fd);
}

static void a_database_is_recorded_as_its_backup_once_a_change(void **state)
{
    struct scene *scene = *state;
    sql(scene, "CREATE TABLE t (v); INSERT INTO t VALUES (1)");
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 1);
    assert_int_equal(newest(scene)->flags, HF_VERSION_DATABASE);
    assert_int_equal(newest(scene)->size, 8192);
    int64_t seen_as = row_of(scene).print.ctime_ns;
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 1);
    sql(scene, "INSERT INTO t VALUES (2)");
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 2);
    assert_int_not_equal(row_of(scene).print.ctime_ns, seen_as);
}

static void the_same_content_is_no_new_version_and_is_not_read_again(void **state)
{
    struct scene *scene = *state;
    sql(scene, "CREATE TABLE t (v)");
    look_at(scene, 0);
    struct state_row before = row_of(scene);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, place(scene, ""), times, 0), 0);
    look_at(scene, 0);
    struct state_row after = row_of(scene);
    assert_int_equal(scene->seen[DATA], 1);
    assert_int_equal(after.seq, before.seq);
    assert_int_equal(after.print.mtime_ns, before.print.mtime_ns); /* as the collector has it */
    assert_int_not_equal(after.print.ctime_ns, before.print.ctime_ns);
    assert_int_equal(chmod(place(scene, ""), 0640), 0);
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 2);
    assert_int_equal(newest(scene)->mode, 0640);
}

static void what_is_no_database_is_waited_for_and_then_recorded_as_it_is(void **state)
{
    struct scene *scene = *state;
    int64_t long_ago_ns = hf_clock_monotonic_ns() - 31 * HF_NS_PER_SECOND;
    put(scene, "", "no database");
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 0);
    assert_true(dirty_due_ns(scene->capture) != INT64_MAX);
    look_at(scene, long_ago_ns);
    assert_int_equal(scene->seen[DATA], 1);
    assert_int_equal(newest(scene)->flags, HF_VERSION_UNPARSABLE);
    assert_int_equal(newest(scene)->size, strlen("no database"));
    const char *note = scene->capture->work[DATA].note;
    assert_non_null(strstr(note, "no SQLite database"));
    scene->capture->work[DATA].note[0] = '\0'; /* as a scan begins */
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 1);
    assert_non_null(strstr(note, "captured as it is"));
    assert_int_equal(scene->capture->work[DATA].unreadable, 0);
    assert_int_equal(unlink(place(scene, "")), 0);
    sql(scene, "CREATE TABLE t (v)");
    look_at(scene, 0);
    assert_int_equal(newest(scene)->flags, HF_VERSION_DATABASE);
}

static void a_damaged_database_is_recorded_as_its_backup_and_flagged(void **state)
{
    struct scene *scene = *state;
    int64_t long_ago_ns = hf_clock_monotonic_ns() - 31 * HF_NS_PER_SECOND;
    sql(scene, "CREATE TABLE t (v); INSERT INTO t VALUES (1)");
    int fd = open(place(scene, ""), O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "garbage!", 8, 4096), 8);
    close(fd);
    look_at(scene, 0);
    assert_int_equal(scene->seen[DATA], 0);
    look_at(scene, long_ago_ns);
    assert_int_equal(newest(scene)->flags, HF_VERSION_DATABASE | HF_VERSION_UNPARSABLE);
    assert_non_null(strstr(scene->capture->work[DATA].note, "damaged"));
}

/* --- with the thread --- */

static void what_happens_beside_a_database_is_noticed_and_not_recorded(void **state)
{
    struct scene *scene = *state;
    flush(scene);
    run_sql(scene, "PRAGMA journal_mode = WAL; CREATE TABLE t (v)", "and stay");
    wait_for(scene, DATA, 1);
    flush(scene);
    usleep(100000);
    flush(scene);
    unsigned before = scene->seen[DATA];
    run_sql(scene, "PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (1)", "and stay");
    wait_for(scene, DATA, before + 1); /* nothing but its -wal was written to */
    flush(scene);
    assert_int_equal(scene->versions[DATA], scene->seen[DATA] + scene->directories[DATA]);
}

static void a_database_that_a_restore_put_there_is_recorded_as_that(void **state)
{
    struct scene *scene = *state;
    sql(scene, "CREATE TABLE t (v)");
    wait_for(scene, DATA, 1);
    flush(scene);
    struct hf_version version = *newest(scene);
    unsigned before = scene->seen[DATA];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = MTIME_NS / HF_NS_PER_SECOND}};
    capture_hold(scene->capture, AREA(scene, DATA));
    assert_int_equal(utimensat(AT_FDCWD, place(scene, ""), times, 0), 0);
    version.mtime_ns = MTIME_NS;
    capture_adopt(scene->capture, DATA, place(scene, "") + 1, &version, 7);
    capture_release(scene->capture, AREA(scene, DATA));
    wait_for(scene, DATA, before + 1);
    flush(scene);
    assert_int_equal(scene->seen[DATA], before + 1);
    assert_int_equal(newest(scene)->flags, HF_VERSION_DATABASE | HF_VERSION_RESTORED);
    assert_int_equal(newest(scene)->job, 7);
    assert_int_equal(chmod(place(scene, ""), 0644), 0);
    assert_int_equal(chmod(place(scene, ""), newest(scene)->mode), 0);
    flush(scene); /* looked at again, and the same */
    assert_int_equal(scene->seen[DATA], before + 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_beside_a_database_is_no_file_of_its_own),
        cmocka_unit_test_setup_teardown(a_look_tells_every_change_of_the_database_or_its_wal,
                                        setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_in_the_wal_and_does_not_count_yet_is_looked_for_again, setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(a_database_is_recorded_as_its_backup_once_a_change,
                                        setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(the_same_content_is_no_new_version_and_is_not_read_again,
                                        setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_no_database_is_waited_for_and_then_recorded_as_it_is, setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_database_is_recorded_as_its_backup_and_flagged,
                                        setup_stopped, teardown),
        cmocka_unit_test_setup_teardown(what_happens_beside_a_database_is_noticed_and_not_recorded,
                                        setup_running, teardown),
        cmocka_unit_test_setup_teardown(a_database_that_a_restore_put_there_is_recorded_as_that,
                                        setup_running, teardown),
    };
    if (argc > 1 && strcmp(argv[1], SQLITE_READER_COMMAND) == 0) {
        return sqlite_reader_main(argc, argv);
    }
    if (argc > 3 && strcmp(argv[1], SQL_COMMAND) == 0) {
        return sql_main(argc, argv);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
