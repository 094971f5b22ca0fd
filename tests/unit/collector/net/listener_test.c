/* Handshakes: limited at a time, and nobody kept out for long by those that do not go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "collector/net/listener.h"
#include "collector/net/loop.h"
#include "common/clock.h"
#include "tests/unit/collector/identity/identity_fixture.h"

#define CLIENTS     300 /* more than may shake hands at a time */
#define PATIENCE_NS (60 * HF_NS_PER_SECOND)

static struct hf_error error;

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    int result = 0;
    if (listener_callback(wsi, reason, user, in, length, &result, NULL)) {
        return result;
    }
    return lws_callback_http_dummy(wsi, reason, user, in, length);
}

static const struct lws_protocols protocols[] = {{.name = "http", .callback = callback},
                                                 {.name = NULL}};

struct site {
    struct deployment deployment;
    struct hf_loop *loop;
    pthread_t server;
    uint16_t port;
    SSL_CTX *tls;
};

static void *serve(void *loop)
{
    loop_run(loop);
    return NULL;
}

static struct site site_new(void)
{
    struct site site = {.deployment = deployment_new(DAY_NS)};
    struct hf_loop_options loop_options = {0};
    char certificate[160];
    char key[160];
    signal(SIGPIPE, SIG_IGN);
    snprintf(certificate, sizeof certificate, "%s/tls/collector.pem", site.deployment.data);
    snprintf(key, sizeof key, "%s/tls/collector.key", site.deployment.data);
    struct hf_listen_options options = {.name = "api",
                                        .address = "127.0.0.1",
                                        .certificate_pem_path = certificate,
                                        .key_pem_path = key,
                                        .protocols = protocols};
    assert_ok(loop_new(&loop_options, &site.loop, &error));
    assert_ok(loop_listen(site.loop, &options, &site.port, &error));
    assert_int_equal(pthread_create(&site.server, NULL, serve, site.loop), 0);
    site.tls = SSL_CTX_new(TLS_client_method());
    return site;
}

static void site_free(struct site *site)
{
    loop_stop(site->loop);
    pthread_join(site->server, NULL);
    loop_free(site->loop);
    SSL_CTX_free(site->tls);
    deployment_free(&site->deployment);
}

struct client {
    int fd;
    SSL *ssl;
    bool asked, answered;
};

static struct client client_dial(const struct site *site)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(site->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
    fcntl(client.fd, F_SETFL, O_NONBLOCK);
    client.ssl = SSL_new(site->tls);
    SSL_set_fd(client.ssl, client.fd);
    return client;
}

static void client_free(struct client *client)
{
    SSL_free(client->ssl);
    close(client->fd);
}

/* As far as it goes without waiting. */
static void client_go_on(struct client *client)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char answer[64];
    if (!client->asked && SSL_connect(client->ssl) == 1) {
        client->asked = SSL_write(client->ssl, request, sizeof request - 1) > 0;
    }
    if (client->asked && !client->answered) {
        client->answered = SSL_read(client->ssl, answer, sizeof answer) > 0;
    }
    ERR_clear_error();
}

static void clients_finish(struct client *clients, size_t count)
{
    struct pollfd fds[CLIENTS];
    size_t left = count;
    int64_t until_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    while (left > 0 && hf_clock_monotonic_ns() < until_ns) {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            client_go_on(&clients[i]);
            fds[i] =
                (struct pollfd){.fd = clients[i].answered ? -1 : clients[i].fd, .events = POLLIN};
            left += !clients[i].answered;
        }
        poll(fds, (nfds_t)count, 10);
    }
    assert_int_equal(left, 0);
}

static void more_than_may_shake_hands_at_once_all_get_in(void **state)
{
    (void)state;
    struct site site = site_new();
    struct client *clients = calloc(CLIENTS, sizeof *clients);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            clients[i] = client_dial(&site);
        }
        clients_finish(clients, CLIENTS);
        for (size_t i = 0; i < CLIENTS; i++) {
            client_free(&clients[i]);
        }
    }
    free(clients);
    site_free(&site);
}

static void those_that_do_not_go_on_keep_nobody_out(void **state)
{
    (void)state;
    struct site site = site_new();
    struct client *idle = calloc(CLIENTS, sizeof *idle);
    for (size_t i = 0; i < CLIENTS; i++) {
        idle[i] = client_dial(&site);
        SSL_connect(idle[i].ssl); /* the first flight, and no more */
        ERR_clear_error();
    }
    struct client honest = client_dial(&site);
    clients_finish(&honest, 1);
    client_free(&honest);
    /* Half hang up while the collector may still count them, then another comes. */
    for (size_t i = 0; i < CLIENTS; i += 2) {
        client_free(&idle[i]);
    }
    honest = client_dial(&site);
    clients_finish(&honest, 1);
    client_free(&honest);
    site_free(&site); /* the others are there still; sanitizers judge */
    for (size_t i = 1; i < CLIENTS; i += 2) {
        client_free(&idle[i]);
    }
    free(idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_may_shake_hands_at_once_all_get_in),
        cmocka_unit_test(those_that_do_not_go_on_keep_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
