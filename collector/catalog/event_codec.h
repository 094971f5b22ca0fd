/* Fields of events, in both directions: one function describes a field for encoding and for
 * decoding, so the two can't drift apart and whatever was journalled can be read back. The first
 * failure sticks. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_EVENT_CODEC_H
#define HF_COLLECTOR_CATALOG_EVENT_CODEC_H

#include <msgpack.h>

#include "collector/catalog/event.h"
#include "collector/catalog/memory.h"
#include "proto/reader.h"

struct event_codec {
    bool encoding;
    int rc;
    struct hf_error *error;
    struct hf_buf *out; /* encoding */
    msgpack_packer packer;
    struct proto_reader reader; /* decoding */
    struct hf_catalog_memory memory;
};

/* In encoding the value is only read (it may lie in constant memory), in decoding it is set. */
void field_uint(struct event_codec *codec, const char *name, uint64_t *value, uint64_t max);
void field_uint32(struct event_codec *codec, const char *name, uint32_t *value);
void field_int(struct event_codec *codec, const char *name, int64_t *value);
void field_bool(struct event_codec *codec, const char *name, bool *value);
/* Integer of an enum in min..max; value points at an unsigned or int-sized enum. */
#define field_enum(codec, name, value, min, max)                                                   \
    do {                                                                                           \
        uint64_t number = field_number(codec, name, (uint64_t) * (value), min, max);               \
        if (!(codec)->encoding) {                                                                  \
            *(value) = (__typeof__(*(value)))number;                                               \
        }                                                                                          \
    } while (0)
uint64_t field_number(struct event_codec *codec, const char *name, uint64_t value, uint64_t min,
                      uint64_t max);
void field_bytes(struct event_codec *codec, const char *name, struct hf_bytes *value, size_t max);
void field_text(struct event_codec *codec, const char *name, struct hf_bytes *value, size_t max);
void field_hash(struct event_codec *codec, const char *name, uint8_t value[HF_HASH_BYTES]);
void field_version(struct event_codec *codec, struct hf_version *value);
/* An array's header. In decoding, *count elements of size bytes are allocated into *elements. */
void field_array(struct event_codec *codec, const char *name, void **elements, size_t *count,
                 size_t size, size_t max);
/* The header of an array of exactly that many fields, which follow. */
void field_tuple(struct event_codec *codec, const char *name, size_t size);
void field_texts(struct event_codec *codec, const char *name, const struct hf_bytes **texts,
                 size_t *count, size_t max);
void field_labels(struct event_codec *codec, const struct hf_label **labels, size_t *count);

/* One row a type of event (event_fields.c). */
struct event_kind {
    enum hf_event_type type;
    const char *name;
    unsigned fields; /* that describe() passes over at top level */
    void (*describe)(struct event_codec *codec, struct hf_event *event);
};
const struct event_kind *event_kind_find(enum hf_event_type type); /* NULL: unknown */

/* The link of the audit chain that this AUDIT event makes after previous. */
int event_audit_hash(const struct hf_event *event, const uint8_t previous[HF_HASH_BYTES],
                     uint8_t out[HF_HASH_BYTES]);

#endif
