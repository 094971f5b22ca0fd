/* Restore jobs: asking for one, following it, ending it. */
#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"

#define EXPIRES_DEFAULT_S (7 * 86400)
#define EXPIRES_MAX_S     (366 * 86400)

static const char *conflict_name(enum hf_conflict conflict)
{
    switch (conflict) {
    case HF_CONFLICT_SKIP:
        return "skip";
    case HF_CONFLICT_RENAME:
        return "rename";
    case HF_CONFLICT_REPLACE:
        break;
    }
    return "replace";
}

static json_t *json_of_job(const struct hf_job_row *row)
{
    json_t *paths = json_array();
    for (size_t i = 0; i < row->path_count; i++) {
        json_array_append_new(paths, json_of_text(row->paths[i]));
    }
    json_t *files = json_pack("{s:I, s:I, s:I}", "total", (json_int_t)row->files_total, "done",
                              (json_int_t)row->files_done, "failed", (json_int_t)row->files_failed);
    json_t *bytes =
        json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)row->bytes_total, "done",
                  (json_int_t)row->bytes_done, "fetched", (json_int_t)row->fetched_bytes, "reused",
                  (json_int_t)row->reused_bytes);
    json_t *job = json_pack("{s:I, s:s, s:s, s:o, s:s, s:o, s:s, s:b, s:s, s:o, s:o, s:o, s:o}",
                            "id", (json_int_t)row->job_id, "kind", "restore", "host", row->host_id,
                            "host_name", json_of_cstr(row->host_name), "source", row->source_name,
                            "paths", paths, "on_conflict", conflict_name(row->conflict), "dry_run",
                            (int)row->dry_run, "state", event_job_state_name(row->state),
                            "created_by", json_of_cstr(row->created_by), "files", files, "bytes",
                            bytes, "message", json_of_cstr(row->message));
    json_set_time(job, "at", row->at_ns);
    json_set_time(job, "created", row->created_ns);
    json_set_time(job, "started", row->started_ns);
    json_set_time(job, "finished", row->finished_ns);
    json_set_time(job, "expires", row->expires_ns);
    if (strcmp(row->origin_host_id, row->host_id) != 0) {
        json_object_set_new(job, "origin_host", json_string(row->origin_host_id));
    }
    if (row->destination.size > 0) {
        json_object_set_new(job, "to", json_of_text(row->destination));
    }
    if (row->snapshot_id != 0) {
        json_object_set_new(job, "snapshot", json_integer((json_int_t)row->snapshot_id));
    }
    return job;
}

static void answer_job(struct api_call *call, uint64_t id, int status)
{
    struct hf_job_row row;
    int rc = catalog_job_get(call->catalog, id, &call->memory, &row, &call->error);
    if (rc == HF_ERR_NOT_FOUND) {
        call_refuse(call, 404, "not-found", "'holdfast jobs --all' lists them",
                    "There is no job %llu", (unsigned long long)id);
    } else if (rc != HF_OK) {
        call_fail(call, rc);
    } else {
        http_respond_json(call->response, status, json_of_job(&row));
    }
}

void api_jobs(struct api_call *call)
{
    struct hf_host_row host = {0};
    const char *state = http_param(call->request, "state");
    const char *host_name = http_param(call->request, "host");
    const struct hf_job_row *rows = NULL;
    size_t count = 0;
    size_t limit = 0;
    uint64_t before = 0;
    if (!call_limit(call, &limit) || !call_after_number(call, &before) ||
        (host_name && !call_host(call, host_name, &host))) {
        return;
    }
    enum hf_job_filter filter = state && strcmp(state, "all") == 0 ? HF_JOBS_ALL : HF_JOBS_ACTIVE;
    int rc = catalog_job_list(call->catalog, filter, host.row, before, limit, &call->memory, &rows,
                              &count, &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_of_job(&rows[i]));
    }
    json_t *page = json_pack("{s:o}", "jobs", list);
    if (count == limit && count > 0) {
        json_set_next_number(page, rows[count - 1].job_id);
    }
    call_json(call, page);
}

void api_job(struct api_call *call)
{
    uint64_t id = 0;
    if (call_number(call, call->segments[0], &id)) {
        answer_job(call, id, 200);
    }
}

static int status_of(const char *name)
{
    for (int status = HF_RESTORE_RESTORED; status <= HF_RESTORE_WOULD; status++) {
        if (strcmp(proto_status_name((enum hf_restore_status)status), name) == 0) {
            return status;
        }
    }
    return -1;
}

void api_job_results(struct api_call *call)
{
    const char *status_name = http_param(call->request, "status");
    int status = status_name ? status_of(status_name) : 0;
    const struct hf_job_result_row *rows = NULL;
    struct hf_buf after_memory = {0};
    struct hf_bytes after;
    size_t count = 0;
    size_t limit = 0;
    uint64_t id = 0;
    if (status < 0) {
        call_refuse(call, 400, "invalid", NULL, "'%.40s' is no status of a file", status_name);
        return;
    }
    if (!call_number(call, call->segments[0], &id) || !call_limit(call, &limit) ||
        !call_after_path(call, &after_memory, &after)) {
        hf_buf_free(&after_memory);
        return;
    }
    int rc = catalog_job_results(call->catalog, id, status, after, limit, &call->memory, &rows,
                                 &count, &call->error);
    hf_buf_free(&after_memory);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *result =
            json_pack("{s:s, s:I, s:o}", "status", proto_status_name(rows[i].status), "bytes",
                      (json_int_t)rows[i].bytes, "message", json_of_cstr(rows[i].message));
        json_set_path(result, rows[i].path);
        json_array_append_new(list, result);
    }
    json_t *page = json_pack("{s:o}", "results", list);
    if (count == limit && count > 0) {
        json_set_next_path(page, rows[count - 1].path);
    }
    call_json(call, page);
}

void api_job_cancel(struct api_call *call)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    struct hf_job_row row;
    uint64_t id = 0;
    if (!call_number(call, call->segments[0], &id)) {
        return;
    }
    int rc = catalog_job_get(call->catalog, id, &call->memory, &row, &call->error);
    if (rc != HF_OK) {
        answer_job(call, id, 200);
        return;
    }
    struct hf_event event = call_event(call, HF_EVENT_JOB_STATE);
    event.job_state.job_id = id;
    event.job_state.state = HF_JOB_STATE_CANCELLED;
    event.job_state.fetched_bytes = row.fetched_bytes;
    event.job_state.reused_bytes = row.reused_bytes;
    event.job_state.message = event_text("Cancelled by the operator");
    if (call_commit(call, &event, 1, call->segments[0], "")) {
        if (sessions->cancel) {
            sessions->cancel(sessions->context, row.host_id, id);
        }
        answer_job(call, id, 200);
    }
}

/* --- asking --- */

struct request {
    const char *host, *source, *origin_host, *at, *to, *on_conflict;
    struct hf_bytes paths[HF_EVENT_PATHS_MAX];
    size_t path_count;
    struct hf_buf decoded; /* of {"hex": ...} paths */
};

/* One element of "paths": text, or {"hex": ...} for bytes that are not UTF-8. */
static bool read_path(struct api_call *call, struct request *request, const json_t *element)
{
    const char *text = json_string_value(element);
    const char *hex = json_string_value(json_object_get(element, "hex"));
    struct hf_bytes path = event_text(text ? text : "");
    if (hex) {
        size_t size = strlen(hex) / 2;
        uint8_t *bytes = NULL;
        /* Reserved in one piece before, so that earlier views stay. */
        if (size > HF_PATH_MAX_BYTES || hf_buf_extend(&request->decoded, size, &bytes) != HF_OK ||
            hf_hex_decode(hex, bytes, size) != HF_OK) {
            call_refuse(call, 400, "invalid", NULL, "paths: 'hex' is not hexadecimal bytes");
            return false;
        }
        path = (struct hf_bytes){bytes, size};
    }
    while (path.size > 0 && path.data[0] == '/') {
        path.data++;
        path.size--;
    }
    while (path.size > 0 && path.data[path.size - 1] == '/') {
        path.size--;
    }
    if (hf_path_check_relative((const char *)path.data, path.size, &call->error) != HF_OK) {
        call_fail(call, HF_ERR_INVALID);
        return false;
    }
    request->paths[request->path_count++] = path;
    return true;
}

static bool read_paths(struct api_call *call, struct request *request)
{
    const json_t *paths = json_object_get(call->body, "paths");
    size_t hex_bytes = 0;
    size_t count = json_array_size(paths);
    if (count > HF_EVENT_PATHS_MAX) {
        call_refuse(call, 413, "limit", "Name a directory above them, or make several jobs",
                    "A job takes at most %u paths", HF_EVENT_PATHS_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const char *hex = json_string_value(json_object_get(json_array_get(paths, i), "hex"));
        hex_bytes += hex ? strlen(hex) / 2 : 0;
    }
    if (hf_buf_reserve(&request->decoded, hex_bytes) != HF_OK) {
        call_fail(call, HF_ERR_NO_MEMORY);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_path(call, request, json_array_get(paths, i))) {
            return false;
        }
    }
    return true;
}

static bool read_request(struct api_call *call, struct request *request)
{
    if (!call_body_text(call, "host", &request->host) ||
        !call_body_text(call, "source", &request->source) ||
        !call_body_text(call, "origin_host", &request->origin_host) ||
        !call_body_text(call, "at", &request->at) || !call_body_text(call, "to", &request->to) ||
        !call_body_text(call, "on_conflict", &request->on_conflict)) {
        return false;
    }
    if (!request->host || !request->source) {
        call_refuse(call, 400, "invalid", NULL, "A restore needs host and source");
        return false;
    }
    if (request->to && request->to[0] != '/') {
        call_refuse(call, 400, "invalid", NULL, "'to' has to be an absolute directory of the host");
        return false;
    }
    return read_paths(call, request);
}

static bool parse_conflict(struct api_call *call, const char *name, enum hf_conflict *out)
{
    *out = HF_CONFLICT_REPLACE;
    for (enum hf_conflict conflict = HF_CONFLICT_REPLACE; name && conflict <= HF_CONFLICT_RENAME;
         conflict++) {
        if (strcmp(conflict_name(conflict), name) == 0) {
            *out = conflict;
            return true;
        }
    }
    if (name) {
        call_refuse(call, 400, "invalid", NULL,
                    "on_conflict is replace, skip or rename, not '%.40s'", name);
    }
    return !name;
}

static bool fill_event(struct api_call *call, const struct request *request, struct hf_event *event)
{
    struct hf_event_job_created *job = &event->job_created;
    struct hf_error error = {0};
    int64_t expires_s = EXPIRES_DEFAULT_S;
    const json_t *expires = json_object_get(call->body, "expires_s");
    if (expires) {
        expires_s = json_is_integer(expires) ? json_integer_value(expires) : 0;
    }
    if (expires_s < 1 || expires_s > EXPIRES_MAX_S) {
        call_refuse(call, 400, "invalid", NULL, "expires_s is a number of seconds, at most a year");
        return false;
    }
    job->at_ns = event->time_ns;
    if (request->at && hf_moment_parse(request->at, event->time_ns, &job->at_ns, &error) != HF_OK) {
        call_refuse(call, 400, "invalid", NULL, "at: %s", error.message);
        return false;
    }
    job->source_name = event_text(request->source);
    job->paths = request->paths;
    job->path_count = request->path_count;
    job->destination = event_text(request->to);
    job->dry_run = json_is_true(json_object_get(call->body, "dry_run"));
    job->expires_ns = event->time_ns + expires_s * HF_NS_PER_SECOND;
    return parse_conflict(call, request->on_conflict, &job->conflict);
}

static bool count_files(struct api_call *call, uint64_t source_row,
                        struct hf_event_job_created *job)
{
    struct hf_timeline_query query = {.source_row = source_row,
                                      .at_ns = job->at_ns,
                                      .paths = job->paths,
                                      .path_count = job->path_count};
    int rc = catalog_tree_totals(call->catalog, &query, &job->file_count, &job->byte_count,
                                 &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
    } else if (job->file_count == 0) {
        call_refuse(call, 404, "not-found",
                    "'holdfast ls --at' and 'holdfast versions' show what was there when",
                    "There was nothing of that at that moment");
    }
    return rc == HF_OK && job->file_count > 0;
}

static void create(struct api_call *call, struct request *request)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    struct hf_host_row host;
    struct hf_host_row origin;
    struct hf_source_row source;
    char object[256];
    struct hf_event event = call_event(call, HF_EVENT_JOB_CREATED);
    if (!read_request(call, request) || !fill_event(call, request, &event) ||
        !call_host(call, request->host, &host) ||
        !call_host(call, request->origin_host ? request->origin_host : request->host, &origin)) {
        return;
    }
    int rc = catalog_source_by_name(call->catalog, origin.row, request->source, &call->memory,
                                    &source, &call->error);
    if (rc != HF_OK) {
        call_refuse(call, 404, "not-found", "'holdfast sources' lists them",
                    "Host '%s' has no source '%s'", origin.name, request->source);
        return;
    }
    if (host.revoked_ns != 0) {
        call_refuse(call, 409, "conflict", "Restore onto another host with --onto",
                    "Host '%s' is revoked and won't come for it", host.name);
        return;
    }
    if (!count_files(call, source.row, &event.job_created)) {
        return;
    }
    event.job_created.host_id = event_text(host.host_id);
    event.job_created.origin_host_id = event_text(origin.host_id);
    snprintf(object, sizeof object, "%s:%s onto %s", origin.host_id, source.name, host.host_id);
    if (call_commit(call, &event, 1, object, request->to)) {
        if (sessions->wake) {
            sessions->wake(sessions->context, host.host_id);
        }
        answer_job(call, event.job_created.job_id, 201);
    }
}

void api_restore_create(struct api_call *call)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request) {
        call_fail(call, HF_ERR_NO_MEMORY);
        return;
    }
    create(call, request);
    hf_buf_free(&request->decoded);
    free(request);
}
