/* What the agent says of itself in HELLO: read once at start, since the loop thread reads no
 * files. Plain data. */
#ifndef HF_AGENT_SESSION_HELLO_H
#define HF_AGENT_SESSION_HELLO_H

#include <stdint.h>

#include "proto/frame.h"

#define HF_HELLO_TEXT_BYTES 256

struct hf_hello_facts {
    char hostname[HF_HELLO_TEXT_BYTES];
    char
        machine_id[HF_HELLO_TEXT_BYTES]; /* derived from /etc/machine-id, which is not for others */
    char os[HF_HELLO_TEXT_BYTES];
    uint8_t instance[HF_INSTANCE_BYTES]; /* random per process */
};

void hello_read_facts(struct hf_hello_facts *facts);
/* A HELLO frame whose views point into facts and static text. */
void hello_frame(const struct hf_hello_facts *facts, struct hf_frame *frame);

#endif
