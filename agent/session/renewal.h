/* The course of one renewal: when to ask, how long to wait for the answer, and when to try again
 * after a refusal, after silence, or after an answer that could not be written to disk. A renewal
 * falls due with a third of the certificate's life left at least (identity_renewal_due), and the
 * collector lets a host ask but now and then: so pauses grow with each failure, from a sixty-fourth
 * of a short life, a minute of a long one, up to an hour.
 *
 * Plain data; one thread, that of the identity. Times are in nanoseconds. */
#ifndef HF_AGENT_SESSION_RENEWAL_H
#define HF_AGENT_SESSION_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

struct hf_renewal {
    int64_t life_ns;     /* of the present certificate */
    int64_t asked_at_ns; /* monotonic; 0: no answer is waited for */
    int64_t again_at_ns; /* monotonic; not before that */
    unsigned failures;   /* in a row */
};

/* What is to be done now. */
enum hf_renewal_step { HF_RENEWAL_NOTHING, HF_RENEWAL_ASK, HF_RENEWAL_INSTALL };

/* A certificate with a life of life_ns is in use: nothing is under way. */
void renewal_begin(struct hf_renewal *renewal, int64_t life_ns);
/* due: it is time to renew; answered: a certificate came and is not on disk yet. */
enum hf_renewal_step renewal_next(const struct hf_renewal *renewal, bool due, bool answered,
                                  int64_t monotonic_ns);
/* A request went out. */
void renewal_asked(struct hf_renewal *renewal, int64_t monotonic_ns);
/* An answer is waited for, and did not come in time. */
bool renewal_overdue(const struct hf_renewal *renewal, int64_t monotonic_ns);
/* It was refused, could not be installed, was not answered, or its connection ended. Returns how
 * long nothing will be done now. */
int64_t renewal_failed(struct hf_renewal *renewal, int64_t monotonic_ns);

#endif
