#include <string.h>

#include "collector/api/call.h"
#include "common/clock.h"

static json_t *json_of_snapshot(const struct hf_snapshot_row *row)
{
    json_t *snapshot =
        json_pack("{s:I, s:s, s:o, s:s, s:o, s:s, s:b}", "id", (json_int_t)row->snapshot_id, "host",
                  row->host_id, "host_name", json_of_cstr(row->host_name), "source",
                  row->source_name, "name", json_of_cstr(row->name), "reason",
                  event_snapshot_reason_name(row->reason), "held", (int)row->held);
    json_set_time(snapshot, "at", row->at_ns);
    json_set_time(snapshot, "created", row->created_ns);
    if (row->job != 0) {
        json_object_set_new(snapshot, "job", json_integer((json_int_t)row->job));
    }
    if (row->held) {
        json_object_set_new(snapshot, "hold_reason", json_of_cstr(row->hold_reason));
    }
    return snapshot;
}

void api_snapshots(struct api_call *call)
{
    struct hf_host_row host = {0};
    struct hf_source_row source = {0};
    const char *host_name = http_param(call->request, "host");
    const char *source_name = http_param(call->request, "source");
    const struct hf_snapshot_row *rows = NULL;
    size_t count = 0;
    size_t limit = 0;
    uint64_t after = 0;
    if (!call_limit(call, &limit) || !call_after_number(call, &after) ||
        (host_name && !call_host(call, host_name, &host))) {
        return;
    }
    if (source_name && host_name) {
        int found = catalog_source_by_name(call->catalog, host.row, source_name, &call->memory,
                                           &source, &call->error);
        if (found != HF_OK) {
            call_fail(call, found);
            return;
        }
    }
    int rc = catalog_snapshot_list(call->catalog, host.row, source.row, after, limit, &call->memory,
                                   &rows, &count, &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_of_snapshot(&rows[i]));
    }
    json_t *page = json_pack("{s:o}", "snapshots", list);
    if (count == limit && count > 0) {
        json_set_next_number(page, rows[count - 1].snapshot_id);
    }
    call_json(call, page);
}

static void answer_snapshot(struct api_call *call, uint64_t id, int status)
{
    struct hf_snapshot_row row;
    int rc = catalog_snapshot_get(call->catalog, id, &call->memory, &row, &call->error);
    if (rc == HF_OK) {
        http_respond_json(call->response, status, json_of_snapshot(&row));
    } else {
        call_fail(call, rc);
    }
}

void api_snapshot_create(struct api_call *call)
{
    struct hf_host_row host;
    struct hf_source_row source;
    struct hf_error error = {0};
    const char *host_name = NULL;
    const char *source_name = NULL;
    const char *name = NULL;
    const char *at = NULL;
    if (!call_body_text(call, "host", &host_name) ||
        !call_body_text(call, "source", &source_name) || !call_body_text(call, "name", &name) ||
        !call_body_text(call, "at", &at)) {
        return;
    }
    if (!host_name || !source_name || !name) {
        call_refuse(call, 400, "invalid", NULL, "A snapshot needs host, source and name");
        return;
    }
    struct hf_event event = call_event(call, HF_EVENT_SNAPSHOT_CREATED);
    event.snapshot_created.at_ns = event.time_ns;
    if (at && hf_moment_parse(at, event.time_ns, &event.snapshot_created.at_ns, &error) != HF_OK) {
        call_refuse(call, 400, "invalid", NULL, "at: %s", error.message);
        return;
    }
    if (!call_host(call, host_name, &host)) {
        return;
    }
    int rc = catalog_source_by_name(call->catalog, host.row, source_name, &call->memory, &source,
                                    &call->error);
    if (rc != HF_OK) {
        call_refuse(call, 404, "not-found", "'holdfast sources' lists them",
                    "Host '%s' has no source '%s'", host_name, source_name);
        return;
    }
    if (event.snapshot_created.at_ns < source.opened_ns) {
        char begun[HF_TIME_TEXT_BYTES];
        hf_time_rfc3339(source.opened_ns, begun);
        call_refuse(call, 404, "not-found", "'holdfast versions' shows what there was when",
                    "%s:%s had nothing at that moment: it is protected since %s", host.name,
                    source.name, begun);
        return;
    }
    event.snapshot_created.source_row = source.row;
    event.snapshot_created.name = event_text(name);
    event.snapshot_created.reason = HF_SNAPSHOT_MANUAL;
    event.snapshot_created.held = json_is_true(json_object_get(call->body, "hold"));
    if (call_commit(call, &event, 1, host.host_id, name)) {
        answer_snapshot(call, event.snapshot_created.snapshot_id, 201);
    }
}

static void change_hold(struct api_call *call, enum hf_event_type type)
{
    uint64_t id = 0;
    const char *reason = NULL;
    if (!call_number(call, call->segments[0], &id) || !call_body_text(call, "reason", &reason)) {
        return;
    }
    struct hf_event event = call_event(call, type);
    event.snapshot_held.snapshot_id = id;
    if (type == HF_EVENT_SNAPSHOT_HELD) {
        event.snapshot_held.reason = event_text(reason);
    }
    if (call_commit(call, &event, 1, call->segments[0], reason)) {
        answer_snapshot(call, id, 200);
    }
}

void api_snapshot_hold(struct api_call *call)
{
    change_hold(call, HF_EVENT_SNAPSHOT_HELD);
}

void api_snapshot_release(struct api_call *call)
{
    change_hold(call, HF_EVENT_SNAPSHOT_RELEASED);
}
