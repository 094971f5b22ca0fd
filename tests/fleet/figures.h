/* What is counted and timed between two `phase` commands. Plain data. */
#ifndef HF_TESTS_FLEET_FIGURES_H
#define HF_TESTS_FLEET_FIGURES_H

#include <stdint.h>
#include <stdio.h>

#define TIMES_FINE   20000u /* buckets of 0.1 ms, to 2 s */
#define TIMES_COARSE 60000u /* then of 10 ms, to 10 min */
#define CODES_MAX    24u

/* Durations, exact to their bucket. */
struct times {
    uint64_t count;
    int64_t longest_ns;
    uint32_t fine[TIMES_FINE], coarse[TIMES_COARSE];
};
void times_add(struct times *times, int64_t elapsed_ns);
/* The upper edge of the bucket that holds this share of them, at most the longest. */
int64_t times_quantile_ns(const struct times *times, double share);
/* {"count":..,"p50_ms":..,"p90_ms":..,"p99_ms":..,"p999_ms":..,"max_ms":..} */
void times_print(const struct times *times, FILE *out);

struct figures {
    int64_t began_ns;      /* monotonic */
    int64_t began_cpu_ns;  /* of this process */
    uint64_t sent, resent; /* versions */
    uint64_t acked;
    uint64_t bytes;                                  /* of bulk frames */
    uint64_t held_window, held_credit, held_offline; /* versions that were due and not sent */
    uint64_t marks, connects, failed_connects, cuts; /* connections: opened, not opened, lost */
    uint64_t goaways[CODES_MAX], errors[CODES_MAX];  /* by the wire's codes */
    struct times ack;                                /* from when it was due */
};
void figures_begin(struct figures *figures);
void figures_print(const struct figures *figures, const char *name, FILE *out);

#endif
