#include "common/join_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

#define PREFIX "hf1."

int join_token_format(const struct hf_join_token *token, struct hf_buf *out)
{
    struct hf_buf where = {0};
    int rc = hf_buf_append_format(&where, "%s\n%s\n", token->enrol_address, token->agents_address);
    rc = rc == HF_OK ? hf_buf_append(&where, token->ca_fingerprint, HF_HASH_BYTES) : rc;
    rc = rc == HF_OK ? hf_buf_append_str(out, PREFIX) : rc;
    rc = rc == HF_OK ? hf_base64url_encode(out, where.data, where.size) : rc;
    rc = rc == HF_OK ? hf_buf_append_format(out, ".%s.", token->id) : rc;
    rc = rc == HF_OK ? hf_base64url_encode(out, token->secret, HF_JOIN_SECRET_BYTES) : rc;
    rc = rc == HF_OK ? hf_buf_terminate(out) : rc;
    hf_buf_free(&where);
    return rc;
}

static bool parse_where(const char *text, size_t length, struct hf_join_token *out)
{
    struct hf_buf where = {0};
    bool good = hf_base64url_decode(&where, text, length) == HF_OK && where.size > HF_HASH_BYTES;
    size_t text_size = good ? where.size - HF_HASH_BYTES : 0;
    const char *first = good ? memchr(where.data, '\n', text_size) : NULL;
    const char *start = (const char *)where.data;
    const char *second =
        first ? memchr(first + 1, '\n', text_size - (size_t)(first + 1 - start)) : NULL;
    good = second && (size_t)(second + 1 - start) == text_size &&
           (size_t)(first - start) < sizeof out->enrol_address &&
           (size_t)(second - first - 1) < sizeof out->agents_address &&
           !memchr(where.data, '\0', text_size);
    if (good) {
        memcpy(out->enrol_address, start, (size_t)(first - start));
        memcpy(out->agents_address, first + 1, (size_t)(second - first - 1));
        memcpy(out->ca_fingerprint, where.data + text_size, HF_HASH_BYTES);
    }
    hf_buf_free(&where);
    return good;
}

static bool parse_parts(const char *text, size_t length, struct hf_join_token *out)
{
    struct hf_buf secret = {0};
    const char *end = text + length;
    if (length < sizeof PREFIX || memcmp(text, PREFIX, sizeof PREFIX - 1) != 0) {
        return false;
    }
    const char *where = text + sizeof PREFIX - 1;
    const char *id = memchr(where, '.', (size_t)(end - where));
    const char *secret_text = id ? memchr(id + 1, '.', (size_t)(end - id - 1)) : NULL;
    if (!secret_text || secret_text == id + 1 || (size_t)(secret_text - id - 1) >= sizeof out->id) {
        return false;
    }
    memcpy(out->id, id + 1, (size_t)(secret_text - id - 1));
    bool good =
        parse_where(where, (size_t)(id - where), out) &&
        hf_base64url_decode(&secret, secret_text + 1, (size_t)(end - secret_text - 1)) == HF_OK &&
        secret.size == HF_JOIN_SECRET_BYTES;
    if (good) {
        memcpy(out->secret, secret.data, HF_JOIN_SECRET_BYTES);
    }
    hf_buf_wipe_free(&secret);
    return good;
}

int join_token_parse(const char *text, struct hf_join_token *out, struct hf_error *error)
{
    static const char white[] = " \t\r\n";
    text += strspn(text, white);
    size_t length = strlen(text);
    while (length > 0 && strchr(white, text[length - 1])) {
        length--;
    }
    *out = (struct hf_join_token){0};
    if (!parse_parts(text, length, out)) {
        hf_wipe(out, sizeof *out);
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "That is not an enrolment token: it should be the one line that "
                            "'holdfast token create' printed, starting with hf1.");
    }
    return HF_OK;
}

int join_address_split(const char *address, char host[256], uint16_t *port, struct hf_error *error)
{
    const char *colon = strrchr(address, ':');
    const char *start = address;
    size_t length = colon ? (size_t)(colon - address) : 0;
    if (length >= 2 && start[0] == '[' && start[length - 1] == ']') {
        start++;
        length -= 2;
    } else if (memchr(start, ':', length)) {
        length = 0; /* an IPv6 address without brackets: where does the port begin? */
    }
    char *end = NULL;
    unsigned long number = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || length == 0 || length >= 256 || colon[1] < '0' || colon[1] > '9' || *end ||
        number > 65535) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "'%s' is not an address; write host:port, for example "
                            "backup.example.com:7443 or [2001:db8::1]:7443",
                            address);
    }
    memcpy(host, start, length);
    host[length] = '\0';
    *port = (uint16_t)number;
    return HF_OK;
}
