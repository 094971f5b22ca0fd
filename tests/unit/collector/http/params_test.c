#include "tests/unit/collector/identity/identity_fixture.h"

#include "collector/http/http.h"

static void a_parameter_is_split_at_its_first_equals_sign(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *value;
    } rows[] = {{"a=1", "a", "1"}, {"a=b=c", "a", "b=c"}, {"flag", "flag", ""}, {"a=", "a", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hf_http_param param = {0};
        assert_int_equal(http_param_parse(rows[i].text, strlen(rows[i].text), &param), HF_OK);
        assert_string_equal(param.name, rows[i].name);
        assert_string_equal(as_text(&param.value), rows[i].value);
        http_params_free(&param, 1);
    }
}

static void no_name_and_no_zero_byte_is_taken(void **state)
{
    (void)state;
    struct hf_http_param param = {0};
    assert_int_equal(http_param_parse("", 0, &param), HF_ERR_INVALID);
    assert_int_equal(http_param_parse("=1", 2, &param), HF_ERR_INVALID);
    assert_int_equal(http_param_parse("a=\0b", 4, &param), HF_ERR_INVALID);
    assert_int_equal(http_param_parse("a\0=b", 4, &param), HF_ERR_INVALID);
}

static void the_first_of_equal_names_counts(void **state)
{
    (void)state;
    struct hf_http_param params[2] = {0};
    assert_int_equal(http_param_parse("a=1", 3, &params[0]), HF_OK);
    assert_int_equal(http_param_parse("a=2", 3, &params[1]), HF_OK);
    struct hf_http_request request = {.params = params, .param_count = 2};
    assert_string_equal(http_param(&request, "a"), "1");
    assert_null(http_param(&request, "b"));
    http_params_free(params, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_is_split_at_its_first_equals_sign),
        cmocka_unit_test(no_name_and_no_zero_byte_is_taken),
        cmocka_unit_test(the_first_of_equal_names_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
