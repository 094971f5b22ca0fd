/* The filter never denies a chunk that is there, and denies nearly all that are not. */
#include <time.h>

#include "catalog_fixture.h"
#include "collector/catalog/known.h"

static void add(struct known_chunks *known, unsigned first, unsigned count)
{
    uint8_t id[HF_HASH_BYTES];
    for (unsigned i = first; i < first + count; i++) {
        chunk_id(i, id);
        known_add(known, id);
    }
}

/* Of those, how many it does not deny. */
static unsigned maybe(const struct known_chunks *known, unsigned first, unsigned count)
{
    uint8_t id[HF_HASH_BYTES];
    unsigned sum = 0;
    for (unsigned i = first; i < first + count; i++) {
        chunk_id(i, id);
        sum += known_maybe(known, id);
    }
    return sum;
}

static void an_empty_catalog_has_none_and_what_is_added_is_never_denied(void **state)
{
    (void)state;
    struct hf_error error = {0};
    struct known_chunks *known;
    assert_int_equal(known_start("/nonexistent/catalog.db", 0, &known, &error), HF_OK);
    assert_true(known_is_complete(known));
    assert_int_equal(maybe(known, 0, 20000), 0);
    add(known, 0, 20000);
    assert_int_equal(maybe(known, 0, 20000), 20000);
    assert_in_range(maybe(known, 20000, 20000), 0, 200);
    known_stop(known);
}

static void nothing_is_denied_by_one_that_has_not_read_the_catalog(void **state)
{
    (void)state;
    struct hf_error error = {0};
    struct known_chunks *known;
    assert_int_equal(known_start("/nonexistent/catalog.db", KNOWN_CHUNKS_MAX + 1, &known, &error),
                     HF_OK);
    assert_int_equal(maybe(known, 0, 100), 100);
    known_stop(known);
    /* Its thread finds no catalog to read. */
    assert_int_equal(known_start("/nonexistent/catalog.db", 1, &known, &error), HF_OK);
    assert_int_equal(maybe(known, 0, 100), 100);
    known_stop(known);
    assert_int_equal(maybe(NULL, 0, 100), 100);
    known_stop(NULL);
}

static void wait_for(const struct known_chunks *known)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    while (!known_is_complete(known)) {
        nanosleep(&pause, NULL);
    }
}

static void a_catalog_that_has_chunks_is_read_when_it_is_opened(void **state)
{
    (void)state;
    enum { COUNT = 10000 }; /* several readings */
    struct fixture f = fixture_open();
    struct known_chunks *known;
    ok(&f, catalog_begin(f.catalog, &f.error));
    for (unsigned i = 0; i < COUNT; i++) {
        put_chunk(&f, 1, i, 100);
    }
    ok(&f, catalog_commit(f.catalog, &f.error));
    ok(&f, known_start(f.path, COUNT, &known, &f.error));
    add(known, COUNT, 100); /* meanwhile */
    wait_for(known);
    assert_int_equal(maybe(known, 0, COUNT + 100), COUNT + 100);
    assert_in_range(maybe(known, 2 * COUNT, COUNT), 0, 100);
    known_stop(known);
    fixture_close(&f);
}

/* 0 to count - 1 are there, and as many more are not. */
static void assert_missing(struct fixture *f, struct hf_catalog_reader *reader, uint64_t host,
                           unsigned count)
{
    uint8_t ids[64 * HF_HASH_BYTES];
    uint8_t bitmap[8] = {0};
    assert_in_range(count, 0, 32);
    for (unsigned i = 0; i < 2 * count; i++) {
        chunk_id(i, ids + (size_t)i * HF_HASH_BYTES);
    }
    ok(f, catalog_chunks_missing(reader, host, ids, (size_t)2 * count, bitmap, &f->error));
    for (unsigned i = 0; i < 2 * count; i++) {
        assert_int_equal(bitmap[i / 8] >> i % 8 & 1, i >= count);
    }
}

static void readers_beside_the_writer_answer_like_others(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    struct hf_catalog_reader *beside;
    uint8_t refs[2 * HF_CHUNK_REF_BYTES] = {0};
    bool known[2];
    ok(&f, catalog_reader_open_beside(f.catalog, &beside, &f.error));
    uint64_t host = add_host(&f, "h-0123456789abcdef", "one");
    ok(&f, catalog_begin(f.catalog, &f.error));
    for (unsigned i = 0; i < 20; i++) {
        put_chunk(&f, host, i, 100);
    }
    assert_missing(&f, beside, host, 0);
    ok(&f, catalog_commit(f.catalog, &f.error));
    assert_missing(&f, f.reader, host, 20);
    assert_missing(&f, beside, host, 20);
    chunk_id(3, refs);
    chunk_id(30, refs + HF_CHUNK_REF_BYTES);
    ok(&f, catalog_refs_known(beside, (struct hf_bytes){refs, sizeof refs}, known, &f.error));
    assert_true(known[0]);
    assert_false(known[1]);
    /* What was rolled back is looked for, and not found. */
    ok(&f, catalog_begin(f.catalog, &f.error));
    put_chunk(&f, host, 30, 100);
    catalog_rollback(f.catalog);
    ok(&f, catalog_refs_known(beside, (struct hf_bytes){refs, sizeof refs}, known, &f.error));
    assert_false(known[1]);
    catalog_reader_close(beside);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_catalog_has_none_and_what_is_added_is_never_denied),
        cmocka_unit_test(nothing_is_denied_by_one_that_has_not_read_the_catalog),
        cmocka_unit_test(a_catalog_that_has_chunks_is_read_when_it_is_opened),
        cmocka_unit_test(readers_beside_the_writer_answer_like_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
