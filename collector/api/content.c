#include "collector/api/content.h"

#include <stdlib.h>

#include "collector/api/call.h"
#include "collector/store/store.h"
#include "common/clock.h"

int content_open(struct api_content *content, const struct hf_version *version)
{
    *content = (struct api_content){.depth = version->depth};
    return hf_buf_append(&content->refs, version->refs.data, version->refs.size);
}

void content_close(struct api_content *content)
{
    hf_buf_free(&content->refs);
    hf_buf_free(&content->list);
}

static int read_chunk(struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                      const uint8_t *id, struct hf_buf *out, struct hf_error *error)
{
    struct hf_chunk_place place;
    int rc = catalog_chunk_locate(catalog, id, &place, error);
    return rc == HF_OK ? store_read_chunk(store, &place.place, id, out, error) : rc;
}

int content_read(struct api_content *content, struct hf_catalog_reader *catalog,
                 struct hf_store_reader *store, struct hf_buf *out, bool *done,
                 struct hf_error *error)
{
    *done = false;
    for (;;) {
        if (content->next_in_list + HF_CHUNK_REF_BYTES <= content->list.size) {
            const uint8_t *id = content->list.data + content->next_in_list;
            content->next_in_list += HF_CHUNK_REF_BYTES;
            return read_chunk(catalog, store, id, out, error);
        }
        if (content->next_ref + HF_CHUNK_REF_BYTES > content->refs.size) {
            *done = true;
            return HF_OK;
        }
        const uint8_t *id = content->refs.data + content->next_ref;
        content->next_ref += HF_CHUNK_REF_BYTES;
        if (content->depth == 0) {
            return read_chunk(catalog, store, id, out, error);
        }
        hf_buf_clear(&content->list);
        content->next_in_list = 0;
        int rc = read_chunk(catalog, store, id, &content->list, error);
        if (rc != HF_OK) {
            return rc;
        }
    }
}

/* --- GET .../content --- */

static int produce(void *state, struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                   struct hf_buf *out, bool *done, struct hf_error *error)
{
    struct api_content *content = state;
    int rc = HF_OK;
    *done = false;
    while (rc == HF_OK && !*done && out->size < HF_HTTP_PIECE_BYTES) {
        rc = content_read(content, catalog, store, out, done, error);
    }
    return rc;
}

static void free_content(void *state)
{
    content_close(state);
    free(state);
}

void api_content(struct api_call *call)
{
    struct hf_host_row host;
    struct hf_source_row source;
    struct hf_version_row row;
    struct hf_bytes path;
    int64_t at_ns = 0;
    uint64_t seq = 0;
    bool has_path = false;
    const char *version = http_param(call->request, "version");
    if (!call_source(call, &host, &source) || !call_path(call, 0, &path, &has_path) ||
        !call_moment(call, "at", hf_clock_now_ns(), &at_ns) ||
        (version && !call_number(call, version, &seq))) {
        return;
    }
    int rc = version ? catalog_version_by_seq(call->catalog, source.row, path, seq, &call->memory,
                                              &row, &call->error)
                     : catalog_version_at(call->catalog, source.row, path, at_ns, &call->memory,
                                          &row, &call->error);
    if (rc == HF_ERR_NOT_FOUND) {
        call_refuse(call, 404, "not-found", "'holdfast versions' shows when there was one",
                    "%s:%s had no file /%.*s then", host.name, source.name, (int)path.size,
                    (const char *)path.data);
        return;
    }
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    if (row.version.type != HF_FILE_REGULAR) {
        call_refuse(call, 409, "not-a-file", NULL, "/%.*s was not a regular file then",
                    (int)path.size, (const char *)path.data);
        return;
    }
    struct api_content *content = calloc(1, sizeof *content);
    if (!content || content_open(content, &row.version) != HF_OK) {
        free(content);
        call_fail(call, HF_ERR_NO_MEMORY);
        return;
    }
    call->response->content_type = "application/octet-stream";
    call->response->produce = produce;
    call->response->produce_state = content;
    call->response->produce_free = free_content;
    call->response->length = (int64_t)row.version.size;
}
