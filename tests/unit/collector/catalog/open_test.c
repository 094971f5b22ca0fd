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

static void a_catalog_of_schema_1_keeps_its_versions(void **state)
{
    (void)state;
    struct place place = make_place();
    struct hf_catalog *catalog;
    struct hf_error error;
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_OK);
    catalog_close(catalog);
    run_sql(place.path, "ALTER TABLE progress DROP COLUMN entry;"
                        "ALTER TABLE versions DROP COLUMN link;"
                        "ALTER TABLE versions DROP COLUMN xattrs;"
                        "INSERT INTO versions VALUES (1, x'61', 1, 1, 1, 1, 1, 0, 420, 0, 0, '',"
                        " '', 0, 0, x'', 0, x'', 0);"
                        "PRAGMA user_version=1");
    assert_int_equal(catalog_open(place.path, &catalog, &error), HF_OK);
    catalog_close(catalog);
    assert_int_equal(
        ask_sql(place.path, "SELECT count(*) FROM versions WHERE link = 0 AND xattrs = x''"), 1);
    remove_place(&place);
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
        cmocka_unit_test(a_catalog_of_schema_1_keeps_its_versions),
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
