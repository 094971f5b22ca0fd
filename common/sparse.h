/* Holes of files: parts that take no room and read as zeros. */
#ifndef HF_COMMON_SPARSE_H
#define HF_COMMON_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Shorter holes are taken for the zeros that they read as. */
#define HF_HOLE_MIN_BYTES 65536u
/* No file system's blocks are shorter: a hole begins and ends at a multiple. */
#define HF_HOLE_BLOCK_BYTES 4096u

/* Whether it may have holes: it takes less room than it is long. */
bool hf_sparse_possible(const struct stat *status);
/* How far the hole or the data at `at` goes, at most to limit, at < limit. *hole which it is. The
 * file's position moves. Without SEEK_HOLE (lseek(2)) all is data. */
uint64_t hf_sparse_extent(int fd, uint64_t at, uint64_t limit, bool *hole);
/* Whether all bytes are 0. */
bool hf_is_zero(const void *data, size_t size);

#endif
