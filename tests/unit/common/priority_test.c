/* A thread steps back alone, and comes forward again as far as the system lets it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/priority.h"

static const struct hf_priority low = {.nice = 12, .io_class = HF_IO_BEST_EFFORT, .io_priority = 6};

struct seen {
    struct hf_priority before, stepped_back, hurried, again;
};

static void *step_back_and_forth(void *context)
{
    struct seen *seen = context;
    struct hf_priority_switch priority;
    seen->before = hf_priority_now();
    hf_priority_begin(&priority, &low);
    seen->stepped_back = hf_priority_now();
    hf_priority_hurry(&priority, false); /* as it is */
    hf_priority_hurry(&priority, true);
    seen->hurried = hf_priority_now();
    hf_priority_hurry(&priority, false);
    seen->again = hf_priority_now();
    return NULL;
}

static bool same(struct hf_priority a, struct hf_priority b)
{
    return a.nice == b.nice && a.io_class == b.io_class && a.io_priority == b.io_priority;
}

static void only_the_thread_that_asks_steps_back(void **state)
{
    struct seen seen;
    pthread_t thread;
    (void)state;
    struct hf_priority own = hf_priority_now();
    assert_int_equal(pthread_create(&thread, NULL, step_back_and_forth, &seen), 0);
    pthread_join(thread, NULL);
    assert_true(same(seen.before, own));
    assert_int_equal(seen.stepped_back.nice, own.nice > low.nice ? own.nice : low.nice);
    assert_int_equal(seen.stepped_back.io_class, HF_IO_BEST_EFFORT);
    assert_int_equal(seen.stepped_back.io_priority, 6);
    assert_true(same(seen.again, seen.stepped_back));
    assert_true(same(hf_priority_now(), own));
}

enum verdict { AS_IT_SHOULD, WRONG, NOT_POSSIBLE };

/* In a process of its own, as nobody, who may be as nice as that limit says. */
static enum verdict see_as_nobody(rlim_t limit)
{
    struct seen seen;
    if (setrlimit(RLIMIT_NICE, &(struct rlimit){limit, limit}) != 0 ||
        setresuid(65534, 65534, 65534) != 0 || hf_priority_now().nice != 0) {
        return NOT_POSSIBLE;
    }
    step_back_and_forth(&seen);
    bool right = seen.stepped_back.nice == 12 && seen.hurried.nice == (limit > 0 ? 0 : 12) &&
                 seen.hurried.io_class == seen.before.io_class &&
                 same(seen.again, seen.stepped_back);
    return right ? AS_IT_SHOULD : WRONG;
}

static void assert_seen_as_nobody(rlim_t limit)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit((int)see_as_nobody(limit));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_POSSIBLE) {
        skip(); /* it takes root, and CAP_SYS_RESOURCE to raise the limit */
    }
    assert_int_equal(WEXITSTATUS(status), AS_IT_SHOULD);
}

static void without_a_right_to_come_forward_the_disk_alone_does(void **state)
{
    (void)state;
    assert_seen_as_nobody(0);
}

static void a_limit_is_right_enough_to_come_forward(void **state)
{
    (void)state;
    assert_seen_as_nobody(20); /* LimitNICE=+0 */
}

static void who_is_nicer_already_stays_so(void **state)
{
    (void)state;
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct hf_priority_switch priority;
        setpriority(PRIO_PROCESS, 0, 19);
        hf_priority_begin(&priority, &low);
        _exit(hf_priority_now().nice);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_thread_that_asks_steps_back),
        cmocka_unit_test(without_a_right_to_come_forward_the_disk_alone_does),
        cmocka_unit_test(a_limit_is_right_enough_to_come_forward),
        cmocka_unit_test(who_is_nicer_already_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
