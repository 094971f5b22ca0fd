/* The shipper: the thread that brings what capture found to the collector. It opens the sources on
 * every new connection, takes units from the outbox, asks which of their chunks are missing,
 * compresses and packs those, hands the frames to the link, and tells the outbox what was
 * acknowledged. It also sends the marks and renews this host's certificate. */
#ifndef HF_AGENT_SESSION_SHIPPER_H
#define HF_AGENT_SESSION_SHIPPER_H

#include "agent/capture/capture.h"
#include "agent/capture/outbox.h"
#include "agent/config/config.h"
#include "agent/identity/identity.h"
#include "agent/session/link.h"
#include "common/error.h"
#include "common/queue.h"

struct hf_shipper;

struct hf_shipper_options {
    const struct hf_config *config; /* all of these outlive the shipper */
    struct hf_capture *capture;
    struct hf_outbox *outbox;
    struct hf_identity *identity;
    struct hf_link *link;
    struct hf_queue *inbox; /* the link's `shipping` */
};

/* Starts the thread. */
int shipper_start(const struct hf_shipper_options *options, struct hf_shipper **out,
                  struct hf_error *error);
/* Let what is under way be acknowledged, for drain_ns at most, then end the thread and free. What
 * was not acknowledged stays with the outbox. */
void shipper_stop(struct hf_shipper *shipper, int64_t drain_ns);

#endif
