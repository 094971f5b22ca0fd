/* One request and its answer, between the loop thread and the workers. Internal to http/. */
#ifndef HF_COLLECTOR_HTTP_EXCHANGE_H
#define HF_COLLECTOR_HTTP_EXCHANGE_H

#include <stdatomic.h>

#include <libwebsockets.h>

#include "collector/http/http.h"

struct hf_http_server {
    struct hf_http_options options;
    struct lws_protocols protocols[2];
    _Atomic uint32_t exchanges; /* alive now */
};

/* Owned by one side at a time: `at_worker` says which. The loop thread alone reads and writes `wsi`
 * and `abandoned`; a worker touches only request, response, piece, done and failed, and only
 * between exchange_start/exchange_produce and the post that ends them. */
struct hf_http_exchange {
    struct hf_http_server *server;
    struct lws *wsi; /* NULL once the client went away */
    bool at_worker;

    char *path;
    char *authorization;
    char peer[64];
    struct hf_buf body;
    struct hf_http_param params[HF_HTTP_QUERY_MAX];
    struct hf_http_request request;

    struct hf_http_response response;
    struct hf_buf piece; /* LWS_PRE bytes of room first */
    size_t piece_sent;   /* bytes after LWS_PRE that are written */
    bool whole;          /* the last piece is in `piece` */
    bool failed;         /* producing failed: cut the connection */
    bool headers_sent;
};

/* NULL when out of memory or the server is full. */
struct hf_http_exchange *exchange_new(struct hf_http_server *server, struct lws *wsi);
/* Loop thread, when !at_worker. */
void exchange_free(struct hf_http_exchange *exchange);
/* Loop thread: run the handler and fill the first piece on a worker, then wake the connection. */
int exchange_start(struct hf_http_exchange *exchange);
/* Loop thread: have the next piece made. */
int exchange_produce(struct hf_http_exchange *exchange);
/* Loop thread: the connection is gone. */
void exchange_abandon(struct hf_http_exchange *exchange);

#endif
