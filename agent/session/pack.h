/* Packing: the chunks and versions of a unit become CHUNKS and VERSIONS frames of a good size.
 * One thread. */
#ifndef HF_AGENT_SESSION_PACK_H
#define HF_AGENT_SESSION_PACK_H

#include <stdint.h>

#include "agent/capture/outbox.h"
#include "common/error.h"
#include "proto/frame.h"

/* Messages of this size carry best; larger ones delay what must pass them. */
#define HF_PACK_FRAME_BYTES (256u * 1024u)

struct hf_packer;

/* compress_level is zstd's. send takes every frame made (its views hold until it returns); an error
 * that it returns ends the packing and is returned. NULL when out of memory. */
struct hf_packer *packer_new(int compress_level,
                             int (*send)(void *context, const struct hf_frame *frame),
                             void *context);
void packer_free(struct hf_packer *packer);

/* Compress and send the unit's chunks that needed (a NEED bitmap over them) asks for; NULL: all. */
int packer_send_chunks(struct hf_packer *packer, const struct hf_unit *unit, const uint8_t *needed);
/* Send its versions, which belong to that stream. */
int packer_send_versions(struct hf_packer *packer, const struct hf_unit *unit, uint32_t stream);

#endif
