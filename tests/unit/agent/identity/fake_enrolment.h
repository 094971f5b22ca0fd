/* An enrolment endpoint for tests: HTTPS on an ephemeral port of 127.0.0.1, honest or not. */
#ifndef HF_TESTS_FAKE_ENROLMENT_H
#define HF_TESTS_FAKE_ENROLMENT_H

#include "test_authority.h"

#include <jansson.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <stdatomic.h>

struct enrolment {
    /* Set before enrolment_start; changed between two requests at most. */
    const char *ca_answer;                  /* to GET /v1/ca */
    const struct test_authority *authority; /* who issues for hosts */
    const struct test_authority *tls;       /* whose certificate the server shows */
    struct test_wish server;                /* ... and which */
    int refuse_status;                      /* of POST when not 0 */
    const char *refuse_body;
    atomic_bool drop_answer; /* issue, then hang up: the answer is lost on its way */
    atomic_bool flood;       /* answer without end */
    /* What came. */
    atomic_uint roots_asked, enrolments;
    char token[256], hostname[256];
    uint8_t key_hash[HF_HASH_BYTES];
    /* Its own. */
    char directory[64];
    uint16_t port;
    struct lws_context *context;
    pthread_t thread;
    atomic_bool stopping;
    struct hf_buf request, answer;
};

static inline void enrolment_answer(struct enrolment *e)
{
    struct hf_error error;
    struct hf_buf der = {0};
    struct hf_buf spki = {0};
    struct hf_buf chain = {0};
    json_t *body = json_loadb((const char *)e->request.data, e->request.size, 0, NULL);
    const char *csr = json_string_value(json_object_get(body, "csr"));
    const char *token = json_string_value(json_object_get(body, "token"));
    const char *hostname = json_string_value(json_object_get(body, "hostname"));
    assert_non_null(csr);
    snprintf(e->token, sizeof e->token, "%s", token ? token : "");
    snprintf(e->hostname, sizeof e->hostname, "%s", hostname ? hostname : "");
    assert_ok(hf_base64url_decode(&der, csr, strlen(csr)));
    assert_ok(hf_pki_request_check(der.data, der.size, &spki, &error));
    hf_sha256(spki.data, spki.size, e->key_hash);
    const struct test_wish wish = {.kind = HF_PKI_CLIENT, .name = "h-0123456789abcdef"};
    test_chain(e->authority, &wish, (struct hf_bytes){spki.data, spki.size}, &chain);
    json_t *answer = json_pack("{s:s, s:s, s:s, s:s}", "host_id", wish.name, "chain",
                               as_text(&chain), "ca", e->ca_answer, "agents", "localhost:7443");
    char *text = json_dumps(answer, JSON_COMPACT);
    assert_ok(hf_buf_append_str(&e->answer, e->refuse_status ? e->refuse_body : text));
    free(text);
    json_decref(answer);
    json_decref(body);
    hf_buf_free(&der);
    hf_buf_free(&spki);
    hf_buf_free(&chain);
}

static inline int enrolment_head(struct lws *wsi, unsigned status, lws_filepos_t length)
{
    uint8_t head[LWS_PRE + 1024];
    uint8_t *p = head + LWS_PRE;
    uint8_t *start = p;
    uint8_t *end = head + sizeof head - 1;
    return lws_add_http_common_headers(wsi, status, "application/json", length, &p, end) ||
                   lws_finalize_write_http_header(wsi, start, &p, end)
               ? -1
               : 0;
}

static inline int enrolment_write(struct lws *wsi, struct enrolment *e)
{
    struct hf_buf out = {0};
    size_t length = e->answer.size;
    assert_int_equal(hf_buf_extend(&out, LWS_PRE, NULL), HF_OK);
    assert_int_equal(hf_buf_append(&out, e->answer.data, length), HF_OK);
    int written = lws_write(wsi, out.data + LWS_PRE, length,
                            e->flood ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL);
    hf_buf_free(&out);
    if (written < 0) {
        return -1;
    }
    if (e->flood) {
        return lws_callback_on_writable(wsi) < 0 ? -1 : 0;
    }
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static inline int enrolment_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
                                     void *in, size_t length)
{
    struct lws_context *context = lws_get_context(wsi);
    struct enrolment *e = context ? lws_context_user(context) : NULL;
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        hf_buf_clear(&e->answer);
        hf_buf_clear(&e->request);
        if (lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0) {
            return 0; /* the body comes */
        }
        atomic_fetch_add(&e->roots_asked, 1);
        assert_int_equal(hf_buf_append_str(&e->answer, e->ca_answer), HF_OK);
        if (enrolment_head(wsi, 200, e->flood ? 1u << 30 : e->answer.size) != 0) {
            return -1;
        }
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_HTTP_BODY:
        return hf_buf_append(&e->request, in, length) == HF_OK ? 0 : -1;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        enrolment_answer(e);
        atomic_fetch_add(&e->enrolments, 1);
        if (e->drop_answer ||
            enrolment_head(wsi, e->refuse_status ? (unsigned)e->refuse_status : 200,
                           e->answer.size) != 0) {
            return -1;
        }
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return enrolment_write(wsi, e);
    default:
        return 0;
    }
}

static inline void *enrolment_serve(void *argument)
{
    struct enrolment *e = argument;
    while (!e->stopping) {
        lws_service(e->context, 0);
    }
    return NULL;
}

/* libwebsockets numbers its TLS contexts per process: with two contexts at once, as only a test has
 * them, it does not find one of them again and leaks it. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static inline void enrolment_start(struct enrolment *e)
{
    static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = enrolment_callback, .rx_buffer_size = 4096}, {.name = NULL}};
    struct hf_error error;
    struct hf_buf key = {0};
    struct hf_buf chain = {0};
    char key_path[96];
    char chain_path[96];
    strcpy(e->directory, "/tmp/hf-enrol-XXXXXX");
    assert_non_null(mkdtemp(e->directory));
    snprintf(key_path, sizeof key_path, "%s/server.key", e->directory);
    snprintf(chain_path, sizeof chain_path, "%s/server.pem", e->directory);
    assert_ok(hf_pki_key_new(&key, &error));
    test_chain_for_key(e->tls, &e->server, &key, &chain);
    assert_ok(hf_write_file_atomic(key_path, key.data, key.size, 0600, &error));
    assert_ok(hf_write_file_atomic(chain_path, chain.data, chain.size, 0600, &error));
    hf_buf_wipe_free(&key);
    hf_buf_free(&chain);
    struct lws_context_creation_info info = {
        .port = 0,
        .iface = "127.0.0.1",
        .protocols = protocols,
        .user = e,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        .ssl_cert_filepath = chain_path,
        .ssl_private_key_filepath = key_path,
        .gid = -1,
        .uid = -1,
    };
    lws_set_log_level(0, NULL);
    if (__lsan_disable) {
        __lsan_disable();
    }
    e->context = lws_create_context(&info);
    if (__lsan_enable) {
        __lsan_enable();
    }
    assert_non_null(e->context);
    e->port = (uint16_t)lws_get_vhost_listen_port(lws_get_vhost_by_name(e->context, "default"));
    assert_int_not_equal(e->port, 0);
    assert_int_equal(pthread_create(&e->thread, NULL, enrolment_serve, e), 0);
}

static inline void enrolment_stop(struct enrolment *e)
{
    e->stopping = true;
    lws_cancel_service(e->context);
    pthread_join(e->thread, NULL);
    lws_context_destroy(e->context);
    hf_buf_free(&e->request);
    hf_buf_free(&e->answer);
    remove_identity(e->directory);
}

#endif
