#include "collector/api/call.h"
#include "common/bytes.h"

void api_audit(struct api_call *call)
{
    const struct hf_audit_row *rows = NULL;
    size_t count = 0;
    size_t limit = 0;
    uint64_t before = 0;
    if (!call_limit(call, &limit) || !call_after_number(call, &before)) {
        return;
    }
    int rc = catalog_audit_list(call->catalog, before, limit, &call->memory, &rows, &count,
                                &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char hash[2 * HF_HASH_BYTES + 1];
        hf_hex_encode(rows[i].hash, HF_HASH_BYTES, hash);
        json_array_append_new(
            list,
            json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "seq", (json_int_t)rows[i].seq,
                      "time", json_of_time(rows[i].time_ns), "actor", json_of_cstr(rows[i].actor),
                      "action", json_of_cstr(rows[i].action), "object",
                      json_of_cstr(rows[i].object), "detail", json_of_cstr(rows[i].detail),
                      "outcome", event_audit_outcome_name(rows[i].outcome), "hash", hash));
    }
    json_t *page = json_pack("{s:o}", "entries", list);
    if (count == limit && count > 0) {
        json_set_next_number(page, rows[count - 1].seq);
    }
    call_json(call, page);
}

void api_audit_verify(struct api_call *call)
{
    uint64_t entries = 0;
    uint64_t broken_at = 0;
    struct hf_error message = {0};
    int rc = catalog_audit_verify(call->catalog, &entries, &broken_at, &message, &call->error);
    if (rc != HF_OK) {
        call_fail(call, rc);
    } else if (broken_at == 0) {
        call_json(call, json_pack("{s:b, s:I}", "intact", 1, "entries", (json_int_t)entries));
    } else {
        call_json(call, json_pack("{s:b, s:I, s:o}", "intact", 0, "broken_at",
                                  (json_int_t)broken_at, "message", json_of_cstr(message.message)));
    }
}
