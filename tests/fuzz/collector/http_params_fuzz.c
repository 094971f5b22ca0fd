/* A request's parameters, as the API's handlers take them: nothing crashes, what is refused has an
 * answer that says so, and a path that is taken may be one. Each line is a parameter as the HTTP
 * library hands it over, decoded. Seeds: corpus/http_params. */
#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "common/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static size_t parse(const char *text, size_t size, struct hf_http_param *params)
{
    size_t count = 0;
    for (const char *end = text + size; text < end && count < HF_HTTP_QUERY_MAX;) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        count += http_param_parse(text, length, &params[count]) == HF_OK;
        text += length + 1;
    }
    return count;
}

/* Each question on its own: a refusal is the whole answer to a request. */
static void begin(struct api_call *call, struct hf_http_response *response)
{
    hf_buf_free(&response->body);
    hf_buf_free(&call->hex_paths);
    *response = (struct hf_http_response){.status = 200};
    call->error = (struct hf_error){0};
}

static void end(bool taken, const struct hf_http_response *response)
{
    expect(taken == (response->status == 200));
    expect(taken || (response->status < 500 && response->body.size > 0));
}

static void ask_paths(struct api_call *call, struct hf_http_response *response)
{
    struct hf_bytes path;
    bool found = true;
    begin(call, response);
    for (size_t n = 0; found; n++) {
        bool taken = call_path(call, n, &path, &found);
        end(taken, response);
        expect(taken || !found);
        expect(!found || hf_path_check_relative((const char *)path.data, path.size, NULL) == HF_OK);
    }
}

static void ask(struct api_call *call, struct hf_http_response *response)
{
    struct hf_buf memory = {0};
    struct hf_bytes after;
    uint64_t number = 0;
    int64_t moment = 0;
    size_t limit = 0;
    ask_paths(call, response);
    begin(call, response);
    end(call_after_path(call, &memory, &after), response);
    hf_buf_free(&memory);
    begin(call, response);
    end(call_after_number(call, &number), response);
    expect(number <= INT64_MAX);
    begin(call, response);
    bool taken = call_limit(call, &limit);
    end(taken, response);
    expect(!taken || (limit > 0 && limit <= HF_CATALOG_PAGE_MAX));
    begin(call, response);
    end(call_moment(call, "at", 0, &moment), response);
    begin(call, response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_http_param params[HF_HTTP_QUERY_MAX] = {0};
    size_t count = parse((const char *)data, size, params);
    struct hf_http_request request = {.method = "GET",
                                      .path = "/",
                                      .authorization = "",
                                      .peer = "",
                                      .params = params,
                                      .param_count = count};
    struct hf_http_response response = {.status = 200};
    struct api_call call = {.request = &request, .response = &response};
    ask(&call, &response);
    http_params_free(params, count);
    return 0;
}
