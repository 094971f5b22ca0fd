/* Credit: enough for everybody to get on, never more than was said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdlib.h>

#include "collector/session/connection.h"

#define MIB (1024u * 1024u)

static void a_lone_session_gets_a_wide_window_and_a_crowd_narrow_ones(void **state)
{
    (void)state;
    struct hf_sessions sessions = {.options = {.memory_bytes = 256u * MIB}, .count = 1};
    struct hf_session session = {.sessions = &sessions};
    credit_begin(&session);
    assert_int_equal(session.credit_total, 4u * MIB);
    sessions.count = 64;
    credit_begin(&session);
    assert_int_equal(session.credit_total, 2u * MIB);
    sessions.count = 20000;
    credit_begin(&session);
    assert_true(session.credit_total > HF_FRAME_MAX_BYTES);
    assert_true(session.credit_total < 2u * MIB);
}

static void more_than_was_granted_is_noticed_to_the_byte(void **state)
{
    (void)state;
    struct hf_sessions sessions = {.options = {.memory_bytes = 256u * MIB}, .count = 1};
    struct hf_session session = {.sessions = &sessions};
    credit_begin(&session);
    assert_true(credit_spend(&session, (size_t)session.credit_total - 1));
    assert_true(credit_spend(&session, 1));
    assert_false(credit_spend(&session, 1));
}

static void credit_that_was_not_said_yet_does_not_count(void **state)
{
    (void)state;
    struct hf_sessions sessions = {.options = {.memory_bytes = 256u * MIB}, .count = 1};
    struct hf_session session = {.sessions = &sessions};
    credit_begin(&session);
    uint64_t said = session.credit_total;
    assert_true(credit_spend(&session, 1000));
    assert_false(credit_release(&session, 1000)); /* too little for a frame */
    assert_int_equal(session.credit_sent, said);
    assert_true(credit_spend(&session, (size_t)said - 1000));
    assert_false(credit_spend(&session, 1));
}

/* Whatever sizes an agent sends and in whatever order they are dealt with: what it may have in
 * memory stays within the window, and once all is dealt with it may send the largest message. */
static void no_agent_starves_and_none_gets_more_than_its_window(void **state)
{
    (void)state;
    static const uint32_t crowds[] = {1, 40, 64, 100, 1000, 20000};
    srand(7);
    for (size_t i = 0; i < sizeof crowds / sizeof crowds[0]; i++) {
        struct hf_sessions sessions = {.options = {.memory_bytes = 256u * MIB}, .count = crowds[i]};
        struct hf_session session = {.sessions = &sessions};
        size_t pipe[4096];
        size_t first = 0;
        size_t last = 0;
        credit_begin(&session);
        uint64_t window = session.credit_total;
        uint64_t known = session.credit_total; /* to the agent */
        for (int step = 0; step < 100000; step++) {
            size_t size = step % 7 ? 1 + (size_t)rand() % 3000 : HF_FRAME_MAX_BYTES;
            bool may_send = session.bulk_received + size <= known;
            if (may_send && last - first < 4096 && rand() % 3) {
                assert_true(credit_spend(&session, size));
                pipe[last++ % 4096] = size;
            } else if (first < last) {
                if (credit_release(&session, pipe[first++ % 4096])) {
                    assert_true(session.credit_sent > known);
                    known = session.credit_sent;
                }
            } else {
                assert_true(session.bulk_received + HF_FRAME_MAX_BYTES <= known);
            }
            assert_true(session.bulk_received - session.bulk_released <= window);
        }
    }
}

static void windows_shrink_for_a_session_that_was_there_before_the_crowd(void **state)
{
    (void)state;
    struct hf_sessions sessions = {.options = {.memory_bytes = 256u * MIB}, .count = 1};
    struct hf_session session = {.sessions = &sessions};
    credit_begin(&session);
    sessions.count = 5000;
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        size_t size = HF_FRAME_MAX_BYTES / 2;
        assert_true(credit_spend(&session, size));
        credit_release(&session, size);
        uint64_t open = session.credit_sent - session.bulk_received;
        least = open < least ? open : least;
    }
    assert_true(session.credit_sent - session.bulk_received < 2u * MIB);
    assert_true(least >= HF_FRAME_MAX_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_session_gets_a_wide_window_and_a_crowd_narrow_ones),
        cmocka_unit_test(more_than_was_granted_is_noticed_to_the_byte),
        cmocka_unit_test(credit_that_was_not_said_yet_does_not_count),
        cmocka_unit_test(no_agent_starves_and_none_gets_more_than_its_window),
        cmocka_unit_test(windows_shrink_for_a_session_that_was_there_before_the_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
