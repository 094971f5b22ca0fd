/* Hosts, tokens, certificates, sources, snapshots, jobs: what may happen, what does then, and that
 * the journal alone tells it again. */
#include "catalog_fixture.h"

#define HOST_A "h-0123456789abcdef"
#define HOST_B "h-00000000000000bb"

static void close_rebuilt(struct fixture *f)
{
    /* What is applied already may come again, all of it or the end. */
    char *before = dump_text(f, f->reader);
    replay(f, f->catalog, 0);
    char *after = dump_text(f, f->reader);
    assert_string_equal(after, before);
    free(after);
    for (size_t first = 0; first < f->journal_count; first++) {
        replay(f, f->catalog, first);
    }
    after = dump_text(f, f->reader);
    assert_string_equal(after, before);
    free(after);
    free(before);
    assert_rebuild_equals(f);
    fixture_close(f);
}

static struct hf_host_row host_row(struct fixture *f, const char *host_id)
{
    struct hf_host_row row;
    ok(f, catalog_host_by_id(f->reader, host_id, &f->memory, &row, &f->error));
    return row;
}

static int see_host(struct fixture *f, const char *host_id, const char *hostname)
{
    struct hf_event event = {.type = HF_EVENT_HOST_SEEN};
    event.host_seen.host_id = event_text(host_id);
    event.host_seen.hostname = event_text(hostname);
    event.host_seen.machine_id = event_text("m1");
    event.host_seen.os = event_text("Debian 12");
    event.host_seen.agent_version = event_text("0.1");
    event.host_seen.address = event_text("10.0.0.1");
    return commit(f, &event);
}

static int label_host(struct fixture *f, const char *host_id, const char *key, const char *value)
{
    struct hf_label label = {event_text(key), event_text(value)};
    struct hf_bytes removed = event_text(key);
    struct hf_event event = {.type = HF_EVENT_HOST_LABELLED};
    event.host_labelled.host_id = event_text(host_id);
    if (value) {
        event.host_labelled.set = &label;
        event.host_labelled.set_count = 1;
    } else {
        event.host_labelled.removed = &removed;
        event.host_labelled.removed_count = 1;
    }
    return commit(f, &event);
}

static int revoke_host(struct fixture *f, const char *host_id)
{
    struct hf_event event = {.type = HF_EVENT_HOST_REVOKED};
    event.host_revoked.host_id = event_text(host_id);
    event.host_revoked.reason = event_text("stolen");
    return commit(f, &event);
}

static void a_host_goes_by_its_label_else_by_its_own_name(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    add_host(&f, HOST_A, "");
    assert_string_equal(host_row(&f, HOST_A).name, "");
    ok(&f, see_host(&f, HOST_A, "box"));
    assert_string_equal(host_row(&f, HOST_A).name, "box");
    ok(&f, label_host(&f, HOST_A, "name", "press-1"));
    assert_string_equal(host_row(&f, HOST_A).name, "press-1");
    ok(&f, see_host(&f, HOST_A, "box2"));
    assert_string_equal(host_row(&f, HOST_A).name, "press-1");
    assert_string_equal(host_row(&f, HOST_A).hostname, "box2");
    ok(&f, label_host(&f, HOST_A, "name", NULL));
    assert_string_equal(host_row(&f, HOST_A).name, "box2");
    assert_int_equal(host_row(&f, HOST_A).label_count, 0);
    close_rebuilt(&f);
}

static void what_a_host_says_again_is_not_recorded(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    add_host(&f, HOST_A, "box");
    ok(&f, see_host(&f, HOST_A, "box"));
    assert_int_equal(see_host(&f, HOST_A, "box"), HF_ERR_EXISTS);
    assert_int_equal(see_host(&f, HOST_B, "box"), HF_ERR_NOT_FOUND);
    assert_true(host_row(&f, HOST_A).last_seen_ns > T0);
    close_rebuilt(&f);
}

static void a_host_is_found_by_id_name_or_hostname_if_it_is_the_only_one(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct hf_host_row row;
    add_host(&f, HOST_A, "box");
    ok(&f, catalog_host_resolve(f.reader, "box", &f.memory, &row, &f.error));
    assert_string_equal(row.host_id, HOST_A);
    add_host(&f, HOST_B, "box");
    assert_int_equal(catalog_host_resolve(f.reader, "box", &f.memory, &row, &f.error),
                     HF_ERR_CONFLICT);
    assert_non_null(strstr(f.error.message, HOST_A));
    assert_non_null(strstr(f.error.message, HOST_B));
    ok(&f, label_host(&f, HOST_A, "name", "press-1"));
    ok(&f, catalog_host_resolve(f.reader, "press-1", &f.memory, &row, &f.error));
    assert_string_equal(row.host_id, HOST_A);
    ok(&f, catalog_host_resolve(f.reader, "box", &f.memory, &row, &f.error));
    assert_string_equal(row.host_id, HOST_B);
    ok(&f, label_host(&f, HOST_A, "name", "box"));
    ok(&f, revoke_host(&f, HOST_A)); /* gives way to the one that replaced it */
    ok(&f, catalog_host_resolve(f.reader, "box", &f.memory, &row, &f.error));
    assert_string_equal(row.host_id, HOST_B);
    assert_int_equal(catalog_host_resolve(f.reader, "nobody", &f.memory, &row, &f.error),
                     HF_ERR_NOT_FOUND);
    close_rebuilt(&f);
}

static void a_host_has_a_bounded_number_of_labels(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    add_host(&f, HOST_A, "box");
    for (unsigned i = 0; i < HF_EVENT_LABELS_MAX; i++) {
        char key[32];
        snprintf(key, sizeof key, "k%02u", i);
        ok(&f, label_host(&f, HOST_A, key, "v"));
    }
    assert_int_equal(label_host(&f, HOST_A, "one-more", "v"), HF_ERR_LIMIT);
    ok(&f, label_host(&f, HOST_A, "k00", "w"));
    assert_int_equal(label_host(&f, HOST_A, "", "v"), HF_ERR_INVALID);
    struct hf_host_row row = host_row(&f, HOST_A);
    assert_int_equal(row.label_count, HF_EVENT_LABELS_MAX);
    assert_string_equal(row.labels[0].key, "k00");
    assert_string_equal(row.labels[0].value, "w");
    fixture_close(&f);
}

static void ids_of_hosts_have_one_shape(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    static const char *const wrong[] = {"", "h-", "x-0123456789abcdef", "h-0123456789ABCDEF",
                                        "h-0123456789abcdef0"};
    for (size_t i = 0; i < 5; i++) {
        struct hf_event event = {.type = HF_EVENT_HOST_CREATED};
        event.host_created.host_id = event_text(wrong[i]);
        assert_int_equal(commit(&f, &event), HF_ERR_INVALID);
    }
    add_host(&f, HOST_A, "box");
    struct hf_event event = {.type = HF_EVENT_HOST_CREATED};
    event.host_created.host_id = event_text(HOST_A);
    assert_int_equal(commit(&f, &event), HF_ERR_EXISTS);
    close_rebuilt(&f);
}

static int add_token(struct fixture *f, const char *token_id, uint32_t uses, int64_t expires_ns)
{
    static const struct hf_label label = {{(const uint8_t *)"line", 4}, {(const uint8_t *)"3", 1}};
    struct hf_event event = {.type = HF_EVENT_TOKEN_CREATED, .actor = event_text("token 1")};
    event.token_created.token_id = event_text(token_id);
    event.token_created.kind = uses ? HF_TOKEN_ENROL : HF_TOKEN_API;
    event.token_created.role = uses ? HF_ROLE_NONE : HF_ROLE_OPERATOR;
    event.token_created.uses = uses;
    event.token_created.expires_ns = expires_ns;
    event.token_created.name = event_text("ops");
    event.token_created.labels = &label;
    event.token_created.label_count = 1;
    memset(event.token_created.secret_hash, 7, HF_HASH_BYTES);
    return commit(f, &event);
}

static int issue(struct fixture *f, const char *host_id, const char *token_id, int number)
{
    char serial[32];
    snprintf(serial, sizeof serial, "%04x", (unsigned)number);
    struct hf_event event = {.type = HF_EVENT_CERT_ISSUED};
    event.cert_issued.host_id = event_text(host_id);
    event.cert_issued.serial = event_text(serial);
    event.cert_issued.key_hash[0] = (uint8_t)number;
    event.cert_issued.not_before_ns = f->now;
    event.cert_issued.not_after_ns = f->now + 1000 * SECOND;
    event.cert_issued.certificate_pem = event_text("-----BEGIN CERTIFICATE-----");
    event.cert_issued.token_id = event_text(token_id);
    return commit(f, &event);
}

static void a_token_is_good_for_its_uses_and_no_more(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct hf_token_row token;
    add_host(&f, HOST_A, "a");
    add_host(&f, HOST_B, "b");
    ok(&f, add_token(&f, "t1", 2, 0));
    ok(&f, issue(&f, HOST_A, "t1", 1));
    ok(&f, catalog_token_by_id(f.reader, "t1", &f.memory, &token, &f.error));
    assert_int_equal(token.uses_left, 1);
    assert_int_equal(token.label_count, 1);
    assert_string_equal(token.created_by, "token 1");
    assert_int_equal(token.secret_hash[31], 7);
    ok(&f, issue(&f, HOST_B, "t1", 2));
    assert_int_equal(issue(&f, HOST_B, "t1", 3), HF_ERR_DENIED);
    assert_non_null(strstr(f.error.message, "used up"));
    /* The same token with the same key: it has been issued, here it is. */
    assert_int_equal(issue(&f, HOST_A, "t1", 1), HF_ERR_EXISTS);
    struct hf_certificate_row certificate;
    uint8_t key_hash[HF_HASH_BYTES] = {2};
    ok(&f,
       catalog_certificate_by_token(f.reader, "t1", key_hash, &f.memory, &certificate, &f.error));
    assert_string_equal(certificate.serial, "0002");
    assert_string_equal(certificate.host_id, HOST_B);
    close_rebuilt(&f);
}

static void tokens_that_are_expired_revoked_unknown_or_of_another_kind_admit_nobody(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    add_host(&f, HOST_A, "a");
    ok(&f, add_token(&f, "short", 5, f.now + 3 * SECOND));
    ok(&f, add_token(&f, "gone", 5, 0));
    ok(&f, add_token(&f, "api", 0, 0));
    struct hf_event event = {.type = HF_EVENT_TOKEN_REVOKED};
    event.token_revoked.token_id = event_text("gone");
    ok(&f, commit(&f, &event));
    assert_int_equal(commit(&f, &event), HF_ERR_EXISTS);
    event.token_revoked.token_id = event_text("none");
    assert_int_equal(commit(&f, &event), HF_ERR_NOT_FOUND);
    f.now += 5 * SECOND;
    static const char *const ids[] = {"short", "gone", "api", "none"};
    static const char *const reasons[] = {"expired", "revoked", "not for enrolment", "unknown"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(issue(&f, HOST_A, ids[i], i + 1), HF_ERR_DENIED);
        assert_non_null(strstr(f.error.message, reasons[i]));
    }
    struct hf_catalog_totals totals;
    ok(&f, catalog_totals(f.reader, &totals, &f.error));
    assert_int_equal(totals.hosts, 1);
    const struct hf_token_row *rows;
    size_t count;
    ok(&f, catalog_token_list(f.reader, 0, 2, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 2);
    ok(&f, catalog_token_list(f.reader, rows[1].row, 2, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].token_id, "api");
    assert_int_equal(rows[0].role, HF_ROLE_OPERATOR);
    close_rebuilt(&f);
}

static void the_newest_certificate_of_a_host_and_any_by_serial_are_found(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, HOST_A, "a");
    struct hf_certificate_row row;
    assert_int_equal(catalog_certificate_newest(f.reader, host, &f.memory, &row, &f.error),
                     HF_ERR_NOT_FOUND);
    ok(&f, issue(&f, HOST_A, "", 1));
    ok(&f, issue(&f, HOST_A, "", 2));
    assert_int_equal(issue(&f, HOST_A, "", 2), HF_ERR_EXISTS);
    ok(&f, catalog_certificate_newest(f.reader, host, &f.memory, &row, &f.error));
    assert_string_equal(row.serial, "0002");
    ok(&f, catalog_certificate_by_serial(f.reader, "0001", &f.memory, &row, &f.error));
    assert_int_equal(row.key_hash[0], 1);
    assert_int_equal(row.host_row, host);
    ok(&f, revoke_host(&f, HOST_A));
    assert_int_equal(revoke_host(&f, HOST_A), HF_ERR_EXISTS);
    assert_int_equal(issue(&f, HOST_A, "", 3), HF_ERR_DENIED);
    assert_string_equal(host_row(&f, HOST_A).revoked_reason, "stolen");
    close_rebuilt(&f);
}

static void two_events_of_one_transaction_see_each_other(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    ok(&f, add_token(&f, "t1", 1, 0));
    ok(&f, catalog_begin(f.catalog, &f.error));
    struct hf_event host = {.type = HF_EVENT_HOST_CREATED};
    host.host_created.host_id = event_text(HOST_A);
    ok(&f, put(&f, &host));
    struct hf_event certificate = {.type = HF_EVENT_CERT_ISSUED};
    certificate.cert_issued.host_id = event_text(HOST_A);
    certificate.cert_issued.serial = event_text("01");
    certificate.cert_issued.not_after_ns = T0;
    certificate.cert_issued.token_id = event_text("t1");
    ok(&f, put(&f, &certificate));
    assert_int_equal(certificate.cert_issued.host_row, host.host_created.host_row);
    certificate.cert_issued.serial = event_text("02");
    certificate.cert_issued.key_hash[0] = 9;
    assert_int_equal(put(&f, &certificate), HF_ERR_DENIED);
    ok(&f, catalog_commit(f.catalog, &f.error));
    close_rebuilt(&f);
}

static void a_source_is_opened_once_and_again_when_it_changes(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, HOST_A, "a");
    uint64_t row = add_source(&f, host, "logs");
    struct hf_event event = {.type = HF_EVENT_SOURCE_OPENED};
    struct hf_bytes roots[] = {event_text("/home"), event_text("/etc")};
    event.source_opened = (struct hf_event_source_opened){.host_row = host,
                                                          .name = event_text("logs"),
                                                          .kind = event_text("files"),
                                                          .class_name = event_text("checkpoints"),
                                                          .roots = roots,
                                                          .root_count = 2};
    assert_int_equal(commit(&f, &event), HF_ERR_EXISTS);
    assert_int_equal(event.source_opened.source_row, row);
    event.source_opened.root_count = 1;
    ok(&f, commit(&f, &event));
    assert_int_equal(event.source_opened.source_row, row);
    struct hf_source_row source;
    ok(&f, catalog_source_by_name(f.reader, host, "logs", &f.memory, &source, &f.error));
    assert_int_equal(source.root_count, 1);
    assert_string_equal(source.roots[0], "/home");
    assert_string_equal(source.host_id, HOST_A);
    uint64_t other = add_host(&f, HOST_B, "b");
    assert_int_not_equal(add_source(&f, other, "logs"), row);
    const struct hf_source_row *rows;
    size_t count;
    ok(&f, catalog_source_list(f.reader, 0, 0, 0, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 2);
    ok(&f, catalog_source_list(f.reader, other, 0, 0, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 1);
    ok(&f, revoke_host(&f, HOST_B));
    event.source_opened.host_row = other;
    assert_int_equal(commit(&f, &event), HF_ERR_DENIED);
    close_rebuilt(&f);
}

static int mark(struct fixture *f, uint64_t source, uint64_t seq, int64_t until_ns)
{
    struct hf_event event = {.type = HF_EVENT_MARK};
    event.mark = (struct hf_event_mark){.source_row = source,
                                        .version_seq = seq,
                                        .until_ns = until_ns,
                                        .state = HF_SOURCE_SCANNING,
                                        .pending_files = 3,
                                        .note = event_text("busy")};
    return commit(f, &event);
}

static void protected_until_grows_with_marks_never_ahead_of_now(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, HOST_A, "a");
    uint64_t row = add_source(&f, host, "logs");
    struct hf_source_row source;
    assert_int_equal(mark(&f, row, 1, f.now), HF_ERR_AGAIN);
    assert_int_equal(mark(&f, 99, 0, f.now), HF_ERR_NOT_FOUND);
    int64_t first = f.now;
    ok(&f, mark(&f, row, 0, first + 3600 * SECOND));
    ok(&f, catalog_source_by_row(f.reader, row, &f.memory, &source, &f.error));
    assert_int_equal(source.protected_until_ns, first);
    assert_int_equal(source.state, HF_SOURCE_SCANNING);
    assert_int_equal(source.pending_files, 3);
    assert_string_equal(source.note, "busy");
    ok(&f, mark(&f, row, 0, first - 50 * SECOND));
    ok(&f, catalog_source_by_row(f.reader, row, &f.memory, &source, &f.error));
    assert_int_equal(source.protected_until_ns, first);
    assert_true(source.marked_ns > first);
    assert_int_equal(host_row(&f, HOST_A).protected_until_ns, first);
    close_rebuilt(&f);
}

static void a_retired_source_counts_no_more_until_its_host_opens_it_again(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, HOST_A, "a");
    uint64_t kept = add_source(&f, host, "logs");
    uint64_t gone = add_source(&f, host, "config");
    uint64_t rows[HF_CATALOG_SOURCES_MAX];
    size_t count = 0;
    struct hf_source_row source;
    ok(&f, mark(&f, gone, 0, f.now));
    int64_t old = f.now;
    ok(&f, mark(&f, kept, 0, f.now));
    ok(&f, catalog_source_rows(f.catalog, host, rows, &count, &f.error));
    assert_int_equal(count, 2);
    struct hf_event retired = {.type = HF_EVENT_MARK,
                               .mark = {.source_row = gone, .state = HF_SOURCE_RETIRED}};
    ok(&f, commit(&f, &retired));
    ok(&f, catalog_source_rows(f.catalog, host, rows, &count, &f.error));
    assert_int_equal(count, 1);
    assert_int_equal(rows[0], kept);
    ok(&f, catalog_source_by_row(f.reader, gone, &f.memory, &source, &f.error));
    assert_int_equal(source.state, HF_SOURCE_RETIRED);
    assert_string_equal(event_source_state_name(source.state), "retired");
    assert_true(source.protected_until_ns > 0 && source.protected_until_ns <= old);
    /* It no longer holds its host back. */
    ok(&f, catalog_source_by_row(f.reader, kept, &f.memory, &source, &f.error));
    assert_int_equal(host_row(&f, HOST_A).protected_until_ns, source.protected_until_ns);
    assert_int_equal(add_source(&f, host, "config"), gone);
    ok(&f, catalog_source_by_row(f.reader, gone, &f.memory, &source, &f.error));
    assert_int_equal(source.state, 0);
    ok(&f, catalog_source_rows(f.catalog, host, rows, &count, &f.error));
    assert_int_equal(count, 2);
    close_rebuilt(&f);
}

static void snapshots_are_named_held_and_released(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, HOST_A, "a");
    uint64_t source = add_source(&f, host, "logs");
    struct hf_event event = {.type = HF_EVENT_SNAPSHOT_CREATED, .actor = event_text("ops")};
    event.snapshot_created = (struct hf_event_snapshot_created){.source_row = source,
                                                                .name = event_text("daily"),
                                                                .at_ns = T0,
                                                                .reason = HF_SNAPSHOT_MANUAL};
    ok(&f, commit(&f, &event));
    uint64_t id = event.snapshot_created.snapshot_id;
    struct hf_event future = event;
    future.time_ns = 0;
    future.snapshot_created.at_ns = f.now + 100 * SECOND;
    assert_int_equal(commit(&f, &future), HF_ERR_INVALID);
    struct hf_event held = {.type = HF_EVENT_SNAPSHOT_HELD};
    held.snapshot_held = (struct hf_event_snapshot_held){id, event_text("audit")};
    ok(&f, commit(&f, &held));
    held.time_ns = 0;
    assert_int_equal(commit(&f, &held), HF_ERR_EXISTS);
    struct hf_snapshot_row row;
    ok(&f, catalog_snapshot_get(f.reader, id, &f.memory, &row, &f.error));
    assert_true(row.held);
    assert_string_equal(row.hold_reason, "audit");
    assert_string_equal(row.created_by, "ops");
    assert_string_equal(row.source_name, "logs");
    struct hf_event released = {.type = HF_EVENT_SNAPSHOT_RELEASED};
    released.snapshot_held.snapshot_id = id;
    ok(&f, commit(&f, &released));
    ok(&f, catalog_snapshot_get(f.reader, id, &f.memory, &row, &f.error));
    assert_false(row.held);
    assert_int_equal(row.held_ns, 0);
    released.snapshot_held.snapshot_id = 99;
    assert_int_equal(commit(&f, &released), HF_ERR_NOT_FOUND);
    event.time_ns = 0;
    ok(&f, commit(&f, &event));
    assert_int_equal(event.snapshot_created.snapshot_id, id + 1);
    const struct hf_snapshot_row *rows;
    size_t count;
    ok(&f, catalog_snapshot_list(f.reader, host, 0, id, 0, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 1);
    close_rebuilt(&f);
}

static struct hf_event job_event(struct fixture *f)
{
    static struct hf_bytes paths[2];
    paths[0] = event_text("home/robot/\xff");
    paths[1] = event_text("etc");
    struct hf_event event = {.type = HF_EVENT_JOB_CREATED, .actor = event_text("ops")};
    event.job_created = (struct hf_event_job_created){.host_id = event_text(HOST_B),
                                                      .origin_host_id = event_text(HOST_A),
                                                      .source_name = event_text("logs"),
                                                      .at_ns = T0,
                                                      .paths = paths,
                                                      .path_count = 2,
                                                      .destination = event_text("/tmp/out"),
                                                      .conflict = HF_CONFLICT_SKIP,
                                                      .expires_ns = f->now + 1000 * SECOND,
                                                      .file_count = 3,
                                                      .byte_count = 300};
    return event;
}

static int move_job(struct fixture *f, uint64_t job_id, enum hf_job_state state)
{
    struct hf_event event = {.type = HF_EVENT_JOB_STATE};
    event.job_state = (struct hf_event_job_state){.job_id = job_id,
                                                  .state = state,
                                                  .fetched_bytes = 5,
                                                  .reused_bytes = 6,
                                                  .message = event_text("m")};
    return commit(f, &event);
}

static int report(struct fixture *f, uint64_t job_id, const char *path,
                  enum hf_restore_status status)
{
    struct hf_event_job_result row = {event_text(path), status, 100, event_text("why")};
    struct hf_event event = {.type = HF_EVENT_JOB_RESULTS};
    event.job_results = (struct hf_event_job_results){job_id, &row, 1};
    return commit(f, &event);
}

static void a_job_lives_from_waiting_to_its_end(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t origin = add_host(&f, HOST_A, "a");
    uint64_t target = add_host(&f, HOST_B, "b");
    add_source(&f, origin, "logs");
    struct hf_event event = job_event(&f);
    ok(&f, commit(&f, &event));
    uint64_t id = event.job_created.job_id;
    const struct hf_job_row *rows;
    size_t count;
    ok(&f, catalog_job_active(f.reader, target, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 1);
    ok(&f, catalog_job_active(f.reader, origin, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 0);
    int64_t started = f.now;
    ok(&f, move_job(&f, id, HF_JOB_STATE_RUNNING));
    ok(&f, move_job(&f, id, HF_JOB_STATE_WAITING)); /* the connection was cut */
    ok(&f, move_job(&f, id, HF_JOB_STATE_RUNNING));
    ok(&f, report(&f, id, "etc", HF_RESTORE_RESTORED));
    ok(&f, report(&f, id, "home/robot/\xff", HF_RESTORE_FAILED));
    ok(&f, report(&f, id, "home/robot/\xff", HF_RESTORE_IDENTICAL)); /* again, better */
    ok(&f, report(&f, id, "x", HF_RESTORE_FAILED));
    ok(&f, move_job(&f, id, HF_JOB_STATE_SUCCEEDED));
    assert_int_equal(move_job(&f, id, HF_JOB_STATE_CANCELLED), HF_ERR_CONFLICT);
    assert_int_equal(report(&f, id, "y", HF_RESTORE_FAILED), HF_ERR_CONFLICT);
    assert_int_equal(move_job(&f, 99, HF_JOB_STATE_CANCELLED), HF_ERR_NOT_FOUND);
    struct hf_job_row job;
    ok(&f, catalog_job_get(f.reader, id, &f.memory, &job, &f.error));
    assert_int_equal(job.state, HF_JOB_STATE_SUCCEEDED);
    assert_int_equal(job.files_done, 3);
    assert_int_equal(job.files_failed, 1);
    assert_int_equal(job.bytes_done, 300);
    assert_int_equal(job.started_ns, started);
    assert_true(job.finished_ns > started);
    assert_int_equal(job.path_count, 2);
    assert_bytes(job.paths[0], "home/robot/\xff");
    assert_bytes(job.destination, "/tmp/out");
    assert_string_equal(job.origin_host_id, HOST_A);
    assert_string_equal(job.host_name, "b");
    assert_string_equal(job.message, "m");
    const struct hf_job_result_row *results;
    ok(&f, catalog_job_results(f.reader, id, 0, event_text("etc"), 1, &f.memory, &results, &count,
                               &f.error));
    assert_int_equal(count, 1);
    assert_bytes(results[0].path, "home/robot/\xff");
    ok(&f, catalog_job_results(f.reader, id, HF_RESTORE_FAILED, event_text(""), 0, &f.memory,
                               &results, &count, &f.error));
    assert_int_equal(count, 1);
    assert_bytes(results[0].path, "x");
    ok(&f, catalog_job_list(f.reader, HF_JOBS_ACTIVE, 0, 0, 0, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 0);
    event.time_ns = 0;
    ok(&f, commit(&f, &event));
    ok(&f,
       catalog_job_list(f.reader, HF_JOBS_ALL, target, 0, 0, &f.memory, &rows, &count, &f.error));
    assert_int_equal(count, 2);
    assert_int_equal(rows[0].job_id, id + 1);
    close_rebuilt(&f);
}

static void jobs_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t origin = add_host(&f, HOST_A, "a");
    add_host(&f, HOST_B, "b");
    add_source(&f, origin, "logs");
    struct hf_event event = job_event(&f);
    struct hf_bytes escape = event_text("home/../../etc");
    event.job_created.paths = &escape;
    event.job_created.path_count = 1;
    assert_int_equal(commit(&f, &event), HF_ERR_INVALID);
    char endless[5000];
    memset(endless, 'x', sizeof endless);
    endless[0] = '/';
    endless[4990] = '\0';
    for (size_t i = 4; i < 4990; i += 200) {
        endless[i] = '/'; /* no component is too long */
    }
    const char *const destinations[] = {"relative", "/a/../b", "/a//b", "/.", endless};
    for (size_t i = 0; i < sizeof destinations / sizeof destinations[0]; i++) {
        event = job_event(&f);
        event.job_created.destination = event_text(destinations[i]);
        assert_int_equal(commit(&f, &event), HF_ERR_INVALID);
    }
    event = job_event(&f);
    event.job_created.at_ns = f.now + 100 * SECOND;
    assert_int_equal(commit(&f, &event), HF_ERR_INVALID);
    event = job_event(&f);
    event.job_created.expires_ns = T0;
    assert_int_equal(commit(&f, &event), HF_ERR_INVALID);
    event = job_event(&f);
    event.job_created.source_name = event_text("nothing");
    assert_int_equal(commit(&f, &event), HF_ERR_NOT_FOUND);
    ok(&f, revoke_host(&f, HOST_B));
    event = job_event(&f);
    assert_int_equal(commit(&f, &event), HF_ERR_DENIED);
    close_rebuilt(&f);
}

static void hosts_are_listed_in_pages(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    const struct hf_host_row *rows;
    size_t count;
    for (unsigned i = 0; i < 25; i++) {
        char id[32];
        snprintf(id, sizeof id, "h-%016x", i);
        add_host(&f, id, "robot");
    }
    uint64_t after = 0;
    size_t seen = 0;
    do {
        ok(&f, catalog_host_list(f.reader, after, 10, &f.memory, &rows, &count, &f.error));
        seen += count;
        after = count ? rows[count - 1].row : 0;
    } while (count == 10);
    assert_int_equal(seen, 25);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_goes_by_its_label_else_by_its_own_name),
        cmocka_unit_test(what_a_host_says_again_is_not_recorded),
        cmocka_unit_test(a_host_is_found_by_id_name_or_hostname_if_it_is_the_only_one),
        cmocka_unit_test(a_host_has_a_bounded_number_of_labels),
        cmocka_unit_test(ids_of_hosts_have_one_shape),
        cmocka_unit_test(a_token_is_good_for_its_uses_and_no_more),
        cmocka_unit_test(tokens_that_are_expired_revoked_unknown_or_of_another_kind_admit_nobody),
        cmocka_unit_test(the_newest_certificate_of_a_host_and_any_by_serial_are_found),
        cmocka_unit_test(two_events_of_one_transaction_see_each_other),
        cmocka_unit_test(a_source_is_opened_once_and_again_when_it_changes),
        cmocka_unit_test(protected_until_grows_with_marks_never_ahead_of_now),
        cmocka_unit_test(a_retired_source_counts_no_more_until_its_host_opens_it_again),
        cmocka_unit_test(snapshots_are_named_held_and_released),
        cmocka_unit_test(a_job_lives_from_waiting_to_its_end),
        cmocka_unit_test(jobs_that_cannot_be_are_refused),
        cmocka_unit_test(hosts_are_listed_in_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
