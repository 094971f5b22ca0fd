/* Nothing is acknowledged that isn't durable, nothing comes twice, and what is refused changes
 * nothing (promise 1); what was acknowledged outlives the process and the catalog (promise 2). */
#include "ingest_fixture.h"

static void versions_are_acknowledged_in_order_and_repeats_change_nothing(void **state)
{
    struct bench bench;
    struct hf_ingest_stats stats;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content content = content_of(1, 1000);
    assert_int_equal(open_source(host), 0);
    for (int round = 0; round < 3; round++) {
        send_chunk(host, &content);
        for (uint64_t seq = 1; seq <= 5; seq++) {
            send_version(host, seq, "etc/a", &content);
        }
        wait_acked(host, 5);
    }
    ingest_stats(bench.ingest, &stats);
    assert_int_equal(stats.chunks_stored, 1);
    host_close(host);
    host_open(&bench, host);
    assert_int_equal(open_source(host), 5);
    char *dump = dump_of(&bench);
    size_t versions = 0; /* by the path, in hex */
    for (const char *at = dump; (at = strstr(at, "6574632f61")); at++) {
        versions++;
    }
    assert_int_equal(versions, 5);
    free(dump);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void what_lacks_its_chunks_waits_for_them_and_all_after_it_too(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content held = content_of(1, 100);
    struct content lacking = content_of(2, 100);
    open_source(host);
    send_chunk(host, &held);
    send_version(host, 1, "a", &held);
    send_version(host, 2, "b", &lacking);
    send_version(host, 3, "c", &held);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_ERROR);
    assert_int_equal(reply->frame.refusal.code, HF_WIRE_MISSING_CHUNKS);
    assert_int_equal(reply->frame.refusal.version_seq, 2);
    assert_memory_equal(reply->frame.refusal.ids.data, lacking.ref, HF_HASH_BYTES);
    ingest_reply_free(reply);
    send_chunk(host, &lacking);
    send_version(host, 2, "b", &lacking);
    send_version(host, 3, "c", &held);
    wait_acked(host, 3);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void numbers_that_skip_are_refused_with_the_one_that_is_due(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content content = content_of(1, 100);
    open_source(host);
    send_chunk(host, &content);
    send_version(host, 3, "a", &content);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_ERROR);
    assert_int_equal(reply->frame.refusal.code, HF_WIRE_GAP);
    assert_int_equal(reply->frame.refusal.version_seq, 1);
    ingest_reply_free(reply);
    send_version(host, 1, "a", &content);
    wait_acked(host, 1);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void content_that_lies_is_refused_and_not_kept(void **state)
{
    struct bench bench;
    struct hf_ingest_stats stats;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content content = content_of(1, 100);
    open_source(host);
    content.data[5] ^= 1;
    send_chunk(host, &content);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_HOSTILE, HF_FRAME_ERROR);
    assert_int_equal(reply->frame.refusal.code, HF_WIRE_HASH);
    ingest_reply_free(reply);
    ingest_stats(bench.ingest, &stats);
    assert_int_equal(stats.chunks_stored, 0);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void a_host_can_not_name_what_another_one_stored(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *owner = host_new(&bench, 0);
    struct host *thief = host_new(&bench, 1);
    struct content secret = content_of(1, 500);
    open_source(owner);
    open_source(thief);
    send_chunk(owner, &secret);
    send_version(owner, 1, "secret", &secret);
    wait_acked(owner, 1);
    struct hf_frame have = {.type = HF_FRAME_HAVE,
                            .ids = {.request = 1, .ids = {secret.ref, HF_HASH_BYTES}}};
    submit(thief, &have);
    struct hf_ingest_reply *reply = expect(thief, HF_REPLY_FRAME, HF_FRAME_NEED);
    assert_int_equal(reply->frame.need.bitmap.data[0] & 1, 1);
    ingest_reply_free(reply);
    send_version(thief, 1, "mine", &secret);
    reply = expect(thief, HF_REPLY_FRAME, HF_FRAME_ERROR);
    assert_int_equal(reply->frame.refusal.code, HF_WIRE_MISSING_CHUNKS);
    ingest_reply_free(reply);
    host_free(owner);
    host_free(thief);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

/* The process ends with the very acknowledgement, and nothing is closed. */
static void what_was_acknowledged_outlives_the_process(void **state)
{
    struct bench bench;
    (void)state;
    for (unsigned round = 0; round < 5; round++) {
        bench_make(&bench);
        pid_t child = fork();
        if (child == 0) {
            bench_start(&bench);
            struct host *host = host_new(&bench, 0);
            open_source(host);
            for (unsigned i = 1; i <= 10 + round; i++) {
                struct content content = content_of(i, 100 + i);
                send_chunk(host, &content);
                send_version(host, i, "etc/a", &content);
            }
            wait_acked(host, 5 + round);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        bench_start(&bench);
        struct host *host = calloc(1, sizeof *host);
        pthread_mutex_init(&host->lock, NULL);
        pthread_cond_init(&host->came, NULL);
        host->row = 1;
        strcpy(host->id, "h-0000000000000001");
        host_open(&bench, host);
        assert_true(open_source(host) >= 5 + round);
        host_free(host);
        ingest_stop(bench.ingest);
        bench_remove(&bench);
    }
}

static void a_lost_catalog_is_made_again_from_the_packs_alone(void **state)
{
    struct bench bench;
    char path[128];
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    open_source(host);
    for (unsigned i = 1; i <= 30; i++) {
        struct content content = content_of(i % 7, 200 + i % 7);
        char name[32];
        snprintf(name, sizeof name, "etc/%u", i % 5);
        send_chunk(host, &content);
        send_version(host, i, name, &content);
    }
    wait_acked(host, 30);
    char *before = dump_of(&bench);
    host_free(host);
    ingest_stop(bench.ingest);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", bench.catalog, suffixes[i]);
        unlink(path);
    }
    bench_start(&bench);
    char *after = dump_of(&bench);
    assert_string_equal(before, after);
    free(before);
    free(after);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

struct sender {
    struct host *host;
    unsigned number;
};

static void *send_many(void *arg)
{
    struct sender *sender = arg;
    open_source(sender->host);
    for (unsigned i = 1; i <= 60; i++) {
        struct content content = content_of(sender->number * 1000 + i, 500 + i);
        send_chunk(sender->host, &content);
        send_version(sender->host, i, "etc/a", &content);
    }
    wait_acked(sender->host, 60);
    return NULL;
}

static void many_hosts_at_once_share_commits_and_get_their_own_answers(void **state)
{
    enum { HOSTS = 6 };
    struct bench bench;
    struct sender senders[HOSTS];
    pthread_t threads[HOSTS];
    struct hf_ingest_stats stats;
    (void)state;
    bench_new(&bench);
    for (unsigned i = 0; i < HOSTS; i++) {
        senders[i] = (struct sender){.host = host_new(&bench, i), .number = i};
    }
    for (unsigned i = 0; i < HOSTS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (unsigned i = 0; i < HOSTS; i++) {
        pthread_join(threads[i], NULL);
        host_free(senders[i].host);
    }
    ingest_stats(bench.ingest, &stats);
    assert_int_equal(stats.versions, HOSTS * 60);
    assert_int_equal(stats.chunks_stored, HOSTS * 60);
    while (ingest_queue_bytes(bench.ingest) > 0) { /* acknowledged a moment before it is freed */
        usleep(1000);
    }
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void a_stop_under_load_loses_nothing_that_was_acknowledged(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    open_source(host);
    for (unsigned i = 1; i <= 100; i++) {
        struct content content = content_of(i, 2000);
        send_chunk(host, &content);
        send_version(host, i, "etc/a", &content);
    }
    wait_acked(host, 1);
    host_close(host);
    ingest_stop(bench.ingest);
    bench_start(&bench);
    host_open(&bench, host);
    assert_true(open_source(host) >= 1);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_outlives_the_process), /* forks: before any thread */
        cmocka_unit_test(versions_are_acknowledged_in_order_and_repeats_change_nothing),
        cmocka_unit_test(what_lacks_its_chunks_waits_for_them_and_all_after_it_too),
        cmocka_unit_test(numbers_that_skip_are_refused_with_the_one_that_is_due),
        cmocka_unit_test(content_that_lies_is_refused_and_not_kept),
        cmocka_unit_test(a_host_can_not_name_what_another_one_stored),
        cmocka_unit_test(a_lost_catalog_is_made_again_from_the_packs_alone),
        cmocka_unit_test(many_hosts_at_once_share_commits_and_get_their_own_answers),
        cmocka_unit_test(a_stop_under_load_loses_nothing_that_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
