/* The write-ahead log is copied into the database beside the commits, and begins anew. */
#include <sys/stat.h>

#include "catalog_fixture.h"
#include "collector/catalog/checkpoint.h"

static const struct checkpoint_limits small = {
    .log_frames = 100, .rest_frames = 20, .log_frames_max = 1000};

struct place {
    char directory[64], path[96];
    struct db db;
    struct checkpoint *checkpoint;
    struct hf_error error;
    int rows;
};

static void open_place(struct place *p)
{
    *p = (struct place){.directory = "/tmp/hf-catalog-XXXXXX"};
    assert_non_null(mkdtemp(p->directory));
    snprintf(p->path, sizeof p->path, "%s/catalog.db", p->directory);
    ok(p, db_open(&p->db, p->path, DB_WRITE, &p->error));
    /* The file is cut when the log begins anew, so that its size tells. */
    ok(p, db_exec(&p->db,
                  "PRAGMA page_size=512; PRAGMA journal_mode=WAL;"
                  "PRAGMA journal_size_limit=0;"
                  "CREATE TABLE t (id BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID;"
                  "PRAGMA application_id=1212564308",
                  &p->error));
    ok(p, checkpoint_start(&p->db, &small, &p->checkpoint, &p->error));
}

static void close_place(struct place *p)
{
    checkpoint_stop(p->checkpoint);
    db_close(&p->db);
    remove_catalog(p->path);
    rmdir(p->directory);
}

static void commit_row(struct place *p)
{
    static const char sql[] = "INSERT INTO t VALUES (?1, ?2)";
    uint8_t id[HF_HASH_BYTES];
    sqlite3_stmt *statement;
    chunk_id((unsigned)++p->rows, id);
    ok(p, db_prepare(&p->db, sql, &statement, &p->error));
    db_bind_blob(statement, 1, (struct hf_bytes){id, sizeof id});
    db_bind_int(statement, 2, p->rows);
    ok(p, db_run(&p->db, statement, &p->error));
    checkpoint_after_commit(p->checkpoint);
}

static int64_t log_bytes(const struct place *p)
{
    char name[128];
    struct stat about;
    snprintf(name, sizeof name, "%s-wal", p->path);
    assert_int_equal(stat(name, &about), 0);
    return about.st_size;
}

static int64_t frames(int64_t count)
{
    return 32 + count * (512 + 24);
}

static void assert_nothing_is_lost(struct place *p)
{
    struct db other;
    int64_t count = 0;
    int64_t sum = 0;
    ok(p, db_open(&other, p->path, DB_READ, &p->error));
    ok(p, db_exec_int(&other, "SELECT count(*) FROM t", &count, &p->error));
    ok(p, db_exec_int(&other, "SELECT sum(n) FROM t", &sum, &p->error));
    db_close(&other);
    assert_int_equal(count, p->rows);
    assert_int_equal(sum, (int64_t)p->rows * (p->rows + 1) / 2);
}

static void the_log_begins_anew_while_commits_go_on(void **state)
{
    (void)state;
    struct place p;
    int begun_anew = 0;
    int64_t before = 0;
    open_place(&p);
    for (int i = 0; i < 3000; i++) {
        commit_row(&p);
        int64_t now = log_bytes(&p);
        begun_anew += now < before;
        before = now;
        assert_true(now <= frames(small.log_frames_max + 100));
    }
    assert_true(begun_anew >= 5);
    assert_nothing_is_lost(&p);
    close_place(&p);
}

static void a_long_read_delays_that_and_hinders_no_commit(void **state)
{
    (void)state;
    struct place p;
    struct db reader;
    int64_t seen = 0;
    open_place(&p);
    commit_row(&p);
    ok(&p, db_open(&reader, p.path, DB_READ, &p.error));
    ok(&p, db_exec(&reader, "BEGIN", &p.error));
    ok(&p, db_exec_int(&reader, "SELECT count(*) FROM t", &seen, &p.error));
    for (int i = 0; i < 1000; i++) {
        commit_row(&p);
    }
    assert_true(log_bytes(&p) > frames(small.log_frames_max));
    ok(&p, db_exec_int(&reader, "SELECT count(*) FROM t", &seen, &p.error));
    assert_int_equal(seen, 1);
    db_close(&reader);
    for (int i = 0; i < 1000 && log_bytes(&p) > frames(small.log_frames); i++) {
        commit_row(&p);
    }
    assert_true(log_bytes(&p) <= frames(small.log_frames));
    assert_nothing_is_lost(&p);
    close_place(&p);
}

static void ending_in_the_middle_loses_nothing(void **state)
{
    (void)state;
    for (int commits = 60; commits < 160; commits += 20) {
        struct place p;
        open_place(&p);
        for (int i = 0; i < commits; i++) {
            commit_row(&p);
        }
        checkpoint_stop(p.checkpoint);
        p.checkpoint = NULL;
        assert_nothing_is_lost(&p);
        close_place(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_begins_anew_while_commits_go_on),
        cmocka_unit_test(a_long_read_delays_that_and_hinders_no_commit),
        cmocka_unit_test(ending_in_the_middle_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
