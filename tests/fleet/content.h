/* What simulated robots write: checkpoints of 0.5 to 4 KB of JSON, each unlike every other, made
 * from (agent, sequence) alone, so that a version can be sent again after a cut without having been
 * kept.
 *
 * The chunk is a valid zstd frame in two blocks: the head, where everything that differs stands, as
 * it is, and the rest compressed once at the start. So a checkpoint costs this process a hash, and
 * the collector what any checkpoint costs it.
 */
#ifndef HF_TESTS_FLEET_CONTENT_H
#define HF_TESTS_FLEET_CONTENT_H

#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"
#include "proto/frame.h"

#define CONTENT_PATH_BYTES 96

struct content; /* what all share; one thread */

int content_new(struct content **out, struct hf_error *error);
void content_free(struct content *content);

struct checkpoint {
    uint8_t refs[HF_CHUNK_REF_BYTES];
    char path[CONTENT_PATH_BYTES];
    struct hf_block block;     /* of one chunk: views of refs and of wire */
    struct hf_version version; /* views of path and refs */
    uint8_t wire[4608];
};
/* The seq-th checkpoint of an agent. out's views point into itself: don't move it. */
void content_make(const struct content *content, uint32_t agent, uint64_t seq, int64_t now_ns,
                  struct checkpoint *out);

#endif
