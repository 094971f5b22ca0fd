/* The operators' API over a real catalog and store, called as the HTTP server calls it: on a
 * worker, with that worker's readers. */
#ifndef HF_TESTS_API_FIXTURE_H
#define HF_TESTS_API_FIXTURE_H

#include "tests/unit/collector/identity/identity_fixture.h"

#include "collector/api/call.h"

struct api_site {
    struct deployment deployment;
    struct hf_api *api;
    char bearer[HF_ROLE_ADMIN + 1][128]; /* by role; "" for none */
    char host_id[32];
};

static inline void api_token(struct api_site *site, enum hf_role role, const char *id,
                             int64_t expires_ns, char bearer[128])
{
    struct hf_error error;
    uint8_t secret[32];
    struct hf_buf text = {0};
    hf_random(secret, sizeof secret);
    struct hf_event event = {.type = HF_EVENT_TOKEN_CREATED,
                             .actor = event_text("test"),
                             .token_created = {.token_id = event_text(id),
                                               .kind = HF_TOKEN_API,
                                               .role = role,
                                               .expires_ns = expires_ns,
                                               .name = event_text("somebody")}};
    hf_sha256(secret, sizeof secret, event.token_created.secret_hash);
    assert_ok(ingest_commit(site->deployment.ingest, &event, 1, &error));
    assert_ok(hf_buf_append_format(&text, "Bearer hfa.%s.", id));
    assert_ok(hf_base64url_encode(&text, secret, sizeof secret));
    assert_ok(hf_buf_terminate(&text));
    snprintf(bearer, 128, "%s", as_text(&text));
    hf_buf_free(&text);
}

static inline struct api_site api_site_new(void)
{
    struct hf_error error;
    struct api_site site = {.deployment = deployment_new(DAY_NS)};
    struct hf_api_options options = {.ingest = site.deployment.ingest,
                                     .enrol_address = "collector.example:7444",
                                     .agents_address = "collector.example:7443"};
    assert_ok(api_new(&options, &site.api, &error));
    api_token(&site, HF_ROLE_VIEWER, "0000000000000001", 0, site.bearer[HF_ROLE_VIEWER]);
    api_token(&site, HF_ROLE_OPERATOR, "0000000000000002", 0, site.bearer[HF_ROLE_OPERATOR]);
    api_token(&site, HF_ROLE_ADMIN, "0000000000000003", 0, site.bearer[HF_ROLE_ADMIN]);
    snprintf(site.host_id, sizeof site.host_id, "h-00000000000000aa");
    struct hf_event host = {
        .type = HF_EVENT_HOST_CREATED,
        .actor = event_text("test"),
        .host_created = {.host_id = event_text(site.host_id), .name = event_text("robot-01")}};
    assert_ok(ingest_commit(site.deployment.ingest, &host, 1, &error));
    struct hf_event source = {.type = HF_EVENT_SOURCE_OPENED,
                              .actor = event_text("test"),
                              .source_opened = {.host_row = host.host_created.host_row,
                                                .name = event_text("config"),
                                                .kind = event_text("files"),
                                                .class_name = event_text("config")}};
    assert_ok(ingest_commit(site.deployment.ingest, &source, 1, &error));
    return site;
}

static inline void api_site_free(struct api_site *site)
{
    ingest_stop(site->deployment.ingest);
    api_free(site->api);
    enrolment_free(site->deployment.enrolment);
    authority_free(site->deployment.authority);
    remove_tree(site->deployment.directory);
}

struct api_ask {
    struct question question;
    struct hf_api *api;
    struct hf_http_request request;
    struct hf_http_response response;
};

static inline void ask_api(struct question *question, struct hf_catalog_reader *catalog)
{
    struct api_ask *ask = question->context;
    api_handle(ask->api, &ask->request, catalog, NULL, &ask->response);
}

/* query is "name=value" texts, NULL-terminated, or NULL. */
static inline struct reply api_call_from(struct api_site *site, const char *peer,
                                         const char *bearer, const char *method, const char *path,
                                         const char *const *query, const char *body)
{
    struct hf_http_param params[HF_HTTP_QUERY_MAX];
    size_t count = 0;
    for (; query && query[count]; count++) {
        assert_int_equal(http_param_parse(query[count], strlen(query[count]), &params[count]),
                         HF_OK);
    }
    struct api_ask call = {.question = {.ask = ask_api},
                           .api = site->api,
                           .request = {.method = method,
                                       .path = path,
                                       .authorization = bearer,
                                       .peer = peer,
                                       .params = params,
                                       .param_count = count,
                                       .body = {(const uint8_t *)body, body ? strlen(body) : 0}},
                           .response = {.status = 200}};
    call.question.context = &call;
    ask(&site->deployment, &call.question);
    http_params_free(params, count);
    if (call.response.produce_free) {
        call.response.produce_free(call.response.produce_state);
    }
    return (struct reply){
        .status = call.response.status,
        .retry_after_s = call.response.retry_after_s,
        .json = json_loadb((const char *)call.response.body.data, call.response.body.size, 0, NULL),
        .body = call.response.body};
}

static inline struct reply api_as(struct api_site *site, enum hf_role role, const char *method,
                                  const char *path, const char *body)
{
    return api_call_from(site, "192.0.2.1", site->bearer[role], method, path, NULL, body);
}

#endif
