/* When to try again: exponential with full jitter (every wait is drawn from 0 to the present
 * bound), so that a thousand agents that lost their collector together don't come back together.
 * Plain data, one thread. */
#ifndef HF_AGENT_SESSION_BACKOFF_H
#define HF_AGENT_SESSION_BACKOFF_H

#include <stdint.h>

#define HF_BACKOFF_BASE_MS 500u
#define HF_BACKOFF_CAP_MS  30000u /* unless configured */

struct hf_backoff {
    uint32_t failures; /* in a row */
    uint32_t cap_ms;   /* longest bound; 0: HF_BACKOFF_CAP_MS */
};

/* The next wait in milliseconds; counts a failure. retry_after_ms, when not 0, is what the
 * collector asked for: the wait is never shorter than that (taken as ten minutes at most). random
 * is a uniformly drawn number, passed in so that the result can be tested. */
uint32_t backoff_next_ms(struct hf_backoff *backoff, uint32_t retry_after_ms, uint32_t random);
void backoff_reset(struct hf_backoff *backoff);

#endif
