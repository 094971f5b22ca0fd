/* A unit as bytes, for the spool: number of versions, each as length and encoding
 * (proto_version_encode); number of chunks, each as id, codec, plain size, length and data. All
 * numbers have 32 bits, little endian. */
#ifndef HF_AGENT_CAPTURE_UNIT_CODEC_H
#define HF_AGENT_CAPTURE_UNIT_CODEC_H

#include "agent/capture/unit.h"
#include "common/compress.h"

/* Append to body; chunks that are raw are compressed if that makes them smaller. HF_ERR_NO_MEMORY.
 */
int unit_encode(const struct hf_unit *unit, struct hf_compressor *compressor, struct hf_buf *body);
/* NULL for what unit_encode does not make, and without memory. */
struct hf_unit *unit_decode(size_t source, const uint8_t *data, size_t size);

#endif
