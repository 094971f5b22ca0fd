/* Looking into a source: list, tree, versions, diff. */
#include <string.h>

#include "collector/api/call.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/hash.h"

typedef int (*timeline_question)(struct hf_catalog_reader *reader,
                                 const struct hf_timeline_query *query,
                                 struct hf_catalog_memory *memory, struct hf_version_page *out,
                                 struct hf_error *error);

/* Equal content has equal text: a hash over the references, empty for what has none. */
static void set_content(json_t *file, const struct hf_version *version)
{
    uint8_t hash[HF_HASH_BYTES];
    char text[2 * HF_HASH_BYTES + 1];
    if (version->type == HF_FILE_REGULAR) {
        hf_sha256(version->refs.data, version->refs.size, hash);
        hf_hex_encode(hash, sizeof hash, text);
        json_object_set_new(file, "content", json_string(text));
    }
}

static void answer_page(struct api_call *call, timeline_question ask)
{
    struct hf_host_row host;
    struct hf_source_row source;
    struct hf_bytes path;
    struct hf_buf after_memory = {0};
    struct hf_version_page page;
    bool has_path = false;
    struct hf_timeline_query query = {0};
    if (!call_source(call, &host, &source) ||
        !call_moment(call, "at", hf_clock_now_ns(), &query.at_ns) ||
        !call_path(call, 0, &path, &has_path) || !call_limit(call, &query.limit) ||
        !call_after_path(call, &after_memory, &query.after)) {
        hf_buf_free(&after_memory);
        return;
    }
    query.source_row = source.row;
    query.paths = &path;
    query.path_count = has_path;
    int rc = ask(call->catalog, &query, &call->memory, &page, &call->error);
    hf_buf_free(&after_memory);
    if (rc == HF_ERR_NOT_FOUND) {
        call_refuse(call, 404, "not-found", "Look one level up, or at another moment with --at",
                    "%s:%s had nothing at /%.*s at that moment", host.name, source.name,
                    (int)path.size, (const char *)path.data);
        return;
    }
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *entries = json_array();
    for (size_t i = 0; i < page.count; i++) {
        json_array_append_new(entries, json_of_file(&page.rows[i]));
    }
    json_t *answer = json_pack("{s:o, s:o}", "at", json_of_time(query.at_ns), "entries", entries);
    if (!page.last && page.next.size > 0) {
        json_set_next_path(answer, page.next);
    }
    call_json(call, answer);
}

void api_list(struct api_call *call)
{
    answer_page(call, catalog_list);
}

void api_tree(struct api_call *call)
{
    answer_page(call, catalog_tree);
}

void api_versions(struct api_call *call)
{
    struct hf_host_row host;
    struct hf_source_row source;
    struct hf_bytes path;
    const struct hf_version_row *rows = NULL;
    size_t count = 0;
    size_t limit = 0;
    uint64_t before = 0;
    bool has_path = false;
    if (!call_source(call, &host, &source) || !call_path(call, 0, &path, &has_path) ||
        !call_limit(call, &limit) || !call_after_number(call, &before)) {
        return;
    }
    int rc = catalog_version_list(call->catalog, source.row, path, before, limit, &call->memory,
                                  &rows, &count, &call->error);
    if (rc == HF_OK && count == 0 && before == 0) {
        call_refuse(call, 404, "not-found", "'holdfast ls' shows what there is",
                    "%s:%s never had a file /%.*s", host.name, source.name, (int)path.size,
                    (const char *)path.data);
        return;
    }
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *file = json_of_file(&rows[i]);
        json_set_time(file, "received", rows[i].received_ns);
        set_content(file, &rows[i].version);
        json_array_append_new(list, file);
    }
    json_t *answer = json_pack("{s:o}", "versions", list);
    if (count == limit && count > 0) {
        json_set_next_number(answer, rows[count - 1].version.seq);
    }
    call_json(call, answer);
}

void api_diff(struct api_call *call)
{
    struct hf_host_row host;
    struct hf_source_row source;
    struct hf_bytes path;
    struct hf_buf after_memory = {0};
    struct hf_diff_page page;
    struct hf_timeline_query query = {0};
    int64_t to_ns = 0;
    bool has_path = false;
    if (!http_param(call->request, "from")) {
        call_refuse(call, 400, "invalid", NULL, "'from' is missing: the moment to compare with");
        return;
    }
    if (!call_source(call, &host, &source) || !call_moment(call, "from", 0, &query.at_ns) ||
        !call_moment(call, "to", hf_clock_now_ns(), &to_ns) ||
        !call_path(call, 0, &path, &has_path) || !call_limit(call, &query.limit) ||
        !call_after_path(call, &after_memory, &query.after)) {
        hf_buf_free(&after_memory);
        return;
    }
    query.source_row = source.row;
    query.paths = &path;
    query.path_count = has_path;
    int rc = catalog_diff(call->catalog, &query, to_ns, &call->memory, &page, &call->error);
    hf_buf_free(&after_memory);
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    json_t *changes = json_array();
    for (size_t i = 0; i < page.count; i++) {
        json_t *change = json_pack("{s:s}", "change", catalog_change_name(page.rows[i].change));
        if (page.rows[i].before) {
            json_object_set_new(change, "before", json_of_file(page.rows[i].before));
        }
        if (page.rows[i].after) {
            json_object_set_new(change, "after", json_of_file(page.rows[i].after));
        }
        json_array_append_new(changes, change);
    }
    json_t *answer = json_pack("{s:o}", "changes", changes);
    if (!page.last && page.next.size > 0) {
        json_set_next_path(answer, page.next);
    }
    call_json(call, answer);
}
