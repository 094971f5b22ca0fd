/* The copying: against writers, and what is said of what can't be copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/sqlite_copy.h"
#include "common/clock.h"

#define ROWS 5000

static char directory[64];
static sqlite3 *writer; /* another connection, which commits whenever the copying makes progress */
static unsigned commits, refusals;

static void sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    }
}

static sqlite3 *open_database(const char *name)
{
    char path[96];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/holdfast-copy-XXXXXX");
    assert_non_null(mkdtemp(directory));
    commits = refusals = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"from", "from-wal", "from-shm", "from-journal", "to"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    return rmdir(directory);
}

static void no_progress(void)
{
}

/* Two rows that add up to 0 in every state that was committed. */
static void commit(void)
{
    int code = sqlite3_exec(writer,
                            "BEGIN IMMEDIATE; UPDATE t SET v = v + 1 WHERE id = 1;"
                            "UPDATE t SET v = v - 1 WHERE id = 4999; COMMIT",
                            NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        commits++;
    } else {
        refusals++;
        sqlite3_exec(writer, "ROLLBACK", NULL, NULL, NULL);
    }
}

static void make_source(const char *mode)
{
    char text[320];
    writer = open_database("from");
    snprintf(text, sizeof text,
             "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF;"
             "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, filler BLOB);"
             "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT %d)"
             " INSERT INTO t SELECT id, 0, zeroblob(2000) FROM n",
             mode, ROWS);
    sql(writer, text);
}

static int64_t number(sqlite3 *db, const char *query)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static void assert_good_copy(void)
{
    sqlite3 *db = open_database("to");
    assert_int_equal(number(db, "SELECT count(*) FROM t"), ROWS);
    assert_int_equal(number(db, "SELECT sum(v) FROM t"), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check"
                                " WHERE integrity_check = 'ok'"),
                     1);
    sqlite3_close(db);
}

static void a_snapshot_is_copied_while_every_commit_of_others_succeeds(void **state)
{
    (void)state;
    make_source("wal");
    struct copy copy = {.from = open_database("from"),
                        .to = open_database("to"),
                        .snapshot = true,
                        .patience_ns = HF_NS_PER_SECOND,
                        .progress = commit};
    assert_int_equal(copy_database(&copy), COPY_DONE);
    sqlite3_close(copy.from);
    sqlite3_close(copy.to);
    assert_true(commits > 3);
    assert_int_equal(refusals, 0);
    sqlite3_close(writer);
    assert_good_copy();
}

static void a_writer_that_never_pauses_does_not_keep_the_copying_from_its_end(void **state)
{
    (void)state;
    make_source("delete");
    struct copy copy = {.from = open_database("from"),
                        .to = open_database("to"),
                        .patience_ns = 60 * HF_NS_PER_SECOND,
                        .progress = commit};
    assert_int_equal(copy_database(&copy), COPY_DONE);
    sqlite3_close(copy.from);
    sqlite3_close(copy.to);
    assert_true(commits > 0);
    commit(); /* he is let write again */
    assert_int_equal(number(writer, "SELECT v FROM t WHERE id = 1"), commits);
    sqlite3_close(writer);
    assert_good_copy();
}

static void a_lock_that_is_kept_is_waited_for_no_longer_than_said(void **state)
{
    (void)state;
    make_source("delete");
    sql(writer, "BEGIN EXCLUSIVE");
    struct copy copy = {.from = open_database("from"),
                        .to = open_database("to"),
                        .patience_ns = 50 * HF_NS_PER_MS,
                        .progress = no_progress};
    assert_int_equal(copy_database(&copy), COPY_AGAIN);
    assert_non_null(strstr(copy.message, "locked"));
    sql(writer, "COMMIT");
    assert_int_equal(copy_database(&copy), COPY_DONE);
    sqlite3_close(copy.from);
    sqlite3_close(copy.to);
    sqlite3_close(writer);
}

static void what_sqlite_answers_is_told_apart(void **state)
{
    (void)state;
    static const struct {
        int code;
        enum copy_end end;
    } cases[] = {
        {SQLITE_OK, COPY_DONE},
        {SQLITE_BUSY, COPY_AGAIN},
        {SQLITE_BUSY_RECOVERY, COPY_AGAIN},
        {SQLITE_LOCKED, COPY_AGAIN},
        {SQLITE_CANTOPEN, COPY_AGAIN},
        {SQLITE_READONLY_RECOVERY, COPY_AGAIN},
        {SQLITE_READONLY_ROLLBACK, COPY_HOT},
        {SQLITE_CORRUPT, COPY_UNUSABLE},
        {SQLITE_CORRUPT_INDEX, COPY_UNUSABLE},
        {SQLITE_NOTADB, COPY_UNUSABLE},
        {SQLITE_FULL, COPY_NO_ROOM},
        {SQLITE_IOERR_READ, COPY_FAILED},
        {SQLITE_MISUSE, COPY_FAILED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[COPY_MESSAGE_BYTES] = "";
        assert_int_equal(copy_end_of(NULL, cases[i].code, message), cases[i].end);
        assert_string_not_equal(message, "");
    }
}

static void a_copy_is_sound_unless_sqlite_says_otherwise(void **state)
{
    (void)state;
    char message[COPY_MESSAGE_BYTES] = "";
    make_source("delete");
    assert_int_equal(copy_check(writer, 60 * HF_NS_PER_SECOND, no_progress, message), COPY_DONE);
    /* A page that belongs to nothing and a schema that names it. */
    sql(writer, "PRAGMA writable_schema = ON;"
                "UPDATE sqlite_schema SET rootpage = 3 WHERE name = 't'");
    sqlite3_close(writer);
    writer = open_database("from");
    assert_int_equal(copy_check(writer, 60 * HF_NS_PER_SECOND, no_progress, message),
                     COPY_UNUSABLE);
    assert_string_not_equal(message, "");
    sqlite3_close(writer);
}

static int compare(void *context, int a, const void *left, int b, const void *right)
{
    (void)context;
    int order = memcmp(left, right, (size_t)(a < b ? a : b));
    return order ? order : a - b;
}

static void what_only_the_program_itself_could_check_passes_and_so_does_what_takes_too_long(
    void **state)
{
    (void)state;
    char message[COPY_MESSAGE_BYTES] = "";
    make_source("delete");
    assert_int_equal(copy_check(writer, 0, no_progress, message), COPY_DONE);
    assert_int_equal(sqlite3_create_collation(writer, "of_its_own", SQLITE_UTF8, NULL, compare),
                     SQLITE_OK);
    sql(writer, "CREATE TABLE named (name TEXT COLLATE of_its_own UNIQUE CHECK (length(name) > 2));"
                "PRAGMA ignore_check_constraints = ON; INSERT INTO named VALUES ('a'), ('b')");
    sqlite3_close(writer);
    writer = open_database("from");
    assert_int_equal(copy_check(writer, 60 * HF_NS_PER_SECOND, no_progress, message), COPY_DONE);
    sqlite3_close(writer);
}

static void a_hostile_schema_is_not_obeyed(void **state)
{
    (void)state;
    sqlite3 *db = open_database("from");
    int value = 0;
    assert_int_equal(copy_restrain(db), SQLITE_OK);
    assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1, &value), SQLITE_OK);
    assert_int_equal(value, 0);
    assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, -1, &value), SQLITE_OK);
    assert_int_equal(value, 1);
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_snapshot_is_copied_while_every_commit_of_others_succeeds,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_writer_that_never_pauses_does_not_keep_the_copying_from_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_that_is_kept_is_waited_for_no_longer_than_said,
                                        setup, teardown),
        cmocka_unit_test(what_sqlite_answers_is_told_apart),
        cmocka_unit_test_setup_teardown(a_copy_is_sound_unless_sqlite_says_otherwise, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            what_only_the_program_itself_could_check_passes_and_so_does_what_takes_too_long, setup,
            teardown),
        cmocka_unit_test_setup_teardown(a_hostile_schema_is_not_obeyed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
