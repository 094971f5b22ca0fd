#include "proto/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/fs.h"
#include "proto/frame.h"

enum kind {
    KIND_UINT,
    KIND_INT,
    KIND_BOOL,
    KIND_NIL,
    KIND_FLOAT,
    KIND_BYTES,
    KIND_ARRAY,
    KIND_MAP,
    KIND_EXT
};

/* One object's header: its kind, its value or count, and how many payload bytes follow. */
struct head {
    enum kind kind;
    uint64_t value;
    size_t payload;
};

void reader_init(struct proto_reader *reader, const uint8_t *data, size_t size,
                 struct hf_error *error)
{
    /* An empty buffer has no data: adding to no pointer is undefined. */
    const uint8_t *end = size > 0 ? data + size : data;
    *reader = (struct proto_reader){.next = data, .end = end, .field = "frame", .error = error};
}

int reader_fail(struct proto_reader *reader, enum hf_err code, const char *format, ...)
{
    if (reader->rc == HF_OK) {
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        reader->rc = hf_error_set(reader->error, code, 0, "Field '%s' %s", reader->field, text);
    }
    return reader->rc;
}

static uint64_t big_endian(const uint8_t *p, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

static uint64_t sign_extend(uint64_t value, size_t size)
{
    unsigned shift = (unsigned)(64 - 8 * size) % 64; /* size is 1 to 8 */
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* What follows the first byte from 0xc0 on: how many bytes of number, and what they mean. */
struct form {
    enum kind kind;
    uint8_t number_bytes;
    uint8_t extra; /* payload beyond the number: ext's type byte */
    bool is_length, is_signed, known;
};

static struct form form_of(uint8_t first)
{
    static const struct form forms[32] = {
        [0x00] = {.kind = KIND_NIL, .known = true},
        [0x02] = {.kind = KIND_BOOL, .known = true},
        [0x03] = {.kind = KIND_BOOL, .known = true},
        [0x04] = {.kind = KIND_BYTES, .number_bytes = 1, .is_length = true, .known = true},
        [0x05] = {.kind = KIND_BYTES, .number_bytes = 2, .is_length = true, .known = true},
        [0x06] = {.kind = KIND_BYTES, .number_bytes = 4, .is_length = true, .known = true},
        [0x07] =
            {.kind = KIND_EXT, .number_bytes = 1, .extra = 1, .is_length = true, .known = true},
        [0x08] =
            {.kind = KIND_EXT, .number_bytes = 2, .extra = 1, .is_length = true, .known = true},
        [0x09] =
            {.kind = KIND_EXT, .number_bytes = 4, .extra = 1, .is_length = true, .known = true},
        [0x0a] = {.kind = KIND_FLOAT, .number_bytes = 4, .known = true},
        [0x0b] = {.kind = KIND_FLOAT, .number_bytes = 8, .known = true},
        [0x0c] = {.kind = KIND_UINT, .number_bytes = 1, .known = true},
        [0x0d] = {.kind = KIND_UINT, .number_bytes = 2, .known = true},
        [0x0e] = {.kind = KIND_UINT, .number_bytes = 4, .known = true},
        [0x0f] = {.kind = KIND_UINT, .number_bytes = 8, .known = true},
        [0x10] = {.kind = KIND_INT, .number_bytes = 1, .is_signed = true, .known = true},
        [0x11] = {.kind = KIND_INT, .number_bytes = 2, .is_signed = true, .known = true},
        [0x12] = {.kind = KIND_INT, .number_bytes = 4, .is_signed = true, .known = true},
        [0x13] = {.kind = KIND_INT, .number_bytes = 8, .is_signed = true, .known = true},
        [0x14] = {.kind = KIND_EXT, .extra = 2, .known = true},
        [0x15] = {.kind = KIND_EXT, .extra = 3, .known = true},
        [0x16] = {.kind = KIND_EXT, .extra = 5, .known = true},
        [0x17] = {.kind = KIND_EXT, .extra = 9, .known = true},
        [0x18] = {.kind = KIND_EXT, .extra = 17, .known = true},
        [0x19] = {.kind = KIND_BYTES, .number_bytes = 1, .is_length = true, .known = true},
        [0x1a] = {.kind = KIND_BYTES, .number_bytes = 2, .is_length = true, .known = true},
        [0x1b] = {.kind = KIND_BYTES, .number_bytes = 4, .is_length = true, .known = true},
        [0x1c] = {.kind = KIND_ARRAY, .number_bytes = 2, .known = true},
        [0x1d] = {.kind = KIND_ARRAY, .number_bytes = 4, .known = true},
        [0x1e] = {.kind = KIND_MAP, .number_bytes = 2, .known = true},
        [0x1f] = {.kind = KIND_MAP, .number_bytes = 4, .known = true},
    };
    return forms[first - 0xc0];
}

/* The short forms, whose first byte holds all. */
static bool short_head(uint8_t first, struct head *head)
{
    if (first < 0x80) {
        *head = (struct head){.kind = KIND_UINT, .value = first};
    } else if (first < 0x90) {
        *head = (struct head){.kind = KIND_MAP, .value = first & 15};
    } else if (first < 0xa0) {
        *head = (struct head){.kind = KIND_ARRAY, .value = first & 15};
    } else if (first < 0xc0) {
        *head = (struct head){.kind = KIND_BYTES, .payload = first & 31};
    } else if (first >= 0xe0) {
        *head = (struct head){.kind = KIND_INT, .value = sign_extend(first, 1)};
    } else {
        return false;
    }
    return true;
}

/* Read one header and check that its payload is there. */
static struct head read_head(struct proto_reader *reader)
{
    struct head head = {.kind = KIND_NIL};
    if (reader->rc != HF_OK) {
        return head;
    }
    if (reader->next == reader->end) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is missing: the frame ends before it");
        return head;
    }
    uint8_t first = *reader->next++;
    if (!short_head(first, &head)) {
        struct form form = form_of(first);
        if (!form.known) {
            reader_fail(reader, HF_ERR_PROTOCOL,
                        "starts with the byte 0x%02x, which msgpack does "
                        "not use",
                        first);
            return head;
        }
        if ((size_t)(reader->end - reader->next) < form.number_bytes) {
            reader_fail(reader, HF_ERR_PROTOCOL, "is cut off by the end of the frame");
            return head;
        }
        uint64_t number = big_endian(reader->next, form.number_bytes);
        reader->next += form.number_bytes;
        head.kind = form.kind;
        head.value = form.is_signed ? sign_extend(number, form.number_bytes) : number;
        if (form.kind == KIND_BOOL) {
            head.value = first & 1;
        }
        head.payload = (form.is_length ? (size_t)number : 0) + form.extra;
    }
    if (head.payload > (size_t)(reader->end - reader->next)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "claims %zu bytes where %zu are left", head.payload,
                    (size_t)(reader->end - reader->next));
    }
    return head;
}

uint64_t reader_uint(struct proto_reader *reader, const char *field, uint64_t min, uint64_t max)
{
    reader->field = field;
    struct head head = read_head(reader);
    if (reader->rc != HF_OK) {
        return 0;
    }
    if (head.kind != KIND_UINT && !(head.kind == KIND_INT && (int64_t)head.value >= 0)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is not an unsigned number");
        return 0;
    }
    if (head.value < min || head.value > max) {
        reader_fail(reader, head.value > max ? HF_ERR_LIMIT : HF_ERR_PROTOCOL,
                    "is %llu; allowed is %llu to %llu", (unsigned long long)head.value,
                    (unsigned long long)min, (unsigned long long)max);
        return 0;
    }
    return head.value;
}

int64_t reader_int(struct proto_reader *reader, const char *field)
{
    reader->field = field;
    struct head head = read_head(reader);
    if (reader->rc != HF_OK) {
        return 0;
    }
    if (head.kind == KIND_UINT && head.value > INT64_MAX) {
        reader_fail(reader, HF_ERR_LIMIT, "is over 2^63 - 1");
        return 0;
    }
    if (head.kind != KIND_UINT && head.kind != KIND_INT) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is not a number");
        return 0;
    }
    return (int64_t)head.value;
}

bool reader_bool(struct proto_reader *reader, const char *field)
{
    reader->field = field;
    struct head head = read_head(reader);
    if (reader->rc == HF_OK && head.kind != KIND_BOOL) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is neither true nor false");
    }
    return reader->rc == HF_OK && head.value != 0;
}

struct hf_bytes reader_bytes(struct proto_reader *reader, const char *field, size_t max)
{
    reader->field = field;
    struct head head = read_head(reader);
    if (reader->rc == HF_OK && head.kind != KIND_BYTES) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is neither text nor bytes");
    }
    if (reader->rc == HF_OK && head.payload > max) {
        reader_fail(reader, HF_ERR_LIMIT, "has %zu bytes; allowed are %zu", head.payload, max);
    }
    if (reader->rc != HF_OK) {
        return (struct hf_bytes){0};
    }
    struct hf_bytes bytes = {reader->next, head.payload};
    reader->next += head.payload;
    return bytes;
}

bool reader_is_control(uint8_t byte)
{
    return (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
}

int64_t reader_time(struct proto_reader *reader, const char *field)
{
    return (int64_t)reader_uint(reader, field, 0, HF_TIME_MAX_NS);
}

struct hf_bytes reader_path(struct proto_reader *reader, const char *field)
{
    struct hf_bytes path = reader_bytes(reader, field, HF_PATH_MAX_BYTES);
    struct hf_error reason = {0};
    if (reader->rc == HF_OK &&
        hf_path_check_relative((const char *)path.data, path.size, &reason) != HF_OK) {
        reader_fail(reader, HF_ERR_PROTOCOL, "may not be: %s", reason.message);
    }
    return path;
}

struct hf_bytes reader_text(struct proto_reader *reader, const char *field, size_t max)
{
    struct hf_bytes text = reader_bytes(reader, field, max);
    for (size_t i = 0; i < text.size; i++) {
        if (reader_is_control(text.data[i])) {
            reader_fail(reader, HF_ERR_PROTOCOL, "has a control character (0x%02x)", text.data[i]);
            return (struct hf_bytes){0};
        }
    }
    return text;
}

size_t reader_array(struct proto_reader *reader, const char *field, size_t min, size_t max)
{
    reader->field = field;
    struct head head = read_head(reader);
    if (reader->rc != HF_OK) {
        return 0;
    }
    if (head.kind != KIND_ARRAY) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is not an array");
        return 0;
    }
    if (head.value > (size_t)(reader->end - reader->next)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "claims %llu elements where %zu bytes are left",
                    (unsigned long long)head.value, (size_t)(reader->end - reader->next));
        return 0;
    }
    if (head.value < min || head.value > max) {
        reader_fail(reader, head.value > max ? HF_ERR_LIMIT : HF_ERR_PROTOCOL,
                    "has %llu elements; allowed are %zu to %zu", (unsigned long long)head.value,
                    min, max);
        return 0;
    }
    return (size_t)head.value;
}

void reader_skip(struct proto_reader *reader, unsigned depth, size_t *objects)
{
    struct head head = read_head(reader);
    if (reader->rc != HF_OK) {
        return;
    }
    if (*objects == 0) {
        reader_fail(reader, HF_ERR_LIMIT, "has too many objects");
        return;
    }
    (*objects)--;
    reader->next += head.payload;
    if (head.kind != KIND_ARRAY && head.kind != KIND_MAP) {
        return;
    }
    if (depth == 0) {
        reader_fail(reader, HF_ERR_LIMIT, "is nested too deeply");
        return;
    }
    uint64_t count = head.value * (head.kind == KIND_MAP ? 2 : 1);
    for (uint64_t i = 0; i < count && reader->rc == HF_OK; i++) {
        reader_skip(reader, depth - 1, objects);
    }
}
