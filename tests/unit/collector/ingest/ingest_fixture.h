/* A collector's ingest in a directory of its own, and hosts that talk to it as sessions do. */
#ifndef HF_TESTS_INGEST_FIXTURE_H
#define HF_TESTS_INGEST_FIXTURE_H

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
    int64_t mark_interval_ns; /* as in the options */
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
    uint64_t numbers[REPLIES_MAX]; /* of each, in the order in which all hosts' came */
    size_t count, taken;
};

static inline int remove_entry(const char *path, const struct stat *status, int flag,
                               struct FTW *ftw)
{
    (void)status;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void bench_start(struct bench *bench)
{
    struct hf_error error = {0};
    struct hf_ingest_options options = {.store = {.directory = bench->repository, .key = key},
                                        .catalog_path = bench->catalog,
                                        .workers = 3,
                                        .mark_interval_ns = bench->mark_interval_ns};
    if (ingest_start(&options, &bench->ingest, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static inline void bench_make(struct bench *bench)
{
    struct hf_error error = {0};
    *bench = (struct bench){.directory = "/tmp/holdfast-ingest-XXXXXX"};
    assert_non_null(mkdtemp(bench->directory));
    snprintf(bench->repository, sizeof bench->repository, "%s/repository", bench->directory);
    snprintf(bench->catalog, sizeof bench->catalog, "%s/catalog.db", bench->directory);
    assert_int_equal(store_create(bench->repository, key, &error), HF_OK);
}

static inline void bench_new(struct bench *bench)
{
    bench_make(bench);
    bench_start(bench);
}

static inline void bench_remove(struct bench *bench)
{
    assert_int_equal(nftw(bench->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void deliver(void *context, struct hf_ingest_reply *reply)
{
    static _Atomic uint64_t number;
    struct host *host = context;
    pthread_mutex_lock(&host->lock);
    if (host->count < REPLIES_MAX) {
        host->numbers[host->count] = ++number;
        host->replies[host->count++] = reply;
    }
    pthread_cond_signal(&host->came);
    pthread_mutex_unlock(&host->lock);
}

static inline void host_open(struct bench *bench, struct host *host)
{
    host->session = ingest_session_open(bench->ingest, host->row, host->id, 0, deliver, host);
    assert_non_null(host->session);
}

static inline struct host *host_new(struct bench *bench, unsigned number)
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

static inline void host_close(struct host *host)
{
    ingest_session_close(host->session);
    for (size_t i = host->taken; i < host->count; i++) {
        ingest_reply_free(host->replies[i]);
    }
    host->count = host->taken = 0;
}

static inline void host_free(struct host *host)
{
    host_close(host);
    pthread_cond_destroy(&host->came);
    pthread_mutex_destroy(&host->lock);
    free(host);
}

/* As it comes from a session: bytes, and the frame that was decoded from them. */
static inline void submit(struct host *host, const struct hf_frame *frame)
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
static inline struct hf_ingest_reply *expect(struct host *host, enum hf_ingest_reply_kind kind,
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

static inline void send_source(struct host *host, uint32_t stream, const char *name)
{
    struct hf_frame frame = {.type = HF_FRAME_SOURCE,
                             .source = {.stream = stream,
                                        .name = event_text(name),
                                        .kind = event_text("files"),
                                        .class_name = event_text("config")}};
    submit(host, &frame);
}

static inline uint64_t expect_source_state(struct host *host)
{
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_SOURCE_STATE);
    uint64_t seq = reply->frame.source_state.version_seq;
    ingest_reply_free(reply);
    return seq;
}

static inline uint64_t open_named(struct host *host, uint32_t stream, const char *name)
{
    send_source(host, stream, name);
    return expect_source_state(host);
}

static inline uint64_t open_source(struct host *host)
{
    return open_named(host, 1, "data");
}

struct content {
    uint8_t data[3000];
    uint32_t size;
    uint8_t ref[HF_CHUNK_REF_BYTES];
};

static inline struct content content_of(unsigned seed, uint32_t size)
{
    struct content content = {.size = size};
    for (uint32_t i = 0; i < size; i++) {
        content.data[i] = (uint8_t)(seed * 31 + i * 7 + (seed >> 8));
    }
    hf_sha256(content.data, size, content.ref);
    hf_put_le32(content.ref + HF_HASH_BYTES, size);
    return content;
}

static inline void send_chunk(struct host *host, const struct content *content)
{
    struct hf_block block = {.chunks = {content->ref, sizeof content->ref},
                             .data = {content->data, content->size}};
    struct hf_frame frame = {.type = HF_FRAME_CHUNKS, .chunks = {.blocks = &block, .count = 1}};
    submit(host, &frame);
}

static inline void send_version(struct host *host, uint64_t seq, const char *path,
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

static inline void wait_acked(struct host *host, uint64_t seq)
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

static inline void dump_on_worker(void *arg, struct hf_catalog_reader *catalog,
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

static inline char *dump_of(struct bench *bench)
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

static inline bool dump_holds(struct bench *bench, const char *text)
{
    char *dump = dump_of(bench);
    bool holds = strstr(dump, text) != NULL;
    free(dump);
    return holds;
}

#endif
