/* Encoders, in the order of enum hf_frame_type. msgpack-c's packer fails only when the buffer can't
 * grow, and then on every call after; so the last call's result speaks for all. */
#include "proto/codec.h"

void pack_bytes(msgpack_packer *packer, struct hf_bytes bytes)
{
    msgpack_pack_bin(packer, bytes.size);
    if (bytes.size > 0) {
        msgpack_pack_bin_body(packer, bytes.data, bytes.size);
    }
}

void pack_text(msgpack_packer *packer, struct hf_bytes text)
{
    msgpack_pack_str(packer, text.size);
    if (text.size > 0) {
        msgpack_pack_str_body(packer, text.data, text.size);
    }
}

static int result(int failed)
{
    return failed ? HF_ERR_NO_MEMORY : HF_OK;
}

static void pack_text_list(msgpack_packer *packer, const struct hf_bytes *list, size_t count)
{
    msgpack_pack_array(packer, count);
    for (size_t i = 0; i < count; i++) {
        pack_text(packer, list[i]);
    }
}

int encode_hello(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_hello *hello = &frame->hello;
    if (hello->capability_count > 32 || hello->instance.size != HF_INSTANCE_BYTES) {
        return HF_ERR_LIMIT;
    }
    msgpack_pack_uint32(packer, hello->version_min);
    msgpack_pack_uint32(packer, hello->version_max);
    pack_text_list(packer, hello->capabilities, hello->capability_count);
    pack_text(packer, hello->agent_version);
    pack_text(packer, hello->hostname);
    pack_text(packer, hello->machine_id);
    pack_text(packer, hello->os);
    int failed = msgpack_pack_int64(packer, hello->now_ns);
    pack_bytes(packer, hello->instance);
    return result(failed);
}

int encode_welcome(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_welcome *welcome = &frame->welcome;
    if (welcome->capability_count > 32) {
        return HF_ERR_LIMIT;
    }
    msgpack_pack_uint32(packer, welcome->version);
    pack_text_list(packer, welcome->capabilities, welcome->capability_count);
    pack_text(packer, welcome->host_id);
    msgpack_pack_uint64(packer, welcome->session);
    msgpack_pack_int64(packer, welcome->now_ns);
    msgpack_pack_uint64(packer, welcome->credit_bytes);
    msgpack_pack_uint32(packer, welcome->frame_max_bytes);
    return result(msgpack_pack_uint32(packer, welcome->ping_seconds));
}

int encode_source(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_source_open *source = &frame->source;
    if (source->root_count > 64) {
        return HF_ERR_LIMIT;
    }
    int failed = msgpack_pack_uint32(packer, source->stream);
    pack_text(packer, source->name);
    pack_text(packer, source->kind);
    pack_text(packer, source->class_name);
    msgpack_pack_array(packer, source->root_count);
    for (size_t i = 0; i < source->root_count; i++) {
        pack_bytes(packer, source->roots[i]);
    }
    return result(failed);
}

int encode_source_state(const struct hf_frame *frame, msgpack_packer *packer)
{
    msgpack_pack_uint32(packer, frame->source_state.stream);
    msgpack_pack_uint64(packer, frame->source_state.version_seq);
    return result(msgpack_pack_uint64(packer, frame->source_state.file_count));
}

int encode_ids(const struct hf_frame *frame, msgpack_packer *packer)
{
    if (frame->ids.ids.size > (size_t)HF_FRAME_IDS_MAX * HF_HASH_BYTES) {
        return HF_ERR_LIMIT;
    }
    int failed = msgpack_pack_uint64(packer, frame->ids.request);
    pack_bytes(packer, frame->ids.ids);
    return result(failed);
}

int encode_need(const struct hf_frame *frame, msgpack_packer *packer)
{
    if (frame->need.bitmap.size > HF_FRAME_IDS_MAX / 8) {
        return HF_ERR_LIMIT;
    }
    int failed = msgpack_pack_uint64(packer, frame->need.request);
    pack_bytes(packer, frame->need.bitmap);
    return result(failed);
}

int encode_chunks(const struct hf_frame *frame, msgpack_packer *packer)
{
    if (frame->chunks.count > HF_FRAME_CHUNKS_MAX) {
        return HF_ERR_LIMIT;
    }
    msgpack_pack_uint64(packer, frame->chunks.job);
    int failed = msgpack_pack_array(packer, frame->chunks.count);
    for (size_t i = 0; i < frame->chunks.count; i++) {
        const struct hf_chunk *chunk = &frame->chunks.chunks[i];
        if (chunk->plain_size == 0 || chunk->plain_size > HF_CHUNK_MAX_BYTES) {
            return HF_ERR_LIMIT;
        }
        msgpack_pack_array(packer, 4);
        pack_bytes(packer, (struct hf_bytes){chunk->id, HF_HASH_BYTES});
        msgpack_pack_uint8(packer, (uint8_t)chunk->codec);
        failed = msgpack_pack_uint32(packer, chunk->plain_size);
        pack_bytes(packer, chunk->data);
    }
    return result(failed);
}

static int pack_versions(msgpack_packer *packer, const struct hf_version *versions, size_t count)
{
    if (count > HF_FRAME_VERSIONS_MAX) {
        return HF_ERR_LIMIT;
    }
    int rc = result(msgpack_pack_array(packer, count));
    for (size_t i = 0; i < count && rc == HF_OK; i++) {
        rc = version_pack(&versions[i], packer);
    }
    return rc;
}

int encode_versions(const struct hf_frame *frame, msgpack_packer *packer)
{
    msgpack_pack_uint32(packer, frame->versions.stream);
    return pack_versions(packer, frame->versions.versions, frame->versions.count);
}

int encode_ack(const struct hf_frame *frame, msgpack_packer *packer)
{
    int failed = msgpack_pack_array(packer, frame->ack.count);
    for (size_t i = 0; i < frame->ack.count; i++) {
        msgpack_pack_array(packer, 3);
        msgpack_pack_uint32(packer, frame->ack.acks[i].stream);
        msgpack_pack_uint64(packer, frame->ack.acks[i].version_seq);
        failed = msgpack_pack_int64(packer, frame->ack.acks[i].received_ns);
    }
    return result(failed);
}

int encode_credit(const struct hf_frame *frame, msgpack_packer *packer)
{
    return result(msgpack_pack_uint64(packer, frame->credit.total_bytes));
}

int encode_mark(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_mark *mark = &frame->mark;
    msgpack_pack_uint32(packer, mark->stream);
    msgpack_pack_uint64(packer, mark->version_seq);
    msgpack_pack_int64(packer, mark->until_ns);
    msgpack_pack_uint8(packer, (uint8_t)mark->state);
    int failed = msgpack_pack_uint64(packer, mark->pending_files);
    pack_text(packer, mark->note);
    return result(failed);
}

int encode_error(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_refusal *refusal = &frame->refusal;
    if (refusal->ids.size > (size_t)HF_FRAME_IDS_MAX * HF_HASH_BYTES) {
        return HF_ERR_LIMIT;
    }
    msgpack_pack_uint32(packer, (uint32_t)refusal->code);
    msgpack_pack_uint64(packer, refusal->about_seq);
    msgpack_pack_uint32(packer, refusal->stream);
    int failed = msgpack_pack_uint64(packer, refusal->version_seq);
    pack_text(packer, refusal->message);
    pack_bytes(packer, refusal->ids);
    return result(failed);
}

int encode_goaway(const struct hf_frame *frame, msgpack_packer *packer)
{
    msgpack_pack_uint32(packer, (uint32_t)frame->refusal.code);
    int failed = msgpack_pack_uint32(packer, frame->refusal.retry_after_ms);
    pack_text(packer, frame->refusal.message);
    return result(failed);
}

int encode_list(const struct hf_frame *frame, msgpack_packer *packer)
{
    int failed = msgpack_pack_uint32(packer, frame->list.stream);
    pack_bytes(packer, frame->list.after_path);
    return result(failed);
}

int encode_listing(const struct hf_frame *frame, msgpack_packer *packer)
{
    msgpack_pack_uint32(packer, frame->versions.stream);
    int rc = pack_versions(packer, frame->versions.versions, frame->versions.count);
    if (rc == HF_OK) {
        rc = result(frame->versions.last ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
    }
    return rc;
}

int encode_blob(const struct hf_frame *frame, msgpack_packer *packer)
{
    pack_bytes(packer, frame->blob.data);
    return HF_OK;
}

int encode_offer(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_restore_offer *offer = &frame->offer;
    msgpack_pack_uint64(packer, offer->job);
    pack_text(packer, offer->source);
    pack_text(packer, offer->origin_host);
    msgpack_pack_int64(packer, offer->at_ns);
    pack_bytes(packer, offer->destination);
    msgpack_pack_uint8(packer, (uint8_t)offer->conflict);
    offer->dry_run ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    msgpack_pack_uint64(packer, offer->file_count);
    msgpack_pack_uint64(packer, offer->byte_count);
    return result(msgpack_pack_int64(packer, offer->expires_ns));
}

int encode_answer(const struct hf_frame *frame, msgpack_packer *packer)
{
    msgpack_pack_uint64(packer, frame->answer.job);
    int failed = frame->answer.accepted ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    pack_text(packer, frame->answer.message);
    return result(failed);
}

int encode_next(const struct hf_frame *frame, msgpack_packer *packer)
{
    int failed = msgpack_pack_uint64(packer, frame->next.job);
    pack_bytes(packer, frame->next.cursor);
    return result(failed);
}

int encode_page(const struct hf_frame *frame, msgpack_packer *packer)
{
    msgpack_pack_uint64(packer, frame->page.job);
    int rc = pack_versions(packer, frame->page.versions, frame->page.count);
    if (rc == HF_OK) {
        pack_bytes(packer, frame->page.next_cursor);
        rc = result(frame->page.last ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
    }
    return rc;
}

int encode_results(const struct hf_frame *frame, msgpack_packer *packer)
{
    if (frame->results.count > HF_FRAME_RESULTS_MAX) {
        return HF_ERR_LIMIT;
    }
    msgpack_pack_uint64(packer, frame->results.job);
    int failed = msgpack_pack_array(packer, frame->results.count);
    for (size_t i = 0; i < frame->results.count; i++) {
        const struct hf_restore_result *row = &frame->results.results[i];
        msgpack_pack_array(packer, 4);
        pack_bytes(packer, row->path);
        msgpack_pack_uint8(packer, (uint8_t)row->status);
        failed = msgpack_pack_uint64(packer, row->bytes);
        pack_text(packer, row->message);
    }
    return result(failed);
}

int encode_done(const struct hf_frame *frame, msgpack_packer *packer)
{
    const struct hf_restore_done *done = &frame->done;
    msgpack_pack_uint64(packer, done->job);
    msgpack_pack_uint8(packer, (uint8_t)done->outcome);
    msgpack_pack_uint64(packer, done->file_count);
    msgpack_pack_uint64(packer, done->failed_count);
    msgpack_pack_uint64(packer, done->fetched_bytes);
    int failed = msgpack_pack_uint64(packer, done->reused_bytes);
    pack_text(packer, done->message);
    return result(failed);
}

int encode_cancel(const struct hf_frame *frame, msgpack_packer *packer)
{
    return result(msgpack_pack_uint64(packer, frame->cancel.job));
}
