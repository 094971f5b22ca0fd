/* Members of a tar, in the pax interchange format (POSIX.1-2017, pax), with extended attributes as
 * star, GNU tar and libarchive have them. All return HF_OK or HF_ERR_NO_MEMORY. */
#ifndef HF_COLLECTOR_API_TAR_H
#define HF_COLLECTOR_API_TAR_H

#include "common/buf.h"
#include "proto/version.h"

#define TAR_BLOCK 512u

/* A version's header; its content, and padding, follow for a regular file. With the path of an
 * earlier member in first it is another name of that one, and has no content. */
int tar_append_member(const struct hf_version *version, struct hf_bytes first, struct hf_buf *out);
/* After content of size bytes. */
int tar_append_padding(struct hf_buf *out, uint64_t size);
int tar_append_end(struct hf_buf *out);

#endif
