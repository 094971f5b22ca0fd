/* A bounded reader of msgpack (github.com/msgpack/msgpack, spec.md): walks one message in place,
 * allocates nothing, never looks past the end. For proto/ and for the journal's decoder in
 * collector/catalog/. The first failure sticks: later reads return zeros, so a decoder may read a
 * row of fields and look at `rc` once. */
#ifndef HF_PROTO_READER_H
#define HF_PROTO_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

struct proto_reader {
    const uint8_t *next;
    const uint8_t *end;
    const char *field; /* name of what is being read, for the message */
    size_t more;       /* of a frame: fields behind those that it needs, not read yet */
    int rc;
    struct hf_error *error;
};

void reader_init(struct proto_reader *reader, const uint8_t *data, size_t size,
                 struct hf_error *error);
/* Record a failure unless there is one already; returns the one that sticks. */
int reader_fail(struct proto_reader *reader, enum hf_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

uint64_t reader_uint(struct proto_reader *reader, const char *field, uint64_t min, uint64_t max);
int64_t reader_int(struct proto_reader *reader, const char *field);
bool reader_bool(struct proto_reader *reader, const char *field);
/* bin or str of at most max bytes. */
struct hf_bytes reader_bytes(struct proto_reader *reader, const char *field, size_t max);
/* str (bin is taken too) without NUL or control characters but newline and tab. */
struct hf_bytes reader_text(struct proto_reader *reader, const char *field, size_t max);
bool reader_is_control(uint8_t byte); /* one that a text may not have */
/* Nanoseconds since the epoch by a host's clock, 0 to HF_TIME_MAX_NS: whatever a host claims, sums
 * and differences of two of them can't overflow. */
int64_t reader_time(struct proto_reader *reader, const char *field);
/* A path as hf_path_check_relative wants it. */
struct hf_bytes reader_path(struct proto_reader *reader, const char *field);
/* Header of an array of min..max elements; also checked against the bytes that are left, as each
 * element takes one at least. */
size_t reader_array(struct proto_reader *reader, const char *field, size_t min, size_t max);
/* Pass over one object of any kind, nested at most HF_FRAME_DEPTH_MAX deep. `objects` counts down.
 */
void reader_skip(struct proto_reader *reader, unsigned depth, size_t *objects);

#endif
