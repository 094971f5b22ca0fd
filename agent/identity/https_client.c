#include "agent/identity/https_client.h"

#include <stdbool.h>
#include <string.h>

#include <libwebsockets.h>

#include "common/clock.h"

#define ANSWER_BYTES_MAX (64u * 1024u)
#define TIMEOUT_NS       (30 * HF_NS_PER_SECOND)

struct exchange {
    const struct https_request *request;
    struct hf_buf *body;
    struct hf_error *error;
    unsigned status;
    bool over;
    int rc;
    lws_sorted_usec_list_t timer;
};

static void finish(struct exchange *exchange, struct lws *wsi, int rc)
{
    if (!exchange->over) {
        exchange->over = true;
        exchange->rc = rc;
    }
    if (wsi) {
        lws_cancel_service(lws_get_context(wsi));
    }
}

static int send_body(struct lws *wsi, struct exchange *exchange)
{
    struct hf_buf out = {0};
    size_t length = strlen(exchange->request->body);
    int rc = hf_buf_extend(&out, LWS_PRE, NULL);
    rc = rc == HF_OK ? hf_buf_append(&out, exchange->request->body, length) : rc;
    int written =
        rc == HF_OK ? lws_write(wsi, out.data + LWS_PRE, length, LWS_WRITE_HTTP_FINAL) : -1;
    hf_buf_wipe_free(&out); /* it holds the token's secret */
    lws_client_http_body_pending(wsi, 0);
    return written < 0 ? -1 : 0;
}

static int add_headers(struct lws *wsi, const struct exchange *exchange, void *in, size_t length)
{
    unsigned char **p = in;
    unsigned char *end = *p + length;
    char size[24];
    if (!exchange->request->body) {
        return 0;
    }
    int digits = lws_snprintf(size, sizeof size, "%zu", strlen(exchange->request->body));
    if (lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH,
                                     (const unsigned char *)size, digits, p, end) ||
        lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_CONTENT_TYPE,
                                     (const unsigned char *)"application/json", 16, p, end)) {
        return -1;
    }
    lws_client_http_body_pending(wsi, 1);
    lws_callback_on_writable(wsi);
    return 0;
}

static int read_some(struct lws *wsi)
{
    char buffer[LWS_PRE + 4096];
    char *start = buffer + LWS_PRE;
    int length = (int)sizeof buffer - LWS_PRE;
    return lws_http_client_read(wsi, &start, &length) < 0 ? -1 : 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    struct lws_context *context = lws_get_context(wsi);
    struct exchange *exchange = context ? lws_context_user(context) : NULL;
    (void)user;
    if (!exchange) {
        return 0;
    }
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return add_headers(wsi, exchange, in, length);
    case LWS_CALLBACK_CLIENT_HTTP_WRITEABLE:
        return exchange->request->body ? send_body(wsi, exchange) : 0;
    case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
        exchange->status = lws_http_client_http_response(wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE_CLIENT_HTTP:
        return read_some(wsi);
    case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
        if (length > ANSWER_BYTES_MAX - exchange->body->size ||
            hf_buf_append(exchange->body, in, length) != HF_OK) {
            hf_error_set(exchange->error, HF_ERR_LIMIT, 0, "The answer is too long");
            finish(exchange, wsi, HF_ERR_LIMIT);
            return -1;
        }
        return 0;
    case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
        finish(exchange, wsi, HF_OK);
        return -1;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        if (!exchange->over) {
            hf_error_set(exchange->error, HF_ERR_CLOSED, 0, "Can't talk to %s port %u: %s",
                         exchange->request->host, exchange->request->port,
                         in ? (const char *)in : "the connection failed");
        }
        finish(exchange, wsi, HF_ERR_CLOSED);
        return 0;
    case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
        if (!exchange->over) {
            hf_error_set(exchange->error, HF_ERR_CLOSED, 0,
                         "%s port %u hung up before its answer was whole", exchange->request->host,
                         exchange->request->port);
        }
        finish(exchange, wsi, HF_ERR_CLOSED);
        return 0;
    default:
        return 0;
    }
}

static void on_timeout(lws_sorted_usec_list_t *timer)
{
    struct exchange *exchange = lws_container_of(timer, struct exchange, timer);
    if (!exchange->over) {
        hf_error_set(exchange->error, HF_ERR_TIMEOUT, 0, "%s port %u did not answer within 30 s",
                     exchange->request->host, exchange->request->port);
    }
    finish(exchange, NULL, HF_ERR_TIMEOUT);
}

static bool connect_to(struct lws_context *context, const struct https_request *request)
{
    struct lws_client_connect_info info = {
        .context = context,
        .address = request->host,
        .port = request->port,
        .path = request->path,
        .host = request->host,
        .origin = request->host,
        .method = request->method,
        .protocol = "http",
        .ssl_connection = LCCSCF_USE_SSL | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
    };
    if (!request->ca_pem) {
        info.ssl_connection |= LCCSCF_ALLOW_SELFSIGNED | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK |
                               LCCSCF_ALLOW_EXPIRED | LCCSCF_ALLOW_INSECURE;
    }
    return lws_client_connect_via_info(&info) != NULL;
}

int https_ask(const struct https_request *request, unsigned *status, struct hf_buf *body,
              struct hf_error *error)
{
    struct exchange exchange = {.request = request, .body = body, .error = error};
    static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = callback, .rx_buffer_size = 4096}, {.name = NULL}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .user = &exchange,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS, /* this root and no other */
        .client_ssl_ca_mem = request->ca_pem,
        .client_ssl_ca_mem_len = request->ca_pem ? (unsigned)strlen(request->ca_pem) + 1 : 0,
        .gid = -1,
        .uid = -1,
    };
    lws_set_log_level(0, NULL);
    struct lws_context *context = lws_create_context(&info);
    if (!context) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "The TLS library can't start");
    }
    lws_sul_schedule(context, 0, &exchange.timer, on_timeout, TIMEOUT_NS / 1000);
    if (!connect_to(context, request) && !exchange.over) {
        hf_error_set(error, HF_ERR_CLOSED, 0, "Can't connect to %s port %u", request->host,
                     request->port);
        finish(&exchange, NULL, HF_ERR_CLOSED);
    }
    while (!exchange.over && lws_service(context, 0) >= 0) {
    }
    lws_sul_cancel(&exchange.timer);
    lws_context_destroy(context);
    *status = exchange.status;
    return exchange.over ? exchange.rc : HF_ERR_CLOSED;
}
