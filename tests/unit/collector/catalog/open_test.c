/* Opening: ours, somebody else's, a newer one's, a damaged one. */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "catalog_fixture.h"
#include "collector/catalog/writer.h"

struct place {
    char directory[64], path[96];
};

static struct place make_place(void)
{
    struct place place = {.directory = "/tmp/hf-catalog-XXXXXX"};
    assert_non_null(mkdtemp(place.directory));
    snprintf(place.path, sizeof place.path, "%s/catalog.db", place.directory);
    return place;
}

static void remove_place(struct place *place)
{
    remove_catalog(place->path);
    rmdir(place->directory);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t ask_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

static void a_new_catalog_is_private_and_has_the_newest_schema(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct stat about;
    assert_int_equal(stat(f.path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_true(ask_sql(f.path, "PRAGMA user_version") >= 1);
    assert_int_equal(ask_sql(f.path, "PRAGMA application_id"), 0x48464354);
    fixture_close(&f);
}

static void an_empty_file_of_schema_0_is_migrated(void **state)
{
    (void)state;
    struct place place = make_place();
    struct hf_catalog *catalog;
    struct hf_error error;
    int fd = open(place.path, O_CREAT | O_WRONLY, 0644);
    close(fd);
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_OK);
    catalog_close(catalog);
    struct stat about;
    stat(place.path, &about);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(ask_sql(place.path, "SELECT count(*) FROM versions"), 0);
    remove_place(&place);
}

/* Versions as schema 3 had them: each with its path. */
static const char to_schema_3[] =
    "ALTER TABLE versions RENAME TO newer;"
    "CREATE TABLE versions ("
    " source_row INTEGER NOT NULL, path BLOB NOT NULL, at_ns INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, received_ns INTEGER NOT NULL, captured_ns INTEGER NOT NULL,"
    " type INTEGER NOT NULL, flags INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL,"
    " gid INTEGER NOT NULL, owner TEXT NOT NULL, grp TEXT NOT NULL, mtime_ns INTEGER NOT NULL,"
    " size INTEGER NOT NULL, target BLOB NOT NULL, depth INTEGER NOT NULL, refs BLOB NOT NULL,"
    " job INTEGER NOT NULL, link INTEGER NOT NULL DEFAULT 0, xattrs BLOB NOT NULL DEFAULT x'',"
    " PRIMARY KEY (source_row, path, at_ns DESC, seq DESC)) STRICT, WITHOUT ROWID;"
    "INSERT INTO versions SELECT p.source_row, p.path, v.at_ns, v.seq, v.received_ns,"
    " v.captured_ns, v.type, v.flags, v.mode, v.uid, v.gid, v.owner, v.grp, v.mtime_ns, v.size,"
    " v.target, v.depth, v.refs, v.job, v.link, v.xattrs FROM newer v"
    " JOIN paths p ON p.row = v.path_row;"
    "DROP TABLE newer; DROP TABLE paths; DROP TABLE dictionaries; PRAGMA user_version=3";

/* Two sources with the same paths, whose files were changed, deleted and came back. */
static void fill_sources(struct fixture *f)
{
    static const char *const paths[] = {"b", "a/x", "a", "a-b", "c/d/e"};
    uint64_t host = add_host(f, "h-0123456789abcdef", "robot1");
    uint64_t sources[] = {add_source(f, host, "checkpoints"), add_source(f, host, "config")};
    add_chunk(f, host, 7, 1000);
    for (unsigned i = 0; i < 40; i++) {
        enum hf_file_type type = i % 7 == 6 ? HF_FILE_ABSENT : HF_FILE_REGULAR;
        ok(f, add_version(f, host, sources[i / 5 % 2], paths[i % 5], type, i % 2 ? 7 : 0));
    }
}

static void close_catalog(struct fixture *f)
{
    catalog_reader_close(f->reader);
    catalog_close(f->catalog);
    f->reader = NULL;
    f->catalog = NULL;
}

static void open_catalog(struct fixture *f)
{
    ok(f, catalog_open(f->path, &f->catalog, &f->error));
    ok(f, catalog_reader_open(f->path, &f->reader, &f->error));
}

static void a_catalog_of_an_older_schema_keeps_every_version(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    fill_sources(&f);
    char *before = dump_text(&f, f.reader);
    close_catalog(&f);
    run_sql(f.path, to_schema_3);
    open_catalog(&f);
    char *after = dump_text(&f, f.reader);
    assert_string_equal(after, before);
    assert_non_null(strstr(after, "versions source_row=2 path=x'632f642f65'"));
    free(before);
    free(after);
    /* It goes on as it was, and still is what the journal says. */
    ok(&f, add_version(&f, 1, 1, "new", HF_FILE_DIRECTORY, 0));
    ok(&f, add_version(&f, 1, 2, "a/x", HF_FILE_DIRECTORY, 0));
    assert_rebuild_equals(&f);
    fixture_close(&f);
}

static void content_survives_closing_and_opening(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, "h-0123456789abcdef", "robot1");
    struct hf_location applied;
    catalog_close(f.catalog);
    ok(&f, catalog_open(f.path, &f.catalog, &f.error));
    struct hf_host_row row;
    ok(&f, catalog_host_by_row(f.reader, host, &f.memory, &row, &f.error));
    assert_string_equal(row.host_id, "h-0123456789abcdef");
    ok(&f, catalog_applied(f.catalog, &applied, &f.error));
    assert_int_equal(applied.pack, 1);
    assert_int_equal(applied.offset, f.journal[0].location.offset);
    fixture_close(&f);
}

static void a_second_writer_is_refused(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct hf_catalog *second;
    assert_int_equal(catalog_open(f.path, &second, &f.error), HF_ERR_AGAIN);
    assert_null(second);
    assert_non_null(strstr(f.error.message, "another collector"));
    fixture_close(&f);
}

static void a_foreign_database_is_refused_untouched(void **state)
{
    (void)state;
    struct place place = make_place();
    struct hf_catalog *catalog;
    struct hf_catalog_reader *reader;
    struct hf_error error;
    run_sql(place.path, "CREATE TABLE mine (x)");
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "not a Holdfast catalog"));
    assert_int_equal(catalog_reader_open(place.path, &reader, &error), HF_ERR_UNSUPPORTED);
    assert_int_equal(ask_sql(place.path, "SELECT count(*) FROM sqlite_schema"), 1);
    remove_place(&place);
}

static void a_newer_catalog_is_refused(void **state)
{
    (void)state;
    struct place place = make_place();
    struct hf_catalog *catalog;
    struct hf_error error;
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_OK);
    catalog_close(catalog);
    run_sql(place.path, "PRAGMA user_version=9999");
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    remove_place(&place);
}

static void what_is_no_database_is_called_damaged_and_rebuildable(void **state)
{
    (void)state;
    struct place place = make_place();
    struct hf_catalog *catalog;
    struct hf_error error;
    FILE *file = fopen(place.path, "w");
    for (int i = 0; i < 1000; i++) {
        fputs("this is no database at all ", file);
    }
    fclose(file);
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "rebuilt"));
    assert_non_null(strstr(error.message, place.path));
    remove_place(&place);
}

static void damage_inside_is_found_at_opening(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, "h-0123456789abcdef", "robot1");
    uint64_t source = add_source(&f, host, "checkpoints");
    for (int i = 0; i < 200; i++) {
        char path[64];
        snprintf(path, sizeof path, "home/robot/file-%d", i);
        ok(&f, add_version(&f, host, source, path, HF_FILE_REGULAR, 0));
    }
    catalog_reader_close(f.reader);
    catalog_close(f.catalog);
    f.reader = NULL;
    f.catalog = NULL;
    int64_t page_size = ask_sql(f.path, "PRAGMA page_size");
    int64_t page = ask_sql(f.path, "SELECT rootpage FROM sqlite_schema WHERE name = 'versions'");
    int fd = open(f.path, O_RDWR);
    uint8_t noise[64];
    memset(noise, 0xa5, sizeof noise);
    assert_int_equal(pwrite(fd, noise, sizeof noise, (page - 1) * page_size), sizeof noise);
    close(fd);
    assert_int_equal(catalog_open(f.path, &f.catalog, &f.error), HF_ERR_CORRUPT);
    assert_non_null(strstr(f.error.message, "rebuilt"));
    fixture_close(&f);
}

static void a_link_in_place_of_the_catalog_is_not_followed(void **state)
{
    (void)state;
    struct place place = make_place();
    struct hf_catalog *catalog;
    struct hf_error error;
    char other[128];
    snprintf(other, sizeof other, "%s/other", place.directory);
    assert_int_equal(symlink(other, place.path), 0);
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_ERR_IO);
    assert_int_not_equal(access(other, F_OK), 0);
    remove_place(&place);
}

static void a_reader_of_a_missing_catalog_says_so(void **state)
{
    (void)state;
    struct hf_catalog_reader *reader;
    struct hf_error error;
    assert_int_equal(catalog_reader_open("/nonexistent/catalog.db", &reader, &error),
                     HF_ERR_NOT_FOUND);
    assert_null(reader);
}

static void a_rolled_back_transaction_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, "h-0123456789abcdef", "robot1");
    uint64_t source = add_source(&f, host, "checkpoints");
    char *before = dump_text(&f, f.reader);
    size_t journal_count = f.journal_count;
    uint8_t ref[HF_CHUNK_REF_BYTES];
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunk(&f, host, 7, 1000);
    struct hf_event event =
        version_event(&f, host, source, event_text("a"), HF_FILE_REGULAR, 7, ref);
    ok(&f, put(&f, &event));
    catalog_rollback(f.catalog);
    char *after = dump_text(&f, f.reader);
    assert_string_equal(after, before);
    struct hf_source_state_row counters;
    ok(&f, catalog_source_state(f.catalog, source, &counters, &f.error));
    assert_int_equal(counters.committed_seq, 0);
    struct hf_location applied;
    ok(&f, catalog_applied(f.catalog, &applied, &f.error));
    assert_int_equal(applied.offset, f.journal[journal_count - 1].location.offset);
    /* Not even in memory: whoever names the chunk without it is refused. */
    ok(&f, catalog_begin(f.catalog, &f.error));
    assert_int_equal(put(&f, &event), HF_ERR_DENIED);
    catalog_rollback(f.catalog);
    /* And the same may come again. */
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunk(&f, host, 7, 1000);
    ok(&f, put(&f, &event));
    ok(&f, catalog_commit(f.catalog, &f.error));
    free(before);
    free(after);
    fixture_close(&f);
}

static void a_full_disk_is_told_and_survived(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, "h-0123456789abcdef", "robot1");
    uint64_t source = add_source(&f, host, "checkpoints");
    char *before = dump_text(&f, f.reader);
    size_t journal_count = f.journal_count;
    sqlite3 *db = f.catalog->db.handle;
    assert_int_equal(sqlite3_exec(db, "PRAGMA max_page_count=60", NULL, NULL, NULL), SQLITE_OK);
    struct hf_location location = {.pack = 2, .offset = 1, .size = 60};
    int rc = HF_OK;
    ok(&f, catalog_begin(f.catalog, &f.error));
    for (int i = 0; i < 100000 && rc == HF_OK; i++) {
        char path[64];
        uint8_t ref[HF_CHUNK_REF_BYTES];
        snprintf(path, sizeof path, "home/robot/file-%d", i);
        struct hf_event event =
            version_event(&f, host, source, event_text(path), HF_FILE_REGULAR, 0, ref);
        event.time_ns = f.now;
        ok(&f, catalog_check(f.catalog, &event, &f.error));
        rc = catalog_apply(f.catalog, &event, &location, &f.error);
    }
    assert_int_equal(rc, HF_ERR_NO_SPACE);
    assert_non_null(strstr(f.error.message, "make room"));
    catalog_rollback(f.catalog);
    char *after = dump_text(&f, f.reader);
    assert_string_equal(after, before);
    assert_int_equal(f.journal_count, journal_count);
    assert_int_equal(sqlite3_exec(db, "PRAGMA max_page_count=100000", NULL, NULL, NULL), SQLITE_OK);
    ok(&f, add_version(&f, host, source, "a", HF_FILE_REGULAR, 0));
    assert_rebuild_equals(&f);
    free(before);
    free(after);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_catalog_is_private_and_has_the_newest_schema),
        cmocka_unit_test(an_empty_file_of_schema_0_is_migrated),
        cmocka_unit_test(a_catalog_of_an_older_schema_keeps_every_version),
        cmocka_unit_test(content_survives_closing_and_opening),
        cmocka_unit_test(a_second_writer_is_refused),
        cmocka_unit_test(a_foreign_database_is_refused_untouched),
        cmocka_unit_test(a_newer_catalog_is_refused),
        cmocka_unit_test(what_is_no_database_is_called_damaged_and_rebuildable),
        cmocka_unit_test(damage_inside_is_found_at_opening),
        cmocka_unit_test(a_link_in_place_of_the_catalog_is_not_followed),
        cmocka_unit_test(a_reader_of_a_missing_catalog_says_so),
        cmocka_unit_test(a_full_disk_is_told_and_survived),
        cmocka_unit_test(a_rolled_back_transaction_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
