#include "tests/unit/collector/identity/identity_fixture.h"

#include "collector/http/http.h"

static void every_error_has_its_status(void **state)
{
    (void)state;
    static const struct {
        enum hf_err code;
        int status;
    } rows[] = {{HF_ERR_NOT_FOUND, 404}, {HF_ERR_INVALID, 400},  {HF_ERR_LIMIT, 413},
                {HF_ERR_DENIED, 403},    {HF_ERR_EXISTS, 409},   {HF_ERR_CONFLICT, 409},
                {HF_ERR_AGAIN, 503},     {HF_ERR_NO_SPACE, 507}, {HF_ERR_IO, 500},
                {HF_ERR_NO_MEMORY, 500}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hf_error error = {0};
        struct hf_http_response response = {.status = 200};
        hf_error_set(&error, rows[i].code, 0, "It's \"so\"\n\x1b[31m");
        http_respond_failure(&response, &error);
        assert_int_equal(response.status, rows[i].status);
        json_t *json = json_loadb(as_text(&response.body), response.body.size, 0, NULL);
        const json_t *told = json_object_get(json, "error");
        assert_string_equal(json_string_value(json_object_get(told, "message")),
                            "It's \"so\"\n\x1b[31m");
        assert_string_equal(json_string_value(json_object_get(told, "code")),
                            hf_error_name(rows[i].code));
        json_decref(json);
        hf_buf_free(&response.body);
    }
}

static void a_message_that_is_no_utf8_is_told_all_the_same(void **state)
{
    (void)state;
    struct hf_http_response response = {.status = 200};
    http_respond_error(&response, 400, "invalid", "'\xf0' is cut \xe2\x82", "\xff");
    assert_int_equal(response.status, 400);
    json_t *json = json_loadb(as_text(&response.body), response.body.size, 0, NULL);
    const json_t *told = json_object_get(json, "error");
    assert_string_equal(json_string_value(json_object_get(told, "message")),
                        "'\xef\xbf\xbd' is cut \xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(told, "hint")), "\xef\xbf\xbd");
    json_decref(json);
    hf_buf_free(&response.body);
}

static void a_hint_is_there_only_when_given(void **state)
{
    (void)state;
    struct hf_http_response response = {.status = 200};
    http_respond_error(&response, 404, "not-found", "No", NULL);
    assert_int_equal(hf_buf_terminate(&response.body), HF_OK);
    assert_string_equal(as_text(&response.body),
                        "{\"error\":{\"code\":\"not-found\",\"message\":\"No\"}}\n");
    http_respond_error(&response, 409, "exists", "No", "Do");
    assert_int_equal(hf_buf_terminate(&response.body), HF_OK);
    assert_string_equal(as_text(&response.body),
                        "{\"error\":{\"code\":\"exists\",\"message\":\"No\",\"hint\":\"Do\"}}\n");
    assert_int_equal(response.status, 409);
    hf_buf_free(&response.body);
}

static void no_json_is_an_error_of_the_server(void **state)
{
    (void)state;
    struct hf_http_response response = {.status = 200};
    http_respond_json(&response, 200, NULL);
    assert_int_equal(response.status, 500);
    assert_int_equal(response.body.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_status),
        cmocka_unit_test(a_message_that_is_no_utf8_is_told_all_the_same),
        cmocka_unit_test(a_hint_is_there_only_when_given),
        cmocka_unit_test(no_json_is_an_error_of_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
