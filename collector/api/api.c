/* Routing: from a request to its handler. */
#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "collector/ingest/ingest.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/rate_limit.h"

const struct api_route api_routes[] = {
    {"GET", "/health", HF_ROLE_NONE, api_health, NULL},
    {"GET", "/ready", HF_ROLE_NONE, api_ready, NULL},
    {"GET", "/metrics", HF_ROLE_NONE, api_metrics, NULL},
    {"GET", "/v1/status", HF_ROLE_VIEWER, api_status, NULL},
    {"GET", "/v1/hosts", HF_ROLE_VIEWER, api_hosts, NULL},
    {"GET", "/v1/hosts/*", HF_ROLE_VIEWER, api_host, NULL},
    {"POST", "/v1/hosts/*/labels", HF_ROLE_OPERATOR, api_host_labels, "host.label"},
    {"POST", "/v1/hosts/*/revoke", HF_ROLE_ADMIN, api_host_revoke, "host.revoke"},
    {"GET", "/v1/sources", HF_ROLE_VIEWER, api_sources, NULL},
    {"GET", "/v1/hosts/*/sources/*/list", HF_ROLE_VIEWER, api_list, NULL},
    {"GET", "/v1/hosts/*/sources/*/tree", HF_ROLE_VIEWER, api_tree, NULL},
    {"GET", "/v1/hosts/*/sources/*/versions", HF_ROLE_VIEWER, api_versions, NULL},
    {"GET", "/v1/hosts/*/sources/*/content", HF_ROLE_VIEWER, api_content, NULL},
    {"GET", "/v1/hosts/*/sources/*/archive", HF_ROLE_VIEWER, api_archive, NULL},
    {"GET", "/v1/hosts/*/sources/*/diff", HF_ROLE_VIEWER, api_diff, NULL},
    {"GET", "/v1/snapshots", HF_ROLE_VIEWER, api_snapshots, NULL},
    {"POST", "/v1/snapshots", HF_ROLE_OPERATOR, api_snapshot_create, "snapshot.create"},
    {"POST", "/v1/snapshots/*/hold", HF_ROLE_OPERATOR, api_snapshot_hold, "snapshot.hold"},
    {"POST", "/v1/snapshots/*/release", HF_ROLE_OPERATOR, api_snapshot_release, "snapshot.release"},
    {"GET", "/v1/jobs", HF_ROLE_VIEWER, api_jobs, NULL},
    {"GET", "/v1/jobs/*", HF_ROLE_VIEWER, api_job, NULL},
    {"GET", "/v1/jobs/*/results", HF_ROLE_VIEWER, api_job_results, NULL},
    {"POST", "/v1/jobs/*/cancel", HF_ROLE_OPERATOR, api_job_cancel, "restore.cancel"},
    {"POST", "/v1/restores", HF_ROLE_OPERATOR, api_restore_create, "restore.create"},
    {"GET", "/v1/audit", HF_ROLE_VIEWER, api_audit, NULL},
    {"GET", "/v1/audit/verify", HF_ROLE_VIEWER, api_audit_verify, NULL},
    {"GET", "/v1/tokens", HF_ROLE_ADMIN, api_tokens, NULL},
    {"POST", "/v1/tokens", HF_ROLE_ADMIN, api_token_create, "token.create"},
    {"POST", "/v1/tokens/*/revoke", HF_ROLE_ADMIN, api_token_revoke, "token.revoke"},
    {NULL, NULL, HF_ROLE_NONE, NULL, NULL},
};

int api_new(const struct hf_api_options *options, struct hf_api **out, struct hf_error *error)
{
    struct hf_api *api = calloc(1, sizeof *api);
    if (api) {
        api->options = *options;
        api->options.enrol_address = strdup(options->enrol_address);
        api->options.agents_address = strdup(options->agents_address);
        api->started_ns = hf_clock_monotonic_ns();
        api->failures = hf_rate_limit_new(10, 10);
        api->audits = hf_rate_limit_new(30, 30);
    }
    if (!api || !api->options.enrol_address || !api->options.agents_address || !api->failures ||
        !api->audits) {
        api_free(api);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the operators' API");
    }
    *out = api;
    return HF_OK;
}

void api_free(struct hf_api *api)
{
    if (api) {
        free((char *)api->options.enrol_address);
        free((char *)api->options.agents_address);
        hf_rate_limit_free(api->failures);
        hf_rate_limit_free(api->audits);
        free(api);
    }
}

static void forget_segments(struct api_call *call)
{
    for (size_t i = 0; i < call->segment_count; i++) {
        free(call->segments[i]);
    }
    call->segment_count = 0;
}

static bool matches(struct api_call *call, const char *pattern, const char *path)
{
    forget_segments(call);
    while (*pattern && *path) {
        if (*pattern != '*') {
            if (*pattern++ != *path++) {
                return false;
            }
            continue;
        }
        size_t length = strcspn(path, "/");
        char *segment =
            length > 0 && call->segment_count < API_SEGMENTS_MAX ? strndup(path, length) : NULL;
        if (!segment) {
            return false;
        }
        call->segments[call->segment_count++] = segment;
        /* forget_segments frees it. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        path += length;
        pattern++;
    }
    return !*pattern && !*path;
}

/* The route for the request, or an answer that says why there is none. */
static const struct api_route *find_route(struct api_call *call)
{
    const struct hf_http_request *request = call->request;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    bool path_known = false;
    for (const struct api_route *route = api_routes; route->method; route++) {
        if (matches(call, route->pattern, request->path)) {
            path_known = true;
            if (strcmp(route->method, method) == 0) {
                return route;
            }
        }
    }
    if (path_known) {
        call_refuse(call, 405, "method-not-allowed", NULL, "%s is not answered at %s",
                    request->method, request->path);
    } else {
        call_refuse(call, 404, "not-found", "collector/api/API.md lists them all",
                    "The API has nothing at %s", request->path);
    }
    return NULL;
}

static bool read_body(struct api_call *call)
{
    json_error_t json_error;
    struct hf_bytes body = call->request->body;
    if (body.size == 0) {
        call->body = json_object();
        return call->body != NULL;
    }
    call->body =
        json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, &json_error);
    if (!json_is_object(call->body)) {
        call_refuse(call, 400, "invalid", NULL, "The request's body is not a JSON object%s%s",
                    call->body ? "" : ": ", call->body ? "" : json_error.text);
        return false;
    }
    return true;
}

/* The sentence in an answer that refuses; it lives as long as *answer. */
static const char *refusal_message(const struct hf_http_response *response, json_t **answer)
{
    *answer = json_loadb((const char *)response->body.data, response->body.size, 0, NULL);
    const char *message =
        json_string_value(json_object_get(json_object_get(*answer, "error"), "message"));
    return message ? message : "";
}

/* The audit log is kept for ever and each entry is a write to the disk: who is told to wait, or is
 * refused all the time, does not get one each time. */
static void audit_refusal(struct api_call *call)
{
    json_t *answer = NULL;
    const char *who = *call->actor ? call->actor : call->request->peer;
    const struct hf_http_response *response = call->response;
    if (response->status == 429 || hf_rate_limit_take(call->api->audits, who) > 0) {
        return;
    }
    struct hf_event audit = call_event(call, HF_EVENT_AUDIT);
    audit.audit.action = event_text(call->route->audit);
    audit.audit.object = event_text(call->request->path);
    audit.audit.detail = event_text(refusal_message(response, &answer));
    audit.audit.outcome = HF_AUDIT_REFUSED;
    if (ingest_commit(call->api->options.ingest, &audit, 1, NULL) != HF_OK) {
        hf_log_warning("A refused %s by %s could not be written to the audit log",
                       call->route->audit, who);
    }
    json_decref(answer);
}

void api_handle(void *context, const struct hf_http_request *request,
                struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                struct hf_http_response *response)
{
    struct api_call call = {.api = context,
                            .request = request,
                            .catalog = catalog,
                            .store = store,
                            .response = response};
    const struct api_route *route = find_route(&call);
    call.route = route;
    if (route && (route->role == HF_ROLE_NONE || auth_check(&call, route->role)) &&
        (strcmp(route->method, "POST") != 0 || read_body(&call))) {
        route->handle(&call);
    }
    if (route && route->audit && response->status >= 400) {
        audit_refusal(&call);
    }
    json_decref(call.body);
    hf_buf_free(&call.hex_paths);
    forget_segments(&call);
    catalog_memory_free(&call.memory);
}
