/* Who is online: asked by many threads while the loop's registers and removes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "collector/session/hub.h"

#define HOSTS  64
#define ROUNDS 300

/* Sessions are only pointers here. */
static char sessions[HOSTS][2];

static struct hf_session *session_of(size_t host, size_t which)
{
    return (struct hf_session *)(void *)&sessions[host][which];
}

static void a_host_is_online_from_registration_to_removal(void **state)
{
    (void)state;
    struct hf_hub *hub = hub_new();
    struct hf_hub_state host;
    assert_null(hub_find(hub, "h-1"));
    assert_null(hub_register(hub, "h-1", session_of(0, 0), "192.0.2.1"));
    assert_ptr_equal(hub_find(hub, "h-1"), session_of(0, 0));
    hub_state(hub, "h-1", &host);
    assert_true(host.online);
    assert_true(host.since_ns > 0);
    assert_string_equal(host.address, "192.0.2.1");
    assert_int_equal(hub_count(hub), 1);
    hub_remove(hub, "h-1", session_of(0, 0));
    hub_state(hub, "h-1", &host);
    assert_false(host.online);
    assert_string_equal(host.address, "");
    assert_int_equal(hub_count(hub), 0);
    assert_null(hub_find(hub, "h-1"));
    hub_free(hub);
}

static void a_second_session_is_told_of_the_first_and_changes_nothing(void **state)
{
    (void)state;
    struct hf_hub *hub = hub_new();
    struct hf_hub_state host;
    assert_null(hub_register(hub, "h-1", session_of(0, 0), "192.0.2.1"));
    assert_ptr_equal(hub_register(hub, "h-1", session_of(0, 1), "192.0.2.2"), session_of(0, 0));
    hub_note_duplicate(hub, "h-1");
    hub_remove(hub, "h-1", session_of(0, 1)); /* it never was the host's */
    hub_state(hub, "h-1", &host);
    assert_true(host.online);
    assert_string_equal(host.address, "192.0.2.1");
    assert_int_equal(host.duplicates_refused, 1);
    hub_free(hub);
}

static void the_count_of_duplicates_outlives_the_session(void **state)
{
    (void)state;
    struct hf_hub *hub = hub_new();
    struct hf_hub_state host;
    hub_register(hub, "h-1", session_of(0, 0), "");
    hub_note_duplicate(hub, "h-1");
    hub_remove(hub, "h-1", session_of(0, 0));
    hub_state(hub, "h-1", &host);
    assert_int_equal(host.duplicates_refused, 1);
    hub_free(hub);
}

static void connections_are_counted_by_host(void **state)
{
    (void)state;
    struct hf_hub *hub = hub_new();
    assert_int_equal(hub_connections(hub, "h-1"), 0);
    hub_connect(hub, "h-1", 1);
    hub_connect(hub, "h-1", 1);
    hub_connect(hub, "h-2", 1);
    hub_connect(hub, "h-1", -1);
    assert_int_equal(hub_connections(hub, "h-1"), 1);
    assert_int_equal(hub_connections(hub, "h-2"), 1);
    hub_free(hub);
}

static void refusals_are_counted_by_reason(void **state)
{
    (void)state;
    struct hf_hub *hub = hub_new();
    uint64_t counts[HF_HUB_REASONS];
    hub_count_refusal(hub, HF_WIRE_HASH);
    hub_count_refusal(hub, HF_WIRE_HASH);
    hub_count_refusal(hub, 0);
    hub_count_refusal(hub, 4000); /* unknown: with the first */
    hub_refusals(hub, counts);
    assert_int_equal(counts[HF_WIRE_HASH], 2);
    assert_int_equal(counts[0], 2);
    hub_free(hub);
}

static void a_host_fills_the_audit_log_with_one_entry_a_minute_at_most(void **state)
{
    (void)state;
    struct hf_hub *hub = hub_new();
    uint64_t suppressed = 77;
    assert_true(hub_may_audit(hub, "h-1", &suppressed));
    assert_int_equal(suppressed, 0);
    for (int i = 0; i < 100; i++) {
        assert_false(hub_may_audit(hub, "h-1", &suppressed));
    }
    assert_true(hub_may_audit(hub, "h-2", &suppressed)); /* others are not held back by it */
    hub_free(hub);
}

struct readers {
    struct hf_hub *hub;
    atomic_bool done;
    atomic_bool wrong;
};

static void *read_all_the_time(void *arg)
{
    struct readers *readers = arg;
    uint64_t counts[HF_HUB_REASONS];
    while (!atomic_load(&readers->done)) {
        for (size_t i = 0; i < HOSTS; i++) {
            char id[16];
            char address[16];
            struct hf_hub_state host;
            snprintf(id, sizeof id, "h-%zu", i);
            snprintf(address, sizeof address, "a-%zu", i);
            hub_state(readers->hub, id, &host);
            bool consistent = host.online ? strcmp(host.address, address) == 0 && host.since_ns > 0
                                          : host.address[0] == '\0' && host.since_ns == 0;
            if (!consistent || hub_count(readers->hub) > HOSTS) {
                atomic_store(&readers->wrong, true);
            }
        }
        hub_refusals(readers->hub, counts);
    }
    return NULL;
}

static void readers_never_see_half_of_a_change(void **state)
{
    (void)state;
    struct readers readers = {.hub = hub_new()};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &readers), 0);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < HOSTS; i++) {
            char id[16];
            char address[16];
            snprintf(id, sizeof id, "h-%zu", i);
            snprintf(address, sizeof address, "a-%zu", i);
            if ((round + i) % 2) {
                assert_null(hub_register(readers.hub, id, session_of(i, 0), address));
            } else {
                hub_remove(readers.hub, id, session_of(i, 0));
            }
            hub_count_refusal(readers.hub, HF_WIRE_IDLE);
        }
    }
    atomic_store(&readers.done, true);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_false(atomic_load(&readers.wrong));
    hub_free(readers.hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_online_from_registration_to_removal),
        cmocka_unit_test(a_second_session_is_told_of_the_first_and_changes_nothing),
        cmocka_unit_test(the_count_of_duplicates_outlives_the_session),
        cmocka_unit_test(connections_are_counted_by_host),
        cmocka_unit_test(refusals_are_counted_by_reason),
        cmocka_unit_test(a_host_fills_the_audit_log_with_one_entry_a_minute_at_most),
        cmocka_unit_test(readers_never_see_half_of_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
