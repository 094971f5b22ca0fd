/* Enrolment: a token and a certificate request in, a certificate out. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "collector/identity/issue.h"
#include "collector/ingest/ingest.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pki.h"
#include "common/rate_limit.h"

#define HOSTNAME_BYTES_MAX 255

struct hf_enrolment {
    struct hf_authority *authority;
    struct hf_ingest *ingest;
    char *agents_address;
    struct hf_rate_limit *limit; /* tries an address */
    pthread_mutex_t
        lock; /* one enrolment at a time: asking again must find what the first one got */
};

int enrolment_new(struct hf_authority *authority, struct hf_ingest *ingest,
                  const char *agents_address, struct hf_enrolment **out, struct hf_error *error)
{
    struct hf_enrolment *enrolment = calloc(1, sizeof *enrolment);
    if (enrolment) {
        enrolment->authority = authority;
        enrolment->ingest = ingest;
        enrolment->agents_address = strdup(agents_address);
        enrolment->limit = hf_rate_limit_new(20, 10);
        pthread_mutex_init(&enrolment->lock, NULL);
    }
    if (!enrolment || !enrolment->agents_address || !enrolment->limit) {
        enrolment_free(enrolment);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for enrolment");
    }
    *out = enrolment;
    return HF_OK;
}

void enrolment_free(struct hf_enrolment *enrolment)
{
    if (enrolment) {
        hf_rate_limit_free(enrolment->limit);
        pthread_mutex_destroy(&enrolment->lock);
        free(enrolment->agents_address);
        free(enrolment);
    }
}

struct ask {
    struct hf_enrolment *enrolment;
    const struct hf_http_request *request;
    struct hf_http_response *response;
    struct hf_catalog_reader *catalog;
    struct hf_catalog_memory memory;
    struct hf_token_row token;
    struct hf_buf spki;
    const char *hostname;
    struct hf_error error;
};

static void audit_refusal(struct ask *ask, const char *reason)
{
    struct hf_event event = {
        .type = HF_EVENT_AUDIT,
        .actor = event_text(ask->request->peer),
        .audit = {.action = event_text("host.enrol"),
                  .object = event_text(ask->token.token_id ? ask->token.token_id : ""),
                  .detail = event_text(reason),
                  .outcome = HF_AUDIT_REFUSED},
    };
    if (ingest_commit(ask->enrolment->ingest, &event, 1, NULL) != HF_OK) {
        hf_log_warning("A refused enrolment from %s could not be written to the audit log",
                       ask->request->peer);
    }
}

static bool refuse(struct ask *ask, int status, const char *code, const char *message)
{
    hf_log_info("Enrolment from %s refused: %s", ask->request->peer, message);
    http_respond_error(ask->response, status, code, message,
                       status == 403 ? "Make a new token with 'holdfast token create'" : NULL);
    audit_refusal(ask, message);
    return false;
}

/* "ID.SECRET" against the catalog. Whether it is spent or expired is decided by the commit that
 * uses it. */
static bool check_token(struct ask *ask, const char *text)
{
    static const char wrong[] = "The enrolment token is not known here";
    char id[64];
    uint8_t hash[HF_HASH_BYTES];
    struct hf_buf secret = {0};
    const char *dot = text ? strchr(text, '.') : NULL;
    if (!dot || dot == text || dot - text >= (ptrdiff_t)sizeof id) {
        return refuse(ask, 400, "invalid", "The request has no enrolment token");
    }
    memcpy(id, text, (size_t)(dot - text));
    id[dot - text] = '\0';
    bool decoded =
        strlen(dot + 1) <= 128 && hf_base64url_decode(&secret, dot + 1, strlen(dot + 1)) == HF_OK;
    hf_sha256(secret.data, secret.size, hash);
    hf_buf_wipe_free(&secret);
    int found = catalog_token_by_id(ask->catalog, id, &ask->memory, &ask->token, &ask->error);
    if (!decoded || found != HF_OK || ask->token.kind != HF_TOKEN_ENROL ||
        !hf_equal_secret(hash, ask->token.secret_hash, HF_HASH_BYTES)) {
        if (found != HF_OK) {
            ask->token = (struct hf_token_row){0};
        }
        return refuse(ask, 403, "denied", wrong);
    }
    return true;
}

static void answer(struct ask *ask, const char *host_id, const char *chain)
{
    http_respond_json(ask->response, 200,
                      json_pack("{s:s, s:s, s:s, s:s}", "host_id", host_id, "chain", chain, "ca",
                                authority_root_pem(ask->enrolment->authority), "agents",
                                ask->enrolment->agents_address));
}

/* The same token with the same key: the answer of the first time again. True when there was one,
 * good or bad. */
static bool answer_again(struct ask *ask)
{
    struct hf_certificate_row row;
    struct hf_host_row host;
    uint8_t key_hash[HF_HASH_BYTES];
    hf_sha256(ask->spki.data, ask->spki.size, key_hash);
    int rc = catalog_certificate_by_token(ask->catalog, ask->token.token_id, key_hash, &ask->memory,
                                          &row, &ask->error);
    if (rc == HF_ERR_NOT_FOUND) {
        return false;
    }
    rc = rc == HF_OK
             ? catalog_host_by_row(ask->catalog, row.host_row, &ask->memory, &host, &ask->error)
             : rc;
    if (rc != HF_OK) {
        http_respond_failure(ask->response, &ask->error);
    } else if (host.revoked_ns != 0) {
        refuse(ask, 403, "denied", "The host that joined with this token and key is revoked");
    } else if (row.not_after_ns <= hf_clock_now_ns()) {
        refuse(ask, 403, "denied", "The certificate that this token and key got has expired");
    } else {
        answer(ask, row.host_id, row.certificate_pem);
    }
    return true;
}

static void enrol_host(struct ask *ask)
{
    struct hf_enrolment *enrolment = ask->enrolment;
    struct hf_label labels[HF_EVENT_LABELS_MAX];
    struct issued issued = {0};
    uint8_t random[8];
    char host_id[2 + 2 * sizeof random + 1] = "h-";
    size_t label_count = ask->token.label_count;
    for (size_t i = 0; i < label_count && i < HF_EVENT_LABELS_MAX; i++) {
        labels[i] = (struct hf_label){event_text(ask->token.labels[i].key),
                                      event_text(ask->token.labels[i].value)};
    }
    hf_random(random, sizeof random);
    hf_hex_encode(random, sizeof random, host_id + 2);
    int rc = issue_client(enrolment->authority, host_id,
                          (struct hf_bytes){ask->spki.data, ask->spki.size}, &issued, &ask->error);
    if (rc == HF_OK) {
        struct hf_event events[3] = {
            {.type = HF_EVENT_HOST_CREATED, .actor = event_text(ask->request->peer)},
            {.type = HF_EVENT_CERT_ISSUED, .actor = event_text(ask->request->peer)},
            {.type = HF_EVENT_AUDIT, .actor = event_text(ask->request->peer)},
        };
        events[0].host_created.host_id = event_text(host_id);
        events[0].host_created.name = event_text(ask->hostname);
        events[0].host_created.labels = labels;
        events[0].host_created.label_count = label_count;
        events[0].host_created.token_id = event_text(ask->token.token_id);
        issued_fill_event(&issued, host_id, ask->token.token_id, &events[1]);
        events[2].audit.action = event_text("host.enrol");
        events[2].audit.object = event_text(host_id);
        events[2].audit.detail = event_text(ask->token.token_id);
        events[2].audit.outcome = HF_AUDIT_OK;
        rc = ingest_commit(enrolment->ingest, events, 3, &ask->error);
    }
    if (rc == HF_OK) {
        hf_log_info("Host %s (%s) enrolled from %s", host_id, ask->hostname, ask->request->peer);
        answer(ask, host_id, (const char *)issued.chain_pem.data);
    } else if (rc == HF_ERR_DENIED) {
        refuse(ask, 403, "denied", ask->error.message);
    } else {
        http_respond_failure(ask->response, &ask->error);
    }
    hf_buf_free(&issued.chain_pem);
}

static void enrol(struct ask *ask)
{
    json_error_t json_error;
    json_t *body = json_loadb((const char *)ask->request->body.data, ask->request->body.size,
                              JSON_REJECT_DUPLICATES, &json_error);
    const char *token = json_string_value(json_object_get(body, "token"));
    const char *csr = json_string_value(json_object_get(body, "csr"));
    const char *hostname = json_string_value(json_object_get(body, "hostname"));
    ask->hostname = hostname && strlen(hostname) <= HOSTNAME_BYTES_MAX ? hostname : "";
    struct hf_buf der = {0};
    if (check_token(ask, token)) {
        /* The request travels as base64url of its DER. */
        if (!csr || strlen(csr) > 8192 || hf_base64url_decode(&der, csr, strlen(csr)) != HF_OK) {
            refuse(ask, 400, "invalid", "The request has no certificate request");
        } else if (hf_pki_request_check(der.data, der.size, &ask->spki, &ask->error) != HF_OK) {
            refuse(ask, 400, "invalid", ask->error.message);
        } else {
            pthread_mutex_lock(&ask->enrolment->lock);
            if (!answer_again(ask)) {
                enrol_host(ask);
            }
            pthread_mutex_unlock(&ask->enrolment->lock);
        }
    }
    hf_buf_free(&der);
    json_decref(body);
}

/* Whose tries are counted together: an IPv4 address, or an IPv6 network of 64 bits, since whoever
 * has one address of it has them all. */
static void limit_key(const char *peer, char key[INET6_ADDRSTRLEN])
{
    struct in6_addr address;
    snprintf(key, INET6_ADDRSTRLEN, "%s", peer);
    if (inet_pton(AF_INET6, peer, &address) == 1 && !IN6_IS_ADDR_V4MAPPED(&address)) {
        memset(address.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &address, key, INET6_ADDRSTRLEN);
    }
}

void enrolment_handle(void *context, const struct hf_http_request *request,
                      struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                      struct hf_http_response *response)
{
    struct hf_enrolment *enrolment = context;
    struct ask ask = {
        .enrolment = enrolment, .request = request, .response = response, .catalog = catalog};
    (void)store;
    if (strcmp(request->path, "/v1/ca") == 0 && strcmp(request->method, "GET") == 0) {
        response->content_type = "application/x-pem-file";
        if (hf_buf_append_str(&response->body, authority_root_pem(enrolment->authority)) != HF_OK) {
            response->status = 500;
        }
        return;
    }
    if (strcmp(request->path, "/v1/enrol") != 0 || strcmp(request->method, "POST") != 0) {
        http_respond_error(response, 404, "not-found", "Hosts enrol here: POST /v1/enrol", NULL);
        return;
    }
    char key[INET6_ADDRSTRLEN];
    limit_key(request->peer, key);
    uint32_t wait_s = hf_rate_limit_take(enrolment->limit, key);
    if (wait_s > 0) {
        http_respond_error(response, 429, "too-many-tries",
                           "Too many enrolments were tried from this address", "Wait a minute");
        response->retry_after_s = wait_s;
        return;
    }
    enrol(&ask);
    hf_buf_free(&ask.spki);
    catalog_memory_free(&ask.memory);
}
