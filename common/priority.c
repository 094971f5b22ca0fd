#include "common/priority.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IO_WHO_PROCESS 1 /* which is a thread */
#define IO_CLASS_SHIFT 13

struct hf_priority hf_priority_now(void)
{
    long io = syscall(SYS_ioprio_get, IO_WHO_PROCESS, 0);
    io = io < 0 ? 0 : io;
    return (struct hf_priority){
        .nice = getpriority(PRIO_PROCESS, (id_t)gettid()),
        .io_class = (enum hf_io_class)(io >> IO_CLASS_SHIFT),
        .io_priority = (int)(io & ((1 << IO_CLASS_SHIFT) - 1)),
    };
}

/* What isn't permitted isn't done: a priority is a wish. */
static void set(const struct hf_priority *priority)
{
    setpriority(PRIO_PROCESS, (id_t)gettid(), priority->nice);
    syscall(SYS_ioprio_set, IO_WHO_PROCESS, 0,
            ((int)priority->io_class << IO_CLASS_SHIFT) | priority->io_priority);
}

void hf_priority_begin(struct hf_priority_switch *priority, const struct hf_priority *low)
{
    priority->full = hf_priority_now();
    priority->low = *low;
    if (priority->low.nice < priority->full.nice) {
        priority->low.nice = priority->full.nice;
    }
    priority->is_low = true;
    set(&priority->low);
}

void hf_priority_hurry(struct hf_priority_switch *priority, bool hurry)
{
    if (priority->is_low == hurry) {
        priority->is_low = !hurry;
        set(hurry ? &priority->full : &priority->low);
    }
}
