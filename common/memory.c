#include "common/memory.h"

#include <malloc.h>

/* One arena a thread would keep its share each, and a threshold that grows with the largest buffer
 * would keep the next ones. */
#define ARENAS_MAX      2
#define THRESHOLD_BYTES (128 * 1024)

void hf_keep_memory_small(void)
{
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, ARENAS_MAX);
    mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES);
    mallopt(M_TRIM_THRESHOLD, THRESHOLD_BYTES);
#endif
}

void hf_give_memory_back(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
