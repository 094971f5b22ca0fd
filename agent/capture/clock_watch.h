/* Whether this host's clock was set, or the host slept: told from three clocks of the kernel, which
 * go alike otherwise. Plain data, one thread; the caller brings the time. */
#ifndef HF_AGENT_CAPTURE_CLOCK_WATCH_H
#define HF_AGENT_CAPTURE_CLOCK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct hf_clock_reading {
    int64_t wall_ns;      /* CLOCK_REALTIME: people set it */
    int64_t monotonic_ns; /* CLOCK_MONOTONIC: nobody sets it; stands still while the host sleeps */
    int64_t boot_ns;      /* CLOCK_BOOTTIME: as that, but goes on */
};

struct hf_clock_watch {
    struct hf_clock_reading last; /* all 0 before the first look */
};

struct hf_clock_change {
    int64_t set_ns;   /* how far the wall clock went ahead of the others; below 0: fell behind */
    int64_t slept_ns; /* how long the host slept */
    bool notable;     /* the clock was set, not just steered, or the host slept */
};

/* A clock that is steered is slewed by a tenth of the time that passes at most, and set a little.
 * Less than this is not notable: a host whose clock is kept well is left in peace. */
#define HF_CLOCK_SET_MIN_NS   (INT64_C(2) * 1000000000)
#define HF_CLOCK_SLEPT_MIN_NS (INT64_C(2) * 1000000000)

struct hf_clock_reading clock_watch_read(void);
/* Add to *sum what happened since the last look; the first look only remembers. Look often: what
 * was set in a long time can't be told from what was steered. */
void clock_watch_look(struct hf_clock_watch *watch, const struct hf_clock_reading *now,
                      struct hf_clock_change *sum);

#endif
