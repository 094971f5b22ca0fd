/* The HTTP server as the collector runs it: on the event loop, behind real TLS, its handlers on
 * ingest's workers; and a client that sends exactly the bytes that a test wants. */
#ifndef HF_TESTS_HTTP_FIXTURE_H
#define HF_TESTS_HTTP_FIXTURE_H

#include "tests/unit/collector/identity/identity_fixture.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "collector/http/http.h"
#include "collector/net/loop.h"

#define PATIENCE_MS 30000

struct http_site {
    struct deployment deployment;
    struct hf_loop *loop;
    struct hf_http_server *server;
    uint16_t port;
    pthread_t thread;
    SSL_CTX *client; /* trusts the deployment's root and nothing else */
};

static inline void *http_serve(void *loop)
{
    loop_run(loop);
    return NULL;
}

static inline void http_site_start(struct http_site *site, hf_http_handler handler, void *context,
                                   uint32_t exchanges_max)
{
    struct hf_error error = {0};
    struct hf_loop_options loop_options = {0};
    char certificate[160];
    char key[160];
    char root[160];
    signal(SIGPIPE, SIG_IGN);
    assert_ok(loop_new(&loop_options, &site->loop, &error));
    struct hf_http_options options = {.loop = site->loop,
                                      .ingest = site->deployment.ingest,
                                      .handler = handler,
                                      .context = context,
                                      .exchanges_max = exchanges_max};
    assert_ok(http_server_new(&options, &site->server, &error));
    snprintf(certificate, sizeof certificate, "%s/tls/collector.pem", site->deployment.data);
    snprintf(key, sizeof key, "%s/tls/collector.key", site->deployment.data);
    snprintf(root, sizeof root, "%s/ca/root.pem", site->deployment.data);
    struct hf_listen_options listen_options = {.name = "api",
                                               .address = "127.0.0.1",
                                               .certificate_pem_path = certificate,
                                               .key_pem_path = key,
                                               .protocols = http_server_protocols(site->server)};
    assert_ok(loop_listen(site->loop, &listen_options, &site->port, &error));
    assert_int_equal(pthread_create(&site->thread, NULL, http_serve, site->loop), 0);
    site->client = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_load_verify_locations(site->client, root, NULL), 1);
    SSL_CTX_set_verify(site->client, SSL_VERIFY_PEER, NULL);
}

static inline void http_site_stop(struct http_site *site)
{
    loop_stop(site->loop);
    pthread_join(site->thread, NULL);
    loop_close(site->loop);
    ingest_stop(site->deployment.ingest);
    loop_free(site->loop);
    http_server_free(site->server);
    enrolment_free(site->deployment.enrolment);
    authority_free(site->deployment.authority);
    remove_tree(site->deployment.directory);
    SSL_CTX_free(site->client);
}

/* --- a client --- */

struct web {
    int socket;
    SSL *ssl;
    struct hf_buf input; /* received and not yet taken by web_answer */
    bool closed;
};

static inline struct web web_connect(const struct http_site *site)
{
    struct web web = {.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(site->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    assert_int_equal(connect(web.socket, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(web.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* What poll saw may be a session ticket, after which SSL_read would wait for ever. */
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(web.socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    web.ssl = SSL_new(site->client);
    SSL_set_fd(web.ssl, web.socket);
    assert_int_equal(SSL_set1_host(web.ssl, "collector.example"), 1);
    if (SSL_connect(web.ssl) != 1) {
        fail_msg("TLS: %s", ERR_error_string(ERR_get_error(), NULL));
    }
    return web;
}

static inline void web_close(struct web *web)
{
    SSL_free(web->ssl);
    close(web->socket);
    hf_buf_free(&web->input);
}

/* False once the server hung up. */
static inline bool web_send(struct web *web, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        int n = SSL_write(web->ssl, p, size > 16384 ? 16384 : (int)size);
        if (n <= 0) {
            ERR_clear_error();
            return false;
        }
        p += n;
        size -= (size_t)n;
    }
    return true;
}

static inline bool web_say(struct web *web, const char *text)
{
    return web_send(web, text, strlen(text));
}

/* Wait for more input; false at the end, and after wait_ms of silence. */
static inline bool web_read(struct web *web, int wait_ms)
{
    uint8_t *room = NULL;
    struct pollfd poll_fd = {.fd = web->socket, .events = POLLIN};
    if (web->closed || (SSL_pending(web->ssl) == 0 && poll(&poll_fd, 1, wait_ms) <= 0)) {
        return false;
    }
    assert_int_equal(hf_buf_extend(&web->input, 65536, &room), HF_OK);
    int n = SSL_read(web->ssl, room, 65536);
    web->input.size -= n > 0 ? 65536 - (size_t)n : 65536;
    web->closed = n <= 0 && SSL_get_error(web->ssl, n) != SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return n > 0;
}

/* Nothing more comes: the server has closed the connection. */
static inline bool web_is_over(struct web *web)
{
    while (web_read(web, PATIENCE_MS)) {
    }
    return web->closed;
}

struct answer {
    int status; /* 0: none came */
    char headers[2048];
    struct hf_buf body; /* chunked encoding taken off */
    bool whole;         /* as long as its headers or its last chunk say */
};

static inline void answer_free(struct answer *answer)
{
    hf_buf_free(&answer->body);
}

static inline const char *header_of(const struct answer *answer, const char *name)
{
    const char *found = strcasestr(answer->headers, name);
    return found ? found + strlen(name) : NULL;
}

static inline void web_take(struct web *web, size_t size)
{
    memmove(web->input.data, web->input.data + size, web->input.size - size);
    web->input.size -= size;
}

static inline bool web_need(struct web *web, size_t size)
{
    while (web->input.size < size) {
        if (!web_read(web, PATIENCE_MS)) {
            return false;
        }
    }
    return true;
}

/* Bytes up to and with `end`; NULL when the connection ends before. */
static inline const uint8_t *web_find(struct web *web, const char *end)
{
    const uint8_t *found;
    while (!(found = web->input.size ? memmem(web->input.data, web->input.size, end, strlen(end))
                                     : NULL)) {
        if (!web_read(web, PATIENCE_MS)) {
            return NULL;
        }
    }
    return found;
}

static inline bool web_body(struct web *web, struct answer *answer, size_t size)
{
    bool whole = web_need(web, size);
    size_t take = whole ? size : web->input.size;
    assert_int_equal(take ? hf_buf_append(&answer->body, web->input.data, take) : HF_OK, HF_OK);
    web_take(web, take);
    return whole;
}

static inline bool web_chunks(struct web *web, struct answer *answer)
{
    for (;;) {
        const uint8_t *end = web_find(web, "\r\n");
        if (!end) {
            return false;
        }
        size_t size = strtoul((const char *)web->input.data, NULL, 16);
        web_take(web, (size_t)(end - web->input.data) + 2);
        if (!web_body(web, answer, size) || !web_need(web, 2)) {
            return false;
        }
        web_take(web, 2);
        if (size == 0) {
            return true;
        }
    }
}

static inline struct answer web_answer(struct web *web, bool has_body)
{
    struct answer answer = {0};
    const uint8_t *end = web_find(web, "\r\n\r\n");
    if (!end) {
        return answer;
    }
    size_t size = (size_t)(end - web->input.data) + 4;
    snprintf(answer.headers, sizeof answer.headers, "%.*s", (int)size,
             (const char *)web->input.data);
    assert_memory_equal(answer.headers, "HTTP/1.", 7);
    assert_int_equal(answer.headers[8], ' ');
    answer.status = (int)strtol(answer.headers + 9, NULL, 10);
    assert_in_range(answer.status, 100, 599);
    web_take(web, size);
    const char *length = header_of(&answer, "\r\ncontent-length:");
    if (header_of(&answer, "\r\ntransfer-encoding: chunked") && has_body) {
        answer.whole = web_chunks(web, &answer);
    } else if (length && has_body) {
        answer.whole = web_body(web, &answer, strtoul(length, NULL, 10));
    } else {
        answer.whole = true;
    }
    assert_int_equal(hf_buf_terminate(&answer.body), HF_OK);
    return answer;
}

/* One request of its own connection. */
static inline struct answer web_ask(const struct http_site *site, const char *request)
{
    struct web web = web_connect(site);
    web_say(&web, request);
    struct answer answer = web_answer(&web, strncmp(request, "HEAD", 4) != 0);
    web_close(&web);
    return answer;
}

#endif
