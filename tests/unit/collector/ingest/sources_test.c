/* Sources come and go with their host's configuration. */
#include "ingest_fixture.h"

static void send_mark(struct host *host, uint32_t stream)
{
    struct hf_frame frame = {
        .type = HF_FRAME_MARK,
        .mark = {.stream = stream, .until_ns = hf_clock_now_ns(), .state = HF_SOURCE_WATCHING}};
    submit(host, &frame);
    ingest_reply_free(expect(host, HF_REPLY_RELEASED, HF_FRAME_MARK));
}

/* A source's state in the catalog, by a worker's reader. */
struct source_question {
    uint64_t host_row;
    const char *name;
    int state;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
};

static void ask_state(void *arg, struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    struct source_question *question = arg;
    struct hf_catalog_memory memory = {0};
    struct hf_source_row row = {.state = -1};
    (void)store;
    int rc =
        catalog_source_by_name(catalog, question->host_row, question->name, &memory, &row, NULL);
    pthread_mutex_lock(&question->lock);
    question->state = rc == HF_OK ? row.state : -1;
    question->done = true;
    pthread_cond_signal(&question->over);
    pthread_mutex_unlock(&question->lock);
    catalog_memory_free(&memory);
}

static int state_of(struct bench *bench, const struct host *host, const char *name)
{
    struct source_question question = {.host_row = host->row,
                                       .name = name,
                                       .lock = PTHREAD_MUTEX_INITIALIZER,
                                       .over = PTHREAD_COND_INITIALIZER};
    assert_int_equal(ingest_run(bench->ingest, ask_state, &question), HF_OK);
    pthread_mutex_lock(&question.lock);
    while (!question.done) {
        pthread_cond_wait(&question.over, &question.lock);
    }
    pthread_mutex_unlock(&question.lock);
    return question.state;
}

static void a_source_that_its_host_comes_back_without_is_retired_until_it_has_it_again(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct host *other = host_new(&bench, 1);
    open_source(host);
    open_named(host, 2, "logs");
    send_mark(host, 1);
    assert_int_equal(state_of(&bench, host, "logs"), 0); /* open, though not marked yet */
    send_mark(host, 2);
    open_named(other, 1, "logs");
    send_mark(other, 1);
    host_close(host);
    host_open(&bench, host);
    open_source(host);
    assert_int_equal(state_of(&bench, host, "logs"), HF_SOURCE_WATCHING); /* it may follow */
    send_mark(host, 1);
    assert_int_equal(state_of(&bench, host, "logs"), HF_SOURCE_RETIRED);
    assert_int_equal(state_of(&bench, host, "data"), HF_SOURCE_WATCHING);
    assert_int_equal(state_of(&bench, other, "logs"), HF_SOURCE_WATCHING);
    host_close(host);
    host_close(other);
    ingest_stop(bench.ingest);
    bench_start(&bench);
    assert_int_equal(state_of(&bench, host, "logs"), HF_SOURCE_RETIRED);
    host_open(&bench, other);
    host_open(&bench, host);
    open_source(host);
    open_named(host, 7, "logs");
    assert_int_equal(state_of(&bench, host, "logs"), 0);
    send_mark(host, 1);
    send_mark(host, 7);
    assert_int_equal(state_of(&bench, host, "logs"), HF_SOURCE_WATCHING);
    host_free(host);
    host_free(other);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_source_that_its_host_comes_back_without_is_retired_until_it_has_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
