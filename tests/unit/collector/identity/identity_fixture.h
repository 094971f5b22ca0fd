/* A data directory made by the real `init`, with ingest running over it and an enrolment endpoint
 * that is called as the HTTP server calls it: on a worker, with that worker's readers. */
#ifndef HF_TESTS_IDENTITY_FIXTURE_H
#define HF_TESTS_IDENTITY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "collector/identity/identity.h"
#include "collector/ingest/ingest.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/pki.h"

#define HOUR_NS (3600 * HF_NS_PER_SECOND)
#define DAY_NS  (24 * HOUR_NS)

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != HF_OK) {                                                                     \
            fail_msg("%s: %s", #call, error.message);                                              \
        }                                                                                          \
    } while (0)

static inline const char *as_text(const struct hf_buf *buf)
{
    return (const char *)buf->data;
}

static inline int remove_entry(const char *path, const struct stat *status, int kind,
                               struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

struct said {
    int status;
    char text[8192];
};

/* Run init_command("init", ...), NULL-terminated; what it printed is kept. */
static inline struct said run_init(const char *const *arguments)
{
    struct said said = {0};
    char path[] = "/tmp/hf-init-said-XXXXXX";
    char *argv[24] = {(char *)"init"};
    int argc = 1;
    for (; arguments[argc - 1]; argc++) {
        argv[argc] = (char *)arguments[argc - 1];
    }
    int file = mkostemp(path, O_CLOEXEC);
    assert_true(file >= 0);
    unlink(path);
    fflush(stdout);
    fflush(stderr);
    int out = dup(1);
    int err = dup(2);
    dup2(file, 1);
    dup2(file, 2);
    said.status = init_command(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    ssize_t size = pread(file, said.text, sizeof said.text - 1, 0);
    assert_true(size >= 0);
    said.text[size] = '\0';
    close(file);
    return said;
}

static inline void assert_says(const char *text, const char *what)
{
    if (!strstr(text, what)) {
        fail_msg("'%s' is not in:\n%s", what, text);
    }
}

struct deployment {
    char directory[64], data[96];
    struct hf_ingest *ingest;
    struct hf_authority *authority;
    struct hf_enrolment *enrolment;
    unsigned tokens; /* made so far, for their ids */
};

static inline void read_repository_key(const char *data, uint8_t key[HF_STORE_KEY_BYTES])
{
    struct hf_error error;
    struct hf_buf text = {0};
    char path[160];
    snprintf(path, sizeof path, "%s/repository.key", data);
    assert_ok(hf_read_file(path, 1024, &text, &error));
    assert_ok(hf_buf_terminate(&text));
    assert_int_equal(strlen(as_text(&text)), 2 * HF_STORE_KEY_BYTES + 1);
    text.data[2 * HF_STORE_KEY_BYTES] = '\0';
    assert_ok(hf_hex_decode(as_text(&text), key, HF_STORE_KEY_BYTES));
    hf_buf_wipe_free(&text);
}

static inline void deployment_start(struct deployment *d, int64_t validity_ns)
{
    struct hf_error error;
    uint8_t key[HF_STORE_KEY_BYTES];
    char repository[128];
    char catalog[128];
    snprintf(repository, sizeof repository, "%s/repository", d->data);
    snprintf(catalog, sizeof catalog, "%s/catalog.db", d->data);
    read_repository_key(d->data, key);
    struct hf_ingest_options options = {
        .store = {.directory = repository, .key = key}, .catalog_path = catalog, .workers = 4};
    assert_ok(ingest_start(&options, &d->ingest, &error));
    assert_ok(authority_load(d->data, validity_ns, &d->authority, &error));
    assert_ok(
        enrolment_new(d->authority, d->ingest, "collector.example:7443", &d->enrolment, &error));
}

static inline void deployment_stop(struct deployment *d)
{
    ingest_stop(d->ingest);
    enrolment_free(d->enrolment);
    authority_free(d->authority);
}

static inline struct deployment deployment_new(int64_t validity_ns)
{
    struct deployment d = {.directory = "/tmp/hf-deployment-XXXXXX"};
    assert_non_null(mkdtemp(d.directory));
    snprintf(d.data, sizeof d.data, "%s/data", d.directory);
    struct said said = run_init((const char *[]){"--data", d.data, "--name",
                                                 "collector.example,192.0.2.7,2001:db8::7", NULL});
    if (said.status != 0) {
        fail_msg("init: %s", said.text);
    }
    deployment_start(&d, validity_ns);
    return d;
}

static inline void deployment_free(struct deployment *d)
{
    deployment_stop(d);
    remove_tree(d->directory);
}

/* --- the catalog's answers --- */

struct question {
    void (*ask)(struct question *, struct hf_catalog_reader *);
    pthread_mutex_t lock;
    pthread_cond_t over;
    int done;
    /* In and out, as ask has it. */
    const char *text;
    uint64_t number;
    int rc;
    struct hf_error error;
    void *context;
};

static inline void question_work(void *arg, struct hf_catalog_reader *catalog,
                                 struct hf_store_reader *store)
{
    struct question *question = arg;
    (void)store;
    question->ask(question, catalog);
    pthread_mutex_lock(&question->lock);
    question->done = 1;
    pthread_cond_signal(&question->over);
    pthread_mutex_unlock(&question->lock);
}

static inline void ask(struct deployment *d, struct question *question)
{
    pthread_mutex_init(&question->lock, NULL);
    pthread_cond_init(&question->over, NULL);
    question->done = 0;
    assert_int_equal(ingest_run(d->ingest, question_work, question), HF_OK);
    pthread_mutex_lock(&question->lock);
    while (!question->done) {
        pthread_cond_wait(&question->over, &question->lock);
    }
    pthread_mutex_unlock(&question->lock);
    pthread_mutex_destroy(&question->lock);
    pthread_cond_destroy(&question->over);
}

static inline void ask_host_count(struct question *q, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    const struct hf_host_row *rows = NULL;
    size_t count = 0;
    q->rc = catalog_host_list(catalog, 0, 1000, &memory, &rows, &count, &q->error);
    q->number = count;
    catalog_memory_free(&memory);
}

static inline uint64_t host_count(struct deployment *d)
{
    struct question question = {.ask = ask_host_count};
    ask(d, &question);
    assert_int_equal(question.rc, HF_OK);
    return question.number;
}

static inline void ask_uses_left(struct question *q, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    struct hf_token_row row;
    q->rc = catalog_token_by_id(catalog, q->text, &memory, &row, &q->error);
    q->number = q->rc == HF_OK ? row.uses_left : 0;
    catalog_memory_free(&memory);
}

static inline uint64_t uses_left(struct deployment *d, const char *token_id)
{
    struct question question = {.ask = ask_uses_left, .text = token_id};
    ask(d, &question);
    assert_int_equal(question.rc, HF_OK);
    return question.number;
}

/* --- tokens, keys, enrolments --- */

struct test_token {
    char id[32], text[128]; /* "id.secret" */
};

static inline struct test_token token_new(struct deployment *d, uint32_t uses, int64_t expires_ns)
{
    struct hf_error error;
    struct test_token token;
    uint8_t secret[32];
    struct hf_buf text = {0};
    snprintf(token.id, sizeof token.id, "%016x", ++d->tokens);
    hf_random(secret, sizeof secret);
    struct hf_label labels[] = {{event_text("site"), event_text("berlin")}};
    struct hf_event event = {.type = HF_EVENT_TOKEN_CREATED,
                             .actor = event_text("test"),
                             .token_created = {.token_id = event_text(token.id),
                                               .kind = HF_TOKEN_ENROL,
                                               .expires_ns = expires_ns,
                                               .uses = uses,
                                               .labels = labels,
                                               .label_count = 1}};
    hf_sha256(secret, sizeof secret, event.token_created.secret_hash);
    assert_ok(ingest_commit(d->ingest, &event, 1, &error));
    assert_ok(hf_buf_append_format(&text, "%s.", token.id));
    assert_ok(hf_base64url_encode(&text, secret, sizeof secret));
    assert_ok(hf_buf_terminate(&text));
    snprintf(token.text, sizeof token.text, "%s", as_text(&text));
    hf_buf_free(&text);
    return token;
}

struct reply {
    int status;
    uint32_t retry_after_s;
    json_t *json; /* NULL when the body is none */
    struct hf_buf body;
};

static inline void reply_free(struct reply *reply)
{
    json_decref(reply->json);
    hf_buf_free(&reply->body);
    *reply = (struct reply){0};
}

static inline const char *reply_text(const struct reply *reply, const char *name)
{
    const char *text = json_string_value(json_object_get(reply->json, name));
    return text ? text : "";
}

static inline const char *reply_error(const struct reply *reply)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(reply->json, "error"), "message"));
    return text ? text : "";
}

struct call {
    struct question question; /* first */
    struct hf_enrolment *enrolment;
    struct hf_http_request request;
    struct hf_http_response response;
};

static inline void ask_endpoint(struct question *question, struct hf_catalog_reader *catalog)
{
    struct call *call = question->context;
    enrolment_handle(call->enrolment, &call->request, catalog, NULL, &call->response);
}

static inline struct reply http_call(struct deployment *d, const char *method, const char *path,
                                     const char *peer, const char *body)
{
    struct call call = {.question = {.ask = ask_endpoint},
                        .enrolment = d->enrolment,
                        .request = {.method = method,
                                    .path = path,
                                    .authorization = "",
                                    .peer = peer,
                                    .body = {(const uint8_t *)body, body ? strlen(body) : 0}},
                        .response = {.status = 200}};
    call.question.context = &call;
    ask(d, &call.question);
    return (struct reply){
        .status = call.response.status,
        .retry_after_s = call.response.retry_after_s,
        .json = json_loadb((const char *)call.response.body.data, call.response.body.size, 0, NULL),
        .body = call.response.body};
}

static inline char *enrol_body(const char *token, const char *key_pem, const char *hostname)
{
    struct hf_error error;
    struct hf_buf csr = {0};
    struct hf_buf text = {0};
    /* A name that asks for more than it will get. */
    assert_ok(hf_pki_request_new(key_pem, "Holdfast root", &csr, &error));
    assert_ok(hf_base64url_encode(&text, csr.data, csr.size));
    assert_ok(hf_buf_terminate(&text));
    json_t *json =
        json_pack("{s:s, s:s, s:s}", "token", token, "csr", as_text(&text), "hostname", hostname);
    char *body = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    hf_buf_free(&csr);
    hf_buf_free(&text);
    return body;
}

static inline struct reply enrol_from(struct deployment *d, const char *token,
                                      const struct hf_buf *key, const char *peer)
{
    char *body = enrol_body(token, as_text(key), "robot-01");
    struct reply reply = http_call(d, "POST", "/v1/enrol", peer, body);
    free(body);
    return reply;
}

static inline struct hf_buf key_new(void)
{
    struct hf_error error;
    struct hf_buf key = {0};
    assert_ok(hf_pki_key_new(&key, &error));
    return key;
}

/* Enrol with a new key from an address of its own, so that limits do not interfere. */
static inline struct reply enrol(struct deployment *d, const char *token)
{
    static unsigned count;
    char peer[32];
    unsigned number = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    snprintf(peer, sizeof peer, "10.0.%u.%u", number / 250, number % 250);
    struct hf_buf key = key_new();
    struct reply reply = enrol_from(d, token, &key, peer);
    hf_buf_wipe_free(&key);
    return reply;
}

static inline void revoke_host(struct deployment *d, const char *host_id)
{
    struct hf_error error;
    struct hf_event event = {
        .type = HF_EVENT_HOST_REVOKED,
        .actor = event_text("test"),
        .host_revoked = {.host_id = event_text(host_id), .reason = event_text("stolen")}};
    assert_ok(ingest_commit(d->ingest, &event, 1, &error));
}

#endif
