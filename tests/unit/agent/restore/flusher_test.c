#include "agent/restore/flusher.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIB (1024u * 1024u)

int __wrap_syncfs(int fd);

/* syncfs, which lasts until the test lets it end. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int begun, allowed, last_fd, fail_with;

int __wrap_syncfs(int fd)
{
    pthread_mutex_lock(&lock);
    begun++;
    last_fd = fd;
    pthread_cond_broadcast(&changed);
    while (allowed < begun)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    errno = fail_with;
    return fail_with ? -1 : 0;
}

static void await_begun(int count)
{
    pthread_mutex_lock(&lock);
    while (begun < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void allow(int count)
{
    pthread_mutex_lock(&lock);
    allowed = count;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int forget(void **state)
{
    (void)state;
    begun = allowed = fail_with = 0;
    last_fd = -1;
    return 0;
}

static void what_is_staged_is_written_out_while_more_is_coming(void **state)
{
    (void)state;
    struct hf_flusher *flusher;
    struct hf_error error;
    assert_int_equal(flusher_start(&flusher, &error), 0);
    flusher_note(flusher, 7, 64 * MIB);
    await_begun(1); /* while this one isn't over, others are gathered, and nobody waits */
    for (unsigned i = 0; i < 100; i++)
        flusher_note(flusher, 8, MIB);
    assert_int_equal(begun, 1);
    assert_int_equal(last_fd, 7);
    allow(2);
    /* The next that is noted finds it over, sooner or later. */
    for (int seen = 1; seen < 2;) {
        flusher_note(flusher, 8, 1);
        pthread_mutex_lock(&lock);
        seen = begun;
        pthread_mutex_unlock(&lock);
    }
    assert_int_equal(flusher_stop(flusher), 0);
    assert_int_equal(begun, 2);
    assert_int_equal(last_fd, 8);
}

static void a_small_restore_flushes_nothing_of_its_own(void **state)
{
    (void)state;
    struct hf_flusher *flusher;
    struct hf_error error;
    assert_int_equal(flusher_start(&flusher, &error), 0);
    flusher_note(flusher, 7, 64 * MIB - 1);
    assert_int_equal(flusher_stop(flusher), 0);
    assert_int_equal(flusher_stop(NULL), 0);
    assert_int_equal(begun, 0);
}

static void what_could_not_be_written_out_is_told_in_the_end(void **state)
{
    (void)state;
    struct hf_flusher *flusher;
    struct hf_error error;
    assert_int_equal(flusher_start(&flusher, &error), 0);
    fail_with = EIO;
    allow(2);
    flusher_note(flusher, 7, 64 * MIB);
    await_begun(1);
    assert_int_equal(flusher_stop(flusher), EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_staged_is_written_out_while_more_is_coming, forget),
        cmocka_unit_test_setup(what_could_not_be_written_out_is_told_in_the_end, forget),
        cmocka_unit_test_setup(a_small_restore_flushes_nothing_of_its_own, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
