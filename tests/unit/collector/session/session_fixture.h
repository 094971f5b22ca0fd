/* A collector's agents' listener over a real deployment, and agents that speak to it: TLS by
 * OpenSSL, WebSockets by hand (RFC 6455; the mask is zero), frames by proto. */
#ifndef HF_TESTS_SESSION_FIXTURE_H
#define HF_TESTS_SESSION_FIXTURE_H

#include "tests/unit/collector/identity/identity_fixture.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "collector/net/loop.h"
#include "collector/session/session.h"
#include "proto/frame.h"

#define PATIENCE_MS 20000

struct site {
    struct deployment deployment;
    struct hf_loop *loop;
    struct hf_hub *hub;
    struct hf_sessions *sessions;
    uint16_t port;
    pthread_t server;
};

static inline void *site_serve(void *loop)
{
    loop_run(loop);
    return NULL;
}

/* ping_s: as in the options; 0 for what it is in use. */
static inline struct site site_pinging(uint64_t memory_bytes, uint32_t ping_s)
{
    struct hf_error error = {0};
    struct hf_loop_options loop_options = {0};
    struct site site = {.deployment = deployment_new(DAY_NS)};
    char certificate[160];
    char key[160];
    char ca[160];
    signal(SIGPIPE, SIG_IGN);
    assert_ok(loop_new(&loop_options, &site.loop, &error));
    site.hub = hub_new();
    struct hf_sessions_options options = {
        .loop = site.loop,
        .ingest = site.deployment.ingest,
        .authority = site.deployment.authority,
        .hub = site.hub,
        .memory_bytes = memory_bytes,
        .sessions_max = 100,
        .ping_s = ping_s,
    };
    assert_ok(sessions_new(&options, &site.sessions, &error));
    snprintf(certificate, sizeof certificate, "%s/tls/collector.pem", site.deployment.data);
    snprintf(key, sizeof key, "%s/tls/collector.key", site.deployment.data);
    snprintf(ca, sizeof ca, "%s/tls/clients-ca.pem", site.deployment.data);
    struct hf_listen_options listen_options = {
        .name = "agents",
        .address = "127.0.0.1",
        .certificate_pem_path = certificate,
        .key_pem_path = key,
        .client_ca_pem_path = ca,
        .protocols = sessions_protocols(site.sessions),
    };
    assert_ok(loop_listen(site.loop, &listen_options, &site.port, &error));
    assert_int_equal(pthread_create(&site.server, NULL, site_serve, site.loop), 0);
    return site;
}

static inline struct site site_new(uint64_t memory_bytes)
{
    return site_pinging(memory_bytes, 0);
}

/* In the order of collector_serve. */
static inline void site_free(struct site *site)
{
    loop_stop(site->loop);
    pthread_join(site->server, NULL);
    loop_close(site->loop);
    ingest_stop(site->deployment.ingest);
    loop_free(site->loop);
    sessions_free(site->sessions);
    hub_free(site->hub);
    enrolment_free(site->deployment.enrolment);
    authority_free(site->deployment.authority);
    remove_tree(site->deployment.directory);
}

static inline void ask_audit_count(struct question *q, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    const struct hf_audit_row *rows = NULL;
    size_t count = 0;
    q->rc = catalog_audit_list(catalog, 0, 1000, &memory, &rows, &count, &q->error);
    q->number = 0;
    for (size_t i = 0; q->rc == HF_OK && i < count; i++) {
        q->number += strcmp(rows[i].action, q->text) == 0;
    }
    catalog_memory_free(&memory);
}

/* How often an action is in the audit log, once it is; entries are written behind the loop's back.
 */
static inline uint64_t audit_count(struct site *site, const char *action)
{
    struct question question = {.ask = ask_audit_count, .text = action};
    for (int i = 0; i < 2000; i++) {
        ask(&site->deployment, &question);
        assert_int_equal(question.rc, HF_OK);
        if (question.number > 0) {
            break;
        }
        usleep(5000);
    }
    return question.number;
}

/* --- agents --- */

struct agent {
    char host_id[64];
    SSL_CTX *context;
    SSL *ssl;
    int socket;
    uint64_t sent_seq, received_seq;
    uint8_t instance[HF_INSTANCE_BYTES];
    struct hf_buf input; /* bytes that no frame has taken yet */
    struct hf_buf message;
    struct hf_frame frame; /* the last one received; points into message */
    unsigned pings;        /* that came */
    unsigned pings_max;    /* then agent_message ends; 0: never */
    bool mute;             /* pings are not answered */
};

static inline struct agent agent_enrol(struct site *site)
{
    static unsigned count;
    struct agent agent = {.socket = -1};
    char peer[32];
    snprintf(peer, sizeof peer, "10.1.%u.%u", count / 250, count % 250);
    count++;
    struct test_token token = token_new(&site->deployment, 1, 0);
    struct hf_buf key = key_new();
    struct reply reply = enrol_from(&site->deployment, token.text, &key, peer);
    assert_int_equal(reply.status, 200);
    snprintf(agent.host_id, sizeof agent.host_id, "%s", reply_text(&reply, "host_id"));
    agent.context = SSL_CTX_new(TLS_client_method());
    BIO *bio = BIO_new_mem_buf(reply_text(&reply, "chain"), -1);
    X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    X509 *issuing = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(key.data, (int)key.size);
    EVP_PKEY *private_key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_int_equal(SSL_CTX_use_certificate(agent.context, leaf), 1);
    assert_int_equal(SSL_CTX_add_extra_chain_cert(agent.context, issuing), 1); /* takes it */
    assert_int_equal(SSL_CTX_use_PrivateKey(agent.context, private_key), 1);
    X509_free(leaf);
    EVP_PKEY_free(private_key);
    hf_buf_wipe_free(&key);
    reply_free(&reply);
    hf_random(agent.instance, sizeof agent.instance);
    return agent;
}

static inline void agent_hang_up(struct agent *agent)
{
    SSL_free(agent->ssl);
    agent->ssl = NULL;
    if (agent->socket >= 0) {
        close(agent->socket);
    }
    agent->socket = -1;
    proto_frame_free(&agent->frame);
    agent->frame = (struct hf_frame){0};
    hf_buf_free(&agent->message);
    hf_buf_free(&agent->input);
    agent->sent_seq = agent->received_seq = 0;
}

static inline void agent_free(struct agent *agent)
{
    agent_hang_up(agent);
    SSL_CTX_free(agent->context);
}

/* Send all of it; false when the connection is gone. */
static inline bool agent_write(struct agent *agent, const void *data, size_t size)
{
    const uint8_t *p = data;
    while (size > 0) {
        int n = SSL_write(agent->ssl, p, size > 16384 ? 16384 : (int)size);
        if (n <= 0) {
            ERR_clear_error();
            return false;
        }
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* More input; false at the connection's end, or after wait_ms of silence. */
static inline bool agent_read(struct agent *agent, int wait_ms)
{
    uint8_t *room = NULL;
    struct pollfd poll_fd = {.fd = agent->socket, .events = POLLIN};
    if (SSL_pending(agent->ssl) == 0 && poll(&poll_fd, 1, wait_ms) <= 0) {
        return false;
    }
    assert_int_equal(hf_buf_extend(&agent->input, 65536, &room), HF_OK);
    int n = SSL_read(agent->ssl, room, 65536);
    agent->input.size -= n > 0 ? 65536 - (size_t)n : 65536;
    ERR_clear_error();
    return n > 0;
}

static inline void agent_dial(struct agent *agent, const struct site *site)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(site->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    agent->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(agent->socket, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(agent->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    agent->ssl = SSL_new(agent->context);
    SSL_set_fd(agent->ssl, agent->socket);
    assert_int_equal(SSL_connect(agent->ssl), 1);
}

static const char upgrade_request[] =
    "GET /v1/agent HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: holdfast.v1\r\n\r\n";

/* The collector's answer to upgrade_request. */
static inline void agent_expect_upgrade(struct agent *agent)
{
    const uint8_t *end = NULL;
    while (agent->input.size == 0 ||
           !(end = memmem(agent->input.data, agent->input.size, "\r\n\r\n", 4))) {
        if (!agent_read(agent, PATIENCE_MS)) {
            fail_msg("no answer to the upgrade");
        }
    }
    assert_memory_equal(agent->input.data, "HTTP/1.1 101", 12);
    hf_buf_consume(&agent->input, (size_t)(end - agent->input.data) + 4);
}

static inline void agent_connect(struct agent *agent, const struct site *site)
{
    agent_dial(agent, site);
    assert_true(agent_write(agent, upgrade_request, strlen(upgrade_request)));
    agent_expect_upgrade(agent);
}

/* The head of a masked WebSocket frame. */
static inline void append_head(struct hf_buf *out, uint8_t first, uint64_t size)
{
    uint8_t head[14] = {first};
    size_t length = 2;
    if (size < 126) {
        head[1] = (uint8_t)(0x80 | size);
    } else {
        unsigned bytes = size < 65536 ? 2 : 8;
        head[1] = bytes == 2 ? 0xfe : 0xff;
        for (unsigned i = 0; i < bytes; i++) {
            head[length++] = (uint8_t)(size >> (8 * (bytes - 1 - i)));
        }
    }
    assert_int_equal(hf_buf_append(out, head, length + 4), HF_OK); /* 4: the mask, zero */
}

#define WS_BINARY 0x82
#define WS_TEXT   0x81
#define WS_PONG   0x8a

static inline void append_message(struct hf_buf *out, uint8_t first, const void *data, size_t size)
{
    append_head(out, first, size);
    assert_int_equal(hf_buf_append(out, data, size), HF_OK);
}

/* The next frame of the agent as a WebSocket message. */
static inline void append_frame(struct agent *agent, struct hf_buf *out,
                                const struct hf_frame *frame)
{
    struct hf_buf bytes = {0};
    struct hf_frame numbered = *frame;
    numbered.seq = ++agent->sent_seq;
    assert_int_equal(proto_encode(&numbered, &bytes), HF_OK);
    append_message(out, WS_BINARY, bytes.data, bytes.size);
    hf_buf_free(&bytes);
}

static inline bool agent_send(struct agent *agent, const struct hf_frame *frame)
{
    struct hf_buf out = {0};
    append_frame(agent, &out, frame);
    bool sent = agent_write(agent, out.data, out.size);
    hf_buf_free(&out);
    return sent;
}

static inline struct hf_frame hello_of(const struct agent *agent)
{
    return (struct hf_frame){
        .type = HF_FRAME_HELLO,
        .hello = {.version_min = 1,
                  .version_max = 1,
                  .agent_version = event_text("test"),
                  .hostname = event_text("robot"),
                  .machine_id = event_text("machine"),
                  .os = event_text("linux"),
                  .now_ns = hf_clock_now_ns(),
                  .instance = {agent->instance, sizeof agent->instance}},
    };
}

static inline void agent_on_ping(struct agent *agent)
{
    struct hf_buf out = {0};
    agent->pings++;
    if (!agent->mute) {
        append_message(&out, WS_PONG, agent->message.data, agent->message.size);
        agent_write(agent, out.data, out.size);
    }
    hf_buf_free(&out);
}

/* One WebSocket message into agent->message; false at the end or after wait_ms. */
static inline bool agent_message(struct agent *agent, int wait_ms)
{
    for (;;) {
        while (agent->input.size < 2) {
            if (!agent_read(agent, wait_ms)) {
                return false;
            }
        }
        uint8_t opcode = agent->input.data[0] & 15;
        uint64_t size = agent->input.data[1] & 127;
        size_t start = size == 126 ? 4 : size == 127 ? 10 : 2;
        while (agent->input.size < start) {
            if (!agent_read(agent, wait_ms)) {
                return false;
            }
        }
        if (start > 2) {
            size = 0;
            for (size_t i = 2; i < start; i++) {
                size = size << 8 | agent->input.data[i];
            }
        }
        while (agent->input.size < start + size) {
            if (!agent_read(agent, wait_ms)) {
                return false;
            }
        }
        hf_buf_clear(&agent->message);
        assert_int_equal(hf_buf_append(&agent->message, agent->input.data + start, (size_t)size),
                         HF_OK);
        hf_buf_consume(&agent->input, start + (size_t)size);
        if (opcode == 8) {
            return false;
        }
        if (opcode == 9) {
            agent_on_ping(agent);
            if (agent->pings == agent->pings_max) {
                return false;
            }
        }
        if (opcode == 2) {
            return true;
        }
    }
}

static inline bool agent_receive_within(struct agent *agent, int wait_ms)
{
    struct hf_error error = {0};
    proto_frame_free(&agent->frame);
    agent->frame = (struct hf_frame){0};
    if (!agent_message(agent, wait_ms)) {
        return false;
    }
    assert_ok(proto_decode(agent->message.data, agent->message.size, &agent->frame, &error));
    assert_int_equal(agent->frame.seq, ++agent->received_seq);
    return true;
}

/* The next frame, CREDIT passed over. */
static inline const struct hf_frame *agent_receive(struct agent *agent)
{
    do {
        if (!agent_receive_within(agent, PATIENCE_MS)) {
            fail_msg("the connection ended, or nothing came, where a frame was expected");
        }
    } while (agent->frame.type == HF_FRAME_CREDIT);
    return &agent->frame;
}

static inline const struct hf_frame *agent_expect(struct agent *agent, enum hf_frame_type type)
{
    const struct hf_frame *frame = agent_receive(agent);
    if (frame->type != type) {
        bool refusal = frame->type == HF_FRAME_ERROR || frame->type == HF_FRAME_GOAWAY;
        fail_msg("%s came instead of %s: %.*s", proto_frame_name(frame->type),
                 proto_frame_name(type), refusal ? (int)frame->refusal.message.size : 0,
                 refusal ? (const char *)frame->refusal.message.data : "");
    }
    return frame;
}

/* Connect and greet; returns the credit. */
static inline uint64_t agent_open(struct agent *agent, const struct site *site)
{
    agent_connect(agent, site);
    struct hf_frame hello = hello_of(agent);
    assert_true(agent_send(agent, &hello));
    return agent_expect(agent, HF_FRAME_WELCOME)->welcome.credit_bytes;
}

/* The session ends with this code, whatever comes before; then the connection does. Returns the
 * wait that is asked for. */
static inline uint32_t agent_expect_goaway(struct agent *agent, enum hf_wire_code code)
{
    while (agent_receive(agent)->type != HF_FRAME_GOAWAY) {
    }
    const struct hf_refusal *refusal = &agent->frame.refusal;
    if (refusal->code != code) {
        fail_msg("GOAWAY says %s instead of %s: %.*s", proto_code_name(refusal->code),
                 proto_code_name(code), (int)refusal->message.size,
                 (const char *)refusal->message.data);
    }
    uint32_t wait_ms = refusal->retry_after_ms;
    assert_false(agent_receive_within(agent, PATIENCE_MS));
    return wait_ms;
}

static inline void agent_open_source(struct agent *agent, uint32_t stream, const char *name,
                                     uint64_t committed)
{
    struct hf_frame frame = {.type = HF_FRAME_SOURCE,
                             .source = {.stream = stream,
                                        .name = event_text(name),
                                        .kind = event_text("files"),
                                        .class_name = event_text("config")}};
    assert_true(agent_send(agent, &frame));
    const struct hf_source_committed *state =
        &agent_expect(agent, HF_FRAME_SOURCE_STATE)->source_state;
    assert_int_equal(state->stream, stream);
    assert_int_equal(state->version_seq, committed);
}

/* Content that is like no other. */
struct content {
    uint8_t *data;
    uint32_t size;
    uint8_t id[HF_HASH_BYTES];
    uint8_t ref[HF_CHUNK_REF_BYTES];
};

static inline struct content content_new(uint32_t size)
{
    struct content content = {.data = malloc(size), .size = size};
    assert_non_null(content.data);
    hf_random(content.data, size);
    hf_sha256(content.data, size, content.id);
    memcpy(content.ref, content.id, HF_HASH_BYTES);
    for (unsigned i = 0; i < 4; i++) {
        content.ref[HF_HASH_BYTES + i] = (uint8_t)(size >> (8 * i));
    }
    return content;
}

static inline struct hf_block block_of(const struct content *content)
{
    return (struct hf_block){.chunks = {content->ref, sizeof content->ref},
                             .data = {content->data, content->size}};
}

static inline struct hf_version version_of(const struct content *content, uint64_t seq,
                                           const char *path)
{
    return (struct hf_version){.seq = seq,
                               .type = HF_FILE_REGULAR,
                               .path = event_text(path),
                               .captured_ns = hf_clock_now_ns(),
                               .mode = 0644,
                               .mtime_ns = hf_clock_now_ns(),
                               .size = content->size,
                               .refs = {content->ref, sizeof content->ref}};
}

static inline struct hf_frame chunks_frame(const struct hf_block *blocks, size_t count)
{
    return (struct hf_frame){.type = HF_FRAME_CHUNKS, .chunks = {.blocks = blocks, .count = count}};
}

static inline struct hf_frame versions_frame(uint32_t stream, const struct hf_version *versions,
                                             size_t count)
{
    return (struct hf_frame){.type = HF_FRAME_VERSIONS,
                             .versions = {.stream = stream, .versions = versions, .count = count}};
}

#endif
