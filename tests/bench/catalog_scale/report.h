/* What the benchmark found out, and how it is told. */
#ifndef HF_BENCH_REPORT_H
#define HF_BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "figures.h"
#include "fleet.h"
#include "lookups.h"

#define STEPS 10u /* in which growth is told */

struct step {
    uint64_t versions;
    double seconds, cpu_seconds;
    uint64_t bytes, wal_bytes;
    uint64_t written_bytes; /* to the disk or on their way to it, log and database */
    struct figure commits;
};

/* What the processes tell: in shared memory. */
struct results {
    struct step steps[STEPS];
    struct figure equal, changed;
    double open_after_kill_s, open_s;
    uint64_t bytes;
    unsigned lookup_count;
    struct lookup_figures cold[LOOKUPS_MAX], warm[LOOKUPS_MAX], busy[LOOKUPS_MAX];
    struct figure busy_commits, replay_commits;
    double replay_s, replay_cpu_s;
    bool rebuilt_alike;
};

struct peaks {
    uint64_t writer, reader, rebuild;
};

struct bench {
    struct fleet fleet;
    unsigned batch, samples;
    bool rebuild;
    char directory[512], catalog[600], rebuilt[600];
    struct results *results;
};

/* For people, to the standard output. */
void report_print(const struct bench *bench, const struct peaks *peaks);
/* For programs, as JSON. 0, or -1 with a message. */
int report_write_json(const struct bench *bench, const struct peaks *peaks, const char *file);

#endif
