/* Made-up content of the kinds that a host keeps, and what usually becomes of it: files, each
 * through a number of versions. The same every time. */
#ifndef HF_BENCH_CORPUS_H
#define HF_BENCH_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* One version of one file; the versions of a file come in their order. */
typedef void corpus_take(void *context, size_t file, const uint8_t *data, size_t size);

struct corpus {
    const char *name, *class_name;
    void (*make)(unsigned versions, corpus_take *take, void *context);
    unsigned versions; /* unless another number is asked for */
};

extern const struct corpus corpora[];
extern const size_t corpora_count;

/* All files beneath a directory, each edited like text over and over. 0, or -1 when it can't be
 * read. */
int corpus_of_directory(const char *path, unsigned versions, corpus_take *take, void *context);

#endif
