/* Of the files with more than one name that an archive holds: under which name each came first. */
#ifndef HF_COLLECTOR_API_FIRST_NAMES_H
#define HF_COLLECTOR_API_FIRST_NAMES_H

#include "common/buf.h"
#include "proto/version.h"

struct first_names;

struct first_names *first_names_new(void);        /* NULL when out of memory */
void first_names_free(struct first_names *names); /* NULL is fine */
/* The path under which the version's file came before; empty when this is its first name, or the
 * memory for them (64 MiB) is used up: it is taken for a file of its own then. Valid until the next
 * call. */
struct hf_bytes first_names_of(struct first_names *names, const struct hf_version *version);

#endif
