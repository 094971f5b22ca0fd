#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/queue.h"

struct message {
    struct hf_queue_item item; /* first, so that a pointer to it is one to the message */
    unsigned from, number;
};

static struct message *as_message(struct hf_queue_item *item)
{
    return (struct message *)item;
}

static int make_queue(void **state)
{
    *state = hf_queue_new();
    return *state == NULL;
}

static int free_queue(void **state)
{
    hf_queue_free(*state, NULL);
    return 0;
}

static void messages_come_out_in_the_order_they_went_in(void **state)
{
    struct hf_queue *queue = *state;
    struct message messages[3];
    assert_null(hf_queue_pop(queue, 0));
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < 3; i++) {
            assert_true(hf_queue_push(queue, &messages[i].item));
            assert_int_equal(hf_queue_count(queue), i + 1);
        }
        for (size_t i = 0; i < 3; i++) {
            assert_ptr_equal(hf_queue_pop(queue, -1), &messages[i].item);
            assert_null(messages[i].item.next);
        }
        assert_int_equal(hf_queue_count(queue), 0);
        assert_null(hf_queue_pop(queue, 0));
    }
}

static void everything_at_once_is_a_list_with_the_oldest_first(void **state)
{
    struct hf_queue *queue = *state;
    struct message messages[3];
    assert_null(hf_queue_pop_all(queue, 0));
    for (size_t i = 0; i < 3; i++) {
        hf_queue_push(queue, &messages[i].item);
    }
    struct hf_queue_item *item = hf_queue_pop_all(queue, 0);
    for (size_t i = 0; i < 3; i++, item = item->next) {
        assert_ptr_equal(item, &messages[i].item);
    }
    assert_null(item);
    assert_int_equal(hf_queue_count(queue), 0);
    hf_queue_push(queue, &messages[1].item);
    assert_ptr_equal(hf_queue_pop(queue, 0), &messages[1].item);
}

static void a_closed_queue_gives_what_it_has_and_takes_nothing(void **state)
{
    struct hf_queue *queue = *state;
    struct message messages[2];
    assert_true(hf_queue_push(queue, &messages[0].item));
    hf_queue_close(queue);
    assert_false(hf_queue_push(queue, &messages[1].item));
    assert_ptr_equal(hf_queue_pop(queue, -1), &messages[0].item);
    assert_null(hf_queue_pop(queue, -1));
    assert_null(hf_queue_pop_all(queue, -1));
    hf_queue_close(queue);
}

static void a_wait_ends_after_its_time_and_not_before(void **state)
{
    struct hf_queue *queue = *state;
    int64_t start = hf_clock_monotonic_ns();
    assert_null(hf_queue_pop(queue, 30));
    assert_null(hf_queue_pop_all(queue, 30));
    assert_true(hf_clock_monotonic_ns() - start >= 60 * HF_NS_PER_MS);
}

static void *pop_one(void *queue)
{
    return hf_queue_pop(queue, -1);
}

static void a_waiting_thread_is_woken_by_a_push_and_by_closing(void **state)
{
    struct hf_queue *queue = *state;
    struct message message;
    pthread_t threads[2];
    void *got[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, pop_one, queue), 0);
    }
    /* Both will most likely wait by then; if not, less is proved but nothing fails. */
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    hf_queue_push(queue, &message.item);
    hf_queue_close(queue);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], &got[i]);
    }
    assert_true((got[0] == &message && got[1] == NULL) || (got[1] == &message && got[0] == NULL));
}

struct wakes {
    struct hf_queue *queue;
    unsigned count;
};

static void count_wake(void *context)
{
    struct wakes *wakes = context;
    hf_queue_count(wakes->queue); /* would hang if the lock were held */
    wakes->count++;
}

static void the_wake_is_called_when_an_empty_queue_gets_something(void **state)
{
    struct message messages[3];
    struct wakes wakes = {.queue = *state};
    hf_queue_set_wake(*state, count_wake, &wakes);
    hf_queue_push(*state, &messages[0].item);
    hf_queue_push(*state, &messages[1].item);
    assert_int_equal(wakes.count, 1);
    hf_queue_pop(*state, 0);
    hf_queue_push(*state, &messages[2].item);
    assert_int_equal(wakes.count, 1);
    hf_queue_pop_all(*state, 0);
    hf_queue_push(*state, &messages[0].item);
    assert_int_equal(wakes.count, 2);
    hf_queue_set_wake(*state, NULL, NULL);
    hf_queue_pop(*state, 0);
    hf_queue_push(*state, &messages[0].item);
    assert_int_equal(wakes.count, 2);
    hf_queue_close(*state);
    hf_queue_set_wake(*state, count_wake, &wakes);
    hf_queue_pop(*state, 0);
    assert_false(hf_queue_push(*state, &messages[0].item));
    assert_int_equal(wakes.count, 2);
}

static unsigned released;

static void release(struct hf_queue_item *item)
{
    released++;
    free(as_message(item));
}

static void freeing_releases_what_is_left(void **state)
{
    (void)state;
    struct hf_queue *queue = hf_queue_new();
    assert_non_null(queue);
    for (int i = 0; i < 5; i++) {
        struct message *message = calloc(1, sizeof *message);
        assert_non_null(message);
        hf_queue_push(queue, &message->item);
    }
    hf_queue_free(queue, release);
    assert_int_equal(released, 5);
    hf_queue_free(NULL, release);
}

#define PRODUCERS 3u
#define CONSUMERS 2u
#define EACH      20000u

struct traffic {
    struct hf_queue *queue;
    unsigned producer;
    struct message *messages;
    atomic_uint *seen; /* [PRODUCERS * EACH] */
    unsigned out_of_order;
};

static void *produce(void *arg)
{
    struct traffic *traffic = arg;
    for (unsigned i = 0; i < EACH; i++) {
        traffic->messages[i] = (struct message){.from = traffic->producer, .number = i};
        hf_queue_push(traffic->queue, &traffic->messages[i].item);
    }
    return NULL;
}

static void *consume(void *arg)
{
    struct traffic *traffic = arg;
    unsigned next[PRODUCERS] = {0};
    struct hf_queue_item *item;
    while ((item = hf_queue_pop(traffic->queue, -1))) {
        struct message *message = as_message(item);
        traffic->out_of_order += message->number < next[message->from];
        next[message->from] = message->number + 1;
        atomic_fetch_add(&traffic->seen[message->from * EACH + message->number], 1);
    }
    return NULL;
}

static void threads_lose_nothing_double_nothing_and_keep_each_ones_order(void **state)
{
    pthread_t producers[PRODUCERS];
    pthread_t consumers[CONSUMERS];
    struct traffic traffic[PRODUCERS] = {0};
    atomic_uint *seen = calloc((size_t)PRODUCERS * EACH, sizeof *seen);
    assert_non_null(seen);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        traffic[i] = (struct traffic){.queue = *state, .producer = i, .seen = seen};
        traffic[i].messages = calloc(EACH, sizeof *traffic[i].messages);
        assert_non_null(traffic[i].messages);
    }
    for (unsigned i = 0; i < CONSUMERS; i++) {
        assert_int_equal(pthread_create(&consumers[i], NULL, consume, &traffic[i]), 0);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_create(&producers[i], NULL, produce, &traffic[i]), 0);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i], NULL);
    }
    hf_queue_close(*state);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        pthread_join(consumers[i], NULL);
        assert_int_equal(traffic[i].out_of_order, 0);
    }
    for (unsigned i = 0; i < PRODUCERS * EACH; i++) {
        assert_int_equal(atomic_load(&seen[i]), 1);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        free(traffic[i].messages);
    }
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_come_out_in_the_order_they_went_in, make_queue,
                                        free_queue),
        cmocka_unit_test_setup_teardown(everything_at_once_is_a_list_with_the_oldest_first,
                                        make_queue, free_queue),
        cmocka_unit_test_setup_teardown(a_closed_queue_gives_what_it_has_and_takes_nothing,
                                        make_queue, free_queue),
        cmocka_unit_test_setup_teardown(a_wait_ends_after_its_time_and_not_before, make_queue,
                                        free_queue),
        cmocka_unit_test_setup_teardown(a_waiting_thread_is_woken_by_a_push_and_by_closing,
                                        make_queue, free_queue),
        cmocka_unit_test_setup_teardown(the_wake_is_called_when_an_empty_queue_gets_something,
                                        make_queue, free_queue),
        cmocka_unit_test(freeing_releases_what_is_left),
        cmocka_unit_test_setup_teardown(
            threads_lose_nothing_double_nothing_and_keep_each_ones_order, make_queue, free_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
