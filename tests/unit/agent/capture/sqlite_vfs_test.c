/* What SQLite is let do to files: read them, and write to those that it was handed for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "agent/capture/sqlite_vfs.h"
#include "tests/unit/agent/access_time.h"

static char directory[64];

/* The working directory. */
static int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/holdfast-vfs-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(chdir(directory), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlink(entry->d_name), 0);
        }
    }
    closedir(dir);
    assert_int_equal(chdir("/"), 0);
    return rmdir(directory);
}

static void put(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int run(const char *vfs, const char *name, int flags, const char *text)
{
    sqlite3 *db;
    int code = sqlite3_open_v2(name, &db, flags | SQLITE_OPEN_URI, vfs);
    code = code == SQLITE_OK ? sqlite3_exec(db, text, NULL, NULL, NULL) : code;
    sqlite3_close(db);
    return code & 0xff;
}

/* A database in the files of SQLITE_VFS_FILES that is then at a name on the disk. */
static void make_database(const char *name, const char *text)
{
    struct sqlite_vfs_file files[] = {
        {.name = "db", .fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600), .writable = true}};
    assert_true(files[0].fd >= 0);
    sqlite_vfs_set_files(files, 1);
    assert_int_equal(run(SQLITE_VFS_FILES, "db", SQLITE_OPEN_READWRITE, text), SQLITE_OK);
    sqlite_vfs_set_files(NULL, 0);
    close(files[0].fd);
}

#define MAKE "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; CREATE TABLE t (v)"

static void what_was_handed_over_as_writable_is_written_to(void **state)
{
    (void)state;
    make_database("x.db", MAKE "; INSERT INTO t VALUES (1)");
    assert_int_equal(run(SQLITE_VFS_SHARED, "x.db", SQLITE_OPEN_READONLY, "SELECT * FROM t"),
                     SQLITE_OK);
}

static void what_was_not_is_not_and_what_is_not_named_is_not_there(void **state)
{
    (void)state;
    make_database("x.db", MAKE);
    struct sqlite_vfs_file files[] = {{.name = "db", .fd = open("x.db", O_RDWR | O_CLOEXEC)}};
    sqlite_vfs_set_files(files, 1);
    assert_int_equal(run(SQLITE_VFS_FILES, "db", SQLITE_OPEN_READWRITE,
                         "PRAGMA journal_mode = MEMORY; INSERT INTO t VALUES (1)"),
                     SQLITE_READONLY);
    assert_int_equal(run(SQLITE_VFS_FILES, "x.db", SQLITE_OPEN_READWRITE, "SELECT 1"),
                     SQLITE_CANTOPEN);
    sqlite_vfs_set_files(NULL, 0);
    close(files[0].fd);
}

static void a_shared_database_can_be_read_and_nothing_else(void **state)
{
    (void)state;
    struct stat before, after;
    make_database("x.db", MAKE);
    assert_int_equal(chmod("x.db", 0640), 0);
    assert_int_equal(stat("x.db", &before), 0);
    static const char *const attempts[] = {"INSERT INTO t VALUES (1)",
                                           "DROP TABLE t",
                                           "VACUUM",
                                           "PRAGMA journal_mode = WAL; CREATE TABLE u (v)",
                                           "PRAGMA user_version = 7",
                                           "ATTACH 'y.db' AS y; CREATE TABLE y.t (v)"};
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        assert_int_not_equal(
            run(SQLITE_VFS_SHARED, "x.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, attempts[i]),
            SQLITE_OK);
    }
    assert_int_equal(run(SQLITE_VFS_SHARED, "new.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                         "CREATE TABLE t (v)"),
                     SQLITE_CANTOPEN);
    assert_int_equal(stat("x.db", &after), 0);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    assert_int_equal(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
    static const char *const made[] = {"x.db-journal", "x.db-wal", "x.db-shm", "y.db", "new.db"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        assert_int_equal(access(made[i], F_OK), -1);
    }
}

static void only_regular_files_of_the_directory_are_opened(void **state)
{
    (void)state;
    char path[96];
    put("file", "text");
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    snprintf(path, sizeof path, "%s/file", directory);
    assert_int_equal(sqlite_vfs_open("link"), -1);
    assert_int_equal(errno, ELOOP);
    assert_int_equal(sqlite_vfs_open("pipe"), -1);
    assert_int_equal(sqlite_vfs_open("."), -1);
    assert_int_equal(sqlite_vfs_open("gone"), -1);
    assert_int_equal(sqlite_vfs_open("./file"), -1);
    assert_int_equal(sqlite_vfs_open(path), -1);
    int fd = sqlite_vfs_open("file");
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    assert_int_equal(run(SQLITE_VFS_SHARED, "link", SQLITE_OPEN_READONLY, "SELECT 1"),
                     SQLITE_CANTOPEN);
    assert_int_equal(run(SQLITE_VFS_SHARED, path, SQLITE_OPEN_READONLY, "SELECT 1"),
                     SQLITE_CANTOPEN);
}

static void an_index_of_a_wal_that_nobody_keeps_is_not_believed(void **state)
{
    (void)state;
    make_database("x.db", MAKE);
    int fd = open("x.db", O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\2\2", 2, 18), 2); /* to WAL mode */
    close(fd);
    put("x.db-wal", "");
    put("x.db-shm", "anything");
    assert_int_equal(
        run(SQLITE_VFS_SHARED, "file:x.db?readonly_shm=1", SQLITE_OPEN_READONLY, "SELECT * FROM t"),
        SQLITE_CANTOPEN);
}

static void reading_leaves_no_time_of_access(void **state)
{
    (void)state;
    char byte;
    make_database("x.db", MAKE);
    if (!access_times_are_kept("x.db"))
        skip();
    access_time_set("x.db");
    assert_int_equal(run(SQLITE_VFS_SHARED, "x.db", SQLITE_OPEN_READONLY, "SELECT * FROM t"),
                     SQLITE_OK);
    int fd = sqlite_vfs_open("x.db");
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    assert_true(access_time_is_as_set("x.db"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_handed_over_as_writable_is_written_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_not_is_not_and_what_is_not_named_is_not_there,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_shared_database_can_be_read_and_nothing_else, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_regular_files_of_the_directory_are_opened, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(reading_leaves_no_time_of_access, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_of_a_wal_that_nobody_keeps_is_not_believed, setup,
                                        teardown),
    };
    if (sqlite_vfs_register() != SQLITE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
