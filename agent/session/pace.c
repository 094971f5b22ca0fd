#include "agent/session/pace.h"

#include "common/clock.h"

/* What TLS, TCP and IP add is counted too, for the limit is the network's: headers of a TLS record
 * every 16 KiB and of a packet every 1400 bytes. */
#define OVERHEAD_SHARE 32
#define OVERHEAD_BYTES 64

static int64_t cost_ns(const struct hf_pace *pace, size_t size)
{
    uint64_t bytes = size + size / OVERHEAD_SHARE + OVERHEAD_BYTES;
    return (int64_t)((bytes * (uint64_t)HF_NS_PER_SECOND + pace->bytes_per_second - 1) /
                     pace->bytes_per_second);
}

int64_t pace_wait_ns(const struct hf_pace *pace, size_t size, int64_t now_ns)
{
    if (pace->bytes_per_second == 0)
        return 0;
    int64_t cost = cost_ns(pace, size);
    int64_t needs_ns = cost < HF_PACE_BURST_NS ? cost : HF_PACE_BURST_NS;
    int64_t wait_ns = pace->full_at_ns - HF_PACE_BURST_NS + needs_ns - now_ns;
    return wait_ns > 0 ? wait_ns : 0;
}

void pace_take(struct hf_pace *pace, size_t size, int64_t now_ns)
{
    if (pace->bytes_per_second == 0)
        return;
    if (pace->full_at_ns < now_ns)
        pace->full_at_ns = now_ns;
    pace->full_at_ns += cost_ns(pace, size);
}
