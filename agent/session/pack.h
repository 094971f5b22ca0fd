/* Packing: the chunks and versions of a unit become CHUNKS and VERSIONS frames of a good size.
 * Chunks are compressed together in blocks; those of files that change often as what is different
 * from a version before (history.h). One thread. */
#ifndef HF_AGENT_SESSION_PACK_H
#define HF_AGENT_SESSION_PACK_H

#include <stdint.h>

#include "agent/capture/outbox.h"
#include "agent/session/dictionaries.h"
#include "common/error.h"
#include "proto/frame.h"

/* Messages of this size carry best; larger ones delay what must pass them. */
#define HF_PACK_FRAME_BYTES (256u * 1024u)

struct hf_packer;

/* send takes every frame made (its views hold until it returns); an error that it returns ends the
 * packing and is returned. NULL when out of memory. */
struct hf_packer *packer_new(int (*send)(void *context, const struct hf_frame *frame),
                             void *context);
void packer_free(struct hf_packer *packer);
/* Give back the memory that isn't needed while nothing is packed; what changing files are compared
 * with stays. */
void packer_rest(struct hf_packer *packer);
/* zstd's level from now on, 1 unless it is set; what is short is compressed well in any case. */
void packer_set_level(struct hf_packer *packer, int level);
/* Frames of that size rather than HF_PACK_FRAME_BYTES, where a long one would take too long. */
void packer_set_frame_bytes(struct hf_packer *packer, size_t bytes);

/* From now on compress what is small with it, where that is shorter; NULL: with none. It has to
 * live until the next call of this. */
void packer_use_dictionary(struct hf_packer *packer, const struct hf_known_dictionary *dictionary);

/* Compress and send the unit's chunks that needed (a NEED bitmap over them) asks for; NULL: all.
 * acked_seq: up to there the collector has the source's versions. */
int packer_send_chunks(struct hf_packer *packer, const struct hf_unit *unit, const uint8_t *needed,
                       uint64_t acked_seq);
/* The collector lacks what it should have of the source: compare with nothing that was sent. */
void packer_forget(struct hf_packer *packer, size_t source);
/* Send its versions, which belong to that stream. */
int packer_send_versions(struct hf_packer *packer, const struct hf_unit *unit, uint32_t stream);

#endif
