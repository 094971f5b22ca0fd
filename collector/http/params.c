#include <stdlib.h>
#include <string.h>

#include "collector/http/http.h"

int http_param_parse(const char *text, size_t length, struct hf_http_param *param)
{
    const char *equals = memchr(text, '=', length);
    size_t name_length = equals ? (size_t)(equals - text) : length;
    size_t value_length = equals ? length - name_length - 1 : 0;
    if (name_length == 0 || memchr(text, '\0', length)) {
        return HF_ERR_INVALID;
    }
    *param = (struct hf_http_param){.name = strndup(text, name_length)};
    if (!param->name ||
        (value_length > 0 && hf_buf_append(&param->value, equals + 1, value_length) != HF_OK) ||
        hf_buf_terminate(&param->value) != HF_OK) {
        http_params_free(param, 1);
        return HF_ERR_NO_MEMORY;
    }
    return HF_OK;
}

void http_params_free(struct hf_http_param *params, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(params[i].name);
        hf_buf_wipe_free(&params[i].value);
    }
}

const char *http_param(const struct hf_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->param_count; i++) {
        if (strcmp(request->params[i].name, name) == 0) {
            return (const char *)request->params[i].value.data;
        }
    }
    return NULL;
}
