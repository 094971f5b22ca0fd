#include "figures.h"

#define SUB_BITS 6u
#define SUB      (1u << SUB_BITS)

static unsigned bucket_of(uint64_t ns)
{
    if (ns < SUB) {
        return (unsigned)ns;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (top - SUB_BITS + 1) * SUB + (unsigned)(ns >> (top - SUB_BITS) & (SUB - 1));
    return bucket < FIGURE_BUCKETS ? bucket : FIGURE_BUCKETS - 1;
}

/* The largest value that falls into it. */
static int64_t bucket_limit(unsigned bucket)
{
    if (bucket < SUB) {
        return bucket;
    }
    unsigned shift = bucket / SUB - 1;
    return (int64_t)(((uint64_t)(SUB + bucket % SUB + 1) << shift) - 1);
}

void figure_add(struct figure *figure, int64_t ns)
{
    figure->count++;
    figure->sum_ns += ns;
    figure->max_ns = ns > figure->max_ns ? ns : figure->max_ns;
    figure->buckets[bucket_of((uint64_t)ns)]++;
}

int64_t figure_quantile(const struct figure *figure, double part)
{
    double wanted = part * (double)figure->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < FIGURE_BUCKETS && figure->count > 0; i++) {
        seen += figure->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            int64_t limit = bucket_limit(i);
            return limit < figure->max_ns ? limit : figure->max_ns;
        }
    }
    return figure->max_ns;
}
