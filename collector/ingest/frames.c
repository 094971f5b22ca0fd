/* What the committer does with each frame. */
#include "collector/ingest/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

static void refuse(struct ingest_item *item, enum hf_ingest_reply_kind kind, enum hf_wire_code code,
                   uint32_t stream, uint64_t version_seq, const char *message,
                   const struct hf_buf *ids)
{
    struct hf_ingest_reply *reply = reply_new(kind);
    if (!reply) {
        return;
    }
    size_t length = strlen(message);
    length = length < HF_TEXT_MAX_BYTES ? length : HF_TEXT_MAX_BYTES;
    size_t ids_size = ids ? ids->size : 0;
    if (ids_size > (size_t)HF_FRAME_IDS_MAX * HF_HASH_BYTES) {
        ids_size = (size_t)HF_FRAME_IDS_MAX * HF_HASH_BYTES;
    }
    if (hf_buf_append(&reply->memory, message, length) != HF_OK ||
        (ids_size > 0 && hf_buf_append(&reply->memory, ids->data, ids_size) != HF_OK)) {
        ingest_reply_free(reply);
        return;
    }
    reply->frame = (struct hf_frame){
        .type = HF_FRAME_ERROR,
        .refusal = {.code = code,
                    .about_seq = item->frame.seq,
                    .stream = stream,
                    .version_seq = version_seq,
                    .message = {reply->memory.data, length},
                    .ids = {reply->memory.data + length, ids_size}},
    };
    struct ingest_stream *about = session_stream(item->session, stream);
    if (about) {
        about->group_ack = NULL; /* what is acknowledged after this is said after this */
    }
    atomic_fetch_add(&item->session->ingest->refused, 1);
    item_reply(item, reply);
}

static void audit(struct hf_ingest *ingest, const struct hf_ingest_session *session,
                  const char *action, const char *detail)
{
    char actor[96];
    struct hf_error error = {0};
    snprintf(actor, sizeof actor, "host %s", session->host_id);
    struct hf_event event = {
        .type = HF_EVENT_AUDIT,
        .actor = event_text(actor),
        .audit = {.action = event_text(action),
                  .object = event_text(session->host_id),
                  .detail = event_text(detail),
                  .outcome = HF_AUDIT_REFUSED},
    };
    if (commit_event(ingest, &event, &error) != HF_OK) {
        hf_log_warning("A refusal of %s could not be written to the audit log: %s",
                       session->host_id, error.message);
    }
}

/* --- CHUNKS --- */

/* Of the chunks that were here before, those that others brought. */
static int find_held(struct hf_ingest *ingest, const struct ingest_item *item, struct hf_buf *held,
                     struct hf_error *error)
{
    const struct hf_buf *known = &item->blocks->known;
    int rc = HF_OK;
    for (size_t at = 0; rc == HF_OK && at < known->size; at += HF_HASH_BYTES) {
        struct hf_chunk_place place;
        rc = catalog_chunk_find(ingest->catalog, known->data + at, &place, error);
        if (rc == HF_OK && place.owner != item->session->host_row) {
            rc = hf_buf_append(held, known->data + at, HF_HASH_BYTES);
        }
    }
    return rc;
}

static int store_blocks(struct hf_ingest *ingest, const struct ingest_item *item,
                        struct hf_buf *held, struct hf_error *error)
{
    const struct ingest_blocks *blocks = item->blocks;
    uint64_t owner = item->session->host_row;
    int rc = HF_OK;
    for (size_t i = 0; rc == HF_OK && i < blocks->count; i++) {
        const struct hf_block *block = &blocks->blocks[i].block;
        uint8_t depth = blocks->blocks[i].depth;
        struct hf_location location;
        rc = group_begin(ingest, error);
        rc = rc == HF_OK ? store_append_block(ingest->store, owner, depth, block, &location, error)
                         : rc;
        if (rc == HF_OK) {
            rc = catalog_apply_block(ingest->catalog, block, &location, depth, owner, held, error);
            atomic_fetch_add(&ingest->chunks_stored, hf_block_chunk_count(block));
        }
    }
    return rc;
}

static int note_held(struct hf_ingest *ingest, uint64_t host_row, const struct hf_buf *held,
                     struct hf_error *error)
{
    int rc = HF_OK;
    for (size_t at = 0; rc == HF_OK && at < held->size;) {
        size_t most = (size_t)HF_EVENT_IDS_MAX * HF_HASH_BYTES;
        size_t size = held->size - at < most ? held->size - at : most;
        struct hf_event event = {
            .type = HF_EVENT_CHUNKS_HELD,
            .chunks_held = {.host_row = host_row, .ids = {held->data + at, size}}};
        rc = commit_event(ingest, &event, error);
        rc = rc == HF_ERR_EXISTS ? HF_OK : rc;
        at += size;
    }
    return rc;
}

static int commit_chunks(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    struct hf_buf held = {0};
    if (item->is_false) {
        refuse(item, HF_REPLY_HOSTILE, HF_WIRE_HASH, 0, 0, item->failure->message, NULL);
        audit(ingest, item->session, "chunk.refused", item->failure->message);
        return HF_OK;
    }
    if (item->failure) {
        *error = *item->failure;
        return item->failure->code;
    }
    int rc = find_held(ingest, item, &held, error);
    rc = rc == HF_OK ? store_blocks(ingest, item, &held, error) : rc;
    rc = rc == HF_OK ? note_held(ingest, item->session->host_row, &held, error) : rc;
    for (size_t i = 0; i < item->frame.chunks.count; i++) {
        atomic_fetch_add(&ingest->chunks, hf_block_chunk_count(&item->frame.chunks.blocks[i]));
    }
    hf_buf_free(&held);
    return rc;
}

/* --- SOURCE --- */

/* Where the agent can use one and its class has one. */
static int offer_dictionary(struct hf_ingest *ingest, const struct ingest_item *item,
                            uint64_t source_row, struct hf_ingest_reply *reply,
                            struct hf_error *error)
{
    uint8_t id[HF_HASH_BYTES];
    if (!item->session->dictionaries) {
        return HF_OK;
    }
    int rc = catalog_source_dictionary(ingest->catalog, source_row, id, error);
    if (rc == HF_ERR_NOT_FOUND) {
        return HF_OK;
    }
    rc = rc == HF_OK ? hf_buf_append(&reply->memory, id, sizeof id) : rc;
    reply->frame.source_state.dictionary =
        (struct hf_bytes){reply->memory.data, reply->memory.size};
    return rc;
}

static int reply_state(struct hf_ingest *ingest, struct ingest_item *item, uint32_t number,
                       const struct hf_source_state_row *state, struct hf_error *error)
{
    struct ingest_stream *stream = session_stream(item->session, number);
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_FRAME);
    int rc = HF_OK;
    if (reply) {
        reply->frame = (struct hf_frame){
            .type = HF_FRAME_SOURCE_STATE,
            .source_state = {.stream = number,
                             .version_seq = state->committed_seq,
                             .file_count = state->live_files},
        };
        stream->trained = atomic_load(&ingest->trained);
        rc = offer_dictionary(ingest, item, stream->source_row, reply, error);
    }
    item_reply(item, reply);
    return rc;
}

static int commit_source(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    const struct hf_source_open *open = &item->frame.source;
    struct hf_source_state_row state = {0};
    struct hf_event event = {.type = HF_EVENT_SOURCE_OPENED,
                             .source_opened = {.host_row = item->session->host_row,
                                               .name = open->name,
                                               .kind = open->kind,
                                               .class_name = open->class_name,
                                               .roots = open->roots,
                                               .root_count = open->root_count}};
    int rc = commit_event(ingest, &event, error);
    if (rc == HF_ERR_DENIED || rc == HF_ERR_INVALID || rc == HF_ERR_LIMIT) {
        refuse(item, HF_REPLY_FRAME, HF_WIRE_DENIED, open->stream, 0, error->message, NULL);
        return HF_OK;
    }
    if (rc != HF_OK && rc != HF_ERR_EXISTS) {
        return rc;
    }
    uint64_t row = event.source_opened.source_row;
    if (rc == HF_OK) {
        mark_show(ingest, row, 0, 0); /* new, changed or back: its state is not known yet */
    }
    rc = catalog_source_state(ingest->catalog, row, &state, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct ingest_stream *stream = session_stream_open(item->session, open->stream);
    if (!stream) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for a source's stream");
    }
    stream->awaiting_seq = 0;
    stream->group_ack = NULL; /* what is acknowledged after SOURCE_STATE is said after it */
    atomic_store(&stream->source_row, row);
    return reply_state(ingest, item, open->stream, &state, error);
}

/* --- VERSIONS --- */

enum verdict { VERDICT_GO_ON, VERDICT_REFUSED };

static void refuse_missing(struct ingest_item *item, struct ingest_stream *stream, uint64_t seq,
                           const struct hf_buf *missing, enum verdict *verdict)
{
    refuse(item, HF_REPLY_FRAME, HF_WIRE_MISSING_CHUNKS, item->frame.versions.stream, seq,
           "This host has not sent all chunks of the version; send them, then it again", missing);
    stream->awaiting_seq = seq;
    *verdict = VERDICT_REFUSED;
}

static void refuse_version(struct hf_ingest *ingest, struct ingest_item *item, uint64_t seq,
                           enum hf_wire_code code, const struct hf_error *error,
                           enum verdict *verdict)
{
    refuse(item, HF_REPLY_HOSTILE, code, item->frame.versions.stream, seq, error->message, NULL);
    if (code == HF_WIRE_MALFORMED) {
        audit(ingest, item->session, "version.refused", error->message);
    }
    *verdict = VERDICT_REFUSED;
}

/* Whether all that its lists name is there. */
static int check_lists(struct hf_ingest *ingest, struct ingest_item *item,
                       struct ingest_stream *stream, const struct hf_version *version,
                       enum verdict *verdict, struct hf_error *error)
{
    struct hf_buf missing = {0};
    int rc = catalog_missing_refs(ingest->catalog, item->session->host_row, version->refs, &missing,
                                  error);
    if (rc == HF_OK && missing.size == 0) {
        rc = lists_missing(item, version, &missing, error);
    }
    if (rc == HF_ERR_INVALID) {
        refuse_version(ingest, item, version->seq, HF_WIRE_MALFORMED, error, verdict);
        rc = HF_OK;
    } else if (rc == HF_OK && missing.size > 0) {
        refuse_missing(item, stream, version->seq, &missing, verdict);
    }
    hf_buf_free(&missing);
    return rc;
}

/* catalog_check said no: because chunks are missing, or for good. */
static int explain_denial(struct hf_ingest *ingest, struct ingest_item *item,
                          struct ingest_stream *stream, const struct hf_version *version,
                          const struct hf_error *denial, enum verdict *verdict,
                          struct hf_error *error)
{
    struct hf_buf missing = {0};
    int rc = catalog_missing_refs(ingest->catalog, item->session->host_row, version->refs, &missing,
                                  error);
    if (rc == HF_ERR_INVALID) {
        refuse_version(ingest, item, version->seq, HF_WIRE_MALFORMED, error, verdict);
        rc = HF_OK;
    } else if (rc == HF_OK && missing.size > 0) {
        refuse_missing(item, stream, version->seq, &missing, verdict);
    } else if (rc == HF_OK) {
        refuse_version(ingest, item, version->seq, HF_WIRE_DENIED, denial, verdict);
    }
    hf_buf_free(&missing);
    return rc;
}

static int commit_version(struct hf_ingest *ingest, struct ingest_item *item,
                          struct ingest_stream *stream, const struct hf_version *version,
                          int64_t now_ns, uint64_t committed, enum verdict *verdict,
                          struct hf_error *error)
{
    int rc = HF_OK;
    *verdict = VERDICT_GO_ON;
    if (version->seq > committed && version->depth == 1) {
        rc = check_lists(ingest, item, stream, version, verdict, error);
    }
    if (rc != HF_OK || *verdict != VERDICT_GO_ON) {
        return rc;
    }
    struct hf_event event = {
        .type = HF_EVENT_VERSION,
        .time_ns = now_ns,
        .version = {.host_row = item->session->host_row,
                    .source_row = stream->source_row,
                    .at_ns = version->captured_ns + item->session->skew_ns,
                    .received_ns = now_ns,
                    .version = *version},
    };
    rc = commit_event(ingest, &event, error);
    if (rc == HF_ERR_EXISTS) {
        return HF_OK; /* repeated: acked again, changes nothing */
    }
    if (rc == HF_ERR_DENIED || rc == HF_ERR_INVALID || rc == HF_ERR_LIMIT) {
        struct hf_error denial = *error;
        return explain_denial(ingest, item, stream, version, &denial, verdict, error);
    }
    if (rc == HF_OK) {
        atomic_fetch_add(&ingest->versions, 1);
    }
    return rc;
}

/* One ACK a stream and group. */
static void acknowledge(struct ingest_item *item, struct ingest_stream *stream, uint64_t seq,
                        int64_t now_ns)
{
    if (stream->group_ack) {
        stream->group_ack->version_seq = seq;
        stream->group_ack->received_ns = now_ns;
        return;
    }
    struct hf_ingest_reply *reply = reply_new(HF_REPLY_FRAME);
    uint8_t *memory = NULL;
    if (!reply || hf_buf_extend(&reply->memory, sizeof(struct hf_ack), &memory) != HF_OK) {
        ingest_reply_free(reply); /* the next ack covers this one */
        return;
    }
    struct hf_ack *ack = (struct hf_ack *)(void *)memory;
    *ack = (struct hf_ack){
        .stream = item->frame.versions.stream, .version_seq = seq, .received_ns = now_ns};
    reply->frame = (struct hf_frame){.type = HF_FRAME_ACK, .ack = {.acks = ack, .count = 1}};
    stream->group_ack = ack;
    item_reply(item, reply);
}

static int commit_versions(struct hf_ingest *ingest, struct ingest_item *item,
                           struct hf_error *error)
{
    const struct hf_versions *frame = &item->frame.versions;
    struct ingest_stream *stream = session_stream(item->session, frame->stream);
    struct hf_source_state_row state = {0};
    enum verdict verdict = VERDICT_GO_ON;
    if (!stream || stream->source_row == 0) {
        refuse(item, HF_REPLY_HOSTILE, HF_WIRE_STATE, frame->stream, 0,
               "VERSIONS of a stream that no SOURCE frame opened", NULL);
        return HF_OK;
    }
    int rc = catalog_source_state(ingest->catalog, stream->source_row, &state, error);
    if (rc != HF_OK) {
        return rc;
    }
    uint64_t first = frame->versions[0].seq;
    if (stream->awaiting_seq != 0 && first > stream->awaiting_seq) {
        return HF_OK; /* sent before the refusal arrived; it will come again */
    }
    if (first > state.committed_seq + 1) {
        refuse(item, HF_REPLY_FRAME, HF_WIRE_GAP, frame->stream, state.committed_seq + 1,
               "Versions are missing before this one; go on from the one named", NULL);
        stream->awaiting_seq = state.committed_seq + 1;
        return HF_OK;
    }
    stream->awaiting_seq = 0;
    int64_t now_ns = hf_clock_now_ns();
    uint64_t acked = state.committed_seq;
    for (size_t i = 0; rc == HF_OK && verdict == VERDICT_GO_ON && i < frame->count; i++) {
        rc = commit_version(ingest, item, stream, &frame->versions[i], now_ns, state.committed_seq,
                            &verdict, error);
        if (rc == HF_OK && verdict == VERDICT_GO_ON && frame->versions[i].seq > acked) {
            acked = frame->versions[i].seq;
        }
    }
    if (rc != HF_OK) {
        return rc;
    }
    acknowledge(item, stream, acked, now_ns);
    return HF_OK;
}

/* --- MARK --- */

/* An agent opens all its sources before it marks the first: what it didn't open was taken out of
 * its configuration. Such a source would be waited for, and be late, for ever. */
static int retire_others(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    uint64_t rows[HF_CATALOG_SOURCES_MAX];
    size_t count = 0;
    size_t retired = 0;
    if (item->session->others_retired) {
        return HF_OK;
    }
    int rc = catalog_source_rows(ingest->catalog, item->session->host_row, rows, &count, error);
    for (size_t i = 0; i < count && rc == HF_OK; i++) {
        if (session_has_open(item->session, rows[i])) {
            continue;
        }
        struct hf_event event = {.type = HF_EVENT_MARK,
                                 .time_ns = hf_clock_now_ns(),
                                 .mark = {.source_row = rows[i], .state = HF_SOURCE_RETIRED}};
        rc = commit_event(ingest, &event, error);
        if (rc == HF_OK) {
            mark_show(ingest, rows[i], 0, HF_SOURCE_RETIRED);
            retired++;
        }
    }
    if (retired > 0) {
        hf_log_info("Host %s came without %zu of the sources that it had: they are retired",
                    item->session->host_id, retired);
    }
    item->session->others_retired = rc == HF_OK;
    return rc;
}

static int commit_mark(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    const struct hf_mark *mark = &item->frame.mark;
    struct ingest_stream *stream = session_stream(item->session, mark->stream);
    struct hf_source_state_row state = {0};
    int64_t now_ns = hf_clock_now_ns();
    int64_t until_ns = 0;
    if (!stream || stream->source_row == 0) {
        refuse(item, HF_REPLY_HOSTILE, HF_WIRE_STATE, mark->stream, 0,
               "MARK of a stream that no SOURCE frame opened", NULL);
        return HF_OK;
    }
    int rc = retire_others(ingest, item, error);
    rc =
        rc == HF_OK ? catalog_source_state(ingest->catalog, stream->source_row, &state, error) : rc;
    if (rc != HF_OK || mark->version_seq > state.committed_seq) {
        return rc; /* it speaks of versions that were refused; one that holds will follow */
    }
    if (item->session->dictionaries && stream->trained != atomic_load(&ingest->trained)) {
        rc = reply_state(ingest, item, mark->stream, &state, error);
        if (rc != HF_OK) {
            return rc;
        }
    }
    if (__builtin_add_overflow(mark->until_ns, item->session->skew_ns, &until_ns) ||
        until_ns > now_ns) {
        until_ns = now_ns;
    }
    return mark_take(ingest, stream->source_row, mark, until_ns, now_ns, error);
}

int commit_frame(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    switch (item->frame.type) {
    case HF_FRAME_CHUNKS:
        return commit_chunks(ingest, item, error);
    case HF_FRAME_VERSIONS:
        return commit_versions(ingest, item, error);
    case HF_FRAME_SOURCE:
        return commit_source(ingest, item, error);
    case HF_FRAME_MARK:
        return commit_mark(ingest, item, error);
    default:
        return HF_OK;
    }
}
