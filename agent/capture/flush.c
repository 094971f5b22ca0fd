/* Flushes: who waits until all that is on the disk now is acknowledged. */
#include <stdlib.h>

#include "agent/capture/capture_private.h"

struct flush {
    struct flush *next;
    void (*done)(void *context);
    void *context;
    bool *needs;    /* a source: whether it has a part, and quiet hours count for nothing; NULL: all
                     * that are not quiet have */
    uint64_t *seqs; /* a source: what has to be acknowledged; NULL until the scans are done */
};

void flush_begin(struct hf_capture *capture, const bool *needs, void (*done)(void *context),
                 void *context)
{
    size_t count = capture->config->source_count;
    struct flush *flush = malloc(sizeof *flush);
    bool *copy = needs ? malloc(count + 1) : NULL;
    if (!flush || (needs && !copy)) {
        abort();
    }
    *flush =
        (struct flush){.next = capture->flushes, .done = done, .context = context, .needs = copy};
    capture->flushes = flush;
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = needs[i];
        capture->work[i].flushes += copy[i];
    }
}

/* It is over. */
static void finish(struct hf_capture *capture, struct flush *flush)
{
    for (size_t i = 0; flush->needs && i < capture->config->source_count; i++) {
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

static bool concerns(const struct hf_capture *capture, const struct flush *flush, size_t source)
{
    return flush->needs ? flush->needs[source] : !is_quiet(capture, source);
}

/* An acknowledgement counts once the collector has said on this connection what it holds: one that
 * lost history still offers restores, and nothing may be replaced on the word of what it forgot. */
static bool all_settled(const struct hf_capture *capture, const struct flush *flush)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (concerns(capture, flush, i) && !outbox_is_settled(capture->outbox, i)) {
            return false;
        }
    }
    return true;
}

static bool scans_wanted(const struct hf_capture *capture, const struct flush *flush)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (concerns(capture, flush, i) && capture->work[i].scan_wanted) {
            return true;
        }
    }
    return false;
}

static bool all_acked(const struct hf_capture *capture, const struct flush *flush)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (concerns(capture, flush, i) && capture->work[i].acked_seq < flush->seqs[i]) {
            return false;
        }
    }
    return true;
}

void flushes_check(struct hf_capture *capture)
{
    struct flush **at = &capture->flushes;
    while (*at) {
        struct flush *flush = *at;
        bool settled = all_settled(capture, flush);
        if (settled && !flush->seqs && !scans_wanted(capture, flush)) {
            flush->seqs = calloc(capture->config->source_count + 1, sizeof *flush->seqs);
            for (size_t i = 0; flush->seqs && i < capture->config->source_count; i++) {
                flush->seqs[i] = capture->work[i].last_seq;
            }
        }
        if (settled && flush->seqs && all_acked(capture, flush)) {
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
