#include "collector/http/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ingest/ingest.h"
#include "collector/net/loop.h"
#include "common/bytes.h"
#include "common/log.h"

struct hf_http_exchange *exchange_new(struct hf_http_server *server, struct lws *wsi)
{
    uint32_t max = server->options.exchanges_max ? server->options.exchanges_max : 256;
    if (atomic_fetch_add(&server->exchanges, 1) >= max) {
        atomic_fetch_sub(&server->exchanges, 1);
        return NULL;
    }
    struct hf_http_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) {
        atomic_fetch_sub(&server->exchanges, 1);
        return NULL;
    }
    exchange->server = server;
    exchange->wsi = wsi;
    return exchange;
}

void exchange_free(struct hf_http_exchange *exchange)
{
    if (!exchange) {
        return;
    }
    if (exchange->response.produce_free) {
        exchange->response.produce_free(exchange->response.produce_state);
    }
    if (exchange->authorization) {
        hf_wipe(exchange->authorization, strlen(exchange->authorization));
        free(exchange->authorization);
    }
    http_params_free(exchange->params, exchange->request.param_count);
    hf_buf_wipe_free(&exchange->body); /* enrolment bodies hold token secrets */
    hf_buf_wipe_free(&exchange->response.body);
    hf_buf_free(&exchange->piece);
    free(exchange->path);
    atomic_fetch_sub(&exchange->server->exchanges, 1);
    free(exchange);
}

static void back_on_loop(void *arg)
{
    struct hf_http_exchange *exchange = arg;
    exchange->at_worker = false;
    if (exchange->wsi) {
        lws_callback_on_writable(exchange->wsi);
    } else {
        exchange_free(exchange);
    }
}

/* Wrap what produce appended as one chunk of the chunked encoding (RFC 9112, section 7.1). */
static int append_chunked(struct hf_buf *piece, const struct hf_buf *raw, bool last)
{
    int rc = HF_OK;
    if (raw->size > 0) {
        rc = hf_buf_append_format(piece, "%zx\r\n", raw->size);
        rc = rc == HF_OK ? hf_buf_append(piece, raw->data, raw->size) : rc;
        rc = rc == HF_OK ? hf_buf_append_str(piece, "\r\n") : rc;
    }
    if (rc == HF_OK && last) {
        rc = hf_buf_append_str(piece, "0\r\n\r\n");
    }
    return rc;
}

/* Make the next piece: the whole body the first time, then what the producer gives. */
static int fill_piece(struct hf_http_exchange *exchange, struct hf_catalog_reader *catalog,
                      struct hf_store_reader *store, struct hf_error *error)
{
    struct hf_http_response *response = &exchange->response;
    struct hf_buf raw = response->body; /* taken: empty from the second piece on */
    response->body = (struct hf_buf){0};
    bool done = response->produce == NULL;
    int rc = HF_OK;
    while (rc == HF_OK && !done && raw.size == 0) {
        rc = response->produce(response->produce_state, catalog, store, &raw, &done, error);
    }
    hf_buf_clear(&exchange->piece);
    if (rc == HF_OK) {
        rc = hf_buf_extend(&exchange->piece, LWS_PRE, NULL);
    }
    if (rc == HF_OK && response->produce && response->length < 0) {
        rc = append_chunked(&exchange->piece, &raw, done);
    } else if (rc == HF_OK && raw.size > 0) {
        rc = hf_buf_append(&exchange->piece, raw.data, raw.size);
    }
    hf_buf_wipe_free(&raw);
    exchange->piece_sent = 0;
    exchange->whole = done;
    return rc;
}

static void produce_on_worker(void *arg, struct hf_catalog_reader *catalog,
                              struct hf_store_reader *store)
{
    struct hf_http_exchange *exchange = arg;
    struct hf_error error = {0};
    if (fill_piece(exchange, catalog, store, &error) != HF_OK) {
        hf_log_error("The answer to %s %s for %s was cut short: %s", exchange->request.method,
                     exchange->path, exchange->peer, error.message);
        exchange->failed = true;
    }
    if (loop_post(exchange->server->options.loop, back_on_loop, exchange) != HF_OK) {
        exchange->wsi = NULL; /* the loop has ended and with it every connection */
        exchange_free(exchange);
    }
}

static void handle_on_worker(void *arg, struct hf_catalog_reader *catalog,
                             struct hf_store_reader *store)
{
    struct hf_http_exchange *exchange = arg;
    struct hf_http_response *response = &exchange->response;
    *response =
        (struct hf_http_response){.status = 200, .content_type = "application/json", .length = -1};
    exchange->server->options.handler(exchange->server->options.context, &exchange->request,
                                      catalog, store, response);
    if (!response->produce) {
        response->length = (int64_t)response->body.size;
    }
    produce_on_worker(exchange, catalog, store);
}

static int run(struct hf_http_exchange *exchange,
               void (*fn)(void *, struct hf_catalog_reader *, struct hf_store_reader *))
{
    exchange->at_worker = true;
    int rc = ingest_run(exchange->server->options.ingest, fn, exchange);
    if (rc != HF_OK) {
        exchange->at_worker = false;
    }
    return rc;
}

int exchange_start(struct hf_http_exchange *exchange)
{
    exchange->request.path = exchange->path;
    exchange->request.authorization = exchange->authorization ? exchange->authorization : "";
    exchange->request.peer = exchange->peer;
    exchange->request.params = exchange->params;
    exchange->request.body = (struct hf_bytes){exchange->body.data, exchange->body.size};
    return run(exchange, handle_on_worker);
}

int exchange_produce(struct hf_http_exchange *exchange)
{
    return run(exchange, produce_on_worker);
}

void exchange_abandon(struct hf_http_exchange *exchange)
{
    exchange->wsi = NULL;
    if (!exchange->at_worker) {
        exchange_free(exchange);
    }
}
