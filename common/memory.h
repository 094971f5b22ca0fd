/* The heap of a daemon that works in bursts. */
#ifndef HF_COMMON_MEMORY_H
#define HF_COMMON_MEMORY_H

/* To be called before the first thread starts: what a burst needed can be given back. Costs threads
 * that allocate at the same time a little. Nothing where the C library isn't glibc. */
void hf_keep_memory_small(void);
/* Give the heap's free memory back to the system. Any thread; takes less than a millisecond. */
void hf_give_memory_back(void);

#endif
