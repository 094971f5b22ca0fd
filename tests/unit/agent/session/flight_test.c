#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "agent/session/flight.h"
#include "common/hash.h"

static struct hf_unit unit(size_t source, size_t chunk_count)
{
    return (struct hf_unit){.source = source, .chunk_count = chunk_count, .bytes = 1000};
}

static void a_waiting_unit_holds_up_its_source_and_no_other(void **state)
{
    (void)state;
    struct hf_flights flights;
    struct hf_unit large = unit(0, 9), after = unit(0, 1), other = unit(1, 1);
    uint8_t bitmap[2] = {0x05, 0x01};
    flights_init(&flights);
    struct hf_flight *asked = flights_add(&flights, &large, 2, true);
    assert_non_null(asked);
    uint64_t request = asked->request;
    assert_non_null(flights_add(&flights, &after, 2, false));
    assert_non_null(flights_add(&flights, &other, 2, false));
    struct hf_flight *flight = flights_take_ready(&flights, 3);
    assert_ptr_equal(flight->unit, &other);
    flight_free(flight);
    assert_null(flights_take_ready(&flights, 3));
    assert_int_equal(flights.asked_bytes, 9 * HF_HASH_BYTES);
    assert_true(flights_answer(&flights, request, bitmap, 2));
    assert_int_equal(flights.asked_bytes, 0);
    flight = flights_take_ready(&flights, 3);
    assert_ptr_equal(flight->unit, &large);
    assert_int_equal(flight->needed[0], 0x05);
    flight_free(flight);
    flight = flights_take_ready(&flights, 3);
    assert_ptr_equal(flight->unit, &after);
    flight_free(flight);
    assert_int_equal(flights.count, 0);
    assert_int_equal(flights.bytes, 0);
}

static void what_is_precious_goes_first_and_alone_where_the_rest_has_to_wait(void **state)
{
    (void)state;
    struct hf_flights flights;
    struct hf_unit log = unit(0, 1), flow = unit(1, 1), large = unit(2, 9), after = unit(2, 1),
                   point = unit(3, 1);
    uint8_t bitmap[2] = {0};
    flights_init(&flights);
    flights_add(&flights, &log, 3, false);
    flights_add(&flights, &flow, 2, false);
    uint64_t request = flights_add(&flights, &large, 0, true)->request;
    flights_add(&flights, &after, 0, false); /* not before its source's first */
    flights_add(&flights, &point, 1, false);
    const struct hf_unit *order[] = {&point, NULL, &large, &after, NULL};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct hf_flight *flight = flights_take_ready(&flights, 1);
        assert_ptr_equal(flight ? flight->unit : NULL, order[i]);
        flight_free(flight);
        if (i == 1)
            assert_true(flights_answer(&flights, request, bitmap, 2));
    }
    struct hf_flight *flight = flights_take_ready(&flights, 3);
    assert_ptr_equal(flight->unit, &flow);
    flight_free(flight);
    flights_clear(&flights);
}

static void an_answer_to_nothing_is_noticed(void **state)
{
    (void)state;
    struct hf_flights flights;
    struct hf_unit large = unit(0, 9);
    uint8_t bitmap[2] = {0};
    flights_init(&flights);
    assert_false(flights_answer(&flights, 1, bitmap, 2));
    uint64_t request = flights_add(&flights, &large, 2, true)->request;
    assert_false(flights_answer(&flights, request + 1, bitmap, 2));
    assert_false(flights_answer(&flights, request, bitmap, 1)); /* too short a bitmap */
    assert_false(flights_answer(&flights, 0, bitmap, 2));
    assert_true(flights_answer(&flights, request, bitmap, 2));
    flights_clear(&flights);
}

static void an_answer_about_a_dropped_unit_is_no_fault(void **state)
{
    (void)state;
    struct hf_flights flights;
    struct hf_unit large = unit(0, 9);
    uint8_t bitmap[2] = {0};
    flights_init(&flights);
    uint64_t request = flights_add(&flights, &large, 2, true)->request;
    flights_drop_source(&flights, 0);
    assert_true(flights_answer(&flights, request, bitmap, 2));
    assert_false(flights_answer(&flights, request + 1, bitmap, 2));
}

static void a_dropped_source_leaves_the_queue_whole(void **state)
{
    (void)state;
    struct hf_flights flights;
    struct hf_unit a = unit(0, 9), b = unit(1, 1), c = unit(0, 1), d = unit(1, 1);
    flights_init(&flights);
    flights_add(&flights, &a, 2, true);
    flights_add(&flights, &b, 2, false);
    flights_add(&flights, &c, 2, false);
    flights_drop_source(&flights, 0);
    assert_int_equal(flights.count, 1);
    assert_int_equal(flights.asked_bytes, 0);
    flights_add(&flights, &d, 2, false); /* the tail is right after the last was removed */
    struct hf_flight *flight = flights_take_ready(&flights, 3);
    assert_ptr_equal(flight->unit, &b);
    flight_free(flight);
    flight = flights_take_ready(&flights, 3);
    assert_ptr_equal(flight->unit, &d);
    flight_free(flight);
    assert_null(flights_take_ready(&flights, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiting_unit_holds_up_its_source_and_no_other),
        cmocka_unit_test(what_is_precious_goes_first_and_alone_where_the_rest_has_to_wait),
        cmocka_unit_test(an_answer_to_nothing_is_noticed),
        cmocka_unit_test(an_answer_about_a_dropped_unit_is_no_fault),
        cmocka_unit_test(a_dropped_source_leaves_the_queue_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
