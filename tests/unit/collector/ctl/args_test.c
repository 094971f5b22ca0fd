#include "tests/unit/collector/ctl/ctl_fixture.h"

#define WORDS_MAX 16

/* Parse words (NULL-terminated) for a command; what it complained of goes to *said, unless NULL. */
static int parse(const char *command, const char *const *words, struct ctl_args **args,
                 struct caught *said)
{
    char *argv[WORDS_MAX];
    int argc = 0;
    for (; words[argc]; argc++) {
        argv[argc] = (char *)words[argc];
    }
    *args = NULL;
    *said = catch_stderr();
    int status = args_parse(command_named(command), argc, argv, args);
    caught_text(said);
    return status;
}

#define PARSE(command, args, said, ...)                                                            \
    parse(command, (const char *const[]){__VA_ARGS__, NULL}, args, said)

static void options_and_arguments_mix_in_any_order(void **state)
{
    (void)state;
    struct ctl_args *args = NULL;
    struct caught said;
    assert_int_equal(PARSE("restore", &args, &said, "--at", "yesterday", "h:s", "--dry-run",
                           "--to=/srv/x=y", "one", "--json", "two"),
                     CTL_OK);
    assert_string_equal(args_value(args, "at"), "yesterday");
    assert_string_equal(args_value(args, "to"), "/srv/x=y");
    assert_true(args_switch(args, "dry-run"));
    assert_true(args_switch(args, "json"));
    assert_false(args_switch(args, "wait"));
    assert_int_equal(args_count(args), 3);
    assert_string_equal(args_positional(args, 0), "h:s");
    assert_string_equal(args_positional(args, 2), "two");
    assert_null(args_positional(args, 3));
    args_free(args);
}

static void after_two_dashes_everything_is_an_argument(void **state)
{
    (void)state;
    struct ctl_args *args = NULL;
    struct caught said;
    assert_int_equal(PARSE("restore", &args, &said, "h:s", "--", "--at", "-x", "--"), CTL_OK);
    assert_int_equal(args_count(args), 4);
    assert_string_equal(args_positional(args, 1), "--at");
    assert_null(args_value(args, "at"));
    args_free(args);
}

static void repeated_options_are_kept_and_the_last_one_counts(void **state)
{
    (void)state;
    struct ctl_args *args = NULL;
    struct caught said;
    assert_int_equal(PARSE("token create", &args, &said, "--label", "a=1", "--label=b=2"), CTL_OK);
    assert_string_equal(args_value_n(args, "label", 0), "a=1");
    assert_string_equal(args_value_n(args, "label", 1), "b=2");
    assert_null(args_value_n(args, "label", 2));
    assert_string_equal(args_value(args, "label"), "b=2");
    args_free(args);
}

static void a_mistake_is_named_with_the_way_to_help(void **state)
{
    (void)state;
    static const struct {
        const char *command, *words[4], *says;
    } rows[] = {
        {"ls", {"h:s", "--frob"}, "no option --frob"},
        {"ls", {"h:s", "--a"}, "no option --a"},
        {"ls", {"h:s", "--at"}, "--at needs a value: --at TIME"},
        {"ls", {"h:s", "--recursive=yes"}, "--recursive takes no value"},
        {"ls", {"h:s", "-r"}, "two dashes"},
        {"ls", {NULL}, "needs HOST:SOURCE[/PATH]"},
        {"ls", {"h:s", "more"}, "'more'"},
        {"restore", {"h:s", "--on-conflict", "merge"}, "replace|skip|rename"},
        {"restore", {"h:s", "--on-conflict", "replac"}, "replace|skip|rename"},
        {"restore", {"h:s", "--on-conflict="}, "replace|skip|rename"},
        {"token create", {"--role", "viewer|operator"}, "viewer|operator|admin"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ctl_args *args = NULL;
        struct caught said;
        assert_int_equal(parse(rows[i].command, rows[i].words, &args, &said), CTL_USAGE);
        assert_null(args);
        assert_holds(said.text, rows[i].says);
        assert_holds(said.text, "--help");
    }
}

static void every_choice_of_the_table_is_taken(void **state)
{
    (void)state;
    static const char *const choices[] = {"replace", "skip", "rename"};
    for (size_t i = 0; i < 3; i++) {
        struct ctl_args *args = NULL;
        struct caught said;
        assert_int_equal(PARSE("restore", &args, &said, "h:s", "--on-conflict", choices[i]),
                         CTL_OK);
        args_free(args);
    }
}

static void help_needs_no_arguments(void **state)
{
    (void)state;
    struct ctl_args *args = NULL;
    struct caught said;
    assert_int_equal(PARSE("ls", &args, &said, "-h"), CTL_OK);
    assert_true(args_switch(args, "help"));
    args_free(args);
    assert_int_equal(PARSE("cat", &args, &said, "--help"), CTL_OK);
    args_free(args);
}

static void options_that_exclude_each_other_are_refused_together(void **state)
{
    (void)state;
    struct ctl_args *args = NULL;
    struct caught said;
    assert_int_equal(PARSE("restore", &args, &said, "h:s", "--wait", "--no-wait"), CTL_OK);
    said = catch_stderr();
    assert_int_equal(args_exclude(args, "wait", "no-wait"), CTL_USAGE);
    assert_holds(caught_text(&said), "--wait and --no-wait");
    assert_int_equal(args_exclude(args, "wait", "dry-run"), CTL_OK);
    args_free(args);
}

static void a_limit_is_a_number(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "-1", "many", "1x", "99999999999999999999999", " 1"};
    struct ctl_args *args = NULL;
    struct caught said;
    size_t limit = 0;
    assert_int_equal(PARSE("audit", &args, &said, "--limit", "17"), CTL_OK);
    assert_int_equal(args_limit(args, 50, &limit), CTL_OK);
    assert_int_equal(limit, 17);
    args_free(args);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(PARSE("audit", &args, &said, "--limit", wrong[i]), CTL_OK);
        said = catch_stderr();
        assert_int_equal(args_limit(args, 50, &limit), CTL_USAGE);
        assert_holds(caught_text(&said), "--limit");
        args_free(args);
    }
}

static void the_table_itself_is_in_order(void **state)
{
    (void)state;
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        assert_non_null(command->summary);
        assert_non_null(command->run);
        assert_true(command->args_min <= command->args_max);
        assert_true((command->args_max > 0) == (command->arguments != NULL));
        size_t length = strlen(command->summary);
        assert_int_not_equal(command->summary[length - 1], '.');
        for (const struct ctl_command *other = ctl_commands; other != command; other++) {
            assert_string_not_equal(other->name, command->name);
        }
        assert_null(command->options[CTL_OPTION_MAX - 1].name);
        for (const struct ctl_option *option = command->options; option->name; option++) {
            for (const struct ctl_option *global = ctl_global_options; global->name; global++) {
                assert_string_not_equal(option->name, global->name);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_mix_in_any_order),
        cmocka_unit_test(after_two_dashes_everything_is_an_argument),
        cmocka_unit_test(repeated_options_are_kept_and_the_last_one_counts),
        cmocka_unit_test(a_mistake_is_named_with_the_way_to_help),
        cmocka_unit_test(every_choice_of_the_table_is_taken),
        cmocka_unit_test(help_needs_no_arguments),
        cmocka_unit_test(options_that_exclude_each_other_are_refused_together),
        cmocka_unit_test(a_limit_is_a_number),
        cmocka_unit_test(the_table_itself_is_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
