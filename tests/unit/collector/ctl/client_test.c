/* URLs: whatever a name holds, it stays one segment or one value. */
#include "tests/unit/collector/ctl/ctl_fixture.h"

static void names_can_not_change_the_shape_of_a_url(void **state)
{
    (void)state;
    struct ctl_url url;
    url_start(&url, "/v1/hosts");
    url_segment(&url, "../tokens?x=1#y");
    url_segment(&url, "list");
    url_param(&url, "at", "10:31 & more=\xff");
    url_param(&url, "nothing", NULL);
    url_param(&url, "empty", "");
    url_param_number(&url, "limit", 500);
    assert_string_equal(url.text,
                        "/v1/hosts/..%2Ftokens%3Fx%3D1%23y/list?at=10%3A31%20%26%20more%3D"
                        "%FF&empty=&limit=500");
    url_free(&url);
}

static void a_path_with_control_characters_travels_in_hexadecimal(void **state)
{
    (void)state;
    struct ctl_url url;
    url_start(&url, "/x");
    url_param_path(&url, "etc/\xfc r");
    url_param_path(&url, "a\r\n\x7f\xff");
    assert_string_equal(url.text, "/x?path=etc%2F%FC%20r&path_hex=610d0a7fff");
    url_free(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_can_not_change_the_shape_of_a_url),
        cmocka_unit_test(a_path_with_control_characters_travels_in_hexadecimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
