/* The heap of a daemon that works in bursts. */
#ifndef HF_COMMON_MEMORY_H
#define HF_COMMON_MEMORY_H

/* To be called before the first thread starts: what a burst needed can be given back. Costs threads
 * that allocate at the same time a little. Nothing where the C library isn't glibc. */
void hf_keep_memory_small(void);
/* Give the heap's free memory back to the system. Any thread; takes less than a millisecond. */
void hf_give_memory_back(void);
/* Let go of the pages of code, and of data that nobody writes, of the program and its libraries:
 * what is executed again comes back from the page cache, the rest (connecting, starting) is free to
 * be taken from there. Any thread; some microseconds. */
void hf_give_code_back(void);

#endif
