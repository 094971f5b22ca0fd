#include "common/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/error.h"

void hf_hex_encode(const uint8_t *data, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * size] = '\0';
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

int hf_hex_decode(const char *text, uint8_t *out, size_t size)
{
    if (strlen(text) != 2 * size) {
        return HF_ERR_INVALID;
    }
    for (size_t i = 0; i < size; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return HF_ERR_INVALID;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return HF_OK;
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int hf_base64url_encode(struct hf_buf *buf, const uint8_t *data, size_t size)
{
    size_t length;
    int rc = __builtin_mul_overflow(size / 3 + 1, (size_t)4, &length) ? HF_ERR_LIMIT
                                                                      : hf_buf_reserve(buf, length);
    if (rc != HF_OK) {
        return rc;
    }
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)data[i] << 16;
        group |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)data[i + 2] : 0;
        const char text[4] = {base64url[group >> 18], base64url[group >> 12 & 63],
                              base64url[group >> 6 & 63], base64url[group & 63]};
        hf_buf_append(buf, text, left >= 3 ? 4 : left + 1); /* the room is there */
    }
    return HF_OK;
}

int hf_base64url_decode(struct hf_buf *buf, const char *text, size_t length)
{
    size_t start = buf->size;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < length; i++) {
        const char *found = text[i] ? strchr(base64url, text[i]) : NULL;
        int rc = found ? HF_OK : HF_ERR_INVALID;
        if (found) {
            bits = bits << 6 | (uint32_t)(found - base64url);
            count += 6;
        }
        if (rc == HF_OK && count >= 8) {
            count -= 8;
            rc = hf_buf_append_byte(buf, (uint8_t)(bits >> count));
        }
        if (rc != HF_OK) {
            buf->size = start;
            return rc;
        }
    }
    /* A single left-over character, or left-over bits that are set, has no meaning. */
    if (count == 6 || (bits & ((1u << count) - 1)) != 0) {
        buf->size = start;
        return HF_ERR_INVALID;
    }
    return HF_OK;
}

bool hf_equal_secret(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference = (uint8_t)(difference | (left[i] ^ right[i]));
    }
    return difference == 0;
}

void hf_wipe(void *data, size_t size)
{
    if (size > 0) {
        explicit_bzero(data, size);
    }
}

void hf_random(void *out, size_t size)
{
    uint8_t *p = out;
    while (size > 0) {
        ssize_t got = getrandom(p, size, 0);
        if (got < 0 && errno != EINTR) {
            abort(); /* keys from a broken generator are worse than no program */
        }
        if (got > 0) {
            p += got;
            size -= (size_t)got;
        }
    }
}
