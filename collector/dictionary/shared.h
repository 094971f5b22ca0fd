/* What several hosts have: of contents, the stretches that occur on at least so many hosts. Only
 * those may go into a dictionary, which is handed to all hosts.
 *
 * Judged are windows of HF_SHARED_WINDOW bytes. A stretch is shared when every window in it was
 * seen on that many hosts; so of what is on fewer hosts at most what lies in no whole window of its
 * own can be part of one. Errors of the bookkeeping (hashes, a full table) only make less be
 * shared: that two windows share a hash and a slot has a chance of one in 2^50, under keys drawn
 * anew for each table. */
#ifndef HF_COLLECTOR_DICTIONARY_SHARED_H
#define HF_COLLECTOR_DICTIONARY_SHARED_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

#define HF_SHARED_HOSTS     3u  /* at least */
#define HF_SHARED_HOSTS_MAX 31u /* more need not have it */
#define HF_SHARED_WINDOW    16u

struct hf_shared;

/* For contents of that many bytes together; beyond, windows are missed. hosts: on how many hosts
 * something has to be, HF_SHARED_HOSTS..HF_SHARED_HOSTS_MAX. NULL when out of memory. */
struct hf_shared *shared_new(size_t bytes, unsigned hosts);
void shared_free(struct hf_shared *shared);

/* The host has this content. All contents of one host one after the other; host is any number. */
void shared_add(struct hf_shared *shared, uint64_t host, struct hf_bytes content);
/* Append to out the content's shared stretches, one after the other. HF_ERR_NO_MEMORY. */
int shared_extract(const struct hf_shared *shared, struct hf_bytes content, struct hf_buf *out);

#endif
