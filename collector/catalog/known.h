/* Which chunks the catalog surely has not: nearly all that a host sends for the first time, each of
 * which would else be looked up, in vain, on pages that the last commit made the reader read again.
 * A Bloom filter (B. H. Bloom, Space/Time Trade-offs in Hash Coding with Allowable Errors, 1970) of
 * a fixed size; a chunk has all its bits in one line of the processor's cache. Private to catalog/.
 */
#ifndef HF_COLLECTOR_CATALOG_KNOWN_H
#define HF_COLLECTOR_CATALOG_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/hash.h"

/* 8 MiB: of ten million chunks it mistakes 4 in 100 that are not there for some that may be; of
 * 16 million, 16. */
#define KNOWN_BITS       (UINT64_C(1) << 26)
#define KNOWN_CHUNKS_MAX UINT64_C(16000000)

struct known_chunks;

/* For the catalog at path, which has so many chunks. Where there are some, a thread reads which,
 * and until it is through nothing is said; more than KNOWN_CHUNKS_MAX are not read, and nothing
 * ever is.
 */
int known_start(const char *path, uint64_t chunks, struct known_chunks **out,
                struct hf_error *error);
/* Waits for the thread. NULL is fine. */
void known_stop(struct known_chunks *known);
/* Before the transaction that inserts it commits; it stays when that is rolled back. */
void known_add(struct known_chunks *known, const uint8_t id[HF_HASH_BYTES]);
/* False: what is committed until now has no such chunk. True says nothing. Any thread; NULL is
 * fine, of which nothing is known. */
bool known_maybe(const struct known_chunks *known, const uint8_t id[HF_HASH_BYTES]);
/* Whether it says anything yet. */
bool known_is_complete(const struct known_chunks *known);

#endif
