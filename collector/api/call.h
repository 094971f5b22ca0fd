/* One API call and what its handlers share. Private to api/. */
#ifndef HF_COLLECTOR_API_CALL_H
#define HF_COLLECTOR_API_CALL_H

#include <jansson.h>

#include "collector/api/api.h"
#include "collector/catalog/catalog.h"

#define API_PAGE_DEFAULT 500u
#define API_SEGMENTS_MAX 8u

struct api_route;

struct hf_api {
    struct hf_api_options options;
    int64_t started_ns;
    struct hf_rate_limit *failures; /* addresses that failed to authenticate */
    struct hf_rate_limit *audits;   /* who has refusals written to the audit log */
};

struct api_call {
    struct hf_api *api;
    const struct hf_http_request *request;
    const struct api_route *route;
    struct hf_catalog_reader *catalog;
    struct hf_store_reader *store;
    struct hf_http_response *response;
    struct hf_catalog_memory memory; /* freed after the call */
    struct hf_error error;
    char *segments[API_SEGMENTS_MAX]; /* of the path that matched '*', in order */
    size_t segment_count;
    json_t *body;            /* of a POST; an object, maybe empty */
    struct hf_buf hex_paths; /* path_hex parameters, decoded, one after the other */
    char actor[160];         /* "token ID (name)" */
    enum hf_role role;
};

struct api_route {
    const char *method;
    const char *pattern; /* "/v1/hosts/" then '*' for a segment */
    enum hf_role role;
    void (*handle)(struct api_call *call);
    const char *audit; /* action's name, NULL for reading */
};

extern const struct api_route api_routes[]; /* ends with a NULL method */

/* --- answers --- */
void call_json(struct api_call *call, json_t *json); /* 200; takes the reference */
/* Answer from call->error, with code rc; audits when the route acts. */
void call_fail(struct api_call *call, int rc);
void call_refuse(struct api_call *call, int status, const char *code, const char *hint,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* --- questions: each answers with an error itself and returns false --- */
bool call_host(struct api_call *call, const char *id_or_name, struct hf_host_row *out);
bool call_source(struct api_call *call, struct hf_host_row *host, struct hf_source_row *out);
bool call_moment(struct api_call *call, const char *name, int64_t fallback, int64_t *out);
bool call_limit(struct api_call *call, size_t *out);
bool call_after_number(struct api_call *call, uint64_t *out);
/* The `after` of a list by paths; memory behind it is the call's. */
bool call_after_path(struct api_call *call, struct hf_buf *memory, struct hf_bytes *out);
/* n-th `path` or `path_hex` parameter without surrounding slashes, checked; false when it may not
 * be. *found is false past the last. Memory behind it is the request's or the call's. */
bool call_path(struct api_call *call, size_t n, struct hf_bytes *out, bool *found);
bool call_number(struct api_call *call, const char *text, uint64_t *out);
/* Member of the body: "" or absent gives NULL, another kind than text refuses. */
bool call_body_text(struct api_call *call, const char *name, const char **out);

/* Commit events with an audit entry for this call, all or nothing. Answers on failure. */
bool call_commit(struct api_call *call, struct hf_event *events, size_t count, const char *object,
                 const char *detail);
/* Start an event that this call causes. */
struct hf_event call_event(const struct api_call *call, enum hf_event_type type);

/* --- JSON (json.c) --- */
json_t *json_of_time(int64_t ns);                                /* NULL for 0 */
void json_set_time(json_t *object, const char *key, int64_t ns); /* nothing for 0 */
json_t *json_of_text(struct hf_bytes text); /* what isn't UTF-8 becomes U+FFFD */
json_t *json_of_cstr(const char *text);
void json_set_path(json_t *object, struct hf_bytes path); /* "path", and "path_hex" if needed */
void json_set_next_path(json_t *page, struct hf_bytes next);
void json_set_next_number(json_t *page, uint64_t next);
json_t *json_of_file(const struct hf_version_row *row);
json_t *json_of_labels(const struct hf_label_text *labels, size_t count);

/* --- authentication (auth.c) --- */
/* Fills in actor and role, or answers 401, 403, 429. */
bool auth_check(struct api_call *call, enum hf_role needed);

/* --- handlers --- */
void api_health(struct api_call *call);
void api_ready(struct api_call *call);
void api_metrics(struct api_call *call);
void api_status(struct api_call *call);
void api_hosts(struct api_call *call);
void api_host(struct api_call *call);
void api_host_labels(struct api_call *call);
void api_host_revoke(struct api_call *call);
void api_sources(struct api_call *call);
void api_list(struct api_call *call);
void api_tree(struct api_call *call);
void api_versions(struct api_call *call);
void api_content(struct api_call *call);
void api_archive(struct api_call *call);
void api_diff(struct api_call *call);
void api_snapshots(struct api_call *call);
void api_snapshot_create(struct api_call *call);
void api_snapshot_hold(struct api_call *call);
void api_snapshot_release(struct api_call *call);
void api_jobs(struct api_call *call);
void api_job(struct api_call *call);
void api_job_results(struct api_call *call);
void api_job_cancel(struct api_call *call);
void api_restore_create(struct api_call *call);
void api_audit(struct api_call *call);
void api_audit_verify(struct api_call *call);
void api_tokens(struct api_call *call);
void api_token_create(struct api_call *call);
void api_token_revoke(struct api_call *call);

/* A source's recovery point objective in seconds, by its class. */
int64_t api_rpo_seconds(const char *class_name);
/* protected-until of a source: the catalog's, or the session's newer one. */
int64_t api_protected_until(const struct api_call *call, const struct hf_source_row *row,
                            int *state);
/* Whether a source misses its objective; one that is retired has none. */
bool api_is_late(const struct hf_source_row *row, int64_t until_ns, int state);
json_t *json_of_source(const struct api_call *call, const struct hf_source_row *row);

#endif
