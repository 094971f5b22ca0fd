/* Fixed-width integers in byte order, hexadecimal and base64url text, comparison. */
#ifndef HF_COMMON_BYTES_H
#define HF_COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

static inline void hf_put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}
static inline uint32_t hf_get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline void hf_put_le64(uint8_t *p, uint64_t v)
{
    hf_put_le32(p, (uint32_t)v);
    hf_put_le32(p + 4, (uint32_t)(v >> 32));
}
static inline uint64_t hf_get_le64(const uint8_t *p)
{
    return (uint64_t)hf_get_le32(p) | (uint64_t)hf_get_le32(p + 4) << 32;
}

/* Lower-case hexadecimal with a NUL: out has 2 * size + 1 bytes. */
void hf_hex_encode(const uint8_t *data, size_t size, char *out);
/* Exactly 2 * size digits, either case; HF_ERR_INVALID otherwise. */
int hf_hex_decode(const char *text, uint8_t *out, size_t size);

/* base64url without padding (RFC 4648, section 5). encode appends text to buf
 * (no NUL counted); decode appends bytes, HF_ERR_INVALID for any other character. */
int hf_base64url_encode(struct hf_buf *buf, const uint8_t *data, size_t size);
int hf_base64url_decode(struct hf_buf *buf, const char *text, size_t length);

/* Time independent of the contents; for secrets. */
bool hf_equal_secret(const void *a, const void *b, size_t size);
/* Overwrite in a way that the compiler can't remove. */
void hf_wipe(void *data, size_t size);
/* Fill from the kernel's generator; aborts the process if there is none. */
void hf_random(void *out, size_t size);

#endif
