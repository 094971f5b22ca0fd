/* Which file of this host has a content, as state.db remembered it when the finder was made: a
 * restore copies it from there instead of asking for it. A connection of its own; any one thread at
 * a time. */
#ifndef HF_AGENT_CAPTURE_FINDER_H
#define HF_AGENT_CAPTURE_FINDER_H

#include "agent/config/config.h"
#include "common/buf.h"
#include "proto/version.h"

struct hf_finder;

/* NULL when state.db can't be read: nothing is found then. */
struct hf_finder *finder_new(const struct hf_config *config);
void finder_free(struct hf_finder *finder); /* NULL is fine */
/* Append the absolute path, with its NUL, of a file that had the version's content when it was
 * captured. HF_ERR_NOT_FOUND, HF_ERR_NO_MEMORY. */
int finder_find(struct hf_finder *finder, const struct hf_version *version, struct hf_buf *path);

#endif
