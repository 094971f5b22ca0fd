/* Content that is on this host already: a file cut into chunks as capture would cut it, so that
 * what a restore needs can be taken from it. What is read from it is verified by its hash again,
 * since the file may change meanwhile. One thread. */
#ifndef HF_AGENT_RESTORE_LOCAL_H
#define HF_AGENT_RESTORE_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/buf.h"
#include "common/chunker.h"
#include "common/error.h"
#include "common/hash.h"
#include "proto/version.h"

struct hf_local;

/* How capture cuts what is restored. */
struct hf_cutting {
    const struct hf_chunker *chunker; /* NULL: that isn't known */
    const char *class_name;           /* of the source; NULL likewise */
};

/* Reads the whole file behind fd (left to the caller until local_free, which closes it), which is
 * status. As far as it is what the version is, it is cut where that was cut, by whatever rule;
 * after that as capture would. NULL when it can't be read or memory is short: then nothing local
 * is known. */
struct hf_local *local_cut(int fd, const struct stat *status, const struct hf_version *version,
                           const struct hf_cutting *cutting);
void local_free(struct hf_local *local);
/* Whether its content is exactly the version's, as far as that is cut alike. */
bool local_equals(const struct hf_local *local, const struct hf_version *version);
/* The bytes of the chunk, verified, into out (size bytes); false when it hasn't got it. */
bool local_read(struct hf_local *local, const uint8_t id[HF_HASH_BYTES], uint32_t size,
                uint8_t *out);

/* Bytes at offset of any file, if they are that chunk. */
bool local_read_at(int fd, uint64_t offset, const uint8_t id[HF_HASH_BYTES], uint32_t size,
                   uint8_t *out);

#endif
