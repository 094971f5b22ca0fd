/* Whether this host takes part in a restore that the collector offers, by what its own
 * administrator wrote in the agent's configuration and by nothing else (promise 5). */
#ifndef HF_AGENT_RESTORE_OFFER_H
#define HF_AGENT_RESTORE_OFFER_H

#include <stddef.h>
#include <stdint.h>

#include "agent/config/config.h"
#include "common/error.h"
#include "proto/frame.h"

struct hf_offer_terms {
    const struct hf_config_source
        *source; /* of that name, for its hooks; NULL when there is none */
    size_t source_index;
    const char **roots; /* where may be written; views into the configuration */
    size_t root_count;
};

/* HF_ERR_DENIED with what isn't allowed and how to allow it, HF_ERR_NO_MEMORY. Whether
 * it has expired is for the collector to say: this host's clock may be wrong. An offer that would
 * write back in place needs a source of that name and may write beneath its roots; one with a
 * destination may write beneath the roots of any source. For another host's files only sources
 * count whose restore_from names that host. */
int offer_check(const struct hf_config *config, const struct hf_restore_offer *offer,
                struct hf_offer_terms *out, struct hf_error *error);
void offer_terms_free(struct hf_offer_terms *terms);

#endif
