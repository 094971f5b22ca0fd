/* The restorer: the thread that carries out the collector's restore jobs on this host, one after
 * the other, from the offer to the recorded outcome. What it does is bounded by this host's own
 * configuration; what it has begun it finishes after a cut connection or a restart. */
#ifndef HF_AGENT_RESTORE_RESTORE_H
#define HF_AGENT_RESTORE_RESTORE_H

#include "agent/capture/capture.h"
#include "agent/config/config.h"
#include "agent/session/link.h"
#include "common/error.h"
#include "common/queue.h"

struct hf_restorer;

struct hf_restorer_options {
    const struct hf_config *config; /* all of these outlive the restorer */
    struct hf_capture *capture;
    struct hf_link *link;
    struct hf_queue *inbox; /* the link's `restoring` */
};

/* Starts the thread; removes what jobs left that have expired. */
int restorer_start(const struct hf_restorer_options *options, struct hf_restorer **out,
                   struct hf_error *error);
/* End the thread and free. A job under way is left as an interrupted one. */
void restorer_stop(struct hf_restorer *restorer);

#endif
