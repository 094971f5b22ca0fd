#include "collector/api/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ingest/ingest.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"

void call_json(struct api_call *call, json_t *json)
{
    http_respond_json(call->response, 200, json);
}

void call_fail(struct api_call *call, int rc)
{
    if (call->error.message[0] == '\0') {
        hf_error_set(&call->error, (enum hf_err)rc, 0, "The request failed (%s)",
                     hf_error_name((enum hf_err)rc));
    }
    call->error.code = (enum hf_err)rc;
    http_respond_failure(call->response, &call->error);
}

void call_refuse(struct api_call *call, int status, const char *code, const char *hint,
                 const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    http_respond_error(call->response, status, code, text, hint);
}

bool call_host(struct api_call *call, const char *id_or_name, struct hf_host_row *out)
{
    int rc = catalog_host_resolve(call->catalog, id_or_name, &call->memory, out, &call->error);
    if (rc == HF_ERR_NOT_FOUND) {
        call_refuse(call, 404, "not-found", "'holdfast hosts' lists them", "There is no host '%s'",
                    id_or_name);
    } else if (rc != HF_OK) {
        call_fail(call, rc);
    }
    return rc == HF_OK;
}

bool call_source(struct api_call *call, struct hf_host_row *host, struct hf_source_row *out)
{
    if (!call_host(call, call->segments[0], host)) {
        return false;
    }
    int rc = catalog_source_by_name(call->catalog, host->row, call->segments[1], &call->memory, out,
                                    &call->error);
    if (rc == HF_ERR_NOT_FOUND) {
        call_refuse(call, 404, "not-found", "'holdfast sources' lists them",
                    "Host '%s' has no source '%s'", call->segments[0], call->segments[1]);
    } else if (rc != HF_OK) {
        call_fail(call, rc);
    }
    return rc == HF_OK;
}

bool call_moment(struct api_call *call, const char *name, int64_t fallback, int64_t *out)
{
    const char *text = http_param(call->request, name);
    struct hf_error error = {0};
    *out = fallback;
    if (text && hf_moment_parse(text, hf_clock_now_ns(), out, &error) != HF_OK) {
        call_refuse(call, 400, "invalid", NULL, "%s: %s", name, error.message);
        return false;
    }
    return true;
}

bool call_number(struct api_call *call, const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end || value > INT64_MAX) {
        call_refuse(call, 400, "invalid", NULL, "'%.100s' is not a number", text);
        return false;
    }
    *out = value;
    return true;
}

bool call_limit(struct api_call *call, size_t *out)
{
    const char *text = http_param(call->request, "limit");
    uint64_t value = API_PAGE_DEFAULT;
    if (text && !call_number(call, text, &value)) {
        return false;
    }
    *out = value == 0 || value > HF_CATALOG_PAGE_MAX ? HF_CATALOG_PAGE_MAX : (size_t)value;
    return true;
}

bool call_after_number(struct api_call *call, uint64_t *out)
{
    const char *text = http_param(call->request, "after");
    *out = 0;
    return !text || call_number(call, text, out);
}

bool call_after_path(struct api_call *call, struct hf_buf *memory, struct hf_bytes *out)
{
    const char *text = http_param(call->request, "after");
    *out = (struct hf_bytes){0};
    if (!text) {
        return true;
    }
    size_t size = strlen(text) / 2;
    uint8_t *bytes = NULL;
    if (size > HF_PATH_MAX_BYTES || hf_buf_extend(memory, size, &bytes) != HF_OK ||
        hf_hex_decode(text, bytes, size) != HF_OK) {
        call_refuse(call, 400, "invalid", NULL,
                    "after: take it from the 'next' of the page before");
        return false;
    }
    *out = (struct hf_bytes){memory->data, size};
    return true;
}

/* The HTTP library ends a request line at a %0D or %0A in it, so names with such bytes come in
 * hexadecimal. All are decoded at once, so that views of earlier ones stay. */
static bool decode_hex_paths(struct api_call *call)
{
    const struct hf_http_request *request = call->request;
    for (size_t i = 0; i < request->param_count; i++) {
        const struct hf_buf *value = &request->params[i].value;
        uint8_t *bytes = NULL;
        if (strcmp(request->params[i].name, "path_hex") != 0) {
            continue;
        }
        if (value->size % 2 != 0 || value->size / 2 > HF_PATH_MAX_BYTES ||
            hf_buf_extend(&call->hex_paths, value->size / 2, &bytes) != HF_OK ||
            hf_hex_decode((const char *)value->data, bytes, value->size / 2) != HF_OK) {
            call_refuse(call, 400, "invalid", NULL,
                        "path_hex: a path's bytes as hexadecimal digits are expected");
            return false;
        }
    }
    return true;
}

bool call_path(struct api_call *call, size_t n, struct hf_bytes *out, bool *found)
{
    size_t hex_before = 0;
    *found = false;
    *out = (struct hf_bytes){0};
    if (call->hex_paths.size == 0 && !decode_hex_paths(call)) {
        return false;
    }
    for (size_t i = 0; i < call->request->param_count; i++) {
        const struct hf_http_param *param = &call->request->params[i];
        bool hex = strcmp(param->name, "path_hex") == 0;
        if (!hex && strcmp(param->name, "path") != 0) {
            continue;
        }
        if (n-- > 0) {
            hex_before += hex ? param->value.size / 2 : 0;
            continue;
        }
        size_t size = hex ? param->value.size / 2 : param->value.size;
        const uint8_t *p = (const uint8_t *)"";
        if (size > 0) {
            p = hex ? call->hex_paths.data + hex_before : param->value.data;
        }
        if (memchr(p, '\0', size)) {
            call_refuse(call, 400, "invalid", NULL, "A path has no zero byte");
            return false;
        }
        while (size > 0 && p[0] == '/') {
            p++;
            size--;
        }
        while (size > 0 && p[size - 1] == '/') {
            size--;
        }
        if (size > 0 && hf_path_check_relative((const char *)p, size, &call->error) != HF_OK) {
            call_fail(call, HF_ERR_INVALID);
            return false;
        }
        *out = (struct hf_bytes){p, size};
        *found = size > 0;
        return true;
    }
    return true;
}

bool call_body_text(struct api_call *call, const char *name, const char **out)
{
    const json_t *value = json_object_get(call->body, name);
    *out = json_string_value(value);
    if (value && !json_is_null(value) && !*out) {
        call_refuse(call, 400, "invalid", NULL, "'%s' has to be text", name);
        return false;
    }
    if (*out && !**out) {
        *out = NULL;
    }
    return true;
}

struct hf_event call_event(const struct api_call *call, enum hf_event_type type)
{
    return (struct hf_event){.type = type,
                             .time_ns = hf_clock_now_ns(),
                             .actor = event_text(*call->actor ? call->actor : call->request->peer)};
}

bool call_commit(struct api_call *call, struct hf_event *events, size_t count, const char *object,
                 const char *detail)
{
    struct hf_event all[8];
    if (count + 1 > sizeof all / sizeof all[0]) {
        call_fail(call, HF_ERR_LIMIT);
        return false;
    }
    memcpy(all, events, count * sizeof *events);
    all[count] = call_event(call, HF_EVENT_AUDIT);
    all[count].audit.action = event_text(call->route->audit);
    all[count].audit.object = event_text(object);
    all[count].audit.detail = event_text(detail);
    all[count].audit.outcome = HF_AUDIT_OK;
    int rc = ingest_commit(call->api->options.ingest, all, count + 1, &call->error);
    memcpy(events, all, count * sizeof *events); /* with the ids that were chosen */
    if (rc != HF_OK) {
        call_fail(call, rc);
    }
    return rc == HF_OK;
}
