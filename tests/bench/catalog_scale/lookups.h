/* The questions that Holdfast asks a catalog, over random samples of the fleet. */
#ifndef HF_BENCH_LOOKUPS_H
#define HF_BENCH_LOOKUPS_H

#include "figures.h"
#include "fleet.h"

#define LOOKUPS_MAX 48u

struct lookup_figures {
    struct figure time;
    struct figure cpu; /* what of it was computing: tells a slow question from a busy machine */
};

enum lookups_cache {
    LOOKUPS_COLD, /* each kind of question begins with nothing of the catalog in memory */
    LOOKUPS_WARM, /* the same questions were asked just before */
    LOOKUPS_BUSY  /* warm, and a writer goes on meanwhile */
};

/* Ask each question `count` times through one reader, as a worker of the collector has one, and
 * put the times into figures[0 .. the returned number - 1]. Ends the process on a failure. */
unsigned lookups_run(const struct fleet *fleet, const char *catalog_path, enum lookups_cache cache,
                     unsigned count, struct lookup_figures figures[LOOKUPS_MAX]);

/* Forget what the system keeps of the file in memory. */
void lookups_drop_cache(const char *catalog_path);

#endif
