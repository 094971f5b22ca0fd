/* The counterpart of reader.h: msgpack-c's packer appending to a hf_buf, bounded. The first failure
 * sticks and nothing is appended after it, so an encoder writes its row of fields and looks at `rc`
 * once. Private to proto/. */
#ifndef HF_PROTO_WRITER_H
#define HF_PROTO_WRITER_H

#include <msgpack.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/error.h"

struct proto_writer {
    msgpack_packer packer;
    struct hf_buf *out;
    size_t start; /* of what this writer wrote */
    size_t room;  /* bytes that may still be appended */
    int rc;
};

/* The writer points at itself: don't move it. */
void writer_init(struct proto_writer *writer, struct hf_buf *out, size_t max_bytes);
/* Returns rc; on failure out is as it was before. */
int writer_finish(struct proto_writer *writer);
/* Record that a limit was passed, unless something failed before. */
void writer_refuse(struct proto_writer *writer);

void write_uint(struct proto_writer *writer, uint64_t value);
void write_int(struct proto_writer *writer, int64_t value);
void write_bool(struct proto_writer *writer, bool value);
void write_array(struct proto_writer *writer, size_t count, size_t max_count);
/* As bin. */
void write_bytes(struct proto_writer *writer, struct hf_bytes bytes, size_t max_bytes);
/* As str. */
void write_text(struct proto_writer *writer, struct hf_bytes text, size_t max_bytes);
/* As str, made so that the other end takes it whatever it holds: cut at max_bytes, between
 * characters, and with '?' for control characters. What is told to people may quote a hostile file
 * name, and must not end a session. */
void write_message(struct proto_writer *writer, struct hf_bytes text, size_t max_bytes);

#endif
