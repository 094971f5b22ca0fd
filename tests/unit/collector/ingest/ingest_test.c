/* Nothing is acknowledged that isn't durable, nothing comes twice, and what is refused changes
 * nothing (promise 1); what was acknowledged outlives the process and the catalog (promise 2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/catalog/event.h"
#include "collector/ingest/ingest.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "common/clock.h"

#define REPLIES_MAX 4096

static const uint8_t key[HF_STORE_KEY_BYTES] = {5};

struct bench {
    char directory[64], repository[96], catalog[96];
    struct hf_ingest *ingest;
};

/* One session's answers, as they come from other threads. */
struct host {
    uint64_t row;
    char id[32];
    struct hf_ingest_session *session;
    uint64_t seq;
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct hf_ingest_reply *replies[REPLIES_MAX];
    size_t count, taken;
};

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
    (void)status;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void bench_start(struct bench *bench)
{
    struct hf_error error = {0};
    struct hf_ingest_options options = {.store = {.directory = bench->repository, .key = key},
                                        .catalog_path = bench->catalog,
                                        .workers = 3};
    if (ingest_start(&options, &bench->ingest, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static void bench_make(struct bench *bench)
{
    struct hf_error error = {0};
    strcpy(bench->directory, "/tmp/holdfast-ingest-XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    snprintf(bench->repository, sizeof bench->repository, "%s/repository", bench->directory);
    snprintf(bench->catalog, sizeof bench->catalog, "%s/catalog.db", bench->directory);
    assert_int_equal(store_create(bench->repository, key, &error), HF_OK);
}

static void bench_new(struct bench *bench)
{
    bench_make(bench);
    bench_start(bench);
}

static void bench_remove(struct bench *bench)
{
    assert_int_equal(nftw(bench->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void deliver(void *context, struct hf_ingest_reply *reply)
{
    struct host *host = context;
    pthread_mutex_lock(&host->lock);
    if (host->count < REPLIES_MAX) {
        host->replies[host->count++] = reply;
    }
    pthread_cond_signal(&host->came);
    pthread_mutex_unlock(&host->lock);
}

static void host_open(struct bench *bench, struct host *host)
{
    host->session = ingest_session_open(bench->ingest, host->row, host->id, 0, deliver, host);
    assert_non_null(host->session);
}

static struct host *host_new(struct bench *bench, unsigned number)
{
    struct hf_error error = {0};
    struct hf_event event = {.type = HF_EVENT_HOST_CREATED, .actor = event_text("test")};
    struct host *host = calloc(1, sizeof *host);
    assert_non_null(host);
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->came, NULL);
    snprintf(host->id, sizeof host->id, "h-%016x", number + 1);
    event.host_created.host_id = event_text(host->id);
    event.host_created.name = event_text(host->id);
    assert_int_equal(ingest_commit(bench->ingest, &event, 1, &error), HF_OK);
    host->row = event.host_created.host_row;
    host_open(bench, host);
    return host;
}

static void host_close(struct host *host)
{
    ingest_session_close(host->session);
    for (size_t i = host->taken; i < host->count; i++) {
        ingest_reply_free(host->replies[i]);
    }
    host->count = host->taken = 0;
}

static void host_free(struct host *host)
{
    host_close(host);
    pthread_cond_destroy(&host->came);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

/* As it comes from a session: bytes, and the frame that was decoded from them. */
static void submit(struct host *host, const struct hf_frame *frame)
{
    struct hf_buf message = {0};
    struct hf_frame decoded;
    struct hf_error error = {0};
    struct hf_frame numbered = *frame;
    numbered.seq = ++host->seq;
    assert_int_equal(proto_encode(&numbered, &message), HF_OK);
    assert_int_equal(proto_decode(message.data, message.size, &decoded, &error), HF_OK);
    assert_int_equal(ingest_submit(host->session, &message, &decoded), HF_OK);
}

/* The next reply of that kind and type; others are dropped. */
static struct hf_ingest_reply *expect(struct host *host, enum hf_ingest_reply_kind kind,
                                      enum hf_frame_type type)
{
    for (;;) {
        pthread_mutex_lock(&host->lock);
        while (host->taken == host->count) {
            pthread_cond_wait(&host->came, &host->lock);
        }
        struct hf_ingest_reply *reply = host->replies[host->taken++];
        pthread_mutex_unlock(&host->lock);
        if (reply->kind == kind && reply->frame.type == type) {
            return reply;
        }
        ingest_reply_free(reply);
    }
}

static uint64_t open_source(struct host *host)
{
    struct hf_frame frame = {.type = HF_FRAME_SOURCE,
                             .source = {.stream = 1,
                                        .name = event_text("data"),
                                        .kind = event_text("files"),
                                        .class_name = event_text("config")}};
    submit(host, &frame);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_SOURCE_STATE);
    uint64_t seq = reply->frame.source_state.version_seq;
    ingest_reply_free(reply);
    return seq;
}

struct content {
    uint8_t data[3000];
    uint32_t size;
    uint8_t ref[HF_CHUNK_REF_BYTES];
};

static struct content content_of(unsigned seed, uint32_t size)
{
    struct content content = {.size = size};
    for (uint32_t i = 0; i < size; i++) {
        content.data[i] = (uint8_t)(seed * 31 + i * 7 + (seed >> 8));
    }
    hf_sha256(content.data, size, content.ref);
    hf_put_le32(content.ref + HF_HASH_BYTES, size);
    return content;
}

static void send_chunk(struct host *host, const struct content *content)
{
    struct hf_chunk chunk = {.id = content->ref,
                             .codec = HF_CODEC_RAW,
                             .plain_size = content->size,
                             .data = {content->data, content->size}};
    struct hf_frame frame = {.type = HF_FRAME_CHUNKS, .chunks = {.chunks = &chunk, .count = 1}};
    submit(host, &frame);
}

static void send_version(struct host *host, uint64_t seq, const char *path,
                         const struct content *content)
{
    struct hf_version version = {.seq = seq,
                                 .type = HF_FILE_REGULAR,
                                 .path = event_text(path),
                                 .captured_ns = hf_clock_now_ns(),
                                 .mode = 0600,
                                 .mtime_ns = (int64_t)seq,
                                 .size = content->size,
                                 .refs = {content->ref, sizeof content->ref}};
    struct hf_frame frame = {.type = HF_FRAME_VERSIONS,
                             .versions = {.stream = 1, .versions = &version, .count = 1}};
    submit(host, &frame);
}

static void wait_acked(struct host *host, uint64_t seq)
{
    for (uint64_t acked = 0; acked < seq;) {
        struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_ACK);
        acked = reply->frame.ack.acks[0].version_seq;
        ingest_reply_free(reply);
    }
}

/* The whole catalog as text, by a worker's reader. */
struct dump {
    char *text;
    size_t size;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
};

static void dump_on_worker(void *arg, struct hf_catalog_reader *catalog,
                           struct hf_store_reader *store)
{
    struct dump *dump = arg;
    struct hf_error error = {0};
    (void)store;
    FILE *stream = open_memstream(&dump->text, &dump->size);
    int rc = catalog_dump(catalog, stream, &error);
    fclose(stream);
    pthread_mutex_lock(&dump->lock);
    dump->done = rc == HF_OK;
    pthread_cond_signal(&dump->over);
    pthread_mutex_unlock(&dump->lock);
}

static char *dump_of(struct bench *bench)
{
    struct dump dump = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
    assert_int_equal(ingest_run(bench->ingest, dump_on_worker, &dump), HF_OK);
    pthread_mutex_lock(&dump.lock);
    while (!dump.done) {
        pthread_cond_wait(&dump.over, &dump.lock);
    }
    pthread_mutex_unlock(&dump.lock);
    return dump.text;
}

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
