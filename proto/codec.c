#include "proto/codec.h"

#include <stdlib.h>

#define FIELDS_MAX 64u /* of a frame, with what later versions may add */

static const struct proto_codec codecs[] = {
    {HF_FRAME_HELLO, "HELLO", 9, 0, false, encode_hello, decode_hello},
    {HF_FRAME_WELCOME, "WELCOME", 9, 0, false, encode_welcome, decode_welcome},
    {HF_FRAME_SOURCE, "SOURCE", 5, 0, false, encode_source, decode_source},
    {HF_FRAME_SOURCE_STATE, "SOURCE_STATE", 4, 0, false, encode_source_state, decode_source_state},
    {HF_FRAME_HAVE, "HAVE", 2, 0, false, encode_ids, decode_ids},
    {HF_FRAME_NEED, "NEED", 2, 0, false, encode_need, decode_need},
    {HF_FRAME_CHUNKS, "CHUNKS", 2, 0, true, encode_chunks, decode_chunks},
    {HF_FRAME_VERSIONS, "VERSIONS", 2, 0, true, encode_versions, decode_versions},
    {HF_FRAME_ACK, "ACK", 1, 0, false, encode_ack, decode_ack},
    {HF_FRAME_CREDIT, "CREDIT", 1, 0, false, encode_credit, decode_credit},
    {HF_FRAME_MARK, "MARK", 6, 0, false, encode_mark, decode_mark},
    {HF_FRAME_ERROR, "ERROR", 6, 0, false, encode_error, decode_error},
    {HF_FRAME_GOAWAY, "GOAWAY", 3, 0, false, encode_goaway, decode_goaway},
    {HF_FRAME_LIST, "LIST", 2, 0, false, encode_list, decode_list},
    {HF_FRAME_LISTING, "LISTING", 3, 0, false, encode_listing, decode_listing},
    {HF_FRAME_RENEW, "RENEW", 1, 0, false, encode_blob, decode_blob},
    {HF_FRAME_RENEWED, "RENEWED", 1, 0, false, encode_blob, decode_blob},
    {HF_FRAME_DICTIONARY_GET, "DICTIONARY_GET", 1, 0, false, encode_dictionary_get,
     decode_dictionary_get},
    {HF_FRAME_DICTIONARY, "DICTIONARY", 2, 0, false, encode_dictionary, decode_dictionary},
    {HF_FRAME_RESTORE_OFFER, "RESTORE_OFFER", 10, 1, false, encode_offer, decode_offer},
    {HF_FRAME_RESTORE_ANSWER, "RESTORE_ANSWER", 3, 0, false, encode_answer, decode_answer},
    {HF_FRAME_RESTORE_NEXT, "RESTORE_NEXT", 2, 0, false, encode_next, decode_next},
    {HF_FRAME_RESTORE_PAGE, "RESTORE_PAGE", 4, 0, false, encode_page, decode_page},
    {HF_FRAME_CHUNK_GET, "CHUNK_GET", 2, 0, false, encode_ids, decode_ids},
    {HF_FRAME_RESTORE_RESULT, "RESTORE_RESULT", 2, 0, false, encode_results, decode_results},
    {HF_FRAME_RESTORE_DONE, "RESTORE_DONE", 7, 0, false, encode_done, decode_done},
    {HF_FRAME_RESTORE_CANCEL, "RESTORE_CANCEL", 1, 0, false, encode_cancel, decode_cancel},
};

const struct proto_codec *codec_find(enum hf_frame_type type)
{
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        if (codecs[i].type == type) {
            return &codecs[i];
        }
    }
    return NULL;
}

bool proto_frame_is_bulk(enum hf_frame_type type)
{
    const struct proto_codec *codec = codec_find(type);
    return codec && codec->bulk;
}

const char *proto_frame_name(enum hf_frame_type type)
{
    const struct proto_codec *codec = codec_find(type);
    return codec ? codec->name : "unknown";
}

int proto_encode(const struct hf_frame *frame, struct hf_buf *out)
{
    const struct proto_codec *codec = codec_find(frame->type);
    struct proto_writer writer;
    if (!codec) {
        return HF_ERR_UNSUPPORTED;
    }
    writer_init(&writer, out, HF_FRAME_MAX_BYTES);
    write_array(&writer, codec->fields + codec->younger + 2, FIELDS_MAX);
    write_uint(&writer, frame->type);
    write_uint(&writer, frame->seq);
    codec->encode(frame, &writer);
    return writer_finish(&writer);
}

int proto_decode(const uint8_t *data, size_t size, struct hf_frame *frame, struct hf_error *error)
{
    struct proto_reader reader;
    *frame = (struct hf_frame){0};
    if (size > HF_FRAME_MAX_BYTES) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "A frame has %zu bytes; allowed are %u", size,
                            HF_FRAME_MAX_BYTES);
    }
    reader_init(&reader, data, size, error);
    size_t fields = reader_array(&reader, "frame", 2, FIELDS_MAX);
    frame->type = (enum hf_frame_type)reader_uint(&reader, "type", 0, UINT32_MAX);
    frame->seq = reader_uint(&reader, "seq", 1, UINT64_MAX);
    if (reader.rc != HF_OK) {
        return reader.rc;
    }
    const struct proto_codec *codec = codec_find(frame->type);
    if (!codec) {
        return hf_error_set(error, HF_ERR_UNSUPPORTED, 0, "There is no frame type %u",
                            (unsigned)frame->type);
    }
    if (fields - 2 < codec->fields) {
        return hf_error_set(error, HF_ERR_PROTOCOL, 0, "%s has %zu fields; it needs %zu",
                            codec->name, fields - 2, codec->fields);
    }
    reader.more = fields - 2 - codec->fields;
    codec->decode(&reader, frame);
    size_t objects = HF_FRAME_OBJECTS_MAX;
    for (; reader.more > 0 && reader.rc == HF_OK; reader.more--) {
        reader.field = "trailing";
        reader_skip(&reader, HF_FRAME_DEPTH_MAX, &objects);
    }
    if (reader.rc == HF_OK && reader.next != reader.end) {
        reader.field = "frame";
        reader_fail(&reader, HF_ERR_PROTOCOL, "is followed by %zu bytes that are not part of it",
                    (size_t)(reader.end - reader.next));
    }
    if (reader.rc != HF_OK) {
        proto_frame_free(frame);
        hf_error_prefix(error, "%s", codec->name);
    }
    return reader.rc;
}

void proto_frame_free(struct hf_frame *frame)
{
    free(frame->owned);
    frame->owned = NULL;
    frame->owned_bytes = 0;
}
