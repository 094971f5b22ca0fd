/* Reading for a backup leaves the page cache as it was: what the reading brought in is dropped
 * behind the reader, what the host's programs had there stays; of a short file (up to 1 MiB), what
 * they had of it before the first page that they had not. */
#ifndef HF_AGENT_CAPTURE_PAGE_CACHE_H
#define HF_AGENT_CAPTURE_PAGE_CACHE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct page_cache;

/* For an open file of size bytes; NULL for a short one, for which the two at the end are, and
 * without memory. */
struct page_cache *page_cache_begin(int fd, uint64_t size);
/* About to read at offset, which never goes back. NULL is fine. */
void page_cache_before(struct page_cache *cache, uint64_t offset);
/* Read as far as it will be; frees. NULL is fine. */
void page_cache_end(struct page_cache *cache);

/* Of a short file of size bytes that has not been read yet: so much of it is in the cache, up to
 * the first page that is not, and UINT64_MAX for all of it; the same if that can't be asked. */
uint64_t page_cache_warm(int fd, uint64_t size);
/* Drop what was read behind that. */
void page_cache_drop_behind(int fd, uint64_t warm);

#endif
