/* Times of one operation: a histogram of bounded size, so that ten million of them cost no more
 * memory than ten. Kept in memory that the benchmark's processes share. */
#ifndef HF_BENCH_FIGURES_H
#define HF_BENCH_FIGURES_H

#include <stdint.h>

#define FIGURE_BUCKETS 2560u /* 64 to each power of two: read to 1.6 % */

struct figure {
    char name[48];
    uint64_t count;
    int64_t sum_ns, max_ns;
    uint32_t buckets[FIGURE_BUCKETS];
};

void figure_add(struct figure *figure, int64_t ns);
/* The time that this part (0 to 1) of them did not exceed; 0 when there is none. */
int64_t figure_quantile(const struct figure *figure, double part);

#endif
