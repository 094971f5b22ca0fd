/* Tables, times and texts for people, and that none of them commands a terminal. */
#include "tests/unit/collector/ctl/ctl_fixture.h"

#include <time.h>

static void hostile_text_is_escaped_and_honest_text_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"plain.txt", "plain.txt"},
        {"", ""},
        {"\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"},
        {"a\r\nb\tc\x7f", "a\\x0d\\x0ab\\x09c\\x7f"},
        {"\xc2\x9b", "\\x9b"},
        {"\xc2\xa0\xc3\xbc\xe4\xb8\xad\xf0\x9f\x98\x80",
         "\xc2\xa0\xc3\xbc\xe4\xb8\xad\xf0\x9f\x98\x80"},
        {"\xe2\x80\xae"
         "gpj.exe",
         "\\u202egpj.exe"},
        {"\xe2\x80\x8f\xe2\x81\xa6\xe2\x81\xa9", "\\u200f\\u2066\\u2069"},
        {"\xe2\x80\x94\xe2\x82\xac", "\xe2\x80\x94\xe2\x82\xac"},
        {"cut \xe2\x80", "cut \xe2\x80"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *shown = show_harmless(rows[i].text);
        assert_string_equal(shown, rows[i].shown);
        free(shown);
    }
}

static void complaints_and_lines_are_harmless_too(void **state)
{
    (void)state;
    struct caught said = catch_stderr();
    complain("There is no '%s'", "\x1b[31m\n");
    show_line(stderr, "%s!", "\x07");
    assert_string_equal(caught_text(&said), "holdfast: There is no '\\x1b[31m\\x0a'\n\\x07!\n");
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    static const char *const headings[] = {"NAME", ">BYTES", "NOTE", NULL};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct ctl_table *table = table_new(headings);
    table_cell(table, "\xc3\xbc"
                      "ber");
    table_cell_format(table, "%d", 7);
    table_cell(table, "");
    table_cell(table, "a longer name");
    table_cell_format(table, "%d", 123456);
    table_cell(table, "x\x1by");
    assert_int_equal(table_rows(table), 2);
    table_print_free(table, out);
    fclose(out);
    assert_string_equal(text, "NAME            BYTES  NOTE\n"
                              "\xc3\xbc"
                              "ber                7  \n"
                              "a longer name  123456  x\\x1by\n");
    free(text);
}

static void a_table_without_headings_begins_with_its_first_row(void **state)
{
    (void)state;
    static const char *const headings[] = {"", "", NULL};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct ctl_table *table = table_new(headings);
    table_cell(table, "M");
    table_cell(table, "/etc/a");
    table_print_free(table, out);
    fclose(out);
    assert_string_equal(text, "M  /etc/a\n");
    free(text);
}

static void a_table_without_rows_is_nothing(void **state)
{
    (void)state;
    static const char *const headings[] = {"NAME", NULL};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_print_free(table_new(headings), out);
    fclose(out);
    assert_string_equal(text, "");
    free(text);
}

static void times_are_shown_in_the_local_zone_with_its_name(void **state)
{
    (void)state;
    static const char *const headings[] = {"AT", NULL};
    static const struct {
        const char *zone, *shown;
    } rows[] = {{"UTC", "AT\n2026-11-22 10:31:00.500 UTC\n"},
                {"XYZ-5:30", "AT\n2026-11-22 16:01:00.500 XYZ\n"}};
    json_t *object = json_pack("{s:s}", "at", "2026-11-22T10:31:00.5Z");
    for (size_t i = 0; i < 2; i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        setenv("TZ", rows[i].zone, 1);
        tzset();
        struct ctl_table *table = table_new(headings);
        show_time_cell(table, object, "at");
        table_print_free(table, out);
        fclose(out);
        assert_string_equal(text, rows[i].shown);
        free(text);
    }
    json_decref(object);
}

static struct ctl_args *args_with_at(const char *value)
{
    char *argv[] = {(char *)"h:s", (char *)"--at", (char *)value};
    struct ctl_args *args = NULL;
    assert_int_equal(args_parse(command_named("ls"), 3, argv, &args), CTL_OK);
    return args;
}

static void moments_go_to_the_collector_as_rfc_3339_in_utc(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sent;
    } rows[] = {{"2026-11-22 10:31", "2026-11-22T05:01:00Z"},
                {"2026-11-22T10:31:00Z", "2026-11-22T10:31:00Z"},
                {"2026-11-22T10:31:00.25+01:00", "2026-11-22T09:31:00.25"},
                {"2026-11-22", "2026-11-21T18:30:00Z"},
                {"@1764000000", "2025-11-24T16:00:00Z"}};
    setenv("TZ", "XYZ-5:30", 1);
    tzset();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sent[64];
        struct ctl_args *args = args_with_at(rows[i].text);
        assert_int_equal(show_moment_option(args, "at", sent), CTL_OK);
        if (strncmp(sent, rows[i].sent, strlen(rows[i].sent)) != 0) {
            fail_msg("%s was sent as %s", rows[i].text, sent);
        }
        args_free(args);
    }
}

static void what_is_no_moment_is_refused_by_the_options_name(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "tomorrowish", "2026-13-01", "25:61", "10 parsecs ago"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char sent[64];
        struct ctl_args *args = args_with_at(wrong[i]);
        struct caught said = catch_stderr();
        int status = show_moment_option(args, "at", sent);
        assert_holds(caught_text(&said), "--at: ");
        assert_int_equal(status, CTL_USAGE);
        args_free(args);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_text_is_escaped_and_honest_text_is_not),
        cmocka_unit_test(complaints_and_lines_are_harmless_too),
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(a_table_without_headings_begins_with_its_first_row),
        cmocka_unit_test(a_table_without_rows_is_nothing),
        cmocka_unit_test(times_are_shown_in_the_local_zone_with_its_name),
        cmocka_unit_test(moments_go_to_the_collector_as_rfc_3339_in_utc),
        cmocka_unit_test(what_is_no_moment_is_refused_by_the_options_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
