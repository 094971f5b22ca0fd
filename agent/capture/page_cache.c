#include "agent/capture/page_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define LONG_BYTES (1024u * 1024u)
/* What is in the cache is asked for so much at a time, before it is read: mincore(2) needs a byte a
 * page. Where two of these meet, what the kernel read ahead passes for what was there. */
#define STRETCH_BYTES (64u * 1024u * 1024u)

struct page_cache {
    int fd;
    size_t page;
    uint64_t size, start, end; /* of the file; of the stretch that is being read */
    uint8_t resident[];        /* a byte a page of the stretch: bit 0, it was there before */
};

struct page_cache *page_cache_begin(int fd, uint64_t size)
{
    long page = sysconf(_SC_PAGESIZE);
    if (size < LONG_BYTES || page <= 0) {
        return NULL;
    }
    struct page_cache *cache = malloc(sizeof *cache + STRETCH_BYTES / (size_t)page);
    if (cache) {
        *cache = (struct page_cache){.fd = fd, .page = (size_t)page, .size = size};
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return cache;
}

static void drop(struct page_cache *cache)
{
    size_t pages = (size_t)((cache->end - cache->start + cache->page - 1) / cache->page);
    for (size_t i = 0; i < pages;) {
        size_t first = i;
        while (i < pages && (cache->resident[i] & 1) == (cache->resident[first] & 1)) {
            i++;
        }
        if (!(cache->resident[first] & 1)) {
            posix_fadvise(cache->fd, (off_t)(cache->start + first * cache->page),
                          (off_t)((i - first) * cache->page), POSIX_FADV_DONTNEED);
        }
    }
    cache->start = cache->end;
}

/* What can't be asked passes for what was there. */
static void ask(struct page_cache *cache, uint64_t offset)
{
    uint64_t left = cache->size - offset;
    size_t length = left < STRETCH_BYTES ? (size_t)left : STRETCH_BYTES;
    cache->start = offset;
    cache->end = offset + length;
    memset(cache->resident, 1, STRETCH_BYTES / cache->page);
    void *map = mmap(NULL, length, PROT_READ, MAP_SHARED, cache->fd, (off_t)offset);
    if (map != MAP_FAILED) {
        if (mincore(map, length, cache->resident) != 0) {
            memset(cache->resident, 1, STRETCH_BYTES / cache->page);
        }
        munmap(map, length);
    }
}

void page_cache_before(struct page_cache *cache, uint64_t offset)
{
    if (cache && offset >= cache->end && offset < cache->size) {
        drop(cache);
        ask(cache, offset - offset % cache->page);
    }
}

void page_cache_end(struct page_cache *cache)
{
    if (cache) {
        drop(cache);
        free(cache);
    }
}

size_t page_cache_read_warm(int fd, uint8_t *out, size_t size, uint64_t *warm)
{
    /* Where the file position is; what would have to wait for the disk is not read (Linux 4.14). */
    ssize_t got = preadv2(fd, &(struct iovec){out, size}, 1, -1, RWF_NOWAIT);
    *warm = got > 0 ? (uint64_t)got : got < 0 && errno == EAGAIN ? 0 : UINT64_MAX;
    return got > 0 ? (size_t)got : 0;
}

void page_cache_drop_behind(int fd, uint64_t warm)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    posix_fadvise(fd, (off_t)((warm + page - 1) / page * page), 0, POSIX_FADV_DONTNEED);
}
