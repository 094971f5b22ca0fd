/* Jobs whose host did not come in time. */
#include <string.h>

#include "collector/restore/restore.h"
#include "common/clock.h"
#include "common/log.h"

#define PAGE_ROWS 200u

static void expire(struct hf_ingest *ingest, uint64_t job_id, int64_t now_ns)
{
    struct hf_error error = {0};
    struct hf_event event = {
        .type = HF_EVENT_JOB_STATE,
        .time_ns = now_ns,
        .actor = event_text("collector"),
        .job_state = {.job_id = job_id,
                      .state = HF_JOB_STATE_EXPIRED,
                      .message = event_text("The host did not come in time")},
    };
    int rc = ingest_commit(ingest, &event, 1, &error);
    if (rc != HF_OK && rc != HF_ERR_CONFLICT) { /* conflict: it has ended meanwhile */
        hf_log_warning("Restore job %llu can't be ended: %s", (unsigned long long)job_id,
                       error.message);
    }
}

int restore_expire_jobs(struct hf_ingest *ingest, struct hf_catalog_reader *catalog,
                        struct hf_error *error)
{
    int64_t now_ns = hf_clock_now_ns();
    uint64_t before = 0;
    size_t count = PAGE_ROWS;
    int rc = HF_OK;
    while (rc == HF_OK && count == PAGE_ROWS) {
        struct hf_catalog_memory memory = {0};
        const struct hf_job_row *rows = NULL;
        rc = catalog_job_list(catalog, HF_JOBS_ACTIVE, 0, before, PAGE_ROWS, &memory, &rows, &count,
                              error);
        for (size_t i = 0; rc == HF_OK && i < count; i++) {
            before = rows[i].job_id;
            if (rows[i].state == HF_JOB_STATE_WAITING && rows[i].expires_ns <= now_ns) {
                expire(ingest, rows[i].job_id, now_ns);
            }
        }
        catalog_memory_free(&memory);
    }
    return rc;
}
