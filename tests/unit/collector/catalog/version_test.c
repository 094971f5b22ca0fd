/* Versions coming in: order, repeats, equality, chunks, times, counters. */
#include "catalog_fixture.h"

struct world {
    struct fixture f;
    uint64_t host, source;
};

static struct world make_world(void)
{
    struct world w = {.f = fixture_open()};
    w.host = add_host(&w.f, "h-0123456789abcdef", "robot1");
    w.source = add_source(&w.f, w.host, "checkpoints");
    add_chunk(&w.f, w.host, 1, 1000);
    add_chunk(&w.f, w.host, 2, 1000);
    return w;
}

static void close_world(struct world *w)
{
    assert_rebuild_equals(&w->f);
    fixture_close(&w->f);
}

static struct hf_source_state_row counters(struct world *w)
{
    struct hf_source_state_row row;
    ok(&w->f, catalog_source_state(w->f.catalog, w->source, &row, &w->f.error));
    return row;
}

static void versions_are_accepted_in_order_only(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 1, ref);
    event.version.version.seq = 2;
    assert_int_equal(commit(&w.f, &event), HF_ERR_CONFLICT);
    assert_int_equal(counters(&w).committed_seq, 0);
    event.version.version.seq = 1;
    ok(&w.f, commit(&w.f, &event));
    assert_true(event.version.recorded);
    assert_int_equal(commit(&w.f, &event), HF_ERR_EXISTS);
    event.version.version.seq = 3;
    assert_int_equal(commit(&w.f, &event), HF_ERR_CONFLICT);
    assert_int_equal(counters(&w).committed_seq, 1);
    close_world(&w);
}

static void what_equals_the_live_version_is_committed_but_not_recorded(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_REGULAR, 1));
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 1, ref);
    ok(&w.f, commit(&w.f, &event));
    assert_false(event.version.recorded);
    assert_int_equal(counters(&w).committed_seq, 2);
    struct hf_catalog_totals totals;
    ok(&w.f, catalog_totals(w.f.reader, &totals, &w.f.error));
    assert_int_equal(totals.versions, 1);
    close_world(&w);
}

static void each_field_that_differs_makes_a_version(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    for (int field = 0; field < 9; field++) {
        ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_REGULAR, 1));
        struct hf_event event =
            version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 1, ref);
        struct hf_version *v = &event.version.version;
        switch (field) {
        case 0:
            v->mode = 0600;
            break;
        case 1:
            v->uid = 7;
            break;
        case 2:
            v->gid = 7;
            break;
        case 3:
            v->owner = event_text("other");
            break;
        case 4:
            v->group = event_text("other");
            break;
        case 5:
            v->mtime_ns++;
            break;
        case 6:
            v->flags = HF_VERSION_UNPARSABLE;
            break;
        case 7:
            chunk_id(2, ref);
            break;
        default:
            v->type = HF_FILE_DIRECTORY;
            v->size = 0;
            v->refs = (struct hf_bytes){0};
            break;
        }
        ok(&w.f, commit(&w.f, &event));
        assert_true(event.version.recorded);
    }
    assert_int_equal(counters(&w).live_files, 1);
    close_world(&w);
}

static void the_absence_of_what_is_not_there_is_not_recorded(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_ABSENT, 0, ref);
    ok(&w.f, commit(&w.f, &event));
    assert_false(event.version.recorded);
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_REGULAR, 1));
    event = version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_ABSENT, 0, ref);
    ok(&w.f, commit(&w.f, &event));
    assert_true(event.version.recorded);
    event = version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_ABSENT, 0, ref);
    ok(&w.f, commit(&w.f, &event));
    assert_false(event.version.recorded);
    assert_int_equal(counters(&w).committed_seq, 4);
    close_world(&w);
}

static void a_file_that_comes_back_equal_after_its_deletion_is_recorded(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_REGULAR, 1));
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_ABSENT, 0));
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 1, ref);
    ok(&w.f, commit(&w.f, &event));
    assert_true(event.version.recorded);
    close_world(&w);
}

static void counters_follow_what_is_alive(void **state)
{
    (void)state;
    struct world w = make_world();
    ok(&w.f, add_version(&w.f, w.host, w.source, "d", HF_FILE_DIRECTORY, 0));
    ok(&w.f, add_version(&w.f, w.host, w.source, "d/a", HF_FILE_REGULAR, 1));
    ok(&w.f, add_version(&w.f, w.host, w.source, "d/b", HF_FILE_REGULAR, 2));
    assert_int_equal(counters(&w).live_files, 3);
    assert_int_equal(counters(&w).live_bytes, 2000);
    ok(&w.f, add_version(&w.f, w.host, w.source, "d/a", HF_FILE_REGULAR, 0));
    assert_int_equal(counters(&w).live_bytes, 1000);
    ok(&w.f, add_version(&w.f, w.host, w.source, "d/b", HF_FILE_ABSENT, 0));
    assert_int_equal(counters(&w).live_files, 2);
    assert_int_equal(counters(&w).live_bytes, 0);
    struct hf_source_row row;
    ok(&w.f, catalog_source_by_row(w.f.reader, w.source, &w.f.memory, &row, &w.f.error));
    assert_int_equal(row.versions, 5);
    assert_int_equal(row.live_files, 2);
    assert_int_equal(row.committed_seq, 5);
    close_world(&w);
}

static void chunks_that_the_host_does_not_hold_are_refused_and_named(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    uint64_t other = add_host(&w.f, "h-00000000000000aa", "robot2");
    uint64_t other_source = add_source(&w.f, other, "checkpoints");
    /* The chunk exists, but another host uploaded it. */
    struct hf_event event =
        version_event(&w.f, other, other_source, event_text("a"), HF_FILE_REGULAR, 1, ref);
    assert_int_equal(commit(&w.f, &event), HF_ERR_DENIED);
    struct hf_buf missing = {0};
    ok(&w.f,
       catalog_missing_refs(w.f.catalog, other, event.version.version.refs, &missing, &w.f.error));
    assert_int_equal(missing.size, HF_HASH_BYTES);
    assert_memory_equal(missing.data, ref, HF_HASH_BYTES);
    /* It uploads the same. */
    struct hf_event held = {.type = HF_EVENT_CHUNKS_HELD};
    held.chunks_held.host_row = other;
    held.chunks_held.ids = (struct hf_bytes){.data = ref, .size = HF_HASH_BYTES};
    ok(&w.f, commit(&w.f, &held));
    assert_int_equal(commit(&w.f, &held), HF_ERR_EXISTS);
    event.version.at_ns = event.version.received_ns = event.time_ns = 0;
    ok(&w.f, commit(&w.f, &event));
    hf_buf_free(&missing);
    close_world(&w);
}

static void a_reference_with_another_length_counts_as_missing(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t refs[3 * HF_CHUNK_REF_BYTES];
    for (int i = 0; i < 3; i++) {
        chunk_id(i < 2 ? 1 : 99, refs + i * HF_CHUNK_REF_BYTES);
        hf_put_le32(refs + i * HF_CHUNK_REF_BYTES + HF_HASH_BYTES, i == 0 ? 1000 : 999);
    }
    struct hf_buf missing = {0};
    struct hf_bytes view = {.data = refs, .size = sizeof refs};
    ok(&w.f, catalog_missing_refs(w.f.catalog, w.host, view, &missing, &w.f.error));
    assert_int_equal(missing.size, 2 * HF_HASH_BYTES);
    hf_buf_clear(&missing);
    view.size--;
    assert_int_equal(catalog_missing_refs(w.f.catalog, w.host, view, &missing, &w.f.error),
                     HF_ERR_INVALID);
    hf_buf_free(&missing);
    fixture_close(&w.f);
}

static void a_chunk_id_that_is_missing_twice_is_named_once_and_a_flood_is_bounded(void **state)
{
    (void)state;
    struct world w = make_world();
    size_t count = 3000;
    uint8_t *refs = calloc(count, HF_CHUNK_REF_BYTES);
    struct hf_buf missing = {0};
    struct hf_bytes view = {.data = refs, .size = count * HF_CHUNK_REF_BYTES};
    ok(&w.f, catalog_missing_refs(w.f.catalog, w.host, view, &missing, &w.f.error));
    assert_int_equal(missing.size, HF_HASH_BYTES);
    hf_buf_clear(&missing);
    for (size_t i = 0; i < count; i++) {
        chunk_id((unsigned)i + 1000, refs + i * HF_CHUNK_REF_BYTES);
    }
    ok(&w.f, catalog_missing_refs(w.f.catalog, w.host, view, &missing, &w.f.error));
    assert_int_equal(missing.size, HF_CATALOG_MISSING_MAX * HF_HASH_BYTES);
    hf_buf_free(&missing);
    free(refs);
    fixture_close(&w.f);
}

static void a_host_cannot_write_into_the_source_of_another(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    uint64_t other = add_host(&w.f, "h-00000000000000aa", "robot2");
    struct hf_event event =
        version_event(&w.f, other, w.source, event_text("a"), HF_FILE_REGULAR, 0, ref);
    assert_int_equal(commit(&w.f, &event), HF_ERR_DENIED);
    assert_non_null(strstr(w.f.error.message, "another host"));
    close_world(&w);
}

static void times_are_never_after_receipt_and_never_go_back(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    int64_t now = w.f.now;
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 1, ref);
    event.version.at_ns = now + 3600 * SECOND; /* a clock hours ahead */
    ok(&w.f, commit(&w.f, &event));
    assert_int_equal(event.version.at_ns, now);
    event = version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 2, ref);
    event.version.at_ns = now - 3600 * SECOND; /* and then hours behind */
    ok(&w.f, commit(&w.f, &event));
    assert_int_equal(event.version.at_ns, now);
    /* Two at the same moment: the later one counts. */
    struct hf_version_row row;
    ok(&w.f, catalog_version_at(w.f.reader, w.source, event_text("a"), now, &w.f.memory, &row,
                                &w.f.error));
    assert_int_equal(row.version.seq, 2);
    assert_int_equal(catalog_version_at(w.f.reader, w.source, event_text("a"), now - 1, &w.f.memory,
                                        &row, &w.f.error),
                     HF_ERR_NOT_FOUND);
    close_world(&w);
}

static void the_first_uploader_of_a_chunk_stays_its_owner(void **state)
{
    (void)state;
    struct world w = make_world();
    uint64_t other = add_host(&w.f, "h-00000000000000aa", "robot2");
    struct hf_chunk_place before;
    struct hf_chunk_place after;
    uint8_t id[HF_HASH_BYTES];
    bool held;
    chunk_id(1, id);
    ok(&w.f, catalog_chunk_locate(w.f.reader, id, &before, &w.f.error));
    add_chunk(&w.f, other, 1, 1000);
    ok(&w.f, catalog_chunk_locate(w.f.reader, id, &after, &w.f.error));
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(after.owner, w.host);
    ok(&w.f, catalog_chunk_is_held(w.f.catalog, other, id, &held, &w.f.error));
    assert_false(held);
    struct hf_catalog_totals totals;
    ok(&w.f, catalog_totals(w.f.reader, &totals, &w.f.error));
    assert_int_equal(totals.chunks, 2);
    assert_int_equal(totals.plain_bytes, 2000);
    assert_int_equal(totals.stored_bytes, 120);
    close_world(&w);
}

static void a_reader_says_which_chunks_a_host_must_send(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ids[10 * HF_HASH_BYTES];
    uint8_t bitmap[2];
    bool held[10];
    struct hf_chunk_place places[10];
    for (unsigned i = 0; i < 10; i++) {
        chunk_id(i, ids + i * HF_HASH_BYTES);
    }
    ok(&w.f, catalog_chunks_missing(w.f.reader, w.host, ids, 10, bitmap, &w.f.error));
    assert_int_equal(bitmap[0], 0xf9);
    assert_int_equal(bitmap[1], 0x03);
    uint64_t other = add_host(&w.f, "h-00000000000000aa", "robot2");
    ok(&w.f, catalog_chunks_missing(w.f.reader, other, ids, 10, bitmap, &w.f.error));
    assert_int_equal(bitmap[0], 0xff);
    ok(&w.f, catalog_chunks_locate(w.f.reader, w.host, ids, 10, places, held, &w.f.error));
    assert_false(held[0]);
    assert_true(held[1]);
    assert_int_equal(places[1].place.size, 1000);
    assert_int_equal(places[0].place.size, 0);
    close_world(&w);
}

static void the_journal_may_not_leave_out_a_version(void **state)
{
    (void)state;
    struct world w = make_world();
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_location location = {.pack = 9, .offset = 9, .size = 9};
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("a"), HF_FILE_REGULAR, 1, ref);
    event.version.version.seq = 5;
    event.version.recorded = true;
    ok(&w.f, catalog_begin(w.f.catalog, &w.f.error));
    assert_int_equal(catalog_apply(w.f.catalog, &event, &location, &w.f.error), HF_ERR_CORRUPT);
    catalog_rollback(w.f.catalog);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_accepted_in_order_only),
        cmocka_unit_test(what_equals_the_live_version_is_committed_but_not_recorded),
        cmocka_unit_test(each_field_that_differs_makes_a_version),
        cmocka_unit_test(the_absence_of_what_is_not_there_is_not_recorded),
        cmocka_unit_test(a_file_that_comes_back_equal_after_its_deletion_is_recorded),
        cmocka_unit_test(counters_follow_what_is_alive),
        cmocka_unit_test(chunks_that_the_host_does_not_hold_are_refused_and_named),
        cmocka_unit_test(a_reference_with_another_length_counts_as_missing),
        cmocka_unit_test(a_chunk_id_that_is_missing_twice_is_named_once_and_a_flood_is_bounded),
        cmocka_unit_test(a_host_cannot_write_into_the_source_of_another),
        cmocka_unit_test(times_are_never_after_receipt_and_never_go_back),
        cmocka_unit_test(the_first_uploader_of_a_chunk_stays_its_owner),
        cmocka_unit_test(a_reader_says_which_chunks_a_host_must_send),
        cmocka_unit_test(the_journal_may_not_leave_out_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
