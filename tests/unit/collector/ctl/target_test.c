#include "tests/unit/collector/ctl/ctl_fixture.h"

static void a_target_is_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ctl_target_need need;
        const char *host, *source, *path;
    } rows[] = {
        {"robot-07", CTL_TARGET_HOST, "robot-07", "", ""},
        {"robot-07:config", CTL_TARGET_SOURCE, "robot-07", "config", ""},
        {"robot-07:config/", CTL_TARGET_SOURCE, "robot-07", "config", ""},
        {"robot-07:config/etc/a b", CTL_TARGET_PATH, "robot-07", "config", "etc/a b"},
        {"robot-07:config//etc/a:b", CTL_TARGET_PATH, "robot-07", "config", "etc/a:b"},
        {"h:s/\xff\n", CTL_TARGET_PATH, "h", "s", "\xff\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_target target;
        assert_int_equal(target_parse(rows[i].text, rows[i].need, &target), CTL_OK);
        assert_string_equal(target.host, rows[i].host);
        assert_string_equal(target.source, rows[i].source);
        assert_string_equal(target.path, rows[i].path);
    }
}

static void what_is_too_little_or_too_long_is_refused_with_an_example(void **state)
{
    (void)state;
    char long_host[400];
    char long_source[100];
    memset(long_host, 'h', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    memset(long_source, 's', sizeof long_source - 1);
    long_source[1] = ':';
    long_source[sizeof long_source - 1] = '\0';
    const struct {
        const char *text;
        enum ctl_target_need need;
    } rows[] = {{"", CTL_TARGET_HOST},         {":config", CTL_TARGET_SOURCE},
                {"/etc", CTL_TARGET_HOST},     {"robot", CTL_TARGET_SOURCE},
                {"robot:", CTL_TARGET_SOURCE}, {"robot:/etc", CTL_TARGET_SOURCE},
                {"robot:s", CTL_TARGET_PATH},  {"robot:s/", CTL_TARGET_PATH},
                {long_host, CTL_TARGET_HOST},  {long_source, CTL_TARGET_SOURCE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_target target;
        struct caught said = catch_stderr();
        int status = target_parse(rows[i].text, rows[i].need, &target);
        assert_holds(caught_text(&said), "for example robot-07");
        assert_int_equal(status, CTL_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_taken_apart),
        cmocka_unit_test(what_is_too_little_or_too_long_is_refused_with_an_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
