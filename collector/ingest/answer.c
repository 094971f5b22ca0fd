/* Questions of agents that only read: HAVE, LIST and DICTIONARY_GET. On workers. */
#include "collector/ingest/pipeline.h"

#include <string.h>

#include "common/log.h"

#define LISTING_BYTES_MAX (512u * 1024u)
#define LISTING_ROWS_MAX  512u

void answer_have(struct ingest_item *item, struct hf_catalog_reader *catalog)
{
    struct hf_bytes ids = item->frame.ids.ids;
    size_t count = ids.size / HF_HASH_BYTES;
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_FRAME);
    uint8_t *bitmap = NULL;
    struct hf_error error = {0};
    if (!reply || hf_buf_extend(&reply->memory, (count + 7) / 8, &bitmap) != HF_OK) {
        ingest_reply_free(reply);
        return;
    }
    if (catalog_chunks_missing(catalog, item->session->host_row, ids.data, count, bitmap, &error) !=
        HF_OK) {
        memset(bitmap, 0xff, (count + 7) / 8); /* in doubt, ask for all */
    }
    reply->frame = (struct hf_frame){
        .type = HF_FRAME_NEED,
        .need = {.request = item->frame.ids.request,
                 .bitmap = {reply->memory.data, reply->memory.size}},
    };
    session_deliver(item->session, reply);
}

void answer_list(struct ingest_item *item, struct hf_catalog_reader *catalog)
{
    uint32_t stream = item->frame.list.stream;
    struct ingest_stream *opened = session_stream(item->session, stream);
    struct hf_timeline_query query = {
        /* Written by the committer when it answered SOURCE, which the agent waited for. */
        .source_row = opened ? atomic_load(&opened->source_row) : 0,
        .at_ns = HF_CATALOG_NOW,
        .after = item->frame.list.after_path,
        .limit = LISTING_ROWS_MAX,
        .bytes_max = LISTING_BYTES_MAX,
    };
    struct hf_version_page page = {0};
    struct hf_error error = {0};
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_FRAME);
    if (!reply) {
        return;
    }
    int rc = query.source_row == 0 ? HF_ERR_CONFLICT : HF_OK;
    /* A page may be empty and others follow; a LISTING may not. */
    while (rc == HF_OK && page.count == 0 && !page.last) {
        rc = catalog_tree(catalog, &query, &reply->rows, &page, &error);
        query.after = page.next;
    }
    if (rc != HF_OK) {
        reply->frame = (struct hf_frame){
            .type = HF_FRAME_ERROR,
            .refusal = {.code = query.source_row ? HF_WIRE_INTERNAL : HF_WIRE_STATE,
                        .about_seq = item->frame.seq,
                        .stream = stream,
                        .message = event_text("LIST before SOURCE_STATE, or the catalog failed")},
        };
        session_deliver(item->session, reply);
        return;
    }
    struct hf_version *versions = NULL;
    uint8_t *memory = NULL;
    if (page.count > 0 &&
        hf_buf_extend(&reply->memory, page.count * sizeof *versions, &memory) != HF_OK) {
        ingest_reply_free(reply);
        return;
    }
    versions = (struct hf_version *)(void *)memory;
    for (size_t i = 0; i < page.count; i++) {
        versions[i] = page.rows[i].version;
    }
    reply->frame = (struct hf_frame){
        .type = HF_FRAME_LISTING,
        .versions = {.stream = stream,
                     .versions = versions,
                     .count = page.count,
                     .last = page.last},
    };
    session_deliver(item->session, reply);
}

/* Honest agents ask for what SOURCE_STATE named. */
static void refuse_dictionary(const struct ingest_item *item, enum hf_wire_code code,
                              const char *message)
{
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_HOSTILE);
    if (reply) {
        reply->frame = (struct hf_frame){
            .type = HF_FRAME_ERROR,
            .refusal = {.code = code, .about_seq = item->frame.seq, .message = event_text(message)},
        };
        atomic_fetch_add(&item->session->ingest->refused, 1);
        session_deliver(item->session, reply);
    }
}

void answer_dictionary(struct ingest_item *item, struct hf_store_reader *store)
{
    struct hf_bytes id = item->frame.dictionary.id;
    struct hf_bytes bytes = {0};
    struct hf_error error = {0};
    if (!item->session->dictionaries) {
        refuse_dictionary(item, HF_WIRE_STATE,
                          "DICTIONARY_GET without the capability dictionaries");
        return;
    }
    int rc = store_read_dictionary(store, id.data, &bytes, &error);
    if (rc == HF_ERR_NOT_FOUND) {
        refuse_dictionary(item, HF_WIRE_NOT_FOUND,
                          "This collector has not trained the dictionary that was asked for");
        return;
    }
    struct hf_ingest_reply *reply = rc == HF_OK ? reply_new(HF_REPLY_FRAME) : NULL;
    if (!reply || hf_buf_append(&reply->memory, id.data, id.size) != HF_OK ||
        hf_buf_append(&reply->memory, bytes.data, bytes.size) != HF_OK) {
        /* The agent goes on without it. */
        hf_log_error("A dictionary can't be sent to host %s: %s", item->session->host_id,
                     error.message[0] ? error.message : "out of memory");
        ingest_reply_free(reply);
        return;
    }
    reply->frame = (struct hf_frame){
        .type = HF_FRAME_DICTIONARY,
        .dictionary = {.id = {reply->memory.data, id.size},
                       .bytes = {reply->memory.data + id.size, bytes.size}},
    };
    session_deliver(item->session, reply);
}
