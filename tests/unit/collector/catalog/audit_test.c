/* The audit log's chain: whatever is changed behind our back shows. */
#include <sqlite3.h>

#include "catalog_fixture.h"

static struct hf_event entry(const char *action)
{
    struct hf_event event = {.type = HF_EVENT_AUDIT, .actor = event_text("token 1 (ops)")};
    event.audit.action = event_text(action);
    event.audit.object = event_text("h-0123456789abcdef");
    event.audit.detail = event_text("{\"reason\":\"test\"}");
    event.audit.outcome = HF_AUDIT_OK;
    return event;
}

static void add_entries(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        struct hf_event event = entry("host.revoke");
        ok(f, commit(f, &event));
    }
}

static void run_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 1000);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static uint64_t broken_at(struct fixture *f)
{
    uint64_t entries;
    uint64_t broken;
    struct hf_error message;
    ok(f, catalog_audit_verify(f->reader, &entries, &broken, &message, &f->error));
    return broken;
}

static void an_untouched_log_verifies(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t entries;
    uint64_t broken;
    ok(&f, catalog_audit_verify(f.reader, &entries, &broken, NULL, &f.error));
    assert_int_equal(entries, 0);
    add_entries(&f, 30);
    ok(&f, catalog_audit_verify(f.reader, &entries, &broken, NULL, &f.error));
    assert_int_equal(entries, 30);
    assert_int_equal(broken, 0);
    assert_rebuild_equals(&f);
    fixture_close(&f);
}

static void any_changed_column_breaks_the_chain_there(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "UPDATE audit SET time_ns = time_ns + 1 WHERE seq = 7",
        "UPDATE audit SET actor = 'token 1 (opt)' WHERE seq = 7",
        "UPDATE audit SET action = 'host.revoked' WHERE seq = 7",
        "UPDATE audit SET object = 'h-0123456789abcdee' WHERE seq = 7",
        "UPDATE audit SET detail = detail || ' ' WHERE seq = 7",
        "UPDATE audit SET outcome = 2 WHERE seq = 7",
        "UPDATE audit SET outcome = 99 WHERE seq = 7",
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 7",
        "UPDATE audit SET hash = x'00' WHERE seq = 7",
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct fixture f = fixture_open();
        add_entries(&f, 10);
        run_sql(&f, changes[i]);
        assert_int_equal(broken_at(&f), 7);
        fixture_close(&f);
    }
}

static void a_removed_or_exchanged_entry_is_noticed(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    add_entries(&f, 10);
    run_sql(&f, "DELETE FROM audit WHERE seq = 4");
    assert_int_equal(broken_at(&f), 5);
    run_sql(&f, "UPDATE audit SET seq = seq - 1 WHERE seq = 5");
    assert_int_equal(broken_at(&f), 4);
    fixture_close(&f);
}

static void fields_cannot_flow_into_each_other(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct hf_event event = entry("ab");
    event.audit.object = event_text("c");
    ok(&f, commit(&f, &event));
    run_sql(&f, "UPDATE audit SET action = 'a', object = 'bc'");
    assert_int_equal(broken_at(&f), 1);
    fixture_close(&f);
}

static void the_journal_cannot_smuggle_in_an_entry(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct hf_location location = {.pack = 1, .offset = 1};
    add_entries(&f, 3);
    struct hf_event event = entry("forged");
    event.time_ns = f.now;
    event.audit.audit_seq = 4;
    ok(&f, catalog_begin(f.catalog, &f.error));
    assert_int_equal(catalog_apply(f.catalog, &event, &location, &f.error), HF_ERR_CORRUPT);
    ok(&f, catalog_check(f.catalog, &event, &f.error));
    event.audit.audit_seq = 5;
    assert_int_equal(catalog_apply(f.catalog, &event, &location, &f.error), HF_ERR_CORRUPT);
    catalog_rollback(f.catalog);
    fixture_close(&f);
}

static void entries_are_listed_newest_first_in_pages(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    const struct hf_audit_row *rows;
    size_t count;
    add_entries(&f, 25);
    ok(&f, catalog_audit_list(f.reader, 0, 10, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 10);
    assert_int_equal(rows[0].seq, 25);
    assert_string_equal(rows[0].action, "host.revoke");
    assert_string_equal(rows[0].actor, "token 1 (ops)");
    ok(&f, catalog_audit_list(f.reader, rows[9].seq, 100, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 15);
    assert_int_equal(rows[14].seq, 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_log_verifies),
        cmocka_unit_test(any_changed_column_breaks_the_chain_there),
        cmocka_unit_test(a_removed_or_exchanged_entry_is_noticed),
        cmocka_unit_test(fields_cannot_flow_into_each_other),
        cmocka_unit_test(the_journal_cannot_smuggle_in_an_entry),
        cmocka_unit_test(entries_are_listed_newest_first_in_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
