/* Flushes: who waits until all that is on the disk now is acknowledged. */
#include <stdlib.h>

#include "agent/capture/capture_private.h"

struct flush {
    struct flush *next;
    void (*done)(void *context);
    void *context;
    bool *needs;    /* a source: whether quiet hours count for nothing */
    uint64_t *seqs; /* a source: what has to be acknowledged; NULL until the scans are done */
};

void flush_begin(struct hf_capture *capture, bool *needs, void (*done)(void *context),
                 void *context)
{
    struct flush *flush = malloc(sizeof *flush);
    if (!flush) {
        abort();
    }
    *flush =
        (struct flush){.next = capture->flushes, .done = done, .context = context, .needs = needs};
    capture->flushes = flush;
    for (size_t i = 0; i < capture->config->source_count; i++) {
        capture->work[i].flushes += needs[i];
    }
}

/* It is over. */
static void finish(struct hf_capture *capture, struct flush *flush)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        capture->work[i].flushes -= flush->needs[i];
    }
    flush->done(flush->context);
    free(flush->needs);
    free(flush->seqs);
    free(flush);
}

void flushes_restart(struct hf_capture *capture)
{
    for (struct flush *flush = capture->flushes; flush; flush = flush->next) {
        free(flush->seqs);
        flush->seqs = NULL;
    }
}

static bool scans_wanted(const struct hf_capture *capture)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (capture->work[i].scan_wanted && !is_quiet(capture, i)) {
            return true;
        }
    }
    return false;
}

static bool all_acked(const struct hf_capture *capture, const uint64_t *seqs)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (capture->work[i].acked_seq < seqs[i] && !is_quiet(capture, i)) {
            return false;
        }
    }
    return true;
}

/* An acknowledgement counts once the collector has said on this connection what it holds: one that
 * lost history still offers restores, and nothing may be replaced on the word of what it forgot. */
static bool all_settled(const struct hf_capture *capture)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (!outbox_is_settled(capture->outbox, i)) {
            return false;
        }
    }
    return true;
}

void flushes_check(struct hf_capture *capture)
{
    if (capture->flushes && !all_settled(capture)) {
        return;
    }
    struct flush **at = &capture->flushes;
    while (*at) {
        struct flush *flush = *at;
        if (!flush->seqs && !scans_wanted(capture)) {
            flush->seqs = calloc(capture->config->source_count + 1, sizeof *flush->seqs);
            for (size_t i = 0; flush->seqs && i < capture->config->source_count; i++) {
                flush->seqs[i] = capture->work[i].last_seq;
            }
        }
        if (flush->seqs && all_acked(capture, flush->seqs)) {
            *at = flush->next;
            finish(capture, flush);
        } else {
            at = &flush->next;
        }
    }
}

void flushes_end(struct hf_capture *capture)
{
    while (capture->flushes) {
        struct flush *flush = capture->flushes;
        capture->flushes = flush->next;
        finish(capture, flush);
    }
}
