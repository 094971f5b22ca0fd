/* One run of one job: the steps from an accepted offer to its recorded outcome, and the mail that
 * they exchange with the collector. What restore.c (the thread) and the steps share. */
#ifndef HF_AGENT_RESTORE_RUN_H
#define HF_AGENT_RESTORE_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/restore/job.h"
#include "agent/restore/metadata.h"
#include "agent/restore/offer.h"
#include "agent/restore/restore.h"
#include "agent/restore/targets.h"

#define HF_RESTORER_OFFERS_MAX 64u

struct hf_restorer {
    struct hf_restorer_options options;
    const char *state_directory;
    pthread_t thread;
    struct hf_link_event *stop_event; /* made beforehand: stopping must not need memory */
    atomic_uint flushes_asked, flushes_done;

    /* The thread's own. */
    uint64_t connection; /* 0: none */
    bool stopping;
    struct hf_link_event *offers[HF_RESTORER_OFFERS_MAX]; /* waiting for their turn */
    size_t offer_count;
    uint64_t running_job; /* 0: none */
};

struct hf_run {
    struct hf_restorer *restorer;
    uint64_t connection; /* the one on which the offer came */
    struct hf_job *job;
    struct hf_offer_terms terms;
    struct hf_capture_area area; /* of the terms' roots and the offer's paths */
    char **paths;                /* of area */
    struct hf_targets *targets;
    struct hf_owners *owners;
    struct hf_chunker *chunker; /* NULL when how content is cut isn't known */
    bool cancelled;
    bool holds; /* capture doesn't look at the area */
};

/* From any thread: let a waiting run_next_event return. */
void restorer_wake(struct hf_restorer *restorer);

/* The next frame for the run, or NULL after timeout_ms (-1: none) or a wake-up. HF_ERR_CLOSED when
 * its connection has ended or the agent stops. The caller frees the event. */
int run_next_event(struct hf_run *run, int timeout_ms, struct hf_link_event **out);
/* HF_ERR_CLOSED, HF_ERR_LIMIT, HF_ERR_NO_MEMORY. */
int run_send(struct hf_run *run, const struct hf_frame *frame);

/* What of the versions' metadata may be given. */
struct hf_metadata_rules run_rules(const struct hf_run *run);

struct hf_cutting run_cutting(const struct hf_run *run);

/* The steps. HF_ERR_CLOSED interrupts the run (the job goes on later); any other error ends the
 * job with that message. */
int run_fetch(struct hf_run *run, struct hf_error *error); /* pages and content: staging */
/* What is on the disk in the area now is in the collector's hands afterwards. HF_ERR_TIMEOUT when
 * that took longer than limit_ns; 0: however long it takes. */
int run_flush(struct hf_run *run, const struct hf_capture_area *area, int64_t limit_ns,
              struct hf_error *error);
/* Run a hook of the agent's configuration (NULL: none). HF_ERR_CONFLICT with what it said. */
int run_hook(struct hf_run *run, const char *const *argv, struct hf_error *error);
/* Before anything is replaced: the hook that stops what writes there, then a flush, then the
 * collector's snapshot; the job's phase is HF_JOB_APPLYING then. When that fails the other hook has
 * been run. */
int run_quiesce(struct hf_run *run, struct hf_error *error);
int run_report(struct hf_run *run, struct hf_error *error); /* a result per file, the outcome */
/* Until the collector has recorded the outcome; it is told again every now and then. */
int run_await_recorded(struct hf_run *run);

#endif
