#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/glob.h"

struct sample {
    const char *pattern, *path;
};

static void assert_all(const struct sample *samples, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++) {
        if (hf_glob_match(samples[i].pattern, samples[i].path) != expected) {
            fail_msg("'%s' should %smatch '%s'", samples[i].pattern, expected ? "" : "not ",
                     samples[i].path);
        }
    }
}
#define ASSERT_MATCH(...)                                                                          \
    assert_all((const struct sample[]){__VA_ARGS__},                                               \
               sizeof((const struct sample[]){__VA_ARGS__}) / sizeof(struct sample), true)
#define ASSERT_NO_MATCH(...)                                                                       \
    assert_all((const struct sample[]){__VA_ARGS__},                                               \
               sizeof((const struct sample[]){__VA_ARGS__}) / sizeof(struct sample), false)

static void a_pattern_without_a_slash_is_for_names_at_any_depth(void **state)
{
    (void)state;
    ASSERT_MATCH({"*.json", "a.json"}, {"*.json", "x/y/a.json"}, {"a", "a"}, {"a", "x/a"},
                 {"*", ".hidden"}, {"?", "x/y"}, {"**", "x/y"}, {"a**c", "x/abc"});
    ASSERT_NO_MATCH({"*.json", "a.jsonl"}, {"*.json", "a.json/b"}, {"a", "a/x"}, {"a", "xa"},
                    {"a", "ab"}, {"a", ""}, {"A", "a"});
}

static void one_star_stays_within_a_component(void **state)
{
    (void)state;
    ASSERT_MATCH({"a/*", "a/b"}, {"a/*/c", "a/b/c"}, {"a/b*", "a/b"}, {"a/*b*", "a/xbx"},
                 {"*/*", "a/b"});
    ASSERT_NO_MATCH({"a/*", "a/b/c"}, {"a/*/c", "a/c"}, {"a/*", "a"}, {"a/?", "a/bc"},
                    {"a?b", "a/b"}, {"a?b/c", "a/b/c"}, {"*/*", "a"}, {"*/*", "a/b/c"});
}

static void two_stars_span_components_and_none(void **state)
{
    (void)state;
    ASSERT_MATCH({"**/b", "b"}, {"**/b", "x/b"}, {"**/b", "x/y/b"}, {"a/**/b", "a/b"},
                 {"a/**/b", "a/x/b"}, {"a/**/b", "a/x/y/b"}, {"a/**", "a/b"}, {"a/**", "a/b/c"},
                 {"**/*.json", "a.json"}, {"**/*.json", "x/y/a.json"}, {"a/**b", "a/x/yb"},
                 {"**/a/**/b", "a/b"}, {"**/a/**/b", "x/a/y/b"}, {"***/b", "x/y/b"},
                 {"**/**/b", "b"}, {"**/**/b", "x/b"});
}

/* An exclude for one name must not take in the names that end with it. */
static void two_stars_and_a_slash_do_not_match_the_front_of_a_name(void **state)
{
    (void)state;
    ASSERT_NO_MATCH({"**/b", "xb"}, {"**/b", "y/xb"}, {"a/**/b", "a/xb"}, {"a/**/b", "ab"},
                    {"a/**/b", "a/x/yb"}, {"a/**", "a"}, {"a/**", "ab/c"}, {"**/tmp", "mytmp"},
                    {"**/tmp", "tmp/x"}, {"**/*.json", "a.json/x"}, {"x**/b", "b"},
                    {"x**/b", "xyb"});
    ASSERT_MATCH({"x**/b", "xy/b"}, {"x**/b", "x/b"});
}

static void classes_hold_ranges_and_their_opposites(void **state)
{
    (void)state;
    ASSERT_MATCH({"[abc]", "b"}, {"[a-c]x", "bx"}, {"[!a-c]", "d"}, {"[^a-c]", "d"}, {"[]]", "]"},
                 {"[!]]", "a"}, {"[]a]", "a"}, {"[a-]", "-"}, {"[-a]", "-"}, {"[a-c-e]", "-"},
                 {"[\\]]", "]"}, {"[a\\-z]", "-"}, {"[*?]", "*"}, {"[\\a-c]", "b"},
                 {"[\x80-\xff]", "\xe9"}, {"[!a]", "\xe9"}, {"[[]", "["});
    ASSERT_NO_MATCH({"[abc]", "d"}, {"[a-c]", "d"}, {"[!a-c]", "b"}, {"[c-a]", "b"}, {"[]]", "["},
                    {"[a\\-z]", "m"}, {"[*?]", "a"}, {"[abc]", "ab"}, {"[abc]", ""});
}

static void no_class_matches_a_slash(void **state)
{
    (void)state;
    ASSERT_NO_MATCH({"a[!b]c", "a/c"}, {"x/a[.-0]c", "x/a/c"}, {"x/a[!b]c", "x/a/c"});
}

static void a_backslash_makes_the_next_byte_plain(void **state)
{
    (void)state;
    ASSERT_MATCH({"\\*", "*"}, {"a\\?", "a?"}, {"\\[a]", "[a]"}, {"\\\\", "\\"}, {"\\a", "a"},
                 {"x/\\**", "x/*y"});
    ASSERT_NO_MATCH({"\\*", "a"}, {"a\\?", "ab"}, {"\\[a]", "a"}, {"\\\\", "a"});
}

static void patterns_that_cannot_be_meant_are_refused_with_the_reason(void **state)
{
    (void)state;
    char longest[1026];
    memset(longest, 'a', sizeof longest);
    longest[1025] = '\0';
    const struct {
        const char *pattern, *reason;
    } bad[] = {{"", "empty"},          {"a\\", "backslash"}, {"[", "'['"},     {"[]", "'['"},
               {"[!]", "'['"},         {"a[b", "'['"},       {"[a\\]", "'['"}, {"[ab\\", "'['"},
               {"/a", "'/'"},          {"a/", "'/'"},        {"/", "'/'"},     {"a//b", "'//'"},
               {longest, "1024 bytes"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hf_error error = {0};
        assert_int_equal(hf_glob_check(bad[i].pattern, &error), HF_ERR_INVALID);
        assert_non_null(strstr(error.message, bad[i].reason));
        assert_false(hf_glob_match(bad[i].pattern, bad[i].pattern));
        assert_false(hf_glob_may_match_beneath(bad[i].pattern, ""));
    }
    longest[1024] = '\0';
    assert_int_equal(hf_glob_check(longest, NULL), 0);
    assert_true(hf_glob_match(longest, longest));
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Backtracking would take longer than the universe has. */
static void many_stars_cost_no_more_than_pattern_times_path(void **state)
{
    (void)state;
    char path[4096];
    char pattern[1025] = "";
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    for (size_t i = 0; i < 511; i++) {
        pattern[2 * i] = 'a';
        pattern[2 * i + 1] = '*';
    }
    pattern[1022] = 'b';
    double start = cpu_seconds();
    assert_false(hf_glob_match("a*a*a*a*b", path));
    assert_false(hf_glob_match(pattern, path));
    pattern[1022] = 'a';
    assert_true(hf_glob_match(pattern, path));
    for (size_t i = 1; i < sizeof path - 1; i += 2) {
        path[i] = '/';
    }
    assert_false(hf_glob_match("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b", path));
    assert_true(cpu_seconds() - start < 60); /* some 0.1 s; the rest is for sanitizers */
}

static void a_walk_skips_only_where_nothing_can_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool may;
    } cases[] = {
        {"*.json", "any/where", true}, {"a/b/c", "", true},        {"a/b/c", "a", true},
        {"a/b/c", "a/b", true},        {"a/b/c", "a/b/c", false},  {"a/b/c", "x", false},
        {"a/b/c", "ab", false},        {"a/*", "a", true},         {"a/*", "a/b", false},
        {"a/**", "a", true},           {"a/**", "a/b/c", true},    {"a/**", "b", false},
        {"**/x", "a/b/c", true},       {"a*/x", "ab", true},       {"a*/x", "b", false},
        {"a/[bc]/d", "a/b", true},     {"a/[bc]/d", "a/d", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (hf_glob_may_match_beneath(cases[i].pattern, cases[i].path) != cases[i].may) {
            fail_msg("'%s' beneath '%s' should be %d", cases[i].pattern, cases[i].path,
                     cases[i].may);
        }
    }
}

/* The same rules once more, written as plainly as they read: for short patterns only, since this
 * one does backtrack. start: a component begins here. */
static bool matches(const char *p, const char *s, bool start)
{
    if (!*p) {
        return !*s;
    }
    size_t stars = strspn(p, "*");
    if (start && stars >= 2 && p[stars] == '/' && matches(p + stars + 1, s, true)) {
        return true;
    }
    if (p[0] == '*') {
        bool deep = p[1] == '*';
        const char *next = p + stars;
        for (;; s++) {
            /* Past the stars the pattern is no longer at a component's start of its own. */
            if (matches(next, s, false)) {
                return true;
            }
            if (!*s || (*s == '/' && !deep)) {
                return false;
            }
        }
    }
    bool same = *p == '?' ? *s && *s != '/' : *s == *p;
    return same && matches(p + 1, s + 1, *p == '/');
}

static bool expected_match(const char *pattern, const char *path)
{
    const char *slash = strrchr(path, '/');
    return matches(pattern, !strchr(pattern, '/') && slash ? slash + 1 : path, true);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static void random_text(uint64_t *state, const char *alphabet, size_t max, char *out)
{
    size_t length = 1 + next_random(state) % max;
    for (size_t i = 0; i < length; i++) {
        out[i] = alphabet[next_random(state) % strlen(alphabet)];
    }
    out[length] = '\0';
}

/* Neither end is a slash and no two follow each other: of a path, and of a pattern for one. */
static void random_path(uint64_t *state, const char *alphabet, size_t max, char *out)
{
    size_t length;
    do {
        random_text(state, alphabet, max, out);
        length = strlen(out);
    } while (out[0] == '/' || out[length - 1] == '/' || strstr(out, "//"));
}

static void it_agrees_with_a_plain_matcher_on_random_patterns(void **state)
{
    (void)state;
    uint64_t seed = 1;
    unsigned matched = 0;
    for (int i = 0; i < 200000; i++) {
        char pattern[10];
        char path[10];
        random_path(&seed, "ab/**?", 8, pattern);
        random_path(&seed, "ab/", 8, path);
        bool expected = expected_match(pattern, path);
        if (hf_glob_match(pattern, path) != expected) {
            fail_msg("'%s' and '%s': expected %d", pattern, path, expected);
        }
        matched += expected;
    }
    assert_in_range(matched, 10000, 190000); /* neither answer is a rarity */
}

static void nothing_that_matches_is_ever_skipped(void **state)
{
    (void)state;
    uint64_t seed = 2;
    unsigned checked = 0;
    for (int i = 0; i < 200000; i++) {
        char pattern[10];
        char path[10];
        random_path(&seed, "ab/**?", 8, pattern);
        random_path(&seed, "ab/", 8, path);
        char *slash = strrchr(path, '/');
        if (!slash || !hf_glob_match(pattern, path)) {
            continue;
        }
        for (; slash; slash = strrchr(path, '/')) {
            *slash = '\0';
            if (!hf_glob_may_match_beneath(pattern, path)) {
                fail_msg("'%s' would not be looked for beneath '%s'", pattern, path);
            }
            checked++;
        }
    }
    assert_true(checked > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_without_a_slash_is_for_names_at_any_depth),
        cmocka_unit_test(one_star_stays_within_a_component),
        cmocka_unit_test(two_stars_span_components_and_none),
        cmocka_unit_test(two_stars_and_a_slash_do_not_match_the_front_of_a_name),
        cmocka_unit_test(classes_hold_ranges_and_their_opposites),
        cmocka_unit_test(no_class_matches_a_slash),
        cmocka_unit_test(a_backslash_makes_the_next_byte_plain),
        cmocka_unit_test(patterns_that_cannot_be_meant_are_refused_with_the_reason),
        cmocka_unit_test(many_stars_cost_no_more_than_pattern_times_path),
        cmocka_unit_test(a_walk_skips_only_where_nothing_can_match),
        cmocka_unit_test(it_agrees_with_a_plain_matcher_on_random_patterns),
        cmocka_unit_test(nothing_that_matches_is_ever_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
