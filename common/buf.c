#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"

#define FIRST_CAPACITY 64

int hf_buf_reserve(struct hf_buf *buf, size_t extra)
{
    size_t needed;
    if (__builtin_add_overflow(buf->size, extra, &needed)) {
        return HF_ERR_LIMIT;
    }
    if (needed <= buf->capacity) {
        return HF_OK;
    }
    size_t capacity = buf->capacity ? buf->capacity : FIRST_CAPACITY;
    while (capacity < needed) {
        if (__builtin_mul_overflow(capacity, (size_t)2, &capacity)) {
            capacity = needed;
        }
    }
    uint8_t *data = realloc(buf->data, capacity);
    if (!data) {
        return HF_ERR_NO_MEMORY;
    }
    buf->data = data;
    buf->capacity = capacity;
    return HF_OK;
}

int hf_buf_append(struct hf_buf *buf, const void *data, size_t size)
{
    int rc = hf_buf_reserve(buf, size);
    if (rc == HF_OK && size > 0) {
        memcpy(buf->data + buf->size, data, size);
        buf->size += size;
    }
    return rc;
}

int hf_buf_append_str(struct hf_buf *buf, const char *text)
{
    return hf_buf_append(buf, text, strlen(text));
}

int hf_buf_append_byte(struct hf_buf *buf, uint8_t byte)
{
    return hf_buf_append(buf, &byte, 1);
}

int hf_buf_append_format(struct hf_buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    int rc = length < 0 ? HF_ERR_INVALID : hf_buf_reserve(buf, (size_t)length + 1);
    if (rc == HF_OK) {
        vsnprintf((char *)buf->data + buf->size, (size_t)length + 1, format, again);
        buf->size += (size_t)length;
    }
    va_end(again);
    return rc;
}

int hf_buf_extend(struct hf_buf *buf, size_t size, uint8_t **out)
{
    int rc = hf_buf_reserve(buf, size);
    if (rc == HF_OK) {
        if (out) {
            *out = buf->data ? buf->data + buf->size : NULL; /* NULL: nothing asked of nothing */
        }
        buf->size += size;
    }
    return rc;
}

void hf_buf_consume(struct hf_buf *buf, size_t size)
{
    if (size >= buf->size) {
        buf->size = 0;
        return;
    }
    if (size > 0) {
        memmove(buf->data, buf->data + size, buf->size - size);
        buf->size -= size;
    }
}

void hf_buf_clear(struct hf_buf *buf)
{
    buf->size = 0;
}

void hf_buf_free(struct hf_buf *buf)
{
    free(buf->data);
    *buf = (struct hf_buf){0};
}

void hf_buf_wipe_free(struct hf_buf *buf)
{
    if (buf->data) {
        hf_wipe(buf->data, buf->capacity);
    }
    hf_buf_free(buf);
}

int hf_buf_terminate(struct hf_buf *buf)
{
    int rc = hf_buf_reserve(buf, 1);
    if (rc == HF_OK) {
        buf->data[buf->size] = '\0';
    }
    return rc;
}
