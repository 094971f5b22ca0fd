/* Of what arrives in blocks each chunk is stored once, and a block that stands on another is taken
 * from the host alone that stored that other. */
#include "ingest_fixture.h"

#include "common/block.h"

/* What is asked on a worker, and the answer. */
struct question {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
    const uint8_t *id;
    struct hf_chunk_place place;
    struct hf_buf plain;
    int rc;
};

static void read_on_worker(void *arg, struct hf_catalog_reader *catalog,
                           struct hf_store_reader *store)
{
    struct question *question = arg;
    struct hf_error error = {0};
    question->rc = catalog_chunk_locate(catalog, question->id, &question->place, &error);
    if (question->rc == HF_OK) {
        question->rc =
            store_read_chunk(store, &question->place.place, question->id, &question->plain, &error);
    }
    pthread_mutex_lock(&question->lock);
    question->is_over = true;
    pthread_cond_signal(&question->over);
    pthread_mutex_unlock(&question->lock);
}

/* Where the content lies, which comes back as it was sent. */
static struct hf_chunk_place place_of(struct bench *bench, const struct content *content)
{
    struct question question = {.id = content->ref};
    pthread_mutex_init(&question.lock, NULL);
    pthread_cond_init(&question.over, NULL);
    assert_int_equal(ingest_run(bench->ingest, read_on_worker, &question), HF_OK);
    pthread_mutex_lock(&question.lock);
    while (!question.is_over) {
        pthread_cond_wait(&question.over, &question.lock);
    }
    pthread_mutex_unlock(&question.lock);
    assert_int_equal(question.rc, HF_OK);
    assert_int_equal(question.plain.size, content->size);
    assert_memory_equal(question.plain.data, content->data, content->size);
    hf_buf_free(&question.plain);
    return question.place;
}

static void send_block(struct host *host, const struct hf_block *block)
{
    struct hf_frame frame = {.type = HF_FRAME_CHUNKS, .chunks = {.blocks = block, .count = 1}};
    submit(host, &frame);
}

/* Several chunks in one block. */
static void send_together(struct host *host, const struct content *contents, size_t count)
{
    struct hf_compressor *compressor = hf_compressor_new(1);
    struct hf_block_builder builder = {0};
    struct hf_block block;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(
            hf_block_add(&builder, contents[i].ref, contents[i].data, contents[i].size), HF_OK);
    }
    assert_int_equal(hf_block_finish(&builder, compressor, &block), HF_OK);
    send_block(host, &block);
    hf_block_builder_free(&builder);
    hf_compressor_free(compressor);
}

/* Content that stands on another. */
static void send_delta(struct host *host, const struct content *base, const struct content *content)
{
    struct hf_compressor *compressor = hf_compressor_new(1);
    struct hf_buf delta = {0};
    assert_int_equal(hf_compress_delta(compressor, (struct hf_bytes){base->data, base->size},
                                       content->data, content->size, content->size, &delta),
                     HF_OK);
    struct hf_block block = {.codec = HF_CODEC_DELTA,
                             .aid = {base->ref, HF_HASH_BYTES},
                             .chunks = {content->ref, HF_CHUNK_REF_BYTES},
                             .data = {delta.data, delta.size}};
    send_block(host, &block);
    hf_buf_free(&delta);
    hf_compressor_free(compressor);
}

/* Alike but for a few bytes. */
static struct content altered(const struct content *content, unsigned step)
{
    struct content other = *content;
    memcpy(other.data + 40 * (step % 20), &step, sizeof step);
    hf_sha256(other.data, other.size, other.ref);
    return other;
}

static uint64_t stored_chunks(struct bench *bench)
{
    struct hf_ingest_stats stats;
    ingest_stats(bench->ingest, &stats);
    return stats.chunks_stored;
}

static void expect_missing(struct host *host)
{
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_ERROR);
    assert_int_equal(reply->frame.refusal.code, HF_WIRE_MISSING_CHUNKS);
    ingest_reply_free(reply);
}

static void of_a_block_only_the_chunks_that_are_new_are_stored(void **state)
{
    struct bench bench;
    struct content contents[6];
    (void)state;
    bench_new(&bench);
    struct host *first = host_new(&bench, 0);
    struct host *second = host_new(&bench, 1);
    for (unsigned i = 0; i < 6; i++) {
        contents[i] = content_of(i, 1000 + i);
    }
    open_source(first);
    open_source(second);
    send_together(first, contents, 4);
    for (unsigned i = 0; i < 4; i++) {
        send_version(first, i + 1, "etc/a", &contents[i]);
    }
    wait_acked(first, 4);
    assert_int_equal(stored_chunks(&bench), 4);
    send_together(second, contents + 2, 4); /* two of them are there, of another host */
    for (unsigned i = 0; i < 4; i++) {
        send_version(second, i + 1, "etc/a", &contents[i + 2]);
    }
    wait_acked(second, 4);
    assert_int_equal(stored_chunks(&bench), 6);
    uint64_t offset = place_of(&bench, &contents[0]).place.location.offset;
    for (unsigned i = 0; i < 6; i++) {
        struct hf_chunk_place place = place_of(&bench, &contents[i]);
        assert_int_equal(place.owner, i < 4 ? first->row : second->row);
        assert_true((place.place.location.offset == offset) == (i < 4));
    }
    host_free(first);
    host_free(second);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void a_chain_of_deltas_is_never_deeper_than_may_be(void **state)
{
    struct bench bench;
    struct content contents[2 * HF_STORE_DEPTH_MAX + 4];
    size_t count = sizeof contents / sizeof contents[0];
    unsigned deepest = 0;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    open_source(host);
    contents[0] = content_of(1, 2000);
    hf_random(contents[0].data, contents[0].size);
    hf_sha256(contents[0].data, contents[0].size, contents[0].ref);
    send_chunk(host, &contents[0]);
    send_version(host, 1, "checkpoint", &contents[0]);
    wait_acked(host, 1);
    for (unsigned i = 1; i < count; i++) {
        contents[i] = altered(&contents[i - 1], i);
        send_delta(host, &contents[i - 1], &contents[i]);
        send_version(host, i + 1, "checkpoint", &contents[i]);
        wait_acked(host, i + 1);
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            struct hf_chunk_place place = place_of(&bench, &contents[i]);
            assert_in_range(place.depth, 0, HF_STORE_DEPTH_MAX);
            deepest = place.depth > deepest ? place.depth : deepest;
            assert_true(place.depth == 0 || place.place.location.size < 300);
        }
        assert_int_equal(deepest, HF_STORE_DEPTH_MAX);
        /* And the same from the packs alone. */
        char *before = dump_of(&bench);
        host_close(host);
        ingest_stop(bench.ingest);
        assert_int_equal(unlink(bench.catalog), 0);
        bench_start(&bench);
        host_open(&bench, host);
        char *after = dump_of(&bench);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void a_delta_against_what_another_host_stored_counts_as_not_sent(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *owner = host_new(&bench, 0);
    struct host *thief = host_new(&bench, 1);
    struct content secret = content_of(1, 2500);
    struct content guess = altered(&secret, 1);
    open_source(owner);
    open_source(thief);
    send_chunk(owner, &secret);
    send_version(owner, 1, "secret", &secret);
    wait_acked(owner, 1);
    send_delta(thief, &secret, &guess);
    send_version(thief, 1, "guess", &guess);
    expect_missing(thief);
    send_delta(owner, &guess, &secret); /* against what nobody has */
    struct content next = altered(&secret, 2);
    send_delta(owner, &guess, &next);
    send_version(owner, 2, "secret", &next);
    expect_missing(owner);
    send_delta(owner, &secret, &next);
    send_version(owner, 2, "secret", &next);
    wait_acked(owner, 2);
    assert_int_equal(place_of(&bench, &next).depth, 1);
    host_free(owner);
    host_free(thief);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void a_delta_that_gives_something_else_ends_the_session(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content base = content_of(1, 2500);
    struct content next = altered(&base, 1);
    struct content other = altered(&base, 2);
    open_source(host);
    send_chunk(host, &base);
    send_version(host, 1, "a", &base);
    wait_acked(host, 1);
    memcpy(next.ref, other.ref, HF_HASH_BYTES);
    send_delta(host, &base, &next);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_HOSTILE, HF_FRAME_ERROR);
    assert_int_equal(reply->frame.refusal.code, HF_WIRE_HASH);
    ingest_reply_free(reply);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_block_only_the_chunks_that_are_new_are_stored),
        cmocka_unit_test(a_chain_of_deltas_is_never_deeper_than_may_be),
        cmocka_unit_test(a_delta_against_what_another_host_stored_counts_as_not_sent),
        cmocka_unit_test(a_delta_that_gives_something_else_ends_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
