#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/ini.h"
#include "tests/unit/common/scratch.h"

static struct hf_ini *parse(const char *text)
{
    struct hf_ini *ini = NULL;
    struct hf_error error = {0};
    if (hf_ini_parse("test.conf", text, &ini, &error) != 0) {
        fail_msg("%s", error.message);
    }
    return ini;
}

static void assert_entry(struct hf_ini *ini, const char *section, const char *key, size_t n,
                         const char *value, int line)
{
    const struct hf_ini_entry *entry = hf_ini_get(ini, section, key, n);
    assert_non_null(entry);
    assert_string_equal(entry->section, section);
    assert_string_equal(entry->key, key);
    assert_string_equal(entry->value, value);
    assert_int_equal(entry->line, line);
}

static void every_entry_knows_its_section_key_value_and_line(void **state)
{
    (void)state;
    struct hf_ini *ini = parse("# comment\n"
                               "top = level\n"
                               "\n"
                               "[agent]\n"
                               "state=/var/lib/x\n"
                               "  ; indented comment\n"
                               "name : robot 7 ; trailing comment\n"
                               "[source checkpoints] # two words\r\n"
                               "path = /a;b#c\r\n"
                               "\r\n"
                               "empty =\n"
                               "equals = a=b\n"
                               "quoted = \"kept\"");
    assert_entry(ini, "", "top", 0, "level", 2);
    assert_entry(ini, "agent", "state", 0, "/var/lib/x", 5);
    assert_entry(ini, "agent", "name", 0, "robot 7", 7);
    assert_entry(ini, "source checkpoints", "path", 0, "/a;b#c", 9);
    assert_entry(ini, "source checkpoints", "empty", 0, "", 11);
    assert_entry(ini, "source checkpoints", "equals", 0, "a=b", 12);
    assert_entry(ini, "source checkpoints", "quoted", 0, "\"kept\"", 13);
    assert_null(hf_ini_get(ini, "agent", "path", 0));
    assert_null(hf_ini_get(ini, "none", "path", 0));
    hf_ini_free(ini);
    hf_ini_free(NULL);
}

static void keys_repeat_and_indented_lines_add_values(void **state)
{
    (void)state;
    struct hf_ini *ini = parse("[s]\n"
                               "path = /a\n"
                               "path = /b\n"
                               "include = *.json\n"
                               "   [a-z]*.yaml\n"
                               "\n"
                               "\tx = y\n"
                               "[t]\n"
                               "  path = /c\n"
                               "[s]\n"
                               "path = /d\n");
    assert_entry(ini, "s", "path", 0, "/a", 2);
    assert_entry(ini, "s", "path", 1, "/b", 3);
    assert_entry(ini, "s", "path", 2, "/d", 11);
    assert_null(hf_ini_get(ini, "s", "path", 3));
    assert_entry(ini, "s", "include", 0, "*.json", 4);
    assert_entry(ini, "s", "include", 1, "[a-z]*.yaml", 5);
    assert_entry(ini, "s", "include", 2, "x = y", 7);
    assert_entry(ini, "t", "path", 0, "/c", 9);
    assert_string_equal(hf_ini_section(ini, 0), "s");
    assert_string_equal(hf_ini_section(ini, 1), "t");
    assert_null(hf_ini_section(ini, 2));
    hf_ini_free(ini);
}

static void sections_are_listed_once_in_order_even_when_empty(void **state)
{
    (void)state;
    struct hf_ini *ini = parse("\xef\xbb\xbf[c]\n[a]\nk = v\n  [b]\n[c]\n[d]\n [e]\n");
    static const char *const expected[] = {"c", "a", "d", "e"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(hf_ini_section(ini, i), expected[i]);
        assert_true(hf_ini_has_section(ini, expected[i]));
    }
    assert_null(hf_ini_section(ini, 4));
    assert_false(hf_ini_has_section(ini, "b")); /* indented below a key: a value of it */
    hf_ini_free(ini);
    ini = parse("");
    assert_null(hf_ini_section(ini, 0));
    hf_ini_free(ini);
}

static void every_heading_of_a_section_knows_its_line(void **state)
{
    (void)state;
    struct hf_ini *ini = parse("top = level\n[a]\nx = 1\n[b]\n\n[a]\nx = 2\n");
    assert_int_equal(hf_ini_section_line(ini, "a", 0), 2);
    assert_int_equal(hf_ini_section_line(ini, "a", 1), 6);
    assert_int_equal(hf_ini_section_line(ini, "a", 2), 0);
    assert_int_equal(hf_ini_section_line(ini, "b", 0), 4);
    assert_int_equal(hf_ini_section_line(ini, "", 0), 0); /* no heading, yet keys */
    assert_true(hf_ini_has_section(ini, ""));
    assert_int_equal(hf_ini_section_line(ini, "c", 0), 0);
    hf_ini_free(ini);
}

static void assert_refused(const char *text, const char *reason)
{
    struct hf_ini *ini = NULL;
    struct hf_error error = {0};
    int rc = hf_ini_parse("test.conf", text, &ini, &error);
    if (rc == 0 || !strstr(error.message, reason)) {
        fail_msg("'%.100s' gives %d, '%s'; expected '%s'", text, rc, error.message, reason);
    }
    assert_true(rc == HF_ERR_INVALID || rc == HF_ERR_LIMIT);
    assert_null(ini);
}

static void what_is_no_ini_is_refused_with_file_and_line(void **state)
{
    (void)state;
    assert_refused("[a]\nk = v\nwhat is this\n", "test.conf:3: expected [section]");
    assert_refused("first\n[a]\nsecond\n", "test.conf:1: expected");
    assert_refused("\n[a\nk = v\n", "test.conf:2: a section is written [name]");
    assert_refused("[]\n", "test.conf:1: a section is written [name]");
    assert_refused("[a] k = v\n", "test.conf:1: there is text after [a]");
}

/* libinih cuts these without a word; a cut path would protect something else. */
static void nothing_is_cut_silently(void **state)
{
    (void)state;
    char text[1000];
    char value[400];
    struct hf_ini *ini;
    memset(value, 'v', sizeof value);

    snprintf(text, sizeof text, "[s]\nkey = %.*s\nz = 1\n", 192, value);
    ini = parse(text);
    assert_int_equal(strlen(hf_ini_get(ini, "s", "key", 0)->value), 192);
    assert_entry(ini, "s", "z", 0, "1", 3);
    hf_ini_free(ini);
    snprintf(text, sizeof text, "[s]\nkey = %.*s\nz = 1\n", 193, value);
    assert_refused(text, "test.conf:2: the line is longer than 198 bytes");
    snprintf(text, sizeof text, "[s]\n# %.*s\n", 390, value);
    assert_refused(text, "test.conf:2: the line is longer");

    snprintf(text, sizeof text, "[%.*s]\nk = v\n", 49, value);
    ini = parse(text);
    assert_int_equal(strlen(hf_ini_section(ini, 0)), 49);
    assert_non_null(hf_ini_get(ini, hf_ini_section(ini, 0), "k", 0));
    hf_ini_free(ini);
    snprintf(text, sizeof text, "[%.*s]\nk = v\n", 50, value);
    assert_refused(text, "of 1 to 49 bytes");
    snprintf(text, sizeof text, "[a]\n [%.*s]\n", 50, value);
    assert_refused(text, "test.conf:2: a section is written [name], with a name of 1 to 49 bytes");

    snprintf(text, sizeof text, "[s]\n%.*s=v\n", 49, value);
    ini = parse(text);
    value[49] = '\0';
    assert_entry(ini, "s", value, 0, "v", 2);
    value[49] = 'v';
    hf_ini_free(ini);
    snprintf(text, sizeof text, "[s]\n%.*s=v\n", 50, value);
    assert_refused(text, "test.conf:2: a key is longer than 49 bytes");
    snprintf(text, sizeof text, "[s]\n%.*s:v\n", 50, value);
    assert_refused(text, "test.conf:2: a key is longer than 49 bytes");
    /* A long indented value may well have a '=' far into it. */
    snprintf(text, sizeof text, "[s]\nk = v\n  %.*s=v\n", 100, value);
    hf_ini_free(parse(text));
}

static void files_are_read_and_named_in_complaints(void **state)
{
    struct hf_ini *ini = NULL;
    struct hf_error error = {0};
    FILE *file = fopen(scratch_at(*state, "good"), "w");
    assert_non_null(file);
    fputs("[a]\nk = v\n", file);
    fclose(file);
    assert_int_equal(hf_ini_load(scratch_at(*state, "good"), &ini, &error), 0);
    assert_entry(ini, "a", "k", 0, "v", 2);
    hf_ini_free(ini);

    assert_int_equal(hf_ini_load(scratch_at(*state, "none"), &ini, &error), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/none'"));

    file = fopen(scratch_at(*state, "binary"), "w");
    assert_non_null(file);
    fwrite("[a]\nk = v\0w\n", 1, 12, file);
    fclose(file);
    assert_int_equal(hf_ini_load(scratch_at(*state, "binary"), &ini, &error), HF_ERR_INVALID);
    assert_non_null(strstr(error.message, "NUL"));

    file = fopen(scratch_at(*state, "huge"), "w");
    assert_non_null(file);
    for (int i = 0; i < 120000; i++) {
        fputs("key = val\n", file);
    }
    fclose(file);
    assert_int_equal(hf_ini_load(scratch_at(*state, "huge"), &ini, &error), HF_ERR_LIMIT);
}

static const char typed[] = "[s]\n"
                            "yes = Yes\n"
                            "off = off\n"
                            "number = 42\n"
                            "duration = 1h30m\n"
                            "size = 64MiB\n"
                            "text = first\n"
                            "text = second\n"
                            "empty =\n"
                            "bad = soon\n"
                            "negative = -1\n"
                            "huge = 18446744073709551616\n"
                            "hex = 0x10\n";

static void values_are_read_as_what_they_should_be(void **state)
{
    (void)state;
    struct hf_ini *ini = parse(typed);
    const char *text;
    bool flag = false;
    uint64_t number;
    int64_t duration;
    assert_int_equal(hf_ini_get_string(ini, "s", "text", "x", &text, NULL), 0);
    assert_string_equal(text, "second"); /* the last one counts */
    assert_int_equal(hf_ini_get_bool(ini, "s", "yes", false, &flag, NULL), 0);
    assert_true(flag);
    assert_int_equal(hf_ini_get_bool(ini, "s", "off", true, &flag, NULL), 0);
    assert_false(flag);
    assert_int_equal(hf_ini_get_u64(ini, "s", "number", 0, 42, 42, &number, NULL), 0);
    assert_int_equal(number, 42);
    assert_int_equal(hf_ini_get_duration(ini, "s", "duration", 0, &duration, NULL), 0);
    assert_int_equal(duration, 5400 * HF_NS_PER_SECOND);
    assert_int_equal(hf_ini_get_size(ini, "s", "size", 0, &number, NULL), 0);
    assert_int_equal(number, 64u << 20);
    hf_ini_free(ini);
}

static void what_is_absent_has_its_fallback(void **state)
{
    (void)state;
    struct hf_ini *ini = parse("");
    const char *text;
    bool flag = false;
    uint64_t number;
    int64_t duration;
    assert_int_equal(hf_ini_get_string(ini, "s", "k", "fallback", &text, NULL), 0);
    assert_string_equal(text, "fallback");
    assert_int_equal(hf_ini_get_string(ini, "s", "k", NULL, &text, NULL), 0);
    assert_null(text);
    assert_int_equal(hf_ini_get_bool(ini, "s", "k", true, &flag, NULL), 0);
    assert_true(flag);
    /* A fallback need not be within what may be written. */
    assert_int_equal(hf_ini_get_u64(ini, "s", "k", 7, 10, 20, &number, NULL), 0);
    assert_int_equal(number, 7);
    assert_int_equal(hf_ini_get_duration(ini, "s", "k", -1, &duration, NULL), 0);
    assert_int_equal(duration, -1);
    assert_int_equal(hf_ini_get_size(ini, "s", "k", 9, &number, NULL), 0);
    assert_int_equal(number, 9);
    hf_ini_free(ini);
}

static void a_bad_value_names_file_line_section_key_and_what_is_expected(void **state)
{
    (void)state;
    struct hf_ini *ini = parse(typed);
    struct hf_error error = {0};
    const char *text;
    bool flag;
    uint64_t number;
    int64_t duration;
    assert_int_equal(hf_ini_get_bool(ini, "s", "bad", false, &flag, &error), HF_ERR_INVALID);
    assert_string_equal(error.message, "test.conf:10: [s] bad: 'soon' is neither yes nor no");
    assert_int_equal(hf_ini_get_u64(ini, "s", "bad", 0, 1, 9, &number, &error), HF_ERR_INVALID);
    assert_string_equal(error.message,
                        "test.conf:10: [s] bad: 'soon' is not a whole number from 1 to 9");
    assert_int_equal(hf_ini_get_duration(ini, "s", "bad", 0, &duration, &error), HF_ERR_INVALID);
    assert_non_null(strstr(error.message, "test.conf:10: [s] bad: 'soon' is not a duration"));
    assert_int_equal(hf_ini_get_size(ini, "s", "bad", 0, &number, &error), HF_ERR_INVALID);
    assert_non_null(strstr(error.message, "test.conf:10: [s] bad: 'soon' is not a size"));
    assert_int_equal(hf_ini_get_string(ini, "s", "empty", "x", &text, &error), HF_ERR_INVALID);
    assert_non_null(strstr(error.message, "test.conf:9: [s] empty: "));
    static const char *const not_numbers[] = {"negative", "huge", "hex", "empty"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(hf_ini_get_u64(ini, "s", not_numbers[i], 0, 0, UINT64_MAX, &number, NULL),
                         HF_ERR_INVALID);
    }
    assert_int_equal(hf_ini_get_u64(ini, "s", "number", 0, 43, 50, &number, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_ini_get_u64(ini, "s", "number", 0, 1, 41, &number, NULL), HF_ERR_INVALID);
    hf_ini_free(ini);
}

static void a_caller_complains_in_the_same_form(void **state)
{
    (void)state;
    struct hf_ini *ini = parse("[s]\npath = a\n");
    struct hf_error error = {0};
    assert_int_equal(hf_ini_complain(ini, hf_ini_get(ini, "s", "path", 0), &error, "no %d", 7),
                     HF_ERR_INVALID);
    assert_string_equal(error.message, "test.conf:2: [s] path: no 7");
    hf_ini_free(ini);
}

static void what_nobody_asked_for_is_named_with_the_nearest_known_key(void **state)
{
    (void)state;
    static const char *const known[] = {"path", "debounce", "include", "exclude", NULL};
    struct hf_error error = {0};
    const char *text;
    struct hf_ini *ini = parse("[s]\npath = /a\npath = /b\ndebonce = 5s\nquux = 1\n");
    assert_int_equal(hf_ini_get_string(ini, "s", "path", NULL, &text, NULL), 0);
    assert_int_equal(hf_ini_check_all_used(ini, known, &error), HF_ERR_INVALID);
    assert_string_equal(
        error.message,
        "test.conf:4: [s] debonce: this key is not known here; did you mean 'debounce'?");
    assert_non_null(hf_ini_get(ini, "s", "debonce", 0));
    assert_int_equal(hf_ini_check_all_used(ini, known, &error), HF_ERR_INVALID);
    assert_string_equal(error.message,
                        "test.conf:5: [s] quux: this key is not known in this section");
    assert_int_equal(hf_ini_check_all_used(ini, NULL, NULL), HF_ERR_INVALID);
    assert_non_null(hf_ini_get(ini, "s", "quux", 0));
    assert_int_equal(hf_ini_check_all_used(ini, known, &error), 0);
    hf_ini_free(ini);
}

/* A known key in the wrong section is not answered with "did you mean" itself. */
static void a_known_key_elsewhere_is_not_guessed(void **state)
{
    (void)state;
    static const char *const known[] = {"path", NULL};
    struct hf_error error = {0};
    struct hf_ini *ini = parse("[t]\npath = /a\n");
    assert_int_equal(hf_ini_check_all_used(ini, known, &error), HF_ERR_INVALID);
    assert_null(strstr(error.message, "did you mean"));
    hf_ini_free(ini);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_knows_its_section_key_value_and_line),
        cmocka_unit_test(keys_repeat_and_indented_lines_add_values),
        cmocka_unit_test(sections_are_listed_once_in_order_even_when_empty),
        cmocka_unit_test(every_heading_of_a_section_knows_its_line),
        cmocka_unit_test(what_is_no_ini_is_refused_with_file_and_line),
        cmocka_unit_test(nothing_is_cut_silently),
        cmocka_unit_test_setup_teardown(files_are_read_and_named_in_complaints, scratch_make,
                                        scratch_remove),
        cmocka_unit_test(values_are_read_as_what_they_should_be),
        cmocka_unit_test(what_is_absent_has_its_fallback),
        cmocka_unit_test(a_bad_value_names_file_line_section_key_and_what_is_expected),
        cmocka_unit_test(a_caller_complains_in_the_same_form),
        cmocka_unit_test(what_nobody_asked_for_is_named_with_the_nearest_known_key),
        cmocka_unit_test(a_known_key_elsewhere_is_not_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
