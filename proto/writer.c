#include "proto/writer.h"

#include <string.h>

#include "proto/reader.h"

/* The packer looks at no result but passes on ours; what it calls after a failure must not land in
 * the buffer, where a frame with a hole would look whole. */
static int append(void *context, const char *data, size_t size)
{
    struct proto_writer *writer = context;
    if (writer->rc == HF_OK && size > writer->room) {
        writer->rc = HF_ERR_LIMIT;
    }
    if (writer->rc == HF_OK) {
        writer->rc = hf_buf_append(writer->out, data, size);
    }
    if (writer->rc != HF_OK) {
        return -1;
    }
    writer->room -= size;
    return 0;
}

void writer_init(struct proto_writer *writer, struct hf_buf *out, size_t max_bytes)
{
    *writer = (struct proto_writer){.out = out, .start = out->size, .room = max_bytes};
    msgpack_packer_init(&writer->packer, writer, append);
}

int writer_finish(struct proto_writer *writer)
{
    if (writer->rc != HF_OK) {
        writer->out->size = writer->start;
    }
    return writer->rc;
}

void writer_refuse(struct proto_writer *writer)
{
    if (writer->rc == HF_OK) {
        writer->rc = HF_ERR_LIMIT;
    }
}

void write_uint(struct proto_writer *writer, uint64_t value)
{
    msgpack_pack_uint64(&writer->packer, value);
}

void write_int(struct proto_writer *writer, int64_t value)
{
    msgpack_pack_int64(&writer->packer, value);
}

void write_bool(struct proto_writer *writer, bool value)
{
    value ? msgpack_pack_true(&writer->packer) : msgpack_pack_false(&writer->packer);
}

void write_array(struct proto_writer *writer, size_t count, size_t max_count)
{
    if (count > max_count) {
        writer_refuse(writer);
    }
    msgpack_pack_array(&writer->packer, count);
}

void write_bytes(struct proto_writer *writer, struct hf_bytes bytes, size_t max_bytes)
{
    if (bytes.size > max_bytes) {
        writer_refuse(writer);
    }
    msgpack_pack_bin(&writer->packer, bytes.size);
    if (bytes.size > 0) {
        msgpack_pack_bin_body(&writer->packer, bytes.data, bytes.size);
    }
}

void write_text(struct proto_writer *writer, struct hf_bytes text, size_t max_bytes)
{
    if (text.size > max_bytes) {
        writer_refuse(writer);
    }
    msgpack_pack_str(&writer->packer, text.size);
    if (text.size > 0) {
        msgpack_pack_str_body(&writer->packer, text.data, text.size);
    }
}

/* Where to cut so that no UTF-8 character is split. */
static size_t cut_length(struct hf_bytes text, size_t max_bytes)
{
    size_t length = text.size;
    if (length > max_bytes) {
        length = max_bytes;
        while (length > 0 && max_bytes - length < 3 && (text.data[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    return length;
}

void write_message(struct proto_writer *writer, struct hf_bytes text, size_t max_bytes)
{
    size_t length = cut_length(text, max_bytes);
    msgpack_pack_str(&writer->packer, length);
    for (size_t start = 0; start < length;) {
        size_t end = start;
        while (end < length && !reader_is_control(text.data[end])) {
            end++;
        }
        if (end > start) {
            msgpack_pack_str_body(&writer->packer, text.data + start, end - start);
        }
        for (; end < length && reader_is_control(text.data[end]); end++) {
            msgpack_pack_str_body(&writer->packer, "?", 1);
        }
        start = end;
    }
}
