/* Time: nanoseconds since the epoch (UTC) in int64_t, and a monotonic clock;
 * moments as people write them. */
#ifndef HF_COMMON_CLOCK_H
#define HF_COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define HF_NS_PER_SECOND INT64_C(1000000000)
#define HF_NS_PER_MS     INT64_C(1000000)

int64_t hf_clock_now_ns(void);       /* CLOCK_REALTIME */
int64_t hf_clock_monotonic_ns(void); /* CLOCK_MONOTONIC */

/* A moment as people write it, relative to now_ns and in the local zone unless the
 * text names one: RFC 3339 ("2026-11-22T10:31:00Z", fractions, offsets),
 * "2026-11-22 10:31[:05[.123]]", "2026-11-22" (its start), "10:31" (today),
 * "now", "today", "yesterday", "yesterday 10:31", "10 minutes ago", "2h ago", "1h30m ago",
 * "@1764000000". HF_ERR_INVALID with what was expected otherwise. */
int hf_moment_parse(const char *text, int64_t now_ns, int64_t *out_ns, struct hf_error *error);

#define HF_TIME_TEXT_BYTES 64
/* "2026-11-22T10:31:00.123456789Z" (fraction only when not 0). */
void hf_time_rfc3339(int64_t ns, char out[HF_TIME_TEXT_BYTES]);
/* "2026-11-22 10:31:00.123 CET": local zone, always named, for people. */
void hf_time_local(int64_t ns, char out[HF_TIME_TEXT_BYTES]);

/* "250ms", "5s", "10m", "2h", "7d", "1h30m", or a plain number of seconds. */
int hf_duration_parse(const char *text, int64_t *out_ns, struct hf_error *error);
/* "1.5 s", "3 min", "2 h 5 min", "7 d": at most two units, for people. */
void hf_duration_text(int64_t ns, char out[HF_TIME_TEXT_BYTES]);
/* "64MiB", "10 GB", "512k" (k, M, G, T are binary with or without i; B optional). */
int hf_size_parse(const char *text, uint64_t *out_bytes, struct hf_error *error);
/* "1.2 GiB", for people. */
void hf_size_text(uint64_t bytes, char out[HF_TIME_TEXT_BYTES]);

#endif
