/* What was sent of the files that change often: so that their next version can be sent as the
 * little that is different.
 *
 * Of each such file some earlier contents are kept, chosen so that every version stands on few
 * others. Counted from the last one that was sent whole, version k stands on version k without its
 * lowest set bit (1 on 0, 2 on 0, 3 on 2, 4 on 0, 5 on 4, ...): a version is never more than as
 * many deltas away from a whole one as its number has bits, and half of all stand on the very one
 * before.
 *
 * Memory is bounded; files that were not sent for longest are forgotten first, which costs no more
 * than sending the next version whole. One thread. */
#ifndef HF_AGENT_SESSION_HISTORY_H
#define HF_AGENT_SESSION_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/hash.h"

struct hf_history;

/* A version whose content is known here, and to the collector. */
struct hf_history_base {
    uint8_t id[HF_HASH_BYTES]; /* of its one chunk */
    struct hf_bytes content;   /* until the next call */
};

/* NULL when out of memory. */
struct hf_history *history_new(size_t bytes_max);
void history_free(struct hf_history *history);

/* What the next version of the file is best compared with, of what the collector has acknowledged;
 * false when there is nothing. */
bool history_base(struct hf_history *history, size_t source, struct hf_bytes path,
                  uint64_t acked_seq, struct hf_history_base *out);
/* The version was sent: as a delta against what history_base said for it just before, or whole. The
 * content is copied; without memory for it the file is forgotten. */
enum hf_history_sent { HF_HISTORY_DELTA, HF_HISTORY_WHOLE };
void history_add(struct hf_history *history, size_t source, struct hf_bytes path, uint64_t seq,
                 const uint8_t id[HF_HASH_BYTES], struct hf_bytes content,
                 enum hf_history_sent sent);
/* The collector lacks what it should have: send everything of the source whole. */
void history_forget(struct hf_history *history, size_t source);

#endif
