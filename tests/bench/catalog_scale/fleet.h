/* The fleet that the benchmark makes up: which hosts, sources, files, chunks and moments there are.
 * All of it follows from numbers, so that writer, readers and the rebuild agree without a list.
 *
 * A robot host has 100 files: 5 checkpoints, which are rewritten over and over, and 95 others,
 * which hardly change. One more host shares a tree with a tenth of all versions in it, each file
 * once. */
#ifndef HF_BENCH_FLEET_H
#define HF_BENCH_FLEET_H

#include <stddef.h>
#include <stdint.h>

#include "common/hash.h"

#define FLEET_FILES       100u /* of a robot host */
#define FLEET_CHECKPOINTS 5u   /* of those: the first ones */
#define FLEET_SOURCES     5u   /* of a robot host, in the order of enum fleet_source */
#define FLEET_PATH_BYTES  160u
#define FLEET_SHARED_DIR  100u /* files of one directory of the shared tree */

enum fleet_source {
    FLEET_CHECKPOINT,
    FLEET_CONFIG,
    FLEET_WORKFLOWS,
    FLEET_CREDENTIALS,
    FLEET_LOGS
};

struct fleet {
    uint64_t versions, chunks; /* how many there are to be */
    uint64_t hosts;            /* robots; the sharing one comes after them */
    uint64_t shared_files;
};

struct fleet_file {
    uint64_t host_row, source_row;
    enum fleet_source source;
    size_t path_size;
    char path[FLEET_PATH_BYTES];
};

/* hosts 0: one for 10,000 versions. */
void fleet_plan(struct fleet *fleet, uint64_t versions, uint64_t chunks, uint64_t hosts);
/* Files 0 to hosts * FLEET_FILES - 1 are the robots', those after that the shared tree's. */
uint64_t fleet_file_count(const struct fleet *fleet);
void fleet_file(const struct fleet *fleet, uint64_t number, struct fleet_file *out);
/* The directory that the file lies in: so many bytes of its path. */
size_t fleet_directory(const struct fleet_file *file);
const char *fleet_source_name(enum fleet_source source);

/* When version number n (from 0) was captured: all of them in thirty days. */
int64_t fleet_moment(const struct fleet *fleet, uint64_t version);
void fleet_chunk_id(uint64_t number, uint8_t out[HF_HASH_BYTES]);

/* splitmix64: the next of a sequence of numbers. */
uint64_t fleet_random(uint64_t *state);

#endif
