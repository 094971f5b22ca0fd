/* Reading for a backup leaves the page cache as it was: what a long file's reading brought in is
 * dropped behind the reader, what the host's programs had there stays. */
#ifndef HF_AGENT_CAPTURE_PAGE_CACHE_H
#define HF_AGENT_CAPTURE_PAGE_CACHE_H

#include <stdint.h>

struct page_cache;

/* For an open file of size bytes; NULL for a short one, which takes no room to speak of, and
 * without memory. */
struct page_cache *page_cache_begin(int fd, uint64_t size);
/* About to read at offset, which never goes back. NULL is fine. */
void page_cache_before(struct page_cache *cache, uint64_t offset);
/* Read as far as it will be; frees. NULL is fine. */
void page_cache_end(struct page_cache *cache);

#endif
