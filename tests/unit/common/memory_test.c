/* What a burst of work needed is given back afterwards, whichever thread did the work, and what the
 * program was loaded with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/memory.h"

#define THREADS 4
#define BLOCKS  2048u
#define BYTES   4096u

/* The sanitizers bring a heap of their own, which keeps what was freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_HEAP 1
#endif
#endif

static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*u %lu", &pages), 1); /* NOLINT(cert-err34-c): the kernel's */
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

struct burst {
    pthread_t thread;
    uint8_t *blocks[BLOCKS];
    void *last;
};

/* Many small blocks, and one behind them all that stays. */
static void *work(void *context)
{
    struct burst *burst = context;
    for (size_t i = 0; i < BLOCKS; i++) {
        burst->blocks[i] = malloc(BYTES);
        memset(burst->blocks[i], 1, BYTES);
    }
    burst->last = malloc(BYTES);
    for (size_t i = 0; i < BLOCKS; i++) {
        free(burst->blocks[i]);
    }
    return NULL;
}

static void what_threads_freed_goes_back_to_the_system(void **state)
{
    static struct burst bursts[THREADS];
    (void)state;
#ifdef OWN_HEAP
    skip();
#endif
    size_t before = resident_bytes();
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&bursts[i].thread, NULL, work, &bursts[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(bursts[i].thread, NULL);
    }
    size_t freed = resident_bytes();
    hf_give_memory_back();
    size_t after = resident_bytes();
    assert_true(freed > before + (size_t)BLOCKS * BYTES); /* or this would prove nothing */
    assert_true(after < before + (size_t)BLOCKS * BYTES / 2);
    for (size_t i = 0; i < THREADS; i++) {
        free(bursts[i].last);
    }
}

#define TABLE_BYTES (1024u * 1024u)
static const volatile uint8_t table[TABLE_BYTES] = {7, [TABLE_BYTES - 1] = 9};
static volatile int changed = 1;

static void what_the_program_was_loaded_with_is_let_go_and_comes_back_when_needed(void **state)
{
    (void)state;
    unsigned sum = 0;
    changed = 2;
    for (size_t i = 0; i < TABLE_BYTES; i++) {
        sum += table[i];
    }
    assert_int_equal(sum, 16);
    size_t before = resident_bytes();
    hf_give_code_back();
    assert_true(resident_bytes() < before - TABLE_BYTES / 2);
    for (size_t i = 0; i < TABLE_BYTES; i++) {
        sum += table[i];
    }
    assert_int_equal(sum, 32);
    assert_int_equal(changed, 2); /* what was written is nowhere else */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_threads_freed_goes_back_to_the_system),
        cmocka_unit_test(what_the_program_was_loaded_with_is_let_go_and_comes_back_when_needed),
    };
    hf_keep_memory_small();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
