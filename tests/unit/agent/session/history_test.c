/* What is kept of files that change lets every version stand on few others, and is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/session/history.h"
#include "common/bytes.h"

#define VERSIONS 700u

static struct hf_bytes text(const char *string)
{
    return (struct hf_bytes){(const uint8_t *)string, strlen(string)};
}

/* The id of a version is its number, and so is its content. */
static void add(struct hf_history *history, const char *path, uint64_t seq,
                enum hf_history_sent sent)
{
    uint8_t id[HF_HASH_BYTES] = {0};
    char content[100];
    memset(content, 'x', sizeof(content));
    hf_put_le64(id, seq);
    snprintf(content, sizeof(content), "%llu", (unsigned long long)seq);
    history_add(history, 1, text(path), seq, id,
                (struct hf_bytes){(const uint8_t *)content, sizeof(content)}, sent);
}

/* The seq of what it is to be compared with; 0: nothing. */
static uint64_t base_of(struct hf_history *history, const char *path, uint64_t acked_seq)
{
    struct hf_history_base base;
    if (!history_base(history, 1, text(path), acked_seq, &base))
        return 0;
    uint64_t seq = hf_get_le64(base.id);
    char content[32];
    snprintf(content, sizeof(content), "%llu", (unsigned long long)seq);
    assert_string_equal((const char *)base.content.data, content);
    return seq;
}

static void every_version_is_few_steps_from_a_whole_one(void **state)
{
    (void)state;
    struct hf_history *history = history_new(1 << 20);
    unsigned depth[VERSIONS + 1] = {0};
    unsigned whole = 0, before = 0;
    for (uint64_t seq = 1; seq <= VERSIONS; seq++) {
        uint64_t base = base_of(history, "a", seq);
        assert_true(base < seq);
        whole += base == 0;
        before += base + 1 == seq && base > 0;
        depth[seq] = base > 0 ? depth[base] + 1 : 0;
        assert_in_range(depth[seq], 0, 8);
        add(history, "a", seq, base > 0 ? HF_HISTORY_DELTA : HF_HISTORY_WHOLE);
    }
    assert_in_range(whole, 1, 4);
    assert_true(before >= VERSIONS / 2 - 2);
    history_free(history);
}

static void nothing_is_compared_with_what_was_not_acknowledged(void **state)
{
    (void)state;
    struct hf_history *history = history_new(1 << 20);
    add(history, "a", 1, HF_HISTORY_WHOLE);
    assert_int_equal(base_of(history, "a", 0), 0);
    assert_int_equal(base_of(history, "a", 1), 1);
    add(history, "a", 2, HF_HISTORY_DELTA);
    add(history, "a", 3, HF_HISTORY_DELTA);
    assert_int_equal(base_of(history, "a", 3), 3);
    assert_int_equal(base_of(history, "a", 2), 1);
    assert_int_equal(base_of(history, "a", 0), 0);
    history_free(history);
}

static void what_was_sent_whole_begins_anew(void **state)
{
    (void)state;
    struct hf_history *history = history_new(1 << 20);
    for (uint64_t seq = 1; seq <= 4; seq++)
        add(history, "a", seq, seq == 1 ? HF_HISTORY_WHOLE : HF_HISTORY_DELTA);
    add(history, "a", 5, HF_HISTORY_WHOLE);
    assert_int_equal(base_of(history, "a", 5), 5);
    assert_int_equal(base_of(history, "a", 4), 0);
    history_free(history);
}

static void files_are_kept_apart_and_sources_too(void **state)
{
    (void)state;
    struct hf_history *history = history_new(1 << 20);
    struct hf_history_base base;
    add(history, "a", 1, HF_HISTORY_WHOLE);
    add(history, "b", 2, HF_HISTORY_WHOLE);
    assert_int_equal(base_of(history, "a", 9), 1);
    assert_int_equal(base_of(history, "b", 9), 2);
    assert_false(history_base(history, 2, text("a"), 9, &base));
    history_forget(history, 2);
    assert_int_equal(base_of(history, "a", 9), 1);
    history_forget(history, 1);
    assert_int_equal(base_of(history, "a", 9), 0);
    assert_int_equal(base_of(history, "b", 9), 0);
    add(history, "a", 3, HF_HISTORY_DELTA); /* as a first one */
    assert_int_equal(base_of(history, "a", 3), 3);
    history_free(history);
}

static void what_was_sent_longest_ago_makes_room(void **state)
{
    (void)state;
    struct hf_history *history = history_new(20000);
    char path[16];
    for (uint64_t i = 1; i <= 200; i++) {
        snprintf(path, sizeof(path), "%llu", (unsigned long long)i);
        add(history, path, i, HF_HISTORY_WHOLE);
        add(history, "always", 1000 + i, HF_HISTORY_WHOLE);
    }
    size_t kept = 0;
    for (uint64_t i = 1; i <= 200; i++) {
        snprintf(path, sizeof(path), "%llu", (unsigned long long)i);
        bool known = base_of(history, path, 9999) > 0;
        assert_true(kept == 0 || known); /* the last ones */
        kept += known;
    }
    assert_in_range(kept, 5, 100);
    assert_int_equal(base_of(history, "always", 9999), 1200);
    history_free(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_is_few_steps_from_a_whole_one),
        cmocka_unit_test(nothing_is_compared_with_what_was_not_acknowledged),
        cmocka_unit_test(what_was_sent_whole_begins_anew),
        cmocka_unit_test(files_are_kept_apart_and_sources_too),
        cmocka_unit_test(what_was_sent_longest_ago_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
