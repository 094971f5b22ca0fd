/* What a commit writes into the log is gathered; it is in the kernel's hands before readers learn
 * of it, and on the disk before a page is copied out of the log. The system's file interface
 * beneath counts what comes, and fails when it is told to. */
#include <pthread.h>
#include <stdatomic.h>

#include <sqlite3.h>

#include "catalog_fixture.h"
#include "collector/catalog/writer.h"

static struct {
    atomic_uint log_writes, log_syncs, pages_unsynced; /* written before any sync of the log */
    atomic_bool full;
} seen;

static sqlite3_vfs *below;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_io_methods log_methods, page_methods;
static const sqlite3_io_methods *log_below, *page_below; /* a log has no locks */

static int count_log_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    if (atomic_load(&seen.full)) {
        return SQLITE_FULL;
    }
    atomic_fetch_add(&seen.log_writes, 1);
    return log_below->xWrite(file, data, size, offset);
}

static int count_log_sync(sqlite3_file *file, int flags)
{
    atomic_fetch_add(&seen.log_syncs, 1);
    return log_below->xSync(file, flags);
}

static int count_page_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    if (atomic_load(&seen.log_syncs) == 0) {
        atomic_fetch_add(&seen.pages_unsynced, 1);
    }
    return page_below->xWrite(file, data, size, offset);
}

static int open_and_count(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                          int *out_flags)
{
    (void)vfs;
    int rc = below->xOpen(below, name, file, flags, out_flags);
    if (rc != SQLITE_OK || (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)) == 0) {
        return rc;
    }
    pthread_mutex_lock(&opening); /* connections are opened by several threads */
    if ((flags & SQLITE_OPEN_WAL) && !log_below) {
        log_below = file->pMethods;
        log_methods = *log_below;
        log_methods.xWrite = count_log_write;
        log_methods.xSync = count_log_sync;
    } else if (!(flags & SQLITE_OPEN_WAL) && !page_below) {
        page_below = file->pMethods;
        page_methods = *page_below;
        page_methods.xWrite = count_page_write;
    }
    file->pMethods = flags & SQLITE_OPEN_WAL ? &log_methods : &page_methods;
    pthread_mutex_unlock(&opening);
    return SQLITE_OK;
}

static void forget(void)
{
    atomic_store(&seen.log_writes, 0);
    atomic_store(&seen.log_syncs, 0);
    atomic_store(&seen.pages_unsynced, 0);
}

static void put_chunks(struct fixture *f, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        put_chunk(f, 1, i, 100);
    }
}

static int64_t count_chunks(struct fixture *f)
{
    struct db other;
    int64_t count = -1;
    ok(f, db_open(&other, f->path, DB_READ, &f->error));
    ok(f, db_exec_int(&other, "SELECT count(*) FROM chunks", &count, &f->error));
    db_close(&other);
    return count;
}

static void a_commit_is_few_writes_and_waits_for_no_disk(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunks(&f, 0, 4000);
    ok(&f, catalog_commit(f.catalog, &f.error));
    forget();
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunks(&f, 4000, 200); /* about a page each */
    assert_int_equal(count_chunks(&f), 4000);
    ok(&f, catalog_commit(f.catalog, &f.error));
    assert_int_equal(count_chunks(&f), 4200);
    assert_in_range(atomic_load(&seen.log_writes), 1, 10);
    assert_int_equal(atomic_load(&seen.log_syncs), 0);
    fixture_close(&f);
}

static void the_log_is_on_the_disk_before_its_pages_are_copied(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunks(&f, 0, 1000);
    ok(&f, catalog_commit(f.catalog, &f.error));
    for (int round = 0; round < 2; round++) {
        struct db other = {0};
        int in_log = 0;
        int copied = 0;
        add_chunk(&f, 1, 1000 + (unsigned)round, 100);
        /* By the writer's connection, and by one like that of checkpoint.c. */
        ok(&f, db_open(&other, f.path, DB_WRITE, &f.error));
        struct db *db = round == 0 ? &f.catalog->db : &other;
        forget();
        assert_int_equal(sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_PASSIVE,
                                                   &in_log, &copied),
                         SQLITE_OK);
        assert_in_range(copied, 1, in_log);
        assert_in_range(atomic_load(&seen.log_syncs), 1, 2);
        assert_int_equal(atomic_load(&seen.pages_unsynced), 0);
        db_close(&other);
    }
    fixture_close(&f);
}

static void a_log_that_takes_nothing_fails_the_commit_and_nothing_else(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunks(&f, 0, 100);
    ok(&f, catalog_commit(f.catalog, &f.error));
    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&seen.full, true);
        ok(&f, catalog_begin(f.catalog, &f.error));
        put_chunks(&f, 1000, 500 * i + 1); /* less than is gathered, and more */
        assert_int_equal(catalog_commit(f.catalog, &f.error), HF_ERR_NO_SPACE);
        catalog_rollback(f.catalog);
        atomic_store(&seen.full, false);
        assert_int_equal(count_chunks(&f), 100 + 50 * i);
        ok(&f, catalog_begin(f.catalog, &f.error));
        put_chunks(&f, 100 + 50 * i, 50);
        ok(&f, catalog_commit(f.catalog, &f.error));
        assert_int_equal(count_chunks(&f), 150 + 50 * i);
    }
    catalog_close(f.catalog);
    ok(&f, catalog_open(f.path, &f.catalog, &f.error)); /* which looks for damage */
    assert_int_equal(count_chunks(&f), 250);
    fixture_close(&f);
}

static void what_went_to_the_log_before_the_commit_is_read_again_and_rolled_back(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    int64_t found = 0;
    ok(&f, db_exec(&f.catalog->db, "PRAGMA cache_size=10", &f.error));
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunks(&f, 0, 3000); /* far more pages than the cache holds */
    ok(&f, db_exec_int(&f.catalog->db, "SELECT count(*) FROM chunks", &found, &f.error));
    assert_int_equal(found, 3000);
    catalog_rollback(f.catalog);
    assert_int_equal(count_chunks(&f), 0);
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunks(&f, 5000, 3000);
    ok(&f, catalog_commit(f.catalog, &f.error));
    assert_int_equal(count_chunks(&f), 3000);
    catalog_close(f.catalog);
    ok(&f, catalog_open(f.path, &f.catalog, &f.error));
    fixture_close(&f);
}

int main(void)
{
    static sqlite3_vfs counting;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_few_writes_and_waits_for_no_disk),
        cmocka_unit_test(the_log_is_on_the_disk_before_its_pages_are_copied),
        cmocka_unit_test(a_log_that_takes_nothing_fails_the_commit_and_nothing_else),
        cmocka_unit_test(what_went_to_the_log_before_the_commit_is_read_again_and_rolled_back),
    };
    below = sqlite3_vfs_find(NULL);
    counting = *below;
    counting.zName = "counting";
    counting.xOpen = open_and_count;
    if (sqlite3_vfs_register(&counting, 1) != SQLITE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
