#include "agent/session/backoff.h"

/* A collector that wants longer says so again; one that was taken over, or mistaken, does not
 * silence a host for a day. */
#define RETRY_AFTER_MAX_MS (10u * 60u * 1000u)

uint32_t backoff_next_ms(struct hf_backoff *backoff, uint32_t retry_after_ms, uint32_t random)
{
    uint32_t bound = backoff->cap_ms > 0 ? backoff->cap_ms : HF_BACKOFF_CAP_MS;
    if (backoff->failures < 20) {
        uint32_t grown = HF_BACKOFF_BASE_MS << backoff->failures;
        bound = grown < bound ? grown : bound;
    }
    if (backoff->failures < UINT32_MAX)
        backoff->failures++;
    if (retry_after_ms > RETRY_AFTER_MAX_MS)
        retry_after_ms = RETRY_AFTER_MAX_MS;
    /* The jitter comes on top of what the collector asked for: it asks many at once. */
    return retry_after_ms + (uint32_t)(((uint64_t)random * (bound + 1)) >> 32);
}

void backoff_reset(struct hf_backoff *backoff)
{
    backoff->failures = 0;
}
