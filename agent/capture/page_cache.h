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

/* Read the beginning of a short file, up to size bytes, as far as it is in the cache: how much that
 * was, 0 for nothing. *warm: so much of the file was there before, up to the first page that was
 * not; all of it, if that can't be asked. What is there costs no more than to read it. */
size_t page_cache_read_warm(int fd, uint8_t *out, size_t size, uint64_t *warm);
/* Drop what was read behind that. */
void page_cache_drop_behind(int fd, uint64_t warm);

#endif
