/* Tokens: the secret is made here, told once, and kept only as a hash. */
#include <string.h>

#include "collector/api/call.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/join_token.h"

#define ID_BYTES        8
#define SECRET_BYTES    32
#define USES_MAX        100000
#define TTL_MAX_S       (10 * 366 * INT64_C(86400))
#define ENROL_TTL_MAX_S (30 * INT64_C(86400))

static const char *token_state(const struct hf_token_row *row)
{
    if (row->revoked_ns != 0) {
        return "revoked";
    }
    if (row->kind == HF_TOKEN_ENROL && row->uses_left == 0) {
        return "used-up";
    }
    return row->expires_ns != 0 && row->expires_ns <= hf_clock_now_ns() ? "expired" : "valid";
}

static json_t *json_of_token(const struct hf_token_row *row)
{
    json_t *token = json_pack("{s:s, s:s, s:o, s:s}", "id", row->token_id, "kind",
                              event_token_kind_name(row->kind), "name", json_of_cstr(row->name),
                              "state", token_state(row));
    if (row->kind == HF_TOKEN_API) {
        json_object_set_new(token, "role", json_string(event_role_name(row->role)));
    } else {
        json_object_set_new(token, "labels", json_of_labels(row->labels, row->label_count));
        json_object_set_new(token, "uses_left", json_integer(row->uses_left));
    }
    json_set_time(token, "created", row->created_ns);
    json_set_time(token, "expires", row->expires_ns);
    json_set_time(token, "revoked", row->revoked_ns);
    return token;
}

void api_tokens(struct api_call *call)
{
    const struct hf_token_row *rows = NULL;
    size_t count = 0;
    size_t limit = 0;
    uint64_t after = 0;
    if (!call_limit(call, &limit) || !call_after_number(call, &after)) {
        return;
    }
    int rc =
        catalog_token_list(call->catalog, after, limit, &call->memory, &rows, &count, &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_of_token(&rows[i]));
    }
    json_t *page = json_pack("{s:o}", "tokens", list);
    if (count == limit && count > 0) {
        json_set_next_number(page, rows[count - 1].row);
    }
    call_json(call, page);
}

/* The string to give out: an API token is hfa.ID.SECRET, an enrolment token also says where to go.
 */
static int format_token(const struct hf_api *api, enum hf_token_kind kind, const char *id,
                        const uint8_t secret[SECRET_BYTES], struct hf_buf *out)
{
    int rc;
    if (kind == HF_TOKEN_API) {
        rc = hf_buf_append_format(out, "hfa.%s.", id);
        rc = rc == HF_OK ? hf_base64url_encode(out, secret, SECRET_BYTES) : rc;
        return rc == HF_OK ? hf_buf_terminate(out) : rc;
    }
    struct hf_join_token token = {0};
    snprintf(token.enrol_address, sizeof token.enrol_address, "%s", api->options.enrol_address);
    snprintf(token.agents_address, sizeof token.agents_address, "%s", api->options.agents_address);
    snprintf(token.id, sizeof token.id, "%s", id);
    memcpy(token.ca_fingerprint, api->options.ca_fingerprint, sizeof token.ca_fingerprint);
    memcpy(token.secret, secret, SECRET_BYTES);
    rc = join_token_format(&token, out);
    hf_wipe(&token, sizeof token);
    return rc;
}

static bool read_labels(struct api_call *call, struct hf_label *labels, size_t *count)
{
    const char *key;
    json_t *value;
    *count = 0;
    json_object_foreach(json_object_get(call->body, "labels"), key, value)
    {
        if (!json_is_string(value) || *count == HF_EVENT_LABELS_MAX) {
            call_refuse(call, 400, "invalid", NULL, "Labels are at most %u texts",
                        HF_EVENT_LABELS_MAX);
            return false;
        }
        labels[(*count)++] =
            (struct hf_label){event_text(key), event_text(json_string_value(value))};
    }
    return true;
}

static bool read_number(struct api_call *call, const char *name, int64_t fallback, int64_t max,
                        int64_t *out)
{
    const json_t *value = json_object_get(call->body, name);
    *out = value ? json_integer_value(value) : fallback;
    if (value && (!json_is_integer(value) || *out < 1 || *out > max)) {
        call_refuse(call, 400, "invalid", NULL, "'%s' is a number from 1 to %lld", name,
                    (long long)max);
        return false;
    }
    return true;
}

static bool fill_event(struct api_call *call, struct hf_event *event)
{
    struct hf_event_token_created *token = &event->token_created;
    const char *kind = NULL;
    const char *role = NULL;
    const char *name = NULL;
    int64_t ttl_s = 0;
    int64_t uses = 1;
    if (!call_body_text(call, "kind", &kind) || !call_body_text(call, "role", &role) ||
        !call_body_text(call, "name", &name)) {
        return false;
    }
    bool api_token = kind && strcmp(kind, "api") == 0;
    if (!kind || (!api_token && strcmp(kind, "enrol") != 0)) {
        call_refuse(call, 400, "invalid", NULL, "'kind' is enrol or api");
        return false;
    }
    token->kind = api_token ? HF_TOKEN_API : HF_TOKEN_ENROL;
    token->role = api_token ? event_role_parse(role ? role : "") : HF_ROLE_NONE;
    if (api_token && token->role == HF_ROLE_NONE) {
        call_refuse(call, 400, "invalid", NULL, "'role' is viewer, operator or admin");
        return false;
    }
    if (!read_number(call, "ttl_s", api_token ? 0 : 3600, api_token ? TTL_MAX_S : ENROL_TTL_MAX_S,
                     &ttl_s) ||
        !read_number(call, "uses", 1, USES_MAX, &uses)) {
        return false;
    }
    token->uses = api_token ? 0 : (uint32_t)uses;
    token->expires_ns = ttl_s ? event->time_ns + ttl_s * HF_NS_PER_SECOND : 0;
    token->name = event_text(name);
    return true;
}

void api_token_create(struct api_call *call)
{
    struct hf_label labels[HF_EVENT_LABELS_MAX];
    uint8_t random_id[ID_BYTES];
    uint8_t secret[SECRET_BYTES];
    char id[2 * ID_BYTES + 1];
    struct hf_buf text = {0};
    struct hf_token_row row;
    struct hf_event event = call_event(call, HF_EVENT_TOKEN_CREATED);
    if (!fill_event(call, &event) || !read_labels(call, labels, &event.token_created.label_count)) {
        return;
    }
    hf_random(random_id, sizeof random_id);
    hf_random(secret, sizeof secret);
    hf_hex_encode(random_id, sizeof random_id, id);
    event.token_created.labels = labels;
    event.token_created.token_id = event_text(id);
    hf_sha256(secret, sizeof secret, event.token_created.secret_hash);
    int rc = format_token(call->api, event.token_created.kind, id, secret, &text);
    hf_wipe(secret, sizeof secret);
    if (rc != HF_OK) {
        call_fail(call, rc);
    } else if (call_commit(call, &event, 1, id, event_token_kind_name(event.token_created.kind))) {
        rc = catalog_token_by_id(call->catalog, id, &call->memory, &row, &call->error);
        if (rc != HF_OK) {
            call_fail(call, rc);
        } else {
            json_t *token = json_of_token(&row);
            json_object_set_new(token, "token", json_stringn((const char *)text.data, text.size));
            http_respond_json(call->response, 201, token);
        }
    }
    hf_buf_wipe_free(&text);
}

void api_token_revoke(struct api_call *call)
{
    struct hf_token_row row;
    struct hf_event event = call_event(call, HF_EVENT_TOKEN_REVOKED);
    event.token_revoked.token_id = event_text(call->segments[0]);
    if (!call_commit(call, &event, 1, call->segments[0], "")) {
        return;
    }
    int rc =
        catalog_token_by_id(call->catalog, call->segments[0], &call->memory, &row, &call->error);
    if (rc == HF_OK) {
        call_json(call, json_of_token(&row));
    } else {
        call_fail(call, rc);
    }
}
