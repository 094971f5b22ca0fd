/* Making the catalog what the journal says: at start, and after the catalog failed to commit. */
#include "collector/ingest/pipeline.h"

#include "common/clock.h"
#include "common/log.h"

#define RECORDS_PER_COMMIT 20000u

struct replay {
    struct hf_ingest *ingest;
    struct hf_error *error;
    uint64_t records, in_commit;
};

/* Commit now and then, so that neither memory nor the write-ahead log grows with the journal. */
static int count_record(struct replay *replay)
{
    replay->records++;
    if (++replay->in_commit < RECORDS_PER_COMMIT) {
        return HF_OK;
    }
    replay->in_commit = 0;
    int rc = catalog_commit(replay->ingest->catalog, replay->error);
    return rc == HF_OK ? catalog_begin(replay->ingest->catalog, replay->error) : rc;
}

static int replay_block(void *context, const struct hf_location *location,
                        const struct hf_stored_block *stored)
{
    struct replay *replay = context;
    int rc = catalog_apply_block(replay->ingest->catalog, &stored->block, location, stored->depth,
                                 stored->owner, NULL, replay->error);
    return rc == HF_OK ? count_record(replay) : rc;
}

static int replay_entry(void *context, const struct hf_location *location, const uint8_t *data,
                        size_t size)
{
    struct replay *replay = context;
    struct hf_event event;
    int rc = event_decode(data, size, &event, replay->error);
    if (rc == HF_OK) {
        rc = catalog_apply(replay->ingest->catalog, &event, location, replay->error);
        event_free(&event);
    }
    if (rc != HF_OK) {
        hf_error_prefix(replay->error, "The journal entry in pack %llu at offset %llu",
                        (unsigned long long)location->pack, (unsigned long long)location->offset);
        return rc;
    }
    return count_record(replay);
}

int replay_journal(struct hf_ingest *ingest, struct hf_error *error)
{
    struct replay state = {.ingest = ingest, .error = error};
    struct hf_store_replay replay = {
        .context = &state, .block = replay_block, .journal = replay_entry};
    struct hf_location from;
    int64_t start = hf_clock_monotonic_ns();
    int rc = catalog_begin(ingest->catalog, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = catalog_applied(ingest->catalog, &from, error);
    rc = rc == HF_OK ? store_replay(ingest->store, &from, &replay, error) : rc;
    rc = rc == HF_OK ? catalog_commit(ingest->catalog, error) : rc;
    if (rc != HF_OK) {
        catalog_rollback(ingest->catalog);
        return rc;
    }
    if (state.records > 1) {
        hf_log_info("Catalog brought up to the journal: %llu records in %lld ms",
                    (unsigned long long)state.records,
                    (long long)((hf_clock_monotonic_ns() - start) / HF_NS_PER_MS));
    }
    return HF_OK;
}
