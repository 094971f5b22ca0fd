/* Encoders, in the order of enum hf_frame_type. */
#include "proto/codec.h"

static void write_ids(struct proto_writer *writer, struct hf_bytes ids)
{
    write_bytes(writer, ids, (size_t)HF_FRAME_IDS_MAX * HF_HASH_BYTES);
}

static void write_capabilities(struct proto_writer *writer, const struct hf_bytes *list,
                               size_t count)
{
    write_array(writer, count, HF_CAPABILITIES_MAX);
    for (size_t i = 0; i < count; i++) {
        write_text(writer, list[i], HF_NAME_MAX_BYTES);
    }
}

static void write_versions(struct proto_writer *writer, const struct hf_version *versions,
                           size_t count)
{
    write_array(writer, count, HF_FRAME_VERSIONS_MAX);
    for (size_t i = 0; i < count && writer->rc == HF_OK; i++) {
        version_write(&versions[i], writer);
    }
}

void encode_hello(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_hello *hello = &frame->hello;
    if (hello->instance.size != HF_INSTANCE_BYTES) {
        writer_refuse(writer);
    }
    write_uint(writer, hello->version_min);
    write_uint(writer, hello->version_max);
    write_capabilities(writer, hello->capabilities, hello->capability_count);
    write_message(writer, hello->agent_version, HF_TEXT_MAX_BYTES);
    write_message(writer, hello->hostname, HF_TEXT_MAX_BYTES);
    write_message(writer, hello->machine_id, HF_TEXT_MAX_BYTES);
    write_message(writer, hello->os, HF_TEXT_MAX_BYTES);
    write_int(writer, hello->now_ns);
    write_bytes(writer, hello->instance, HF_INSTANCE_BYTES);
}

void encode_welcome(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_welcome *welcome = &frame->welcome;
    if (welcome->chunking.size != HF_CHUNKING_BYTES) {
        writer_refuse(writer);
    }
    write_uint(writer, welcome->version);
    write_capabilities(writer, welcome->capabilities, welcome->capability_count);
    write_text(writer, welcome->host_id, HF_NAME_MAX_BYTES);
    write_uint(writer, welcome->session);
    write_int(writer, welcome->now_ns);
    write_uint(writer, welcome->credit_bytes);
    write_uint(writer, welcome->frame_max_bytes);
    write_uint(writer, welcome->ping_seconds);
    write_bytes(writer, welcome->chunking, HF_CHUNKING_BYTES);
}

void encode_source(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_source_open *source = &frame->source;
    write_uint(writer, source->stream);
    write_text(writer, source->name, HF_NAME_MAX_BYTES);
    write_text(writer, source->kind, HF_NAME_MAX_BYTES);
    write_text(writer, source->class_name, HF_NAME_MAX_BYTES);
    write_array(writer, source->root_count, HF_ROOTS_MAX);
    for (size_t i = 0; i < source->root_count; i++) {
        write_bytes(writer, source->roots[i], HF_PATH_MAX_BYTES + 1);
    }
}

void encode_source_state(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->source_state.stream);
    write_uint(writer, frame->source_state.version_seq);
    write_uint(writer, frame->source_state.file_count);
    if (frame->source_state.dictionary.size % HF_HASH_BYTES != 0) {
        writer_refuse(writer);
    }
    write_bytes(writer, frame->source_state.dictionary, HF_HASH_BYTES);
}

void encode_ids(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->ids.request);
    write_ids(writer, frame->ids.ids);
}

void encode_need(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->need.request);
    write_bytes(writer, frame->need.bitmap, HF_FRAME_IDS_MAX / 8);
}

void encode_chunks(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->chunks.job);
    write_array(writer, frame->chunks.count, HF_FRAME_BLOCKS_MAX);
    for (size_t i = 0; i < frame->chunks.count && writer->rc == HF_OK; i++) {
        const struct hf_block *block = &frame->chunks.blocks[i];
        if (hf_block_plain_size(block) == 0) {
            writer_refuse(writer);
        }
        write_array(writer, 4, 4);
        write_uint(writer, block->codec);
        write_bytes(writer, block->aid, HF_HASH_BYTES);
        write_bytes(writer, block->chunks, (size_t)HF_BLOCK_CHUNKS_MAX * HF_CHUNK_REF_BYTES);
        write_bytes(writer, block->data, HF_BLOCK_MAX_BYTES);
    }
}

void encode_versions(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->versions.stream);
    write_versions(writer, frame->versions.versions, frame->versions.count);
}

void encode_ack(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_array(writer, frame->ack.count, HF_STREAMS_MAX);
    for (size_t i = 0; i < frame->ack.count; i++) {
        write_array(writer, 3, 3);
        write_uint(writer, frame->ack.acks[i].stream);
        write_uint(writer, frame->ack.acks[i].version_seq);
        write_int(writer, frame->ack.acks[i].received_ns);
    }
}

void encode_credit(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->credit.total_bytes);
}

void encode_mark(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_mark *mark = &frame->mark;
    write_uint(writer, mark->stream);
    write_uint(writer, mark->version_seq);
    write_int(writer, mark->until_ns);
    write_uint(writer, mark->state);
    write_uint(writer, mark->pending_files);
    write_message(writer, mark->note, HF_TEXT_MAX_BYTES);
}

void encode_error(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_refusal *refusal = &frame->refusal;
    write_uint(writer, refusal->code);
    write_uint(writer, refusal->about_seq);
    write_uint(writer, refusal->stream);
    write_uint(writer, refusal->version_seq);
    write_message(writer, refusal->message, HF_TEXT_MAX_BYTES);
    write_ids(writer, refusal->ids);
}

void encode_goaway(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->refusal.code);
    write_uint(writer, frame->refusal.retry_after_ms);
    write_message(writer, frame->refusal.message, HF_TEXT_MAX_BYTES);
}

void encode_list(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->list.stream);
    write_bytes(writer, frame->list.after_path, HF_PATH_MAX_BYTES);
}

void encode_listing(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->versions.stream);
    write_versions(writer, frame->versions.versions, frame->versions.count);
    write_bool(writer, frame->versions.last);
}

void encode_blob(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_bytes(writer, frame->blob.data, HF_BLOB_MAX_BYTES);
}

void encode_dictionary_get(const struct hf_frame *frame, struct proto_writer *writer)
{
    if (frame->dictionary.id.size != HF_HASH_BYTES) {
        writer_refuse(writer);
    }
    write_bytes(writer, frame->dictionary.id, HF_HASH_BYTES);
}

void encode_dictionary(const struct hf_frame *frame, struct proto_writer *writer)
{
    encode_dictionary_get(frame, writer);
    if (frame->dictionary.bytes.size == 0) {
        writer_refuse(writer);
    }
    write_bytes(writer, frame->dictionary.bytes, HF_DICTIONARY_MAX_BYTES);
}

void encode_offer(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_restore_offer *offer = &frame->offer;
    write_uint(writer, offer->job);
    write_text(writer, offer->source, HF_NAME_MAX_BYTES);
    write_text(writer, offer->origin_host, HF_NAME_MAX_BYTES);
    write_int(writer, offer->at_ns);
    write_bytes(writer, offer->destination, HF_PATH_MAX_BYTES);
    write_uint(writer, offer->conflict);
    write_bool(writer, offer->dry_run);
    write_uint(writer, offer->file_count);
    write_uint(writer, offer->byte_count);
    write_int(writer, offer->expires_ns);
    write_array(writer, offer->path_count, HF_OFFER_PATHS_MAX);
    for (size_t i = 0; i < offer->path_count; i++) {
        write_bytes(writer, offer->paths[i], HF_PATH_MAX_BYTES);
    }
}

void encode_answer(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->answer.job);
    write_bool(writer, frame->answer.accepted);
    write_message(writer, frame->answer.message, HF_TEXT_MAX_BYTES);
}

void encode_next(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->next.job);
    write_bytes(writer, frame->next.cursor, HF_PATH_MAX_BYTES);
}

void encode_page(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->page.job);
    write_versions(writer, frame->page.versions, frame->page.count);
    write_bytes(writer, frame->page.next_cursor, HF_PATH_MAX_BYTES);
    write_bool(writer, frame->page.last);
}

void encode_results(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->results.job);
    write_array(writer, frame->results.count, HF_FRAME_RESULTS_MAX);
    for (size_t i = 0; i < frame->results.count && writer->rc == HF_OK; i++) {
        const struct hf_restore_result *row = &frame->results.results[i];
        write_array(writer, 4, 4);
        write_bytes(writer, row->path, HF_PATH_MAX_BYTES);
        write_uint(writer, row->status);
        write_uint(writer, row->bytes);
        write_message(writer, row->message, HF_RESULT_MESSAGE_MAX_BYTES);
    }
}

void encode_done(const struct hf_frame *frame, struct proto_writer *writer)
{
    const struct hf_restore_done *done = &frame->done;
    write_uint(writer, done->job);
    write_uint(writer, done->outcome);
    write_uint(writer, done->file_count);
    write_uint(writer, done->failed_count);
    write_uint(writer, done->fetched_bytes);
    write_uint(writer, done->reused_bytes);
    write_message(writer, done->message, HF_TEXT_MAX_BYTES);
}

void encode_cancel(const struct hf_frame *frame, struct proto_writer *writer)
{
    write_uint(writer, frame->cancel.job);
}
