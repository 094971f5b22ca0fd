/* How often somebody may try: a token bucket a key (an address), in bounded memory. Keys share
 * slots by hash; a newcomer takes over the slot of another key, which so gets its full burst back:
 * memory stays fixed, and what an attacker with many addresses gains is bounded by its addresses.
 * Any thread. */
#ifndef HF_COMMON_RATE_LIMIT_H
#define HF_COMMON_RATE_LIMIT_H

#include <stdint.h>

struct hf_rate_limit;

/* burst tries at once, refilled at per_minute. NULL when out of memory. */
struct hf_rate_limit *hf_rate_limit_new(unsigned burst, unsigned per_minute);
void hf_rate_limit_free(struct hf_rate_limit *limit);
/* Seconds until the key may try again, 0 when it may now. Takes nothing. */
uint32_t hf_rate_limit_wait(struct hf_rate_limit *limit, const char *key);
/* The same, and counts one try when it may. */
uint32_t hf_rate_limit_take(struct hf_rate_limit *limit, const char *key);

#endif
