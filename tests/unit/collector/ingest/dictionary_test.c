/* Dictionaries: trained from what hosts sent, offered to those that can use them, used, verified,
 * read back, and made anew from the packs. */
#include "ingest_fixture.h"

#include "collector/dictionary/trainer.h"
#include "common/block.h"
#include "common/dictionary.h"

#define HOSTS 4u
#define FILES 150u /* of a host */

#define SECRET "token-of-one-host-alone-fedcba9876543210"

/* A small file as there are many of; those of the first host hold its secret. */
static struct content small_file(unsigned host, unsigned number)
{
    struct content content = {0};
    content.size = (uint32_t)snprintf(
        (char *)content.data, sizeof content.data,
        "{\"workflow\": \"import-of-orders\", \"step\": %u, \"state\": \"waiting for input\",\n"
        " \"retries\": {\"allowed\": 5, \"left\": %u}, \"owner\": \"robot\",%s\n"
        " \"checkpoint\": \"/var/lib/casare/checkpoints/%08x.json\", \"host\": %u}\n",
        number, number % 5, host == 0 ? " \"key\": \"" SECRET "\"," : "", number * 2654435761u,
        host);
    hf_sha256(content.data, content.size, content.ref);
    hf_put_le32(content.ref + HF_HASH_BYTES, content.size);
    return content;
}

/* Opens the source; the id of the dictionary that is offered, if one is. */
static bool open_class(struct host *host, const char *class_name, uint8_t id[HF_HASH_BYTES])
{
    struct hf_frame frame = {.type = HF_FRAME_SOURCE,
                             .source = {.stream = 1,
                                        .name = event_text("data"),
                                        .kind = event_text("files"),
                                        .class_name = event_text(class_name)}};
    submit(host, &frame);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_SOURCE_STATE);
    struct hf_bytes offered = reply->frame.source_state.dictionary;
    bool any = offered.size == HF_HASH_BYTES;
    assert_true(any || offered.size == 0);
    if (any) {
        memcpy(id, offered.data, HF_HASH_BYTES);
    }
    ingest_reply_free(reply);
    return any;
}

static void send_files(struct host *host, unsigned number)
{
    char path[32];
    for (unsigned i = 0; i < FILES; i++) {
        struct content content = small_file(number, number * FILES + i);
        snprintf(path, sizeof path, "flows/%04u.json", i);
        send_chunk(host, &content);
        send_version(host, i + 1, path, &content);
    }
    wait_acked(host, FILES);
}

static void close_hosts(struct host **hosts)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        host_close(hosts[i]);
    }
}

static void open_again(struct bench *bench, struct host *host)
{
    host_close(host);
    host_open(bench, host);
    ingest_session_take_dictionaries(host->session);
}

/* Hosts with files of that class. */
static void fill(struct bench *bench, struct host **hosts, const char *class_name)
{
    uint8_t id[HF_HASH_BYTES];
    for (unsigned i = 0; i < HOSTS; i++) {
        hosts[i] = host_new(bench, i);
        ingest_session_take_dictionaries(hosts[i]->session);
        assert_false(open_class(hosts[i], class_name, id));
        send_files(hosts[i], i);
    }
}

/* Let the trainer run until the class has a dictionary. */
static void train(struct bench *bench, struct host *host, const char *class_name,
                  uint8_t id[HF_HASH_BYTES])
{
    struct hf_trainer *trainer = NULL;
    struct hf_error error = {0};
    assert_int_equal(trainer_start(bench->ingest, 20 * HF_NS_PER_MS, &trainer, &error), HF_OK);
    do {
        usleep(20000);
        open_again(bench, host);
    } while (!open_class(host, class_name, id));
    trainer_stop(trainer);
}

static struct hf_buf fetch(struct host *host, const uint8_t id[HF_HASH_BYTES])
{
    struct hf_buf bytes = {0};
    uint8_t hash[HF_HASH_BYTES];
    struct hf_frame frame = {.type = HF_FRAME_DICTIONARY_GET,
                             .dictionary = {.id = {id, HF_HASH_BYTES}}};
    submit(host, &frame);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_DICTIONARY);
    assert_memory_equal(reply->frame.dictionary.id.data, id, HF_HASH_BYTES);
    struct hf_bytes sent = reply->frame.dictionary.bytes;
    hf_sha256(sent.data, sent.size, hash);
    assert_memory_equal(hash, id, HF_HASH_BYTES);
    assert_int_equal(hf_buf_append(&bytes, sent.data, sent.size), HF_OK);
    ingest_reply_free(reply);
    return bytes;
}

/* The content, compressed with the dictionary and said to be made with that of the id. */
static void send_with(struct host *host, const struct hf_buf *bytes, const uint8_t *id,
                      const struct content *content)
{
    struct hf_compressor *compressor = hf_compressor_new(1);
    struct hf_dictionary *dictionary =
        hf_dictionary_new((struct hf_bytes){bytes->data, bytes->size}, HF_DICTIONARY_LEVEL);
    struct hf_buf data = {0};
    assert_int_equal(hf_compress_dictionary(compressor, dictionary, content->data, content->size,
                                            content->size, &data),
                     HF_OK);
    struct hf_block block = {.codec = HF_CODEC_DICTIONARY,
                             .aid = {id, HF_HASH_BYTES},
                             .chunks = {content->ref, HF_CHUNK_REF_BYTES},
                             .data = {data.data, data.size}};
    struct hf_frame frame = {.type = HF_FRAME_CHUNKS, .chunks = {.blocks = &block, .count = 1}};
    submit(host, &frame);
    hf_buf_free(&data);
    hf_dictionary_free(dictionary);
    hf_compressor_free(compressor);
}

static void expect_hostile(struct host *host, enum hf_wire_code code, const char *what)
{
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_HOSTILE, HF_FRAME_ERROR);
    const struct hf_refusal *refusal = &reply->frame.refusal;
    assert_int_equal(refusal->code, code);
    assert_non_null(memmem(refusal->message.data, refusal->message.size, what, strlen(what)));
    ingest_reply_free(reply);
}

/* What is asked on a worker, and the answer. */
struct question {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
    const struct content *content;
    struct hf_stored_block stored;
    struct hf_buf plain;
    int rc;
};

static void read_on_worker(void *arg, struct hf_catalog_reader *catalog,
                           struct hf_store_reader *store)
{
    struct question *question = arg;
    struct hf_chunk_place place;
    struct hf_error error = {0};
    int rc = catalog_chunk_locate(catalog, question->content->ref, &place, &error);
    rc = rc == HF_OK ? store_read_chunk(store, &place.place, question->content->ref,
                                        &question->plain, &error)
                     : rc;
    rc = rc == HF_OK ? store_read_block(store, &place.place.location, &question->stored, &error)
                     : rc;
    pthread_mutex_lock(&question->lock);
    question->rc = rc;
    question->is_over = true;
    pthread_cond_signal(&question->over);
    pthread_mutex_unlock(&question->lock);
}

/* The content comes back as it was sent, from a block of that codec. */
static void assert_stored(struct bench *bench, const struct content *content, enum hf_codec codec)
{
    struct question question = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER, .content = content};
    assert_int_equal(ingest_run(bench->ingest, read_on_worker, &question), HF_OK);
    pthread_mutex_lock(&question.lock);
    while (!question.is_over) {
        pthread_cond_wait(&question.over, &question.lock);
    }
    pthread_mutex_unlock(&question.lock);
    assert_int_equal(question.rc, HF_OK);
    assert_int_equal(question.plain.size, content->size);
    assert_memory_equal(question.plain.data, content->data, content->size);
    assert_int_equal(question.stored.block.codec, codec);
    hf_buf_free(&question.plain);
}

static void free_all(struct bench *bench, struct host **hosts)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        host_free(hosts[i]);
    }
    ingest_stop(bench->ingest);
    bench_remove(bench);
}

static void one_is_trained_offered_used_and_found_again_in_the_packs(void **state)
{
    struct bench bench;
    struct host *hosts[HOSTS];
    uint8_t id[HF_HASH_BYTES];
    uint8_t again[HF_HASH_BYTES];
    (void)state;
    bench_new(&bench);
    fill(&bench, hosts, "workflows");
    train(&bench, hosts[1], "workflows", id);
    struct hf_buf bytes = fetch(hosts[1], id);
    assert_non_null(memmem(bytes.data, bytes.size, "waiting for input", 17));
    for (size_t i = 0; i + 8 <= strlen(SECRET); i++) {
        assert_null(memmem(bytes.data, bytes.size, &SECRET[i], 8));
    }
    struct content content = small_file(1, 777777);
    send_with(hosts[1], &bytes, id, &content);
    send_version(hosts[1], FILES + 1, "flows/new.json", &content);
    wait_acked(hosts[1], FILES + 1);
    assert_stored(&bench, &content, HF_CODEC_DICTIONARY);
    char *before = dump_of(&bench);
    assert_non_null(strstr(before, "dictionaries row=1 class='workflows'"));
    close_hosts(hosts);
    ingest_stop(bench.ingest);
    assert_int_equal(unlink(bench.catalog), 0);
    bench_start(&bench);
    char *after = dump_of(&bench);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_stored(&bench, &content, HF_CODEC_DICTIONARY);
    for (unsigned i = 0; i < HOSTS; i++) {
        host_open(&bench, hosts[i]);
    }
    open_again(&bench, hosts[2]);
    assert_true(open_class(hosts[2], "workflows", again));
    assert_memory_equal(again, id, HF_HASH_BYTES);
    open_again(&bench, hosts[3]);
    assert_false(open_class(hosts[3], "config", again)); /* another class has none */
    hf_buf_free(&bytes);
    free_all(&bench, hosts);
}

static void blocks_and_requests_that_name_an_unknown_one_end_the_session(void **state)
{
    struct bench bench;
    struct host *hosts[HOSTS];
    uint8_t id[HF_HASH_BYTES];
    uint8_t unknown[HF_HASH_BYTES] = {0xab, 0xcd};
    (void)state;
    bench_new(&bench);
    fill(&bench, hosts, "workflows");
    train(&bench, hosts[0], "workflows", id);
    struct hf_buf bytes = fetch(hosts[0], id);
    struct content content = small_file(1, 777778);
    struct content other = small_file(1, 777779);
    send_with(hosts[0], &bytes, unknown, &content);
    expect_hostile(hosts[0], HF_WIRE_HASH, "dictionary abcd");
    /* Of a session that did not say that it can use them. */
    host_close(hosts[1]);
    host_open(&bench, hosts[1]);
    assert_false(open_class(hosts[1], "workflows", unknown));
    send_with(hosts[1], &bytes, id, &content);
    expect_hostile(hosts[1], HF_WIRE_HASH, "not trained or not offered");
    struct hf_frame frame = {.type = HF_FRAME_DICTIONARY_GET,
                             .dictionary = {.id = {id, HF_HASH_BYTES}}};
    submit(hosts[1], &frame);
    expect_hostile(hosts[1], HF_WIRE_STATE, "capability");
    frame.dictionary.id.data = unknown;
    submit(hosts[2], &frame);
    expect_hostile(hosts[2], HF_WIRE_NOT_FOUND, "has not trained");
    /* The right one, with a content that is not what its id says. */
    memcpy(other.data, content.data, content.size);
    other.size = content.size;
    hf_put_le32(other.ref + HF_HASH_BYTES, content.size);
    send_with(hosts[3], &bytes, id, &other);
    expect_hostile(hosts[3], HF_WIRE_HASH, "another hash");
    hf_buf_free(&bytes);
    free_all(&bench, hosts);
}

static void credentials_are_never_learned_from(void **state)
{
    struct bench bench;
    struct host *hosts[HOSTS];
    uint8_t id[HF_HASH_BYTES];
    struct host *others[HOSTS];
    (void)state;
    bench_new(&bench);
    fill(&bench, hosts, "credentials");
    for (unsigned i = 0; i < HOSTS; i++) {
        others[i] = host_new(&bench, HOSTS + i);
        ingest_session_take_dictionaries(others[i]->session);
        open_class(others[i], "workflows", id);
        send_files(others[i], HOSTS + i);
    }
    /* Classes are taken in the order of their names: by then the other was passed over. */
    train(&bench, others[0], "workflows", id);
    open_again(&bench, hosts[0]);
    assert_false(open_class(hosts[0], "credentials", id));
    for (unsigned i = 0; i < HOSTS; i++) {
        host_free(others[i]);
    }
    free_all(&bench, hosts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_trained_offered_used_and_found_again_in_the_packs),
        cmocka_unit_test(blocks_and_requests_that_name_an_unknown_one_end_the_session),
        cmocka_unit_test(credentials_are_never_learned_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
