#include "common/sparse.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define STAT_BLOCK_BYTES 512 /* stat(2) */

bool hf_sparse_possible(const struct stat *status)
{
    return status->st_blocks < status->st_size / STAT_BLOCK_BYTES;
}

/* Where the next hole of a size that counts begins; it may be where the file ends. */
static uint64_t data_end(int fd, uint64_t at, uint64_t limit)
{
    while (at < limit) {
        off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);
        if (hole < 0 || (uint64_t)hole >= limit) {
            return limit;
        }
        off_t data = lseek(fd, hole, SEEK_DATA);
        if (data < 0 || (uint64_t)data >= limit) {
            return limit - (uint64_t)hole >= HF_HOLE_MIN_BYTES ? (uint64_t)hole : limit;
        }
        if (data - hole >= (off_t)HF_HOLE_MIN_BYTES) {
            return (uint64_t)hole;
        }
        at = (uint64_t)data;
    }
    return limit;
}

uint64_t hf_sparse_extent(int fd, uint64_t at, uint64_t limit, bool *hole)
{
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    /* ENXIO: there is none any more. */
    uint64_t next = data >= 0 ? (uint64_t)data : errno == ENXIO ? limit : at;
    next = next < limit ? next : limit;
    *hole = next - at >= HF_HOLE_MIN_BYTES;
    return *hole ? next : data_end(fd, next > at ? next : at, limit);
}

bool hf_is_zero(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}
