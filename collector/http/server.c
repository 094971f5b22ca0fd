/* The loop's side: parse a request, start its exchange, write what comes back. */
#include <stdlib.h>
#include <string.h>

#include "collector/http/exchange.h"
#include "collector/net/listener.h"
#include "collector/net/loop.h"

#define BODY_TIMEOUT_S   30
#define ANSWER_TIMEOUT_S 120
#define HEADER_BYTES     1024

struct connection {
    struct hf_http_exchange *exchange;
};

static const char *method_name(int method)
{
    switch (method) {
    case LWSHUMETH_GET:
        return "GET";
    case LWSHUMETH_HEAD:
        return "HEAD";
    case LWSHUMETH_POST:
        return "POST";
    case LWSHUMETH_PUT:
        return "PUT";
    case LWSHUMETH_PATCH:
        return "PATCH";
    case LWSHUMETH_DELETE:
        return "DELETE";
    default:
        return NULL;
    }
}

/* Answer from the loop itself, before any exchange: for what can't be parsed or taken. */
static int refuse(struct lws *wsi, unsigned int status)
{
    return lws_return_http_status(wsi, status, NULL) || lws_http_transaction_completed(wsi);
}

static int read_params(struct lws *wsi, struct hf_http_exchange *exchange)
{
    for (int i = 0;; i++) {
        int length = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i);
        if (length <= 0) {
            return HF_OK;
        }
        size_t count = exchange->request.param_count;
        if (count == HF_HTTP_QUERY_MAX) {
            return HF_ERR_LIMIT;
        }
        char *text = malloc((size_t)length + 1);
        if (!text) {
            return HF_ERR_NO_MEMORY;
        }
        int copied = lws_hdr_copy_fragment(wsi, text, length + 1, WSI_TOKEN_HTTP_URI_ARGS, i);
        int rc = copied < 0 ? HF_ERR_INVALID
                            : http_param_parse(text, (size_t)copied, &exchange->params[count]);
        free(text);
        if (rc != HF_OK) {
            return rc;
        }
        exchange->request.param_count++;
    }
}

static char *copy_header(struct lws *wsi, enum lws_token_indexes token)
{
    int length = lws_hdr_total_length(wsi, token);
    char *text = calloc(1, (size_t)(length > 0 ? length : 0) + 1);
    if (text && length > 0 && lws_hdr_copy(wsi, text, length + 1, token) < 0) {
        text[0] = '\0';
    }
    return text;
}

/* Fill the exchange from the request's head. Returns 0 or the status to refuse it with. */
static unsigned int read_head(struct lws *wsi, struct hf_http_exchange *exchange)
{
    char *uri = NULL;
    int uri_length = 0;
    int method = lws_http_get_uri_and_method(wsi, &uri, &uri_length);
    exchange->request.method = method_name(method);
    if (!exchange->request.method) {
        return HTTP_STATUS_METHOD_NOT_ALLOWED;
    }
    if (uri_length < 0 || (size_t)uri_length > HF_HTTP_PATH_MAX_BYTES) {
        return HTTP_STATUS_REQ_URI_TOO_LONG;
    }
    exchange->path = strndup(uri, (size_t)uri_length);
    exchange->authorization = copy_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);
    if (!exchange->path || !exchange->authorization) {
        return HTTP_STATUS_SERVICE_UNAVAILABLE;
    }
    loop_peer_address(wsi, exchange->peer, sizeof exchange->peer);
    return read_params(wsi, exchange) == HF_OK ? 0 : HTTP_STATUS_BAD_REQUEST;
}

static bool expects_body(struct lws *wsi)
{
    char length[24];
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 &&
        lws_hdr_copy(wsi, length, sizeof length, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0) {
        return strtoull(length, NULL, 10) > 0;
    }
    return false;
}

static int start(struct lws *wsi, struct connection *connection)
{
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_TIMEOUT_S);
    if (exchange_start(connection->exchange) == HF_OK) {
        return 0;
    }
    exchange_free(connection->exchange);
    connection->exchange = NULL;
    return refuse(wsi, HTTP_STATUS_SERVICE_UNAVAILABLE);
}

static int on_request(struct lws *wsi, struct connection *connection)
{
    struct hf_http_server *server = lws_get_protocol(wsi)->user;
    connection->exchange = exchange_new(server, wsi);
    if (!connection->exchange) {
        return refuse(wsi, HTTP_STATUS_SERVICE_UNAVAILABLE);
    }
    unsigned int status = read_head(wsi, connection->exchange);
    if (status != 0) {
        exchange_free(connection->exchange);
        connection->exchange = NULL;
        return refuse(wsi, status);
    }
    if (expects_body(wsi)) {
        lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, BODY_TIMEOUT_S);
        return 0;
    }
    return start(wsi, connection);
}

static int on_body(struct lws *wsi, struct connection *connection, const void *data, size_t size)
{
    struct hf_http_exchange *exchange = connection->exchange;
    if (!exchange || exchange->at_worker) {
        return -1;
    }
    if (size > HF_HTTP_BODY_MAX_BYTES - exchange->body.size) {
        lws_return_http_status(wsi, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, NULL);
        return -1;
    }
    return hf_buf_append(&exchange->body, data, size) == HF_OK ? 0 : -1;
}

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **p,
                      unsigned char *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                       (const unsigned char *)value, (int)strlen(value), p, end);
}

static int write_headers(struct lws *wsi, struct hf_http_exchange *exchange)
{
    const struct hf_http_response *response = &exchange->response;
    unsigned char buffer[LWS_PRE + HEADER_BYTES];
    unsigned char *start_of_headers = buffer + LWS_PRE;
    unsigned char *p = start_of_headers;
    unsigned char *end = buffer + sizeof buffer - 1;
    char number[24];
    bool chunked = response->length < 0;
    if (lws_add_http_header_status(wsi, (unsigned int)response->status, &p, end) ||
        add_header(wsi, "content-type:", response->content_type, &p, end) ||
        add_header(wsi, "cache-control:", "no-store", &p, end) ||
        add_header(wsi, "x-content-type-options:", "nosniff", &p, end)) {
        return -1;
    }
    if (chunked
            ? add_header(wsi, "transfer-encoding:", "chunked", &p, end)
            : lws_add_http_header_content_length(wsi, (lws_filepos_t)response->length, &p, end)) {
        return -1;
    }
    if (response->status == 401 && add_header(wsi, "www-authenticate:", "Bearer", &p, end)) {
        return -1;
    }
    if (response->retry_after_s > 0) {
        lws_snprintf(number, sizeof number, "%u", response->retry_after_s);
        if (add_header(wsi, "retry-after:", number, &p, end)) {
            return -1;
        }
    }
    if (response->about_bytes > 0) {
        lws_snprintf(number, sizeof number, "%llu", (unsigned long long)response->about_bytes);
        if (add_header(wsi, "holdfast-about-bytes:", number, &p, end)) {
            return -1;
        }
    }
    exchange->headers_sent = true;
    return lws_finalize_write_http_header(wsi, start_of_headers, &p, end);
}

static int complete(struct lws *wsi, struct connection *connection)
{
    exchange_free(connection->exchange);
    connection->exchange = NULL;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_writeable(struct lws *wsi, struct connection *connection)
{
    struct hf_http_exchange *exchange = connection->exchange;
    if (!exchange || exchange->at_worker) {
        return 0; /* spurious, or the worker isn't back yet */
    }
    if (exchange->failed && exchange->headers_sent) {
        return -1;
    }
    if (exchange->failed) {
        exchange_free(exchange);
        connection->exchange = NULL;
        return refuse(wsi, HTTP_STATUS_INTERNAL_SERVER_ERROR);
    }
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_TIMEOUT_S);
    if (!exchange->headers_sent) {
        if (write_headers(wsi, exchange)) {
            return -1;
        }
        if (strcmp(exchange->request.method, "HEAD") == 0) {
            return complete(wsi, connection);
        }
        lws_callback_on_writable(wsi);
        return 0;
    }
    size_t left = exchange->piece.size - LWS_PRE - exchange->piece_sent;
    if (left > 0) {
        bool final = exchange->whole;
        int written = lws_write(wsi, exchange->piece.data + LWS_PRE + exchange->piece_sent, left,
                                final ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP);
        if (written < 0) {
            return -1;
        }
        exchange->piece_sent += left; /* what didn't fit the socket is buffered by the library */
    }
    if (exchange->whole) {
        return complete(wsi, connection);
    }
    return exchange_produce(exchange) == HF_OK ? 0 : -1;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    struct connection *connection = user;
    int result = 0;
    if (listener_callback(wsi, reason, user, in, length, &result, NULL)) {
        return result;
    }
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return on_request(wsi, connection);
    case LWS_CALLBACK_HTTP_BODY:
        return on_body(wsi, connection, in, length);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return connection->exchange && !connection->exchange->at_worker ? start(wsi, connection)
                                                                        : -1;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return on_writeable(wsi, connection);
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        if (connection && connection->exchange) {
            exchange_abandon(connection->exchange);
            connection->exchange = NULL;
        }
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return -1; /* nobody upgrades to WebSocket here */
    default:
        return 0;
    }
}

int http_server_new(const struct hf_http_options *options, struct hf_http_server **out,
                    struct hf_error *error)
{
    struct hf_http_server *server = calloc(1, sizeof *server);
    if (!server) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for an HTTP server");
    }
    server->options = *options;
    server->protocols[0] = (struct lws_protocols){
        .name = "http",
        .callback = callback,
        .per_session_data_size = sizeof(struct connection),
        .rx_buffer_size = 4096,
        .user = server,
    };
    *out = server;
    return HF_OK;
}

const struct lws_protocols *http_server_protocols(const struct hf_http_server *server)
{
    return server->protocols;
}

void http_server_free(struct hf_http_server *server)
{
    free(server);
}
