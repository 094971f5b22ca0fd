#include <stdlib.h>
#include <string.h>

#include "collector/http/http.h"

/* Each byte that json_stringn would refuse becomes U+FFFD. Quadratic only in the number of bad
 * bytes. */
json_t *http_json_text(const char *text, size_t size)
{
    json_t *whole = json_stringn(text, size);
    if (whole) {
        return whole;
    }
    struct hf_buf clean = {0};
    size_t i = 0;
    while (i < size) {
        size_t length = 1;
        json_t *probe = NULL;
        for (; length <= 4 && i + length <= size; length++) {
            probe = json_stringn(text + i, length);
            if (probe) {
                break;
            }
        }
        int rc = probe ? hf_buf_append(&clean, text + i, length)
                       : hf_buf_append_str(&clean, "\xef\xbf\xbd");
        i += probe ? length : 1;
        json_decref(probe);
        if (rc != HF_OK) {
            break;
        }
    }
    whole = json_stringn(clean.size ? (const char *)clean.data : "", clean.size);
    hf_buf_free(&clean);
    return whole;
}

void http_respond_json(struct hf_http_response *response, int status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(json);
    hf_buf_clear(&response->body);
    response->content_type = "application/json";
    response->status = status;
    if (!text || hf_buf_append_str(&response->body, text) != HF_OK ||
        hf_buf_append_byte(&response->body, '\n') != HF_OK) {
        hf_buf_clear(&response->body);
        response->status = 500;
    }
    free(text);
}

void http_respond_error(struct hf_http_response *response, int status, const char *code,
                        const char *message, const char *hint)
{
    /* Messages quote what was asked, and may have been cut within a character. */
    json_t *error =
        json_pack("{s:s, s:o}", "code", code, "message", http_json_text(message, strlen(message)));
    if (error && hint) {
        json_object_set_new(error, "hint", http_json_text(hint, strlen(hint)));
    }
    http_respond_json(response, status, error ? json_pack("{s:o}", "error", error) : NULL);
}

void http_respond_failure(struct hf_http_response *response, const struct hf_error *error)
{
    static const struct {
        enum hf_err code;
        int status;
    } statuses[] = {
        {HF_ERR_NOT_FOUND, 404}, {HF_ERR_INVALID, 400},  {HF_ERR_LIMIT, 413},
        {HF_ERR_DENIED, 403},    {HF_ERR_EXISTS, 409},   {HF_ERR_CONFLICT, 409},
        {HF_ERR_AGAIN, 503},     {HF_ERR_NO_SPACE, 507}, {HF_ERR_UNSUPPORTED, 400},
    };
    int status = 500;
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].code == error->code) {
            status = statuses[i].status;
        }
    }
    http_respond_error(response, status, hf_error_name(error->code), error->message, NULL);
}
