/* Decoders, in the order of enum hf_frame_type. Arrays are allocated only after their count was
 * checked against its limit and against the bytes that are left. */
#include <stdlib.h>

#include "proto/codec.h"

/* The frame's one array. NULL with the reader failed when there is no memory. */
static void *own_array(struct proto_reader *reader, struct hf_frame *frame, size_t count,
                       size_t element_size)
{
    if (reader->rc != HF_OK || count == 0) {
        return NULL;
    }
    frame->owned = calloc(count, element_size);
    frame->owned_bytes = frame->owned ? count * element_size : 0;
    if (!frame->owned) {
        reader_fail(reader, HF_ERR_NO_MEMORY, "finds no memory for %zu elements", count);
    }
    return frame->owned;
}

static const struct hf_bytes *read_texts(struct proto_reader *reader, struct hf_frame *frame,
                                         const char *field, size_t max_count, size_t max_bytes,
                                         size_t *count)
{
    *count = reader_array(reader, field, 0, max_count);
    struct hf_bytes *texts = own_array(reader, frame, *count, sizeof *texts);
    for (size_t i = 0; texts && i < *count; i++) {
        texts[i] = reader_bytes(reader, field, max_bytes);
    }
    return texts;
}

/* [a-z0-9][a-z0-9._-]*, at most 64 bytes. */
static struct hf_bytes read_name(struct proto_reader *reader, const char *field)
{
    struct hf_bytes name = reader_bytes(reader, field, HF_NAME_MAX_BYTES);
    bool good = name.size > 0;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        good = good && (letter || (i > 0 && (c == '.' || c == '_' || c == '-')));
    }
    if (reader->rc == HF_OK && !good) {
        reader_fail(reader, HF_ERR_PROTOCOL,
                    "is no name: lower-case letters, digits, '.', '_' and '-', at most %u bytes",
                    HF_NAME_MAX_BYTES);
    }
    return name;
}

static uint32_t read_stream(struct proto_reader *reader)
{
    return (uint32_t)reader_uint(reader, "stream", 1, HF_STREAMS_MAX);
}

static struct hf_bytes read_ids(struct proto_reader *reader)
{
    struct hf_bytes ids = reader_bytes(reader, "ids", (size_t)HF_FRAME_IDS_MAX * HF_HASH_BYTES);
    if (reader->rc == HF_OK && ids.size % HF_HASH_BYTES != 0) {
        reader_fail(reader, HF_ERR_PROTOCOL, "has %zu bytes, which is no multiple of %d", ids.size,
                    HF_HASH_BYTES);
    }
    return ids;
}

static uint64_t read_job(struct proto_reader *reader)
{
    return reader_uint(reader, "job", 1, INT64_MAX);
}

static struct hf_bytes read_message(struct proto_reader *reader)
{
    return reader_text(reader, "message", HF_TEXT_MAX_BYTES);
}

void decode_hello(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_hello *hello = &frame->hello;
    hello->version_min = (uint32_t)reader_uint(reader, "version-min", 1, UINT32_MAX);
    hello->version_max = (uint32_t)reader_uint(reader, "version-max", 1, UINT32_MAX);
    hello->capabilities = read_texts(reader, frame, "capabilities", HF_CAPABILITIES_MAX,
                                     HF_NAME_MAX_BYTES, &hello->capability_count);
    hello->agent_version = reader_text(reader, "agent-version", HF_TEXT_MAX_BYTES);
    hello->hostname = reader_text(reader, "hostname", HF_TEXT_MAX_BYTES);
    hello->machine_id = reader_text(reader, "machine-id", HF_TEXT_MAX_BYTES);
    hello->os = reader_text(reader, "os", HF_TEXT_MAX_BYTES);
    hello->now_ns = reader_time(reader, "now");
    hello->instance = reader_bytes(reader, "instance", HF_INSTANCE_BYTES);
    if (reader->rc == HF_OK && hello->instance.size != HF_INSTANCE_BYTES) {
        reader_fail(reader, HF_ERR_PROTOCOL, "has %zu bytes; it needs %d", hello->instance.size,
                    HF_INSTANCE_BYTES);
    }
}

void decode_welcome(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_welcome *welcome = &frame->welcome;
    welcome->version = (uint32_t)reader_uint(reader, "version", 1, UINT32_MAX);
    welcome->capabilities = read_texts(reader, frame, "capabilities", HF_CAPABILITIES_MAX,
                                       HF_NAME_MAX_BYTES, &welcome->capability_count);
    welcome->host_id = reader_text(reader, "host", HF_NAME_MAX_BYTES);
    welcome->session = reader_uint(reader, "session", 0, UINT64_MAX);
    welcome->now_ns = reader_int(reader, "now");
    welcome->credit_bytes = reader_uint(reader, "credit", 0, UINT64_MAX);
    welcome->frame_max_bytes = (uint32_t)reader_uint(reader, "frame-max", 1024, HF_FRAME_MAX_BYTES);
    welcome->ping_seconds = (uint32_t)reader_uint(reader, "ping", 1, 3600);
    welcome->chunking = reader_bytes(reader, "chunking", HF_CHUNKING_BYTES);
    if (reader->rc == HF_OK && welcome->chunking.size != HF_CHUNKING_BYTES) {
        reader_fail(reader, HF_ERR_PROTOCOL, "has %zu bytes; it needs %d", welcome->chunking.size,
                    HF_CHUNKING_BYTES);
    }
}

void decode_source(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_source_open *source = &frame->source;
    source->stream = read_stream(reader);
    source->name = read_name(reader, "name");
    source->kind = read_name(reader, "kind");
    source->class_name = read_name(reader, "class");
    source->roots = read_texts(reader, frame, "roots", HF_ROOTS_MAX, HF_PATH_MAX_BYTES + 1,
                               &source->root_count);
}

/* The id of a dictionary; min 0: or empty. */
static struct hf_bytes read_dictionary_id(struct proto_reader *reader, size_t min)
{
    struct hf_bytes id = reader_bytes(reader, "dictionary", HF_HASH_BYTES);
    if (reader->rc == HF_OK && id.size != HF_HASH_BYTES && (min > 0 || id.size > 0)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "has %zu bytes; it needs %d", id.size, HF_HASH_BYTES);
    }
    return id;
}

void decode_source_state(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->source_state.stream = read_stream(reader);
    frame->source_state.version_seq = reader_uint(reader, "version-seq", 0, INT64_MAX);
    frame->source_state.file_count = reader_uint(reader, "files", 0, INT64_MAX);
    frame->source_state.dictionary = read_dictionary_id(reader, 0);
}

void decode_ids(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->ids.request = reader_uint(reader, "request", 0, INT64_MAX);
    frame->ids.ids = read_ids(reader);
    if (reader->rc == HF_OK && frame->ids.ids.size == 0) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is empty");
    }
}

void decode_need(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->need.request = reader_uint(reader, "request", 0, INT64_MAX);
    frame->need.bitmap = reader_bytes(reader, "bitmap", HF_FRAME_IDS_MAX / 8);
}

static void read_block(struct proto_reader *reader, struct hf_block *block)
{
    reader_array(reader, "block", 4, 4);
    unsigned codec = (unsigned)reader_uint(reader, "codec", HF_CODEC_RAW, HF_CODEC_LAST);
    block->codec = (enum hf_codec)codec;
    block->aid = reader_bytes(reader, "aid", HF_HASH_BYTES);
    block->chunks =
        reader_bytes(reader, "chunks", (size_t)HF_BLOCK_CHUNKS_MAX * HF_CHUNK_REF_BYTES);
    block->data = reader_bytes(reader, "data", HF_BLOCK_MAX_BYTES);
    if (reader->rc == HF_OK && !hf_codec_is_known(codec)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "names codec %u, which is none", codec);
    } else if (reader->rc == HF_OK && hf_block_plain_size(block) == 0) {
        reader_fail(reader, HF_ERR_PROTOCOL,
                    "is no block: its chunks' lengths, its codec and its data do not fit together");
    }
}

void decode_chunks(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->chunks.job = reader_uint(reader, "job", 0, INT64_MAX);
    frame->chunks.count = reader_array(reader, "blocks", 1, HF_FRAME_BLOCKS_MAX);
    struct hf_block *blocks = own_array(reader, frame, frame->chunks.count, sizeof *blocks);
    for (size_t i = 0; blocks && i < frame->chunks.count && reader->rc == HF_OK; i++) {
        read_block(reader, &blocks[i]);
    }
    frame->chunks.blocks = blocks;
}

static const struct hf_version *read_versions(struct proto_reader *reader, struct hf_frame *frame,
                                              size_t min, size_t *count)
{
    *count = reader_array(reader, "versions", min, HF_FRAME_VERSIONS_MAX);
    struct hf_version *versions = own_array(reader, frame, *count, sizeof *versions);
    for (size_t i = 0; versions && i < *count && reader->rc == HF_OK; i++) {
        version_read(reader, &versions[i]);
    }
    return versions;
}

void decode_versions(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->versions.stream = read_stream(reader);
    frame->versions.versions = read_versions(reader, frame, 1, &frame->versions.count);
    reader->field = "versions";
    for (size_t i = 0; reader->rc == HF_OK && i < frame->versions.count; i++) {
        const struct hf_version *versions = frame->versions.versions;
        if (versions[i].seq == 0 || (i > 0 && versions[i].seq != versions[i - 1].seq + 1)) {
            reader_fail(reader, HF_ERR_PROTOCOL, "are not numbered one by one");
        }
    }
}

void decode_ack(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->ack.count = reader_array(reader, "acks", 0, HF_STREAMS_MAX);
    struct hf_ack *acks = own_array(reader, frame, frame->ack.count, sizeof *acks);
    for (size_t i = 0; acks && i < frame->ack.count && reader->rc == HF_OK; i++) {
        reader_array(reader, "ack", 3, 3);
        acks[i].stream = read_stream(reader);
        acks[i].version_seq = reader_uint(reader, "version-seq", 0, INT64_MAX);
        acks[i].received_ns = reader_int(reader, "received");
    }
    frame->ack.acks = acks;
}

void decode_credit(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->credit.total_bytes = reader_uint(reader, "total", 0, UINT64_MAX);
}

void decode_mark(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_mark *mark = &frame->mark;
    mark->stream = read_stream(reader);
    mark->version_seq = reader_uint(reader, "version-seq", 0, INT64_MAX);
    mark->until_ns = reader_time(reader, "until");
    mark->state =
        (enum hf_source_state)reader_uint(reader, "state", HF_SOURCE_WATCHING, HF_SOURCE_WAITING);
    mark->pending_files = reader_uint(reader, "pending", 0, INT64_MAX);
    mark->note = reader_text(reader, "note", HF_TEXT_MAX_BYTES);
}

void decode_error(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_refusal *refusal = &frame->refusal;
    refusal->code = (enum hf_wire_code)reader_uint(reader, "code", 1, UINT16_MAX);
    refusal->about_seq = reader_uint(reader, "about", 0, UINT64_MAX);
    refusal->stream = (uint32_t)reader_uint(reader, "stream", 0, HF_STREAMS_MAX);
    refusal->version_seq = reader_uint(reader, "version-seq", 0, INT64_MAX);
    refusal->message = read_message(reader);
    refusal->ids = read_ids(reader);
}

void decode_goaway(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->refusal.code = (enum hf_wire_code)reader_uint(reader, "code", 1, UINT16_MAX);
    frame->refusal.retry_after_ms = (uint32_t)reader_uint(reader, "retry-after", 0, UINT32_MAX);
    frame->refusal.message = read_message(reader);
}

void decode_list(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->list.stream = read_stream(reader);
    frame->list.after_path = reader_bytes(reader, "after", HF_PATH_MAX_BYTES);
}

void decode_listing(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->versions.stream = read_stream(reader);
    frame->versions.versions = read_versions(reader, frame, 0, &frame->versions.count);
    frame->versions.last = reader_bool(reader, "last");
}

void decode_blob(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->blob.data = reader_bytes(reader, "data", HF_BLOB_MAX_BYTES);
}

void decode_dictionary_get(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->dictionary.id = read_dictionary_id(reader, HF_HASH_BYTES);
}

void decode_dictionary(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->dictionary.id = read_dictionary_id(reader, HF_HASH_BYTES);
    frame->dictionary.bytes = reader_bytes(reader, "bytes", HF_DICTIONARY_MAX_BYTES);
    if (reader->rc == HF_OK && frame->dictionary.bytes.size == 0) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is empty");
    }
}

static void read_offer_paths(struct proto_reader *reader, struct hf_frame *frame)
{
    size_t count = reader_array(reader, "paths", 0, HF_OFFER_PATHS_MAX);
    struct hf_bytes *paths = own_array(reader, frame, count, sizeof *paths);
    for (size_t i = 0; paths && i < count; i++) {
        paths[i] = reader_path(reader, "paths");
    }
    frame->offer.paths = paths;
    frame->offer.path_count = paths ? count : 0;
}

void decode_offer(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_restore_offer *offer = &frame->offer;
    offer->job = read_job(reader);
    offer->source = read_name(reader, "source");
    offer->origin_host = reader_text(reader, "origin-host", HF_NAME_MAX_BYTES);
    offer->at_ns = reader_int(reader, "at");
    offer->destination = reader_bytes(reader, "destination", HF_PATH_MAX_BYTES);
    offer->conflict =
        (enum hf_conflict)reader_uint(reader, "conflict", HF_CONFLICT_REPLACE, HF_CONFLICT_RENAME);
    offer->dry_run = reader_bool(reader, "dry-run");
    offer->file_count = reader_uint(reader, "files", 0, INT64_MAX);
    offer->byte_count = reader_uint(reader, "bytes", 0, INT64_MAX);
    offer->expires_ns = reader_int(reader, "expires");
    if (reader->more > 0) {
        reader->more--;
        read_offer_paths(reader, frame);
    }
}

void decode_answer(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->answer.job = read_job(reader);
    frame->answer.accepted = reader_bool(reader, "accepted");
    frame->answer.message = read_message(reader);
}

void decode_next(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->next.job = read_job(reader);
    frame->next.cursor = reader_bytes(reader, "cursor", HF_PATH_MAX_BYTES);
}

void decode_page(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->page.job = read_job(reader);
    frame->page.versions = read_versions(reader, frame, 0, &frame->page.count);
    frame->page.next_cursor = reader_bytes(reader, "next-cursor", HF_PATH_MAX_BYTES);
    frame->page.last = reader_bool(reader, "last");
}

void decode_results(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->results.job = read_job(reader);
    frame->results.count = reader_array(reader, "results", 0, HF_FRAME_RESULTS_MAX);
    struct hf_restore_result *rows = own_array(reader, frame, frame->results.count, sizeof *rows);
    for (size_t i = 0; rows && i < frame->results.count && reader->rc == HF_OK; i++) {
        reader_array(reader, "result", 4, 4);
        rows[i].path = reader_path(reader, "path");
        rows[i].status = (enum hf_restore_status)reader_uint(reader, "status", HF_RESTORE_RESTORED,
                                                             HF_RESTORE_WOULD);
        rows[i].bytes = reader_uint(reader, "bytes", 0, INT64_MAX);
        rows[i].message = reader_text(reader, "message", HF_RESULT_MESSAGE_MAX_BYTES);
    }
    frame->results.results = rows;
}

void decode_done(struct proto_reader *reader, struct hf_frame *frame)
{
    struct hf_restore_done *done = &frame->done;
    done->job = read_job(reader);
    done->outcome =
        (enum hf_job_outcome)reader_uint(reader, "outcome", HF_JOB_SUCCEEDED, HF_JOB_CANCELLED);
    done->file_count = reader_uint(reader, "files", 0, INT64_MAX);
    done->failed_count = reader_uint(reader, "failed", 0, INT64_MAX);
    done->fetched_bytes = reader_uint(reader, "fetched", 0, INT64_MAX);
    done->reused_bytes = reader_uint(reader, "reused", 0, INT64_MAX);
    done->message = read_message(reader);
}

void decode_cancel(struct proto_reader *reader, struct hf_frame *frame)
{
    frame->cancel.job = read_job(reader);
}
