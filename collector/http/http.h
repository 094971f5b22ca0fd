/* A small HTTP/1.1 server on the collector's event loop, for the operators' API and for enrolment.
 *
 * The loop thread only parses and writes. Every request becomes an exchange that runs on a worker
 * (ingest_run) with that worker's catalog and store readers; its response is posted back. A
 * response is either whole, or produced piece by piece, the next piece only once the last one
 * left, so that a tar of a terabyte costs two pieces of memory.
 */
#ifndef HF_COLLECTOR_HTTP_HTTP_H
#define HF_COLLECTOR_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/buf.h"
#include "common/error.h"

struct hf_catalog_reader;
struct hf_ingest;
struct hf_loop;
struct hf_store_reader;
struct lws_protocols;

#define HF_HTTP_BODY_MAX_BYTES (1024u * 1024u)
#define HF_HTTP_PATH_MAX_BYTES 1024u
#define HF_HTTP_QUERY_MAX      32u /* parameters of one request */
#define HF_HTTP_PIECE_BYTES    (256u * 1024u)

struct hf_http_param {
    char *name;
    struct hf_buf value; /* decoded, NUL-terminated; may hold any byte but NUL */
};

struct hf_http_request {
    const char *method;        /* "GET", "HEAD", "POST", "PUT", "PATCH" or "DELETE" */
    const char *path;          /* decoded, without the query */
    const char *authorization; /* header, "" when absent; wiped after the exchange */
    const char *peer;          /* numeric address */
    const struct hf_http_param *params;
    size_t param_count;
    struct hf_bytes body;
};

struct hf_http_response {
    int status;               /* 200 unless set */
    const char *content_type; /* static string; application/json unless set */
    uint32_t retry_after_s;   /* header when not 0 */
    uint64_t about_bytes; /* header "holdfast-about-bytes" when not 0: about how long it will be */
    struct hf_buf body;   /* owned by the response */
    /* When produce is set, the pieces it appends follow `body`. length is the number of bytes that
     * will follow in all (body included), or -1: then they go out in chunked encoding. Runs on a
     * worker; appends about HF_HTTP_PIECE_BYTES to out and sets *done with the last piece. An
     * error cuts the connection, so that the client sees that the transfer is not whole. */
    int (*produce)(void *state, struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                   struct hf_buf *out, bool *done, struct hf_error *error);
    int64_t length;
    void *produce_state;
    void (*produce_free)(void *state); /* called once, also when the client went away */
};

/* Answer one request. Runs on a worker thread; response comes zeroed but for status 200. */
typedef void (*hf_http_handler)(void *context, const struct hf_http_request *request,
                                struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                                struct hf_http_response *response);

struct hf_http_options {
    struct hf_loop *loop;
    struct hf_ingest *ingest;
    hf_http_handler handler;
    void *context;          /* outlives the server */
    uint32_t exchanges_max; /* requests at once; above it 503 with retry-after; default 256 */
};

struct hf_http_server;

/* The server is idle until its protocols are given to loop_listen. */
int http_server_new(const struct hf_http_options *options, struct hf_http_server **out,
                    struct hf_error *error);
/* For hf_listen_options.protocols; lives as long as the server. */
const struct lws_protocols *http_server_protocols(const struct hf_http_server *server);
/* After the loop has ended and workers are joined. */
void http_server_free(struct hf_http_server *server);

/* Value of a query parameter, NULL when absent. */
const char *http_param(const struct hf_http_request *request, const char *name);

/* Text for JSON: each byte that is not UTF-8 becomes U+FFFD. NULL when out of memory. */
json_t *http_json_text(const char *text, size_t size);
/* Set a JSON body (takes the reference; NULL means out of memory and becomes a 500). */
void http_respond_json(struct hf_http_response *response, int status, json_t *json);
/* {"error": {"code": code, "message": ..., "hint": ...}}; hint may be NULL. */
void http_respond_error(struct hf_http_response *response, int status, const char *code,
                        const char *message, const char *hint);
/* The same from a struct hf_error: NOT_FOUND 404, INVALID 400, LIMIT 413, DENIED 403,
 * EXISTS and CONFLICT 409, AGAIN 503, NO_SPACE 507, else 500. */
void http_respond_failure(struct hf_http_response *response, const struct hf_error *error);

/* Split one decoded parameter, "name=value" or "name", of length bytes into *param. HF_ERR_INVALID
 * for an empty name or a NUL inside. Free with http_params_free. */
int http_param_parse(const char *text, size_t length, struct hf_http_param *param);
void http_params_free(struct hf_http_param *params, size_t count);

#endif
