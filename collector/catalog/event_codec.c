#include "collector/catalog/event_codec.h"

#include <string.h>

static int fail(struct event_codec *codec, enum hf_err code, const char *name, const char *what)
{
    if (codec->rc == HF_OK) {
        codec->rc = hf_error_set(codec->error, code, 0, "Field '%s' %s", name, what);
    }
    return codec->rc;
}

/* After a call of msgpack-c, which fails only when the buffer can't grow. */
static void packed(struct event_codec *codec, int failed)
{
    if (failed && codec->rc == HF_OK) {
        codec->rc = hf_error_set(codec->error, HF_ERR_NO_MEMORY, 0, "No memory for an event");
    }
}

static void took(struct event_codec *codec)
{
    if (codec->rc == HF_OK) {
        codec->rc = codec->reader.rc;
    }
}

uint64_t field_number(struct event_codec *codec, const char *name, uint64_t value, uint64_t min,
                      uint64_t max)
{
    if (codec->rc != HF_OK) {
        return value;
    }
    if (!codec->encoding) {
        value = reader_uint(&codec->reader, name, min, max);
        took(codec);
    } else if (value < min || value > max) {
        fail(codec, HF_ERR_INVALID, name, "is out of its range");
    } else {
        packed(codec, msgpack_pack_uint64(&codec->packer, value));
    }
    return value;
}

void field_uint(struct event_codec *codec, const char *name, uint64_t *value, uint64_t max)
{
    uint64_t number = field_number(codec, name, *value, 0, max);
    if (!codec->encoding) {
        *value = number;
    }
}

void field_uint32(struct event_codec *codec, const char *name, uint32_t *value)
{
    uint64_t number = field_number(codec, name, *value, 0, UINT32_MAX);
    if (!codec->encoding) {
        *value = (uint32_t)number;
    }
}

void field_int(struct event_codec *codec, const char *name, int64_t *value)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (codec->encoding) {
        packed(codec, msgpack_pack_int64(&codec->packer, *value));
    } else {
        *value = reader_int(&codec->reader, name);
        took(codec);
    }
}

void field_bool(struct event_codec *codec, const char *name, bool *value)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (codec->encoding) {
        packed(codec,
               *value ? msgpack_pack_true(&codec->packer) : msgpack_pack_false(&codec->packer));
    } else {
        *value = reader_bool(&codec->reader, name);
        took(codec);
    }
}

void field_bytes(struct event_codec *codec, const char *name, struct hf_bytes *value, size_t max)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (!codec->encoding) {
        *value = reader_bytes(&codec->reader, name, max);
        took(codec);
    } else if (value->size > max) {
        fail(codec, HF_ERR_LIMIT, name, "is too long");
    } else {
        int failed = msgpack_pack_bin(&codec->packer, value->size);
        if (value->size > 0) {
            failed |= msgpack_pack_bin_body(&codec->packer, value->data, value->size);
        }
        packed(codec, failed);
    }
}

void field_text(struct event_codec *codec, const char *name, struct hf_bytes *value, size_t max)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (!codec->encoding) {
        *value = reader_bytes(&codec->reader, name, max);
        took(codec);
    }
    if (codec->rc == HF_OK && value->size > 0 && memchr(value->data, 0, value->size)) {
        fail(codec, codec->encoding ? HF_ERR_INVALID : HF_ERR_PROTOCOL, name, "has a NUL byte");
    }
    if (codec->rc != HF_OK || !codec->encoding) {
        return;
    }
    if (value->size > max) {
        fail(codec, HF_ERR_LIMIT, name, "is too long");
        return;
    }
    int failed = msgpack_pack_str(&codec->packer, value->size);
    if (value->size > 0) {
        failed |= msgpack_pack_str_body(&codec->packer, value->data, value->size);
    }
    packed(codec, failed);
}

void field_hash(struct event_codec *codec, const char *name, uint8_t value[HF_HASH_BYTES])
{
    struct hf_bytes bytes = {.data = value, .size = HF_HASH_BYTES};
    field_bytes(codec, name, &bytes, HF_HASH_BYTES);
    if (codec->rc != HF_OK || codec->encoding) {
        return;
    }
    if (bytes.size != HF_HASH_BYTES) {
        fail(codec, HF_ERR_PROTOCOL, name, "is no SHA-256");
        return;
    }
    memcpy(value, bytes.data, HF_HASH_BYTES);
}

void field_version(struct event_codec *codec, struct hf_version *value)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (codec->encoding) {
        codec->rc = proto_version_encode(value, codec->out);
        if (codec->rc != HF_OK) {
            hf_error_set(codec->error, (enum hf_err)codec->rc, 0,
                         "Field 'version' can't be encoded");
        }
        return;
    }
    const uint8_t *start = codec->reader.next;
    size_t objects = 64;
    codec->reader.field = "version";
    reader_skip(&codec->reader, HF_FRAME_DEPTH_MAX, &objects);
    took(codec);
    if (codec->rc == HF_OK) {
        codec->rc =
            proto_version_decode(start, (size_t)(codec->reader.next - start), value, codec->error);
    }
}

void field_array(struct event_codec *codec, const char *name, void **elements, size_t *count,
                 size_t size, size_t max)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (codec->encoding) {
        if (*count > max) {
            fail(codec, HF_ERR_LIMIT, name, "has too many elements");
            return;
        }
        packed(codec, msgpack_pack_array(&codec->packer, *count));
        return;
    }
    *count = reader_array(&codec->reader, name, 0, max);
    took(codec);
    *elements = NULL;
    if (codec->rc == HF_OK && *count > 0) {
        *elements = memory_take_array(&codec->memory, *count, size);
        if (!*elements) {
            fail(codec, HF_ERR_NO_MEMORY, name, "does not fit into memory");
        }
    }
    if (codec->rc != HF_OK) {
        *count = 0;
    }
}

void field_tuple(struct event_codec *codec, const char *name, size_t size)
{
    if (codec->rc != HF_OK) {
        return;
    }
    if (codec->encoding) {
        packed(codec, msgpack_pack_array(&codec->packer, size));
    } else {
        reader_array(&codec->reader, name, size, size);
        took(codec);
    }
}

void field_texts(struct event_codec *codec, const char *name, const struct hf_bytes **texts,
                 size_t *count, size_t max)
{
    void *elements = (void *)*texts;
    field_array(codec, name, &elements, count, sizeof **texts, max);
    *texts = elements;
    for (size_t i = 0; i < *count && codec->rc == HF_OK; i++) {
        field_text(codec, name, &((struct hf_bytes *)elements)[i], HF_EVENT_TEXT_MAX_BYTES);
    }
}

void field_labels(struct event_codec *codec, const struct hf_label **labels, size_t *count)
{
    void *elements = (void *)*labels;
    field_array(codec, "labels", &elements, count, sizeof **labels, HF_EVENT_LABELS_MAX);
    *labels = elements;
    for (size_t i = 0; i < *count && codec->rc == HF_OK; i++) {
        struct hf_label *label = &((struct hf_label *)elements)[i];
        field_tuple(codec, "label", 2);
        field_text(codec, "label key", &label->key, HF_EVENT_TEXT_MAX_BYTES);
        field_text(codec, "label value", &label->value, HF_EVENT_TEXT_MAX_BYTES);
    }
}
