/* hf_buf: the one growing byte array. Plain data: read .data and .size freely,
 * change them only through these functions. Zero-initialised is empty and valid. */
#ifndef HF_COMMON_BUF_H
#define HF_COMMON_BUF_H

#include <stddef.h>
#include <stdint.h>

struct hf_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* A view of bytes owned by somebody else. */
struct hf_bytes {
    const uint8_t *data;
    size_t size;
};

/* All return 0, HF_ERR_NO_MEMORY, or HF_ERR_LIMIT when the size would overflow;
 * the buffer is unchanged on failure. */
int hf_buf_reserve(struct hf_buf *buf, size_t extra); /* room for extra more bytes */
int hf_buf_append(struct hf_buf *buf, const void *data, size_t size);
int hf_buf_append_str(struct hf_buf *buf, const char *text);
int hf_buf_append_byte(struct hf_buf *buf, uint8_t byte);
int hf_buf_append_format(struct hf_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Make size bytes longer; *out (may be NULL) points at the new, uninitialised part. */
int hf_buf_extend(struct hf_buf *buf, size_t size, uint8_t **out);
/* Remove size (<= buf->size) bytes from the front. */
void hf_buf_consume(struct hf_buf *buf, size_t size);
void hf_buf_clear(struct hf_buf *buf);     /* size 0, memory kept */
void hf_buf_free(struct hf_buf *buf);      /* memory released, buf empty again */
void hf_buf_wipe_free(struct hf_buf *buf); /* the same, contents wiped first */
/* NUL after the content (not counted in size), so that .data is a C string. */
int hf_buf_terminate(struct hf_buf *buf);

#endif
