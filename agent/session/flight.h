/* Units under way: taken from the outbox and not yet handed to the link, because the collector has
 * still to say which of their chunks it needs. Versions of one source keep their order; a source
 * whose unit waits does not hold up the others. One thread. */
#ifndef HF_AGENT_SESSION_FLIGHT_H
#define HF_AGENT_SESSION_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/capture/outbox.h"

struct hf_flight {
    struct hf_flight *next;
    const struct hf_unit *unit; /* the outbox's */
    unsigned rank;              /* what goes first: config_class_rank */
    uint64_t request;           /* of its HAVE, 0 when none was sent */
    bool answered;
    uint8_t *needed; /* bitmap of the NEED, NULL: all chunks are needed */
};

struct hf_flights {
    struct hf_flight *first, **last;
    size_t count, bytes;
    size_t asked_bytes; /* of HAVE frames not answered */
    uint64_t last_request;
};

void flights_init(struct hf_flights *flights);
void flights_clear(struct hf_flights *flights);
/* The last of the queue, and of its rank; asks tells whether a HAVE is to be sent for it, with
 * flight->request. NULL when out of memory. */
struct hf_flight *flights_add(struct hf_flights *flights, const struct hf_unit *unit, unsigned rank,
                              bool asks);
/* A NEED came. False when it answers nothing that was ever asked, or has the wrong length; the
 * answer for a unit that was dropped since is nothing to complain about. */
bool flights_answer(struct hf_flights *flights, uint64_t request, const uint8_t *bitmap,
                    size_t size);
/* The first of the lowest rank whose turn it is: answered or not asked, and no earlier one of its
 * source waits. None of a rank above last_rank. It is taken out and belongs to the caller
 * (flight_free); NULL when none is ready. */
struct hf_flight *flights_take_ready(struct hf_flights *flights, unsigned last_rank);
/* Forget all units of a source: the outbox will give them again. */
void flights_drop_source(struct hf_flights *flights, size_t source);
void flight_free(struct hf_flight *flight);

#endif
