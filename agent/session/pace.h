/* How fast bulk may go out: a token bucket that holds a quarter of a second's worth. Whoever wants
 * to send more at once than it holds waits until it is full, and pays afterwards. So in any stretch
 * of time no more goes out than the rate allows in it, and on top a quarter of a second's worth or
 * one message, whichever is more. Plain data, one thread; the caller brings the time. */
#ifndef HF_AGENT_SESSION_PACE_H
#define HF_AGENT_SESSION_PACE_H

#include <stddef.h>
#include <stdint.h>

struct hf_pace {
    uint64_t bytes_per_second; /* 0: no limit */
    int64_t full_at_ns;        /* when the bucket is full again; monotonic */
};

/* What the bucket holds, as the time in which it fills. */
#define HF_PACE_BURST_NS INT64_C(250000000)
/* Rates above this are no limit on any network. */
#define HF_PACE_MAX (UINT64_C(1) << 40)

/* How long to wait before size bytes (at most 16 MiB) may go, 0: they may now. */
int64_t pace_wait_ns(const struct hf_pace *pace, size_t size, int64_t now_ns);
/* They go. */
void pace_take(struct hf_pace *pace, size_t size, int64_t now_ns);

#endif
