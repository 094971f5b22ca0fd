/* No question that is asked often reads a table from end to end: after every query ran against a
 * catalog of 100,000 versions, SQLite is asked how it answers each of them. */
#include <sqlite3.h>

#include "catalog_fixture.h"
#include "collector/catalog/reader.h"
#include "collector/catalog/writer.h"

#define HOSTS             4
#define VERSIONS_PER_HOST 25000
#define BATCH             500

struct world {
    struct fixture f;
    uint64_t hosts[HOSTS], sources[HOSTS];
};

static void fill(struct world *w)
{
    struct hf_location location = {.pack = 1, .offset = 1, .size = 100};
    for (unsigned h = 0; h < HOSTS; h++) {
        char id[32];
        snprintf(id, sizeof id, "h-%016x", h);
        w->hosts[h] = add_host(&w->f, id, id);
        w->sources[h] = add_source(&w->f, w->hosts[h], "checkpoints");
        for (unsigned i = 0; i < VERSIONS_PER_HOST; i++) {
            char path[64];
            uint8_t ref[HF_CHUNK_REF_BYTES];
            if (i % BATCH == 0) {
                ok(&w->f, catalog_begin(w->f.catalog, &w->f.error));
            }
            snprintf(path, sizeof path, "home/robot/%02u/%02u/file-%u", i % 50, i / 50 % 50,
                     i % 20000);
            chunk_id(h * VERSIONS_PER_HOST + i + 1, ref);
            hf_put_le32(ref + HF_HASH_BYTES, 1000);
            struct hf_block block = {.chunks = {ref, sizeof ref}};
            ok(&w->f, catalog_apply_block(w->f.catalog, &block, &location, 0, w->hosts[h], NULL,
                                          &w->f.error));
            struct hf_event event =
                version_event(&w->f, w->hosts[h], w->sources[h], event_text(path), HF_FILE_REGULAR,
                              h * VERSIONS_PER_HOST + i + 1, ref);
            event.time_ns = w->f.now++;
            ok(&w->f, catalog_check(w->f.catalog, &event, &w->f.error));
            ok(&w->f, catalog_apply(w->f.catalog, &event, &location, &w->f.error));
            if (i % BATCH == BATCH - 1) {
                ok(&w->f, catalog_commit(w->f.catalog, &w->f.error));
            }
        }
    }
}

static void ask_everything(struct world *w)
{
    struct fixture *f = &w->f;
    struct hf_bytes path = event_text("home/robot/07");
    struct hf_timeline_query query = {.source_row = w->sources[1],
                                      .at_ns = HF_CATALOG_NOW,
                                      .paths = &path,
                                      .path_count = 1,
                                      .limit = 10};
    struct hf_version_page page;
    struct hf_diff_page diff;
    struct hf_version_row version;
    const struct hf_version_row *versions;
    size_t count;
    ok(f, catalog_list(f->reader, &query, &f->memory, &page, &f->error));
    assert_int_equal(page.count, 10);
    ok(f, catalog_tree(f->reader, &query, &f->memory, &page, &f->error));
    assert_int_equal(page.count, 10);
    path = page.rows[9].version.path;
    query.at_ns = T0;
    ok(f, catalog_diff(f->reader, &query, HF_CATALOG_NOW, &f->memory, &diff, &f->error));
    ok(f, catalog_version_at(f->reader, w->sources[1], path, HF_CATALOG_NOW, &f->memory, &version,
                             &f->error));
    ok(f, catalog_version_by_seq(f->reader, w->sources[1], path, version.version.seq, &f->memory,
                                 &version, &f->error));
    ok(f, catalog_version_list(f->reader, w->sources[1], path, 0, 10, &f->memory, &versions, &count,
                               &f->error));
    uint8_t id[HF_HASH_BYTES] = {0};
    uint8_t bitmap;
    struct hf_chunk_place place;
    ok(f, catalog_chunks_missing(f->reader, 1, id, 1, &bitmap, &f->error));
    chunk_id(1, id);
    ok(f, catalog_chunks_missing(f->reader, w->hosts[1], id, 1, &bitmap, &f->error));
    assert_int_equal(bitmap, 1);
    ok(f, catalog_chunk_locate(f->reader, id, &place, &f->error));
    const struct hf_job_row *jobs;
    const struct hf_job_result_row *results;
    const struct hf_audit_row *audit;
    struct hf_host_row host;
    struct hf_source_row source;
    struct hf_certificate_row certificate;
    struct hf_token_row token;
    const struct hf_snapshot_row *snapshots;
    ok(f, catalog_job_active(f->reader, 1, &f->memory, &jobs, &count, &f->error));
    for (uint64_t row = 0; row < 2; row++) { /* of all and of one */
        ok(f, catalog_job_list(f->reader, HF_JOBS_ALL, row, 0, 10, &f->memory, &jobs, &count,
                               &f->error));
        ok(f, catalog_job_list(f->reader, HF_JOBS_ACTIVE, row, 0, 10, &f->memory, &jobs, &count,
                               &f->error));
        ok(f, catalog_snapshot_list(f->reader, row, 0, 0, 10, &f->memory, &snapshots, &count,
                                    &f->error));
        ok(f, catalog_snapshot_list(f->reader, row, w->sources[1], 0, 10, &f->memory, &snapshots,
                                    &count, &f->error));
    }
    ok(f, catalog_job_results(f->reader, 1, 0, event_text(""), 10, &f->memory, &results, &count,
                              &f->error));
    ok(f, catalog_audit_list(f->reader, 0, 10, &f->memory, &audit, &count, &f->error));
    ok(f, catalog_host_by_id(f->reader, "h-0000000000000001", &f->memory, &host, &f->error));
    ok(f, catalog_host_resolve(f->reader, "h-0000000000000001", &f->memory, &host, &f->error));
    ok(f, catalog_source_by_name(f->reader, w->hosts[1], "checkpoints", &f->memory, &source,
                                 &f->error));
    catalog_certificate_by_serial(f->reader, "00", &f->memory, &certificate, &f->error);
    catalog_certificate_by_token(f->reader, "00", id, &f->memory, &certificate, &f->error);
    catalog_certificate_newest(f->reader, 1, &f->memory, &certificate, &f->error);
    catalog_token_by_id(f->reader, "00", &f->memory, &token, &f->error);
    struct hf_buf bytes = {0};
    catalog_dictionary_newest(f->reader, "checkpoints", id, &f->error);
    catalog_dictionary_get(f->reader, id, &bytes, &f->error);
    catalog_dictionary_find(f->catalog, id, &bytes, &f->error);
    catalog_source_dictionary(f->catalog, w->sources[1], id, &f->error);
    hf_buf_free(&bytes);
}

/* Each kept statement's plan; every line must be a search, and none may sort. */
static int count_bad_plans(sqlite3 *db, int *statements)
{
    int bad = 0;
    for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s)) {
        const char *sql = sqlite3_sql(s);
        if (!sql || (strncmp(sql, "SELECT", 6) != 0 && strncmp(sql, "UPDATE", 6) != 0)) {
            continue;
        }
        char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
        sqlite3_stmt *plan;
        assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &plan, NULL), SQLITE_OK);
        ++*statements;
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *line = (const char *)sqlite3_column_text(plan, 3);
            bool may_scan = strstr(line, "CONSTANT ROW") || strstr(line, "INDEX jobs_active");
            /* Few rows, or numbers alone. */
            bool may_sort = strstr(sql, "FROM hosts WHERE") ||
                            strstr(sql, "FROM audit WHERE seq < ?1") ||
                            strstr(sql, "INDEXED BY jobs_active") ||
                            strstr(sql, "SELECT id FROM snapshots WHERE");
            if ((strstr(line, "SCAN") && !may_scan) || (strstr(line, "TEMP B-TREE") && !may_sort)) {
                print_message("%s\n    %s\n", sql, line);
                bad++;
            }
        }
        sqlite3_finalize(plan);
        sqlite3_free(explain);
    }
    return bad;
}

static void no_frequent_question_reads_a_whole_table(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    w->f = fixture_open();
    fill(w);
    ask_everything(w);
    int statements = 0;
    assert_int_equal(count_bad_plans(w->f.reader->db.handle, &statements), 0);
    assert_true(statements >= 15);
    statements = 0;
    int bad = count_bad_plans(w->f.catalog->db.handle, &statements);
    assert_int_equal(bad, 0);
    assert_true(statements >= 5);
    fixture_close(&w->f);
    free(w);
}

static int steps_of(struct hf_catalog_reader *reader)
{
    int steps = 0;
    for (sqlite3_stmt *s = sqlite3_next_stmt(reader->db.handle, NULL); s;
         s = sqlite3_next_stmt(reader->db.handle, s)) {
        steps += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    return steps;
}

/* Paging through a directory of many, and a file of very many versions, stays cheap: each page
 * steps over about as many rows as it gives. */
static void a_page_costs_what_it_gives(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, "h-0123456789abcdef", "a");
    uint64_t source = add_source(&f, host, "checkpoints");
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_location location = {.pack = 1, .offset = 1, .size = 100};
    ok(&f, catalog_begin(f.catalog, &f.error));
    for (unsigned i = 0; i < 20000; i++) { /* one checkpoint, over and over, between two others */
        const char *path = i == 0 ? "c/a" : i == 1 ? "c/z" : "c/m";
        struct hf_event event =
            version_event(&f, host, source, event_text(path), HF_FILE_REGULAR, 0, ref);
        event.version.version.mtime_ns = i;
        event.time_ns = f.now++;
        ok(&f, catalog_check(f.catalog, &event, &f.error));
        ok(&f, catalog_apply(f.catalog, &event, &location, &f.error));
    }
    ok(&f, catalog_commit(f.catalog, &f.error));
    int64_t moments[] = {HF_CATALOG_NOW, T0 + 10 * SECOND};
    for (int m = 0; m < 2; m++) {
        struct hf_timeline_query query = {.source_row = source, .at_ns = moments[m]};
        struct hf_version_page page;
        ok(&f, catalog_tree(f.reader, &query, &f.memory, &page, &f.error));
        assert_int_equal(page.count, 3);
        assert_in_range(steps_of(f.reader), 1, 3000);
    }
    fixture_close(&f);
}

/* Whether times differ or, of a host whose clock stands still, are all the same. */
static void any_version_of_very_many_is_found_by_its_number(void **state)
{
    (void)state;
    enum { COUNT = 20000, LIMIT = 10 };
    for (int still = 0; still < 2; still++) {
        struct fixture f = fixture_open();
        uint64_t host = add_host(&f, "h-0123456789abcdef", "a");
        uint64_t source = add_source(&f, host, "checkpoints");
        struct hf_bytes path = event_text("c/m");
        uint8_t ref[HF_CHUNK_REF_BYTES];
        struct hf_location location = {.pack = 1, .offset = 1, .size = 100};
        ok(&f, catalog_begin(f.catalog, &f.error));
        for (unsigned i = 0; i < COUNT; i++) { /* every second number is another file's */
            struct hf_event event = version_event(
                &f, host, source, i % 2 ? path : event_text("other"), HF_FILE_REGULAR, 0, ref);
            event.version.version.mtime_ns = i;
            event.version.at_ns = still ? T0 : T0 + i / 3 * SECOND;
            event.version.received_ns = event.time_ns = T0 + COUNT * SECOND;
            ok(&f, catalog_check(f.catalog, &event, &f.error));
            ok(&f, catalog_apply(f.catalog, &event, &location, &f.error));
        }
        ok(&f, catalog_commit(f.catalog, &f.error));
        const uint64_t numbers[] = {2, 4, 5000, 9998, 19998, 20000};
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            struct hf_version_row row;
            const struct hf_version_row *rows;
            size_t count;
            uint64_t seq = numbers[i];
            steps_of(f.reader);
            ok(&f, catalog_version_by_seq(f.reader, source, path, seq, &f.memory, &row, &f.error));
            assert_int_equal(row.version.seq, seq);
            assert_int_equal(row.version.mtime_ns, seq - 1);
            assert_int_equal(
                catalog_version_by_seq(f.reader, source, path, seq - 1, &f.memory, &row, &f.error),
                HF_ERR_NOT_FOUND);
            ok(&f, catalog_version_list(f.reader, source, path, seq, LIMIT, &f.memory, &rows,
                                        &count, &f.error));
            assert_int_equal(count, seq / 2 - 1 < LIMIT ? seq / 2 - 1 : LIMIT);
            for (size_t k = 0; k < count; k++) {
                assert_int_equal(rows[k].version.seq, seq - 2 * (k + 1));
            }
            assert_in_range(steps_of(f.reader), 1, 10000);
        }
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_frequent_question_reads_a_whole_table),
        cmocka_unit_test(a_page_costs_what_it_gives),
        cmocka_unit_test(any_version_of_very_many_is_found_by_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
