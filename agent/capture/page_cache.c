#include "agent/capture/page_cache.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LONG_BYTES     (1024u * 1024u)
#define PAGE_BYTES_MIN 4096u
#if !defined SYS_cachestat && (defined __x86_64__ || defined __aarch64__)
#define SYS_cachestat 451 /* younger than the headers of Debian 12 */
#endif
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
static void ask_kernel(int fd, uint64_t offset, size_t length, uint8_t *resident, size_t pages)
{
    memset(resident, 1, pages);
    void *map = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    if (map != MAP_FAILED) {
        if (mincore(map, length, resident) != 0) {
            memset(resident, 1, pages);
        }
        munmap(map, length);
    }
}

static void ask(struct page_cache *cache, uint64_t offset)
{
    uint64_t left = cache->size - offset;
    size_t length = left < STRETCH_BYTES ? (size_t)left : STRETCH_BYTES;
    cache->start = offset;
    cache->end = offset + length;
    ask_kernel(cache->fd, offset, length, cache->resident, STRETCH_BYTES / cache->page);
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

/* Whole or not at all is all that one call can say (Linux 6.5; mincore(2) with its mapping takes
 * ten times as long): false if it can't, or it is neither. */
static bool count_says(int fd, uint64_t pages, uint64_t *warm)
{
#ifdef SYS_cachestat
    struct {
        uint64_t offset, length;
    } all = {0, 0};
    struct {
        uint64_t cached, dirty, written, evicted, lately;
    } count = {0};
    if (syscall(SYS_cachestat, fd, &all, &count, 0) == 0) {
        *warm = count.cached == 0 ? 0 : UINT64_MAX;
        return count.cached == 0 || count.cached >= pages;
    }
#else
    (void)fd, (void)pages, (void)warm;
#endif
    return false;
}

uint64_t page_cache_warm(int fd, uint64_t size)
{
    uint8_t resident[LONG_BYTES / PAGE_BYTES_MIN];
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), warm = UINT64_MAX;
    uint64_t pages = (size + page - 1) / page;
    if (size == 0 || size >= LONG_BYTES || page < PAGE_BYTES_MIN || count_says(fd, pages, &warm)) {
        return warm;
    }
    ask_kernel(fd, 0, (size_t)size, resident, (size_t)pages);
    for (uint64_t i = 0; i < pages; i++) {
        if (!(resident[i] & 1)) {
            return i * page;
        }
    }
    return UINT64_MAX;
}

void page_cache_drop_behind(int fd, uint64_t warm)
{
    posix_fadvise(fd, (off_t)warm, 0, POSIX_FADV_DONTNEED);
}
