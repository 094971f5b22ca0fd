/* Backups of databases, by the reader that the agent starts: this program is its own reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "agent/capture/sqlite_backup.h"
#include "agent/capture/sqlite_reader.h"

struct place {
    char directory[64], state[80], data[80], path[96];
    int dir_fd;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->directory, "/tmp/holdfast-backup-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->state, sizeof place->state, "%s/state", place->directory);
    snprintf(place->data, sizeof place->data, "%s/data", place->directory);
    snprintf(place->path, sizeof place->path, "%s/x.db", place->data);
    assert_int_equal(mkdir(place->state, 0700), 0);
    assert_int_equal(mkdir(place->data, 0700), 0);
    place->dir_fd = open(place->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(place->dir_fd >= 0);
    *state = place;
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind, (void)where;
    return remove(path);
}

static int count_entries(const char *directory)
{
    int count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count - 2;
}

/* Whatever happened, the state directory is empty and no child is left. */
static int teardown(void **state)
{
    struct place *place = *state;
    assert_int_equal(count_entries(place->state), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    close(place->dir_fd);
    assert_int_equal(nftw(place->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(place);
    return 0;
}

static void sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    }
}

/* A database of `rows` rows that add up, in a journal mode. */
static sqlite3 *database(const struct place *place, const char *mode, int rows)
{
    char text[256];
    sqlite3 *db;
    assert_int_equal(sqlite3_open(place->path, &db), SQLITE_OK);
    snprintf(text, sizeof text,
             "PRAGMA journal_mode = %s; CREATE TABLE t (v INTEGER, filler BLOB);"
             "WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n LIMIT %d)"
             " INSERT INTO t SELECT v, zeroblob(500) FROM n",
             mode, rows);
    sql(db, text);
    return db;
}

static void put(const struct place *place, const char *name, const void *data, size_t size)
{
    int fd = openat(place->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static struct sqlite_backup_options options_of(const struct place *place)
{
    struct sqlite_backup_options options = {.state = place->state,
                                            .dir_fd = place->dir_fd,
                                            .name = "x.db",
                                            .fd = open(place->path, O_RDONLY | O_CLOEXEC),
                                            .keep_free_bytes = 1 << 20,
                                            .stall_ns = SQLITE_BACKUP_STALL_NS};
    assert_true(options.fd >= 0);
    assert_int_equal(fstat(options.fd, &options.status), 0);
    return options;
}

static int backup(const struct place *place, struct sqlite_backup *out, struct hf_error *error)
{
    struct sqlite_backup_options options = options_of(place);
    *error = (struct hf_error){0};
    int rc = sqlite_backup_make(&options, out, error);
    close(options.fd);
    return rc;
}

/* How many rows a backup has, which is closed; it is sound and they add up. */
static int rows_in(const struct place *place, const struct sqlite_backup *made)
{
    char path[120];
    char piece[4096];
    sqlite3 *db;
    sqlite3_stmt *statement;
    snprintf(path, sizeof path, "%s/copy", place->directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(lseek(made->fd, 0, SEEK_SET), 0);
    for (ssize_t got; (got = read(made->fd, piece, sizeof piece)) > 0;) {
        assert_int_equal(write(fd, piece, (size_t)got), got);
    }
    close(fd);
    close(made->fd);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
    sqlite3_finalize(statement);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*), sum(v) FROM t", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int rows = sqlite3_column_int(statement, 0);
    assert_int_equal(sqlite3_column_int64(statement, 1), (sqlite3_int64)rows * (rows + 1) / 2);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    assert_int_equal(unlink(path), 0);
    return rows;
}

static int good_rows(const struct place *place)
{
    struct sqlite_backup made;
    struct hf_error error;
    if (backup(place, &made, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
    assert_false(made.unsound);
    return rows_in(place, &made);
}

static void what_is_committed_is_in_the_backup_and_nothing_else_in_any_journal_mode(void **state)
{
    struct place *place = *state;
    static const char *const modes[] = {"delete", "truncate", "persist", "memory", "off", "wal"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        sqlite3 *db = database(place, modes[i], 2000);
        assert_int_equal(good_rows(place), 2000);
        if (strcmp(modes[i], "off") != 0) {
            sql(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2001, NULL)");
            assert_int_equal(good_rows(place), 2000);
            sql(db, "COMMIT");
            assert_int_equal(good_rows(place), 2001);
        }
        sqlite3_close(db);
        assert_int_equal(unlink(place->path), 0);
        (void)unlinkat(place->dir_fd, "x.db-journal", 0); /* which persist leaves */
    }
}

static void a_database_that_nobody_has_open_is_left_alone(void **state)
{
    struct place *place = *state;
    static const char *const modes[] = {"delete", "wal"};
    for (size_t i = 0; i < 2; i++) {
        sqlite3_close(database(place, modes[i], 100));
        assert_int_equal(count_entries(place->data), 1);
        assert_int_equal(good_rows(place), 100);
        assert_int_equal(count_entries(place->data), 1);
        assert_int_equal(unlink(place->path), 0);
    }
}

static void the_wal_of_a_writer_that_died_counts_with_or_without_its_index(void **state)
{
    struct place *place = *state;
    int status;
    char shm[120];
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sqlite3 *db = database(place, "wal", 300);
        _exit(db ? 0 : 1); /* without closing it */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_entries(place->data), 3);
    assert_int_equal(good_rows(place), 300);
    snprintf(shm, sizeof shm, "%s-shm", place->path);
    assert_int_equal(unlink(shm), 0);
    assert_int_equal(good_rows(place), 300);
    assert_int_equal(count_entries(place->data), 2);
}

static void the_backup_of_a_backup_is_the_same_bytes(void **state)
{
    struct place *place = *state;
    struct sqlite_backup made[2];
    struct hf_error error;
    char bytes[2][65536];
    sqlite3 *db = database(place, "wal", 50);
    assert_int_equal(backup(place, &made[0], &error), HF_OK);
    sqlite3_close(db);
    ssize_t size = pread(made[0].fd, bytes[0], sizeof bytes[0], 0);
    assert_true(size > 0 && size < (ssize_t)sizeof bytes[0]);
    put(place, "x.db", bytes[0], (size_t)size);
    assert_int_equal(backup(place, &made[1], &error), HF_OK);
    assert_int_equal(pread(made[1].fd, bytes[1], sizeof bytes[1], 0), size);
    assert_memory_equal(bytes[0], bytes[1], (size_t)size);
    close(made[0].fd);
    close(made[1].fd);
}

static void expect_no_backup(const struct place *place, const char *why)
{
    struct sqlite_backup made;
    struct hf_error error;
    assert_int_equal(backup(place, &made, &error), HF_ERR_UNSUPPORTED);
    assert_int_equal(made.fd, -1);
    if (!strstr(made.note, why)) {
        fail_msg("'%s' is not in: %s", why, made.note);
    }
}

static void what_is_no_database_is_said_to_be_none(void **state)
{
    struct place *place = *state;
    char noise[8192];
    put(place, "x.db", "", 0);
    expect_no_backup(place, "is empty");
    put(place, "x.db", "SQLite format 3", 16);
    expect_no_backup(place, "is no SQLite database");
    memset(noise, 0xa5, sizeof noise);
    put(place, "x.db", noise, sizeof noise);
    expect_no_backup(place, "encrypted");
    memcpy(noise, "SQLite format 3", 16);
    put(place, "x.db", noise, sizeof noise);
    expect_no_backup(place, "SQLite can't read");
}

static void a_database_that_was_cut_short_has_no_backup_and_a_garbled_one_an_unsound_one(
    void **state)
{
    struct place *place = *state;
    struct sqlite_backup made;
    struct hf_error error;
    char noise[4096];
    sqlite3_close(database(place, "delete", 400));
    int fd = open(place->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    memset(noise, 0xa5, sizeof noise);
    assert_int_equal(pwrite(fd, noise, sizeof noise, 4096 * 3), (ssize_t)sizeof noise);
    assert_int_equal(backup(place, &made, &error), HF_OK);
    assert_true(made.unsound);
    assert_non_null(strstr(made.note, "is damaged"));
    close(made.fd);
    assert_int_equal(ftruncate(fd, 4096 * 5), 0);
    close(fd);
    expect_no_backup(place, "SQLite can't read");
}

static void a_backup_leaves_room_on_the_disk_or_is_not_made(void **state)
{
    struct place *place = *state;
    struct sqlite_backup made;
    sqlite3_close(database(place, "delete", 10));
    struct sqlite_backup_options options = options_of(place);
    options.keep_free_bytes = UINT64_MAX / 2;
    assert_int_equal(sqlite_backup_make(&options, &made, NULL), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(made.note, "no room"));
    options.keep_free_bytes = UINT64_MAX;
    assert_int_equal(sqlite_backup_make(&options, &made, NULL), HF_ERR_UNSUPPORTED);
    close(options.fd);
}

static void what_took_the_place_of_a_database_is_not_read(void **state)
{
    struct place *place = *state;
    struct sqlite_backup made;
    char aside[120];
    sqlite3_close(database(place, "delete", 10));
    struct sqlite_backup_options options = options_of(place);
    snprintf(aside, sizeof aside, "%s/aside.db", place->directory);
    assert_int_equal(rename(place->path, aside), 0);
    assert_int_equal(sqlite_backup_make(&options, &made, NULL), HF_ERR_RACED);
    assert_int_equal(symlink(aside, place->path), 0);
    assert_int_equal(sqlite_backup_make(&options, &made, NULL), HF_ERR_RACED);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(mkfifo(place->path, 0600), 0);
    assert_int_equal(sqlite_backup_make(&options, &made, NULL), HF_ERR_RACED);
    close(options.fd);
}

static void links_and_pipes_beside_a_database_lead_nowhere(void **state)
{
    struct place *place = *state;
    sqlite3_close(database(place, "wal", 10));
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = {"x.db-wal", "x.db-shm", "x.db-journal"};
        for (size_t j = 0; j < 3; j++) {
            assert_int_equal(i ? mkfifoat(place->dir_fd, names[j], 0600)
                               : symlinkat("/etc/passwd", place->dir_fd, names[j]),
                             0);
        }
        assert_int_equal(good_rows(place), 10);
        for (size_t j = 0; j < 3; j++) {
            assert_int_equal(unlinkat(place->dir_fd, names[j], 0), 0);
        }
    }
}

static bool never(void *context)
{
    ++*(int *)context;
    return false;
}

static void a_backup_that_is_not_wanted_any_more_or_hangs_is_ended(void **state)
{
    struct place *place = *state;
    struct sqlite_backup made;
    struct hf_error error = {0};
    int asked = 0;
    sqlite3 *db = database(place, "delete", 10);
    sql(db, "BEGIN EXCLUSIVE"); /* so that it lasts */
    struct sqlite_backup_options options = options_of(place);
    options.idle = never;
    options.context = &asked;
    assert_int_equal(sqlite_backup_make(&options, &made, &error), HF_ERR_CLOSED);
    assert_int_equal(asked, 1);
    options.idle = NULL;
    options.stall_ns = 1;
    assert_int_equal(sqlite_backup_make(&options, &made, &error), HF_ERR_IO);
    assert_non_null(strstr(error.message, "does not get on"));
    close(options.fd);
    sqlite3_close(db);
}

static void what_a_killed_agent_left_is_swept_away_and_nothing_else(void **state)
{
    struct place *place = *state;
    char left[120], other[120];
    snprintf(left, sizeof left, "%s/sqlite-backup.AbCdEf", place->state);
    snprintf(other, sizeof other, "%s/spool.db", place->state);
    close(open(left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    sqlite_backup_sweep(place->state);
    sqlite_backup_sweep("/nonexistent");
    assert_int_equal(count_entries(place->state), 1);
    assert_int_equal(unlink(other), 0);
}

static void a_person_who_starts_the_reader_is_told_what_it_is(void **state)
{
    (void)state;
    char *few[] = {"holdfast-agent", SQLITE_READER_COMMAND, NULL};
    char *wrong[] = {"holdfast-agent",
                     SQLITE_READER_COMMAND,
                     "x.db",
                     "1",
                     "2",
                     "3x",
                     "4",
                     "5",
                     "6",
                     "7",
                     "8",
                     NULL};
    assert_int_equal(sqlite_reader_main(2, few), 2);
    assert_int_equal(sqlite_reader_main(11, wrong), 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_is_committed_is_in_the_backup_and_nothing_else_in_any_journal_mode, setup,
            teardown),
        cmocka_unit_test_setup_teardown(a_database_that_nobody_has_open_is_left_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            the_wal_of_a_writer_that_died_counts_with_or_without_its_index, setup, teardown),
        cmocka_unit_test_setup_teardown(the_backup_of_a_backup_is_the_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_database_is_said_to_be_none, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_database_that_was_cut_short_has_no_backup_and_a_garbled_one_an_unsound_one, setup,
            teardown),
        cmocka_unit_test_setup_teardown(a_backup_leaves_room_on_the_disk_or_is_not_made, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_took_the_place_of_a_database_is_not_read, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(links_and_pipes_beside_a_database_lead_nowhere, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_backup_that_is_not_wanted_any_more_or_hangs_is_ended,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_agent_left_is_swept_away_and_nothing_else,
                                        setup, teardown),
        cmocka_unit_test(a_person_who_starts_the_reader_is_told_what_it_is),
    };
    if (argc > 1 && strcmp(argv[1], SQLITE_READER_COMMAND) == 0) {
        return sqlite_reader_main(argc, argv);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
