#include "agent/capture/clock_watch.h"

#include <time.h>

#include "common/clock.h"

#define TRIES 5
/* Readings that lie further apart were interrupted in between. */
#define APART_MAX_NS HF_NS_PER_MS
#define SLEW_SHARE   10 /* of the time that passed: chrony slews by a twelfth at most */

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * HF_NS_PER_SECOND + now.tv_nsec;
}

struct hf_clock_reading clock_watch_read(void)
{
    struct hf_clock_reading reading;
    int64_t after_ns;
    int tries = 0;
    do {
        reading.boot_ns = read_clock(CLOCK_BOOTTIME);
        reading.wall_ns = read_clock(CLOCK_REALTIME);
        reading.monotonic_ns = read_clock(CLOCK_MONOTONIC);
        after_ns = read_clock(CLOCK_BOOTTIME);
    } while (after_ns - reading.boot_ns > APART_MAX_NS && ++tries < TRIES);
    return reading;
}

static int64_t magnitude(int64_t ns)
{
    return ns < 0 ? -ns : ns;
}

void clock_watch_look(struct hf_clock_watch *watch, const struct hf_clock_reading *now,
                      struct hf_clock_change *sum)
{
    const struct hf_clock_reading last = watch->last;
    int64_t passed_ns = now->boot_ns - last.boot_ns;
    int64_t set_ns = now->wall_ns - last.wall_ns - passed_ns;
    int64_t slept_ns = passed_ns - (now->monotonic_ns - last.monotonic_ns);
    bool first = last.boot_ns == 0 && last.wall_ns == 0;
    watch->last = *now;
    if (first) {
        return;
    }
    sum->set_ns += set_ns;
    sum->notable =
        sum->notable || slept_ns >= HF_CLOCK_SLEPT_MIN_NS ||
        (magnitude(set_ns) >= HF_CLOCK_SET_MIN_NS && magnitude(set_ns) > passed_ns / SLEW_SHARE);
    sum->slept_ns += slept_ns >= HF_CLOCK_SLEPT_MIN_NS ? slept_ns : 0;
}
