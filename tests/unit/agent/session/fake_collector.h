/* A collector for tests of the link: certificates of its own, one WebSocket server on an ephemeral
 * port of 127.0.0.1, frames that it receives kept, frames to send given by the test. */
#ifndef HF_TESTS_FAKE_COLLECTOR_H
#define HF_TESTS_FAKE_COLLECTOR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <libwebsockets.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session/outgoing.h"
#include "common/queue.h"
#include "proto/frame.h"

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
};

struct certificate_wish {
    const char *common_name;
    const char *san; /* as in openssl.cnf; NULL: none */
    const char *usage;
    long begins_s, ends_s; /* from now */
};

static inline X509 *certificate_new(EVP_PKEY *key, const struct certificate_wish *wish,
                                    const struct authority *issuer)
{
    static long serial = 1;
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), wish->begins_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), wish->ends_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)wish->common_name, -1, -1, 0);
    X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer->certificate)
                                             : X509_get_subject_name(certificate));
    X509_set_pubkey(certificate, key);
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer ? issuer->certificate : certificate, certificate, NULL, NULL,
                   0);
    const char *const extensions[][2] = {
        {"basicConstraints", issuer ? "CA:FALSE" : "critical,CA:TRUE"},
        {"extendedKeyUsage", wish->usage},
        {"subjectAltName", wish->san},
    };
    for (size_t i = 0; i < 3; i++) {
        if (!extensions[i][1])
            continue;
        X509_EXTENSION *extension =
            X509V3_EXT_nconf(NULL, &context, extensions[i][0], extensions[i][1]);
        assert_non_null(extension);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(certificate, issuer ? issuer->key : key, EVP_sha256()) > 0);
    return certificate;
}

static inline void write_pem(const char *path, EVP_PKEY *key, X509 *certificate)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    if (key)
        assert_true(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    assert_true(PEM_write_X509(file, certificate));
    fclose(file);
}

static inline struct authority authority_new(const char *path)
{
    struct certificate_wish wish = {.common_name = "test root", .ends_s = 3600, .begins_s = -3600};
    struct authority authority = {.key = EVP_EC_gen("P-256")};
    assert_non_null(authority.key);
    authority.certificate = certificate_new(authority.key, &wish, NULL);
    write_pem(path, NULL, authority.certificate);
    return authority;
}

static inline void authority_free(struct authority *authority)
{
    EVP_PKEY_free(authority->key);
    X509_free(authority->certificate);
}

/* Key and certificate in one file. */
static inline void authority_issue(const struct authority *authority, const char *path,
                                   const struct certificate_wish *wish)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = certificate_new(key, wish, authority);
    write_pem(path, key, certificate);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

#define COLLECTOR_CHUNKING "32 bytes that it tells its agents."

struct collector {
    char directory[64], root[80], server[80], agent[80];
    struct authority authority;
    struct lws_context *context;
    uint16_t port;
    pthread_t thread;
    atomic_bool stopping, hang_up;
    atomic_bool silent; /* gives no WELCOME */
    atomic_bool deaf;   /* reads nothing; collector_heed makes it so */
    const char *reason; /* said when hanging up; NULL: cut without a word */
    atomic_uint connections;
    atomic_uint_fast64_t frames, bytes, last_seq;
    atomic_uint_fast64_t credit; /* of WELCOME */
    struct hf_queue *to_send;    /* hf_message */
    struct hf_queue *received;   /* hf_message: bytes of each frame */
    /* the thread's own */
    struct lws *wsi;
    union lws_tls_cert_info_results peer; /* common name of the last agent; read when it is open */
    struct hf_outgoing outgoing;
    struct hf_buf incoming;
};

static inline void collector_receive(struct collector *c)
{
    struct hf_frame frame;
    assert_int_equal(proto_decode(c->incoming.data, c->incoming.size, &frame, NULL), 0);
    assert_int_equal(frame.seq, atomic_load(&c->last_seq) + 1);
    atomic_store(&c->last_seq, frame.seq);
    if (proto_frame_is_bulk(frame.type))
        atomic_fetch_add(&c->bytes, c->incoming.size);
    if (frame.type == HF_FRAME_HELLO && !atomic_load(&c->silent)) {
        struct hf_frame welcome = {
            .type = HF_FRAME_WELCOME,
            .welcome = {.version = HF_PROTO_VERSION,
                        .host_id = {(const uint8_t *)"h-0123456789abcdef", 18},
                        .session = 1,
                        .now_ns = frame.hello.now_ns,
                        .credit_bytes = atomic_load(&c->credit),
                        .frame_max_bytes = HF_FRAME_MAX_BYTES,
                        .ping_seconds = 20,
                        .chunking = {(const uint8_t *)COLLECTOR_CHUNKING, HF_CHUNKING_BYTES}},
        };
        struct hf_message *message;
        assert_int_equal(message_new(&welcome, 0, &message), 0);
        outgoing_push(&c->outgoing, message);
        lws_callback_on_writable(c->wsi);
    }
    struct hf_message *kept = calloc(1, sizeof(*kept));
    kept->buf = c->incoming;
    c->incoming = (struct hf_buf){0};
    hf_queue_push(c->received, &kept->item);
    atomic_fetch_add(&c->frames, 1);
    proto_frame_free(&frame);
}

static inline int collector_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
                                     void *in, size_t size)
{
    struct collector *c = lws_context_user(lws_get_context(wsi));
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        return !size;
    case LWS_CALLBACK_ESTABLISHED:
        c->wsi = wsi;
        lws_tls_peer_cert_info(wsi, LWS_TLS_CERT_INFO_COMMON_NAME, &c->peer,
                               sizeof(c->peer.ns.name));
        outgoing_reset(&c->outgoing);
        outgoing_grant(&c->outgoing, UINT64_MAX);
        atomic_store(&c->last_seq, 0);
        atomic_fetch_add(&c->connections, 1);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        assert_int_equal(hf_buf_append(&c->incoming, in, size), 0);
        if (lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi))
            collector_receive(c);
        return 0;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        for (struct hf_queue_item *item; (item = hf_queue_pop(c->to_send, 0));) {
            if (c->wsi)
                outgoing_push(&c->outgoing, (struct hf_message *)(void *)item);
            else
                message_free((struct hf_message *)(void *)item);
        }
        if (c->wsi) {
            lws_rx_flow_control(c->wsi, !atomic_load(&c->deaf));
            lws_callback_on_writable(c->wsi);
        }
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: {
        struct hf_message *message = outgoing_take(&c->outgoing, 0);
        if (!message) {
            if (!atomic_exchange(&c->hang_up, false))
                return 0;
            if (c->reason)
                lws_close_reason(wsi, LWS_CLOSE_STATUS_GOINGAWAY, (unsigned char *)c->reason,
                                 strlen(c->reason));
            return -1;
        }
        lws_write(wsi, message_data(message), message_size(message), LWS_WRITE_BINARY);
        message_free(message);
        lws_callback_on_writable(wsi);
        return 0;
    }
    case LWS_CALLBACK_CLOSED:
        if (wsi == c->wsi)
            c->wsi = NULL;
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols collector_protocols[] = {
    {.name = HF_PROTO_SUBPROTOCOL, .callback = collector_callback, .rx_buffer_size = 65536},
    {0},
};

static inline void *collector_main(void *context)
{
    struct collector *c = context;
    while (!atomic_load(&c->stopping))
        lws_service(c->context, 0);
    return NULL;
}

/* Files and names; the server is started by collector_start. */
static inline struct collector *collector_new(void)
{
    struct collector *c = calloc(1, sizeof(*c));
    strcpy(c->directory, "/tmp/holdfast-link-XXXXXX");
    assert_non_null(mkdtemp(c->directory));
    snprintf(c->root, sizeof(c->root), "%s/root.pem", c->directory);
    snprintf(c->server, sizeof(c->server), "%s/server.pem", c->directory);
    snprintf(c->agent, sizeof(c->agent), "%s/agent.pem", c->directory);
    c->authority = authority_new(c->root);
    struct certificate_wish server = {.common_name = "collector",
                                      .san = "DNS:localhost,IP:127.0.0.1",
                                      .usage = "serverAuth",
                                      .begins_s = -60,
                                      .ends_s = 3600};
    struct certificate_wish agent = {.common_name = "h-0123456789abcdef",
                                     .usage = "clientAuth",
                                     .begins_s = -60,
                                     .ends_s = 3600};
    authority_issue(&c->authority, c->server, &server);
    authority_issue(&c->authority, c->agent, &agent);
    atomic_store(&c->credit, 1 << 20);
    c->to_send = hf_queue_new();
    c->received = hf_queue_new();
    outgoing_init(&c->outgoing);
    return c;
}

/* libwebsockets numbers its TLS contexts per process, not per context: with two contexts in one
 * process, as only a test has them, it does not find one of them again and leaks it. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static inline void collector_start(struct collector *c)
{
    lws_set_log_level(0, NULL);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .user = c,
        .fd_limit_per_thread = 64,
    };
    c->context = lws_create_context(&info);
    assert_non_null(c->context);
    struct lws_context_creation_info vhost = {
        .port = c->port, /* 0 at first: any; a restarted one keeps its port */
        .iface = "127.0.0.1",
        .vhost_name = "collector",
        .protocols = collector_protocols,
        .ssl_cert_filepath = c->server,
        .ssl_private_key_filepath = c->server,
        .ssl_ca_filepath = c->root,
        /* The latter includes LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT. */
        .options = LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
                   LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT,
    };
    if (__lsan_disable)
        __lsan_disable();
    struct lws_vhost *made = lws_create_vhost(c->context, &vhost);
    if (__lsan_enable)
        __lsan_enable();
    assert_non_null(made);
    c->port = (uint16_t)lws_get_vhost_listen_port(made);
    assert_int_not_equal(c->port, 0);
    atomic_store(&c->stopping, false);
    assert_int_equal(pthread_create(&c->thread, NULL, collector_main, c), 0);
}

static inline void collector_stop(struct collector *c)
{
    if (!c->context)
        return;
    atomic_store(&c->stopping, true);
    lws_cancel_service(c->context);
    pthread_join(c->thread, NULL);
    lws_context_destroy(c->context);
    c->context = NULL;
    c->wsi = NULL;
}

static inline void release_kept(struct hf_queue_item *item)
{
    message_free((struct hf_message *)(void *)item);
}

static inline void collector_free(struct collector *c)
{
    collector_stop(c);
    outgoing_reset(&c->outgoing);
    hf_buf_free(&c->incoming);
    hf_queue_free(c->to_send, release_kept);
    hf_queue_free(c->received, release_kept);
    authority_free(&c->authority);
    unlink(c->root);
    unlink(c->server);
    unlink(c->agent);
    rmdir(c->directory);
    free(c);
}

static inline void collector_send(struct collector *c, const struct hf_frame *frame)
{
    struct hf_message *message;
    assert_int_equal(message_new(frame, 0, &message), 0);
    message->bulk = false;
    hf_queue_push(c->to_send, &message->item);
    lws_cancel_service(c->context);
}

static inline void collector_heed(struct collector *c, bool deaf)
{
    atomic_store(&c->deaf, deaf);
    lws_cancel_service(c->context);
}

static inline void collector_hang_up(struct collector *c)
{
    atomic_store(&c->hang_up, true);
    lws_cancel_service(c->context);
}

/* The next frame of the agent; its bytes stay in *out, which the caller frees with message_free. */
static inline struct hf_message *collector_next(struct collector *c, struct hf_frame *frame)
{
    struct hf_message *kept = (struct hf_message *)(void *)hf_queue_pop(c->received, 20000);
    assert_non_null(kept);
    assert_int_equal(proto_decode(kept->buf.data, kept->buf.size, frame, NULL), 0);
    return kept;
}

#endif
