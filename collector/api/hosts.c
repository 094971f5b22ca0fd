/* Hosts and sources. */
#include <string.h>

#include "collector/api/call.h"
#include "collector/ingest/ingest.h"
#include "common/clock.h"

/* Recovery point objectives by class, from the operators' guide: workflows an hour, execution state
 * five minutes, logs and configuration a day; credentials and databases follow their schedules. */
int64_t api_rpo_seconds(const char *class_name)
{
    static const struct {
        const char *class_name;
        int64_t seconds;
    } objectives[] = {{"checkpoints", 300}, {"workflows", 3600}, {"credentials", 3600},
                      {"config", 3600},     {"logs", 86400},     {"metrics", 86400},
                      {"database", 90000}};
    for (size_t i = 0; i < sizeof objectives / sizeof objectives[0]; i++) {
        if (strcmp(objectives[i].class_name, class_name) == 0) {
            return objectives[i].seconds;
        }
    }
    return 86400;
}

int64_t api_protected_until(const struct api_call *call, const struct hf_source_row *row,
                            int *state)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    int64_t until_ns = row->protected_until_ns;
    int64_t live_until_ns = 0;
    int live_state = 0;
    *state = row->state;
    if (sessions->mark &&
        sessions->mark(sessions->context, row->row, &live_until_ns, &live_state) &&
        live_until_ns >= until_ns) {
        *state = live_state;
        return live_until_ns;
    }
    return until_ns;
}

bool api_is_late(const struct hf_source_row *row, int64_t until_ns, int state)
{
    int64_t objective_ns = api_rpo_seconds(row->class_name) * HF_NS_PER_SECOND;
    return state != HF_SOURCE_RETIRED &&
           (until_ns == 0 || hf_clock_now_ns() - until_ns > objective_ns);
}

json_t *json_of_source(const struct api_call *call, const struct hf_source_row *row)
{
    int state = 0;
    int64_t until_ns = api_protected_until(call, row, &state);
    int64_t rpo_s = api_rpo_seconds(row->class_name);
    bool late = api_is_late(row, until_ns, state);
    json_t *roots = json_array();
    for (size_t i = 0; i < row->root_count; i++) {
        json_array_append_new(roots, json_of_cstr(row->roots[i]));
    }
    json_t *source =
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:o, s:s, s:o, s:I, s:b, s:I, s:I, s:I, s:I}", "host",
                  row->host_id, "host_name", json_of_cstr(row->host_name), "name", row->name,
                  "kind", row->kind, "class", row->class_name, "roots", roots, "state",
                  event_source_state_name(state), "note", json_of_cstr(row->note), "rpo_s",
                  (json_int_t)rpo_s, "late", (int)late, "versions", (json_int_t)row->versions,
                  "live_files", (json_int_t)row->live_files, "live_bytes",
                  (json_int_t)row->live_bytes, "committed_seq", (json_int_t)row->committed_seq);
    json_set_time(source, "protected_until", until_ns);
    return source;
}

static json_t *json_of_host(const struct api_call *call, const struct hf_host_row *row)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    struct hf_api_session_state session = {0};
    if (sessions->state) {
        sessions->state(sessions->context, row->host_id, &session);
    }
    json_t *host =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:I}", "id", row->host_id,
                  "name", json_of_cstr(row->name), "hostname", json_of_cstr(row->hostname), "os",
                  json_of_cstr(row->os), "agent_version", json_of_cstr(row->agent_version),
                  "labels", json_of_labels(row->labels, row->label_count), "online",
                  (int)session.online, "duplicates_refused", (json_int_t)session.duplicates_refused,
                  "versions", (json_int_t)row->versions, "live_files", (json_int_t)row->live_files,
                  "live_bytes", (json_int_t)row->live_bytes);
    json_set_time(host, "created", row->created_ns);
    json_set_time(host, "last_seen", row->last_seen_ns);
    json_set_time(host, "protected_until", row->protected_until_ns);
    json_set_time(host, "since", session.since_ns);
    const char *address = session.online ? session.address : row->address;
    if (address && *address) {
        json_object_set_new(host, "address", json_of_cstr(address));
    }
    if (row->revoked_ns != 0) {
        json_object_set_new(host, "revoked",
                            json_pack("{s:o, s:o}", "time", json_of_time(row->revoked_ns), "reason",
                                      json_of_cstr(row->revoked_reason)));
    }
    return host;
}

void api_hosts(struct api_call *call)
{
    const struct hf_host_row *rows = NULL;
    size_t count = 0;
    size_t limit = 0;
    uint64_t after = 0;
    if (!call_limit(call, &limit) || !call_after_number(call, &after)) {
        return;
    }
    int rc =
        catalog_host_list(call->catalog, after, limit, &call->memory, &rows, &count, &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_of_host(call, &rows[i]));
    }
    json_t *page = json_pack("{s:o}", "hosts", list);
    if (count == limit && count > 0) {
        json_set_next_number(page, rows[count - 1].row);
    }
    call_json(call, page);
}

/* All sources of a host (0: of every host) as a JSON array, NULL after answering with the failure.
 */
static json_t *list_sources(struct api_call *call, uint64_t host_row)
{
    json_t *list = json_array();
    uint64_t after = 0;
    size_t count = 0;
    do {
        const struct hf_source_row *rows = NULL;
        int rc = catalog_source_list(call->catalog, host_row, after, HF_CATALOG_PAGE_MAX,
                                     &call->memory, &rows, &count, &call->error);
        if (rc != HF_OK) {
            json_decref(list);
            call_fail(call, rc);
            return NULL;
        }
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(list, json_of_source(call, &rows[i]));
            after = rows[i].row;
        }
    } while (count == HF_CATALOG_PAGE_MAX);
    return list;
}

static void answer_host(struct api_call *call, const struct hf_host_row *row)
{
    struct hf_certificate_row certificate;
    json_t *sources = list_sources(call, row->row);
    if (!sources) {
        return;
    }
    json_t *host = json_of_host(call, row);
    json_object_set_new(host, "sources", sources);
    if (catalog_certificate_newest(call->catalog, row->row, &call->memory, &certificate, NULL) ==
        HF_OK) {
        json_object_set_new(host, "certificate",
                            json_pack("{s:s, s:o, s:o}", "serial", certificate.serial, "not_before",
                                      json_of_time(certificate.not_before_ns), "not_after",
                                      json_of_time(certificate.not_after_ns)));
    }
    call_json(call, host);
}

void api_host(struct api_call *call)
{
    struct hf_host_row row;
    if (call_host(call, call->segments[0], &row)) {
        answer_host(call, &row);
    }
}

void api_sources(struct api_call *call)
{
    struct hf_host_row host = {0};
    const char *name = http_param(call->request, "host");
    if (name && !call_host(call, name, &host)) {
        return;
    }
    json_t *list = list_sources(call, host.row);
    if (list) {
        call_json(call, json_pack("{s:o}", "sources", list));
    }
}

static bool read_labels(struct api_call *call, struct hf_label *set, size_t *set_count,
                        struct hf_bytes *removed, size_t *removed_count)
{
    const char *key;
    json_t *value;
    size_t index;
    *set_count = 0;
    *removed_count = 0;
    json_object_foreach(json_object_get(call->body, "set"), key, value)
    {
        if (!json_is_string(value) || *set_count == HF_EVENT_LABELS_MAX) {
            call_refuse(call, 400, "invalid", NULL, "Labels are at most %u texts",
                        HF_EVENT_LABELS_MAX);
            return false;
        }
        set[(*set_count)++] =
            (struct hf_label){event_text(key), event_text(json_string_value(value))};
    }
    json_array_foreach(json_object_get(call->body, "remove"), index, value)
    {
        if (!json_is_string(value) || *removed_count == HF_EVENT_LABELS_MAX) {
            call_refuse(call, 400, "invalid", NULL, "'remove' is a list of label names");
            return false;
        }
        removed[(*removed_count)++] = event_text(json_string_value(value));
    }
    if (*set_count + *removed_count == 0) {
        call_refuse(call, 400, "invalid", NULL, "No label is given to set or remove");
        return false;
    }
    return true;
}

void api_host_labels(struct api_call *call)
{
    struct hf_host_row host;
    struct hf_label set[HF_EVENT_LABELS_MAX];
    struct hf_bytes removed[HF_EVENT_LABELS_MAX];
    struct hf_event event = call_event(call, HF_EVENT_HOST_LABELLED);
    event.host_labelled.set = set;
    event.host_labelled.removed = removed;
    if (!call_host(call, call->segments[0], &host) ||
        !read_labels(call, set, &event.host_labelled.set_count, removed,
                     &event.host_labelled.removed_count)) {
        return;
    }
    event.host_labelled.host_id = event_text(host.host_id);
    if (call_commit(call, &event, 1, host.host_id, "") && call_host(call, host.host_id, &host)) {
        answer_host(call, &host);
    }
}

void api_host_revoke(struct api_call *call)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    struct hf_host_row host;
    const char *reason = NULL;
    if (!call_host(call, call->segments[0], &host) || !call_body_text(call, "reason", &reason)) {
        return;
    }
    if (host.revoked_ns != 0) {
        call_refuse(call, 409, "conflict", NULL, "Host %s is revoked already", host.host_id);
        return;
    }
    struct hf_event event = call_event(call, HF_EVENT_HOST_REVOKED);
    event.host_revoked.host_id = event_text(host.host_id);
    event.host_revoked.reason = event_text(reason);
    if (call_commit(call, &event, 1, host.host_id, reason)) {
        if (sessions->close) {
            sessions->close(sessions->context, host.host_id, reason ? reason : "");
        }
        if (call_host(call, host.host_id, &host)) {
            answer_host(call, &host);
        }
    }
}
