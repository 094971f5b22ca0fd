#include "collector/catalog/event.h"

#include "collector/catalog/event_codec.h"

#define HEAD_FIELDS 4 /* format, type, time, actor */

/* msgpack's writer: appends to the buffer. */
static int append(void *context, const char *data, size_t size)
{
    return hf_buf_append(context, data, size) == HF_OK ? 0 : -1;
}

int event_encode(const struct hf_event *event, struct hf_buf *out, struct hf_error *error)
{
    const struct event_kind *kind = event_kind_find(event->type);
    if (!kind) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "There is no event type %d",
                            (int)event->type);
    }
    size_t start = out->size;
    struct hf_event copy = *event; /* the two-way fields want it writable; they do not write it */
    uint64_t format = HF_EVENT_FORMAT;
    struct event_codec codec = {.encoding = true, .error = error, .out = out};
    msgpack_packer_init(&codec.packer, out, append);
    if (msgpack_pack_array(&codec.packer, HEAD_FIELDS + kind->fields)) {
        codec.rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for an event");
    }
    field_uint(&codec, "format", &format, UINT32_MAX);
    field_enum(&codec, "type", &copy.type, 1, UINT32_MAX);
    field_int(&codec, "time", &copy.time_ns);
    field_text(&codec, "actor", &copy.actor, HF_EVENT_TEXT_MAX_BYTES);
    kind->describe(&codec, &copy);
    if (codec.rc == HF_OK && out->size - start > HF_EVENT_MAX_BYTES) {
        codec.rc = hf_error_set(error, HF_ERR_LIMIT, 0, "It has %zu bytes; allowed are %u",
                                out->size - start, HF_EVENT_MAX_BYTES);
    }
    if (codec.rc != HF_OK) {
        out->size = start;
        hf_error_prefix(error, "Event %s", kind->name);
    }
    return codec.rc;
}

static int decode_head(struct event_codec *codec, struct hf_event *event, size_t *fields)
{
    uint64_t format = 0;
    *fields = reader_array(&codec->reader, "event", HEAD_FIELDS, 64);
    codec->rc = codec->reader.rc;
    field_uint(codec, "format", &format, UINT32_MAX);
    if (codec->rc == HF_OK && format != HF_EVENT_FORMAT) {
        codec->rc = hf_error_set(codec->error, HF_ERR_UNSUPPORTED, 0,
                                 "A journal entry has format %llu; this program knows %u. A newer "
                                 "Holdfast wrote it: use that version or a later one",
                                 (unsigned long long)format, HF_EVENT_FORMAT);
    }
    field_enum(codec, "type", &event->type, 0, UINT32_MAX);
    field_int(codec, "time", &event->time_ns);
    field_text(codec, "actor", &event->actor, HF_EVENT_TEXT_MAX_BYTES);
    return codec->rc;
}

static void decode_body(struct event_codec *codec, const struct event_kind *kind,
                        struct hf_event *event, size_t fields)
{
    if (fields < kind->fields) {
        codec->rc = hf_error_set(codec->error, HF_ERR_CORRUPT, 0, "It has %zu fields; it needs %u",
                                 fields, kind->fields);
        return;
    }
    kind->describe(codec, event);
    size_t objects = HF_FRAME_OBJECTS_MAX;
    for (size_t i = kind->fields; i < fields && codec->rc == HF_OK; i++) {
        codec->reader.field = "trailing";
        reader_skip(&codec->reader, HF_FRAME_DEPTH_MAX, &objects);
        codec->rc = codec->reader.rc;
    }
    if (codec->rc == HF_OK && codec->reader.next != codec->reader.end) {
        codec->rc = hf_error_set(codec->error, HF_ERR_CORRUPT, 0,
                                 "It is followed by %zu bytes that are not part of it",
                                 (size_t)(codec->reader.end - codec->reader.next));
    }
}

/* The reader speaks of a peer; here whatever does not decode is a damaged journal. */
static int as_damage(int rc, struct hf_error *error)
{
    if (rc == HF_ERR_PROTOCOL || rc == HF_ERR_LIMIT || rc == HF_ERR_INVALID) {
        if (error) {
            error->code = HF_ERR_CORRUPT;
        }
        return HF_ERR_CORRUPT;
    }
    return rc;
}

int event_decode(const uint8_t *data, size_t size, struct hf_event *event, struct hf_error *error)
{
    struct event_codec codec = {.error = error};
    const struct event_kind *kind = NULL;
    size_t fields;
    *event = (struct hf_event){0};
    if (size > HF_EVENT_MAX_BYTES) {
        return hf_error_set(error, HF_ERR_CORRUPT, 0,
                            "A journal entry has %zu bytes; allowed are %u", size,
                            HF_EVENT_MAX_BYTES);
    }
    reader_init(&codec.reader, data, size, error);
    if (decode_head(&codec, event, &fields) == HF_OK) {
        kind = event_kind_find(event->type);
        if (kind) {
            decode_body(&codec, kind, event, fields - HEAD_FIELDS);
        } else {
            codec.rc = hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                                    "A journal entry has type %d, which this program does not "
                                    "know. A newer Holdfast wrote it: use that version or a later "
                                    "one",
                                    (int)event->type);
        }
    }
    if (codec.rc != HF_OK) {
        catalog_memory_free(&codec.memory);
        if (codec.rc != HF_ERR_UNSUPPORTED) {
            hf_error_prefix(error, "Journal entry %s", kind ? kind->name : "of unknown type");
        }
        event->owned = NULL;
        return as_damage(codec.rc, error);
    }
    event->owned = codec.memory.blocks;
    return HF_OK;
}

void event_free(struct hf_event *event)
{
    struct hf_catalog_memory memory = {.blocks = event->owned};
    catalog_memory_free(&memory);
    event->owned = NULL;
}
