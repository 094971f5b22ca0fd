/* What each frame of a restore does. */
#include "collector/restore/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define PAGE_ROWS_MAX  500u
#define PAGE_BYTES_MAX (512u * 1024u)

struct hf_ingest_reply *driver_frame(enum hf_frame_type type)
{
    struct hf_ingest_reply *reply = calloc(1, sizeof *reply);
    if (reply) {
        reply->kind = HF_REPLY_FRAME;
        reply->frame.type = type;
    }
    return reply;
}

void driver_refuse(struct hf_restore *restore, const struct restore_task *task,
                   enum hf_wire_code code, const char *message, struct hf_bytes ids)
{
    struct hf_ingest_reply *reply = driver_frame(HF_FRAME_ERROR);
    size_t length = strlen(message);
    if (!reply || hf_buf_append(&reply->memory, message, length) != HF_OK ||
        hf_buf_append(&reply->memory, ids.data, ids.size) != HF_OK) {
        ingest_reply_free(reply);
        return;
    }
    reply->frame.refusal = (struct hf_refusal){
        .code = code,
        .about_seq = task->frame.seq,
        .message = {reply->memory.data, length},
        .ids = {reply->memory.data + length, ids.size},
    };
    restore_send(restore, reply);
}

struct hf_event driver_event(const struct hf_restore *restore, enum hf_event_type type,
                             char actor[96])
{
    snprintf(actor, 96, "host %s", restore->host_id);
    return (struct hf_event){
        .type = type, .time_ns = hf_clock_now_ns(), .actor = event_text(actor)};
}

/* HF_ERR_CONFLICT: the job had ended before, for example because the operator cancelled it. */
int driver_commit(struct hf_restore *restore, struct hf_event *events, size_t count,
                  struct hf_error *error)
{
    int rc = ingest_commit(restore->options.ingest, events, count, error);
    if (rc != HF_OK && rc != HF_ERR_CONFLICT) {
        hf_log_warning("A restore to %s: %s", restore->host_id, error->message);
    }
    return rc;
}

static struct hf_event state_event(const struct hf_restore *restore, uint64_t job,
                                   enum hf_job_state state, const char *message, char actor[96])
{
    struct hf_event event = driver_event(restore, HF_EVENT_JOB_STATE, actor);
    event.job_state.job_id = job;
    event.job_state.state = state;
    event.job_state.fetched_bytes = restore->fetched_bytes;
    event.job_state.message = event_text(message);
    return event;
}

static void forget_job(struct hf_restore *restore)
{
    restore->job = 0;
    restore->accepted = false;
    restore->fetched_bytes = 0;
    hf_buf_clear(&restore->source_name);
    restore_hurry(restore, false);
}

/* --- offering --- */

/* Takes over memory, which row is part of. */
static void offer(struct hf_restore *restore, const struct hf_job_row *row,
                  struct hf_catalog_memory *memory)
{
    struct hf_ingest_reply *reply = driver_frame(HF_FRAME_RESTORE_OFFER);
    bool own = strcmp(row->origin_host_id, restore->host_id) == 0;
    bool few = row->path_count <= HF_OFFER_PATHS_MAX; /* else the agent looks at everything */
    if (!reply) {
        return;
    }
    reply->frame.offer = (struct hf_restore_offer){
        .job = row->job_id,
        .source = event_text(row->source_name),
        .origin_host = event_text(own ? "" : row->origin_host_id),
        .at_ns = row->at_ns,
        .destination = row->destination,
        .conflict = row->conflict,
        .dry_run = row->dry_run,
        .file_count = row->files_total,
        .byte_count = row->bytes_total,
        .expires_ns = row->expires_ns,
        .paths = few ? row->paths : NULL,
        .path_count = few ? row->path_count : 0,
    };
    restore->job = row->job_id;
    restore->accepted = false;
    restore->origin_row = row->origin_host_row;
    restore->source_row = row->source_row;
    restore->fetched_bytes = row->fetched_bytes;
    reply->rows = *memory;
    *memory = (struct hf_catalog_memory){0};
    restore_hurry(restore, true);
    restore_send(restore, reply);
}

static void offer_next(struct hf_restore *restore, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    struct hf_error error = {0};
    const struct hf_job_row *rows = NULL;
    size_t count = 0;
    if (restore->job != 0) {
        return;
    }
    if (catalog_job_active(catalog, restore->options.host_row, &memory, &rows, &count, &error) !=
        HF_OK) {
        hf_log_warning("The jobs of %s can't be read: %s", restore->host_id, error.message);
    }
    for (size_t i = 0; i < count && restore->job == 0; i++) {
        if (rows[i].expires_ns <= hf_clock_now_ns()) {
            char actor[96];
            struct hf_event event = state_event(restore, rows[i].job_id, HF_JOB_STATE_EXPIRED,
                                                "The host did not come in time", actor);
            driver_commit(restore, &event, 1, &error);
            continue;
        }
        offer(restore, &rows[i], &memory);
    }
    catalog_memory_free(&memory);
}

/* --- the agent's frames --- */

/* Its name says what it is the way back from. */
static bool take_snapshot(struct hf_restore *restore, struct hf_catalog_reader *catalog,
                          const struct hf_job_row *row, struct hf_event *event, char name[64])
{
    struct hf_catalog_memory memory = {0};
    struct hf_source_row source;
    uint64_t source_row = row->source_row;
    if (row->origin_host_row != restore->options.host_row) {
        /* What is replaced belongs to this host's source of that name, if it has one. */
        int rc = catalog_source_by_name(catalog, restore->options.host_row, row->source_name,
                                        &memory, &source, NULL);
        source_row = rc == HF_OK ? source.row : 0;
        catalog_memory_free(&memory);
    }
    snprintf(name, 64, "before restore %llu%s", (unsigned long long)row->job_id,
             row->snapshot_id ? ", when all had stopped" : "");
    event->snapshot_created.source_row = source_row;
    event->snapshot_created.name = event_text(name);
    event->snapshot_created.at_ns = event->time_ns;
    event->snapshot_created.reason = HF_SNAPSHOT_PRE_RESTORE;
    event->snapshot_created.job = row->job_id;
    return source_row != 0;
}

/* The way back first: without it nothing may be replaced. A host that answers again has stopped
 * what writes to the files: the moment to come back to is that one. */
static int make_ready(struct hf_restore *restore, struct hf_catalog_reader *catalog,
                      struct hf_error *error)
{
    char snapshot_actor[96];
    char state_actor[96];
    char name[64];
    struct hf_catalog_memory memory = {0};
    struct hf_job_row row;
    struct hf_event snapshot = driver_event(restore, HF_EVENT_SNAPSHOT_CREATED, snapshot_actor);
    int rc = catalog_job_get(catalog, restore->job, &memory, &row, error);
    if (rc == HF_OK && !row.dry_run && (row.snapshot_id == 0 || restore->accepted) &&
        take_snapshot(restore, catalog, &row, &snapshot, name)) {
        rc = driver_commit(restore, &snapshot, 1, error);
    }
    catalog_memory_free(&memory);
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_event state =
        state_event(restore, restore->job, HF_JOB_STATE_RUNNING, "", state_actor);
    state.job_state.snapshot_id = snapshot.snapshot_created.snapshot_id;
    return driver_commit(restore, &state, 1, error);
}

static void send_cancel(struct hf_restore *restore, uint64_t job)
{
    struct hf_ingest_reply *reply = driver_frame(HF_FRAME_RESTORE_CANCEL);
    if (reply) {
        reply->frame.cancel.job = job;
    }
    restore_send(restore, reply);
}

static void on_accepted(struct hf_restore *restore, const struct restore_task *task,
                        struct hf_catalog_reader *catalog)
{
    struct hf_error error = {0};
    int rc = make_ready(restore, catalog, &error);
    if (rc == HF_OK) {
        restore->accepted = true;
    } else if (rc == HF_ERR_CONFLICT) {
        send_cancel(restore, restore->job);
    } else {
        driver_refuse(restore, task, HF_WIRE_STORAGE, error.message, (struct hf_bytes){0});
    }
}

static void on_answer(struct hf_restore *restore, const struct restore_task *task,
                      struct hf_catalog_reader *catalog)
{
    const struct hf_restore_answer *answer = &task->frame.answer;
    if (answer->accepted) {
        on_accepted(restore, task, catalog);
        return;
    }
    char actor[96];
    char message[HF_TEXT_MAX_BYTES + 64];
    struct hf_error error = {0};
    snprintf(message, sizeof message, "The host refused: %.*s", (int)answer->message.size,
             (const char *)answer->message.data);
    struct hf_event events[2] = {
        state_event(restore, restore->job, HF_JOB_STATE_FAILED, message, actor),
        driver_event(restore, HF_EVENT_AUDIT, actor),
    };
    events[1].audit.action = event_text("restore.refused");
    events[1].audit.object = event_text(restore->host_id);
    events[1].audit.detail = event_text(message);
    events[1].audit.outcome = HF_AUDIT_REFUSED;
    driver_commit(restore, events, 2, &error);
    forget_job(restore);
    offer_next(restore, catalog);
}

static void on_next(struct hf_restore *restore, const struct restore_task *task,
                    struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    struct hf_job_row row;
    struct hf_version_page page;
    struct hf_error error = {0};
    uint8_t *out = NULL;
    struct hf_ingest_reply *reply = driver_frame(HF_FRAME_RESTORE_PAGE);
    if (!reply || catalog_job_get(catalog, restore->job, &memory, &row, &error) != HF_OK) {
        catalog_memory_free(&memory);
        ingest_reply_free(reply);
        return;
    }
    struct hf_timeline_query query = {
        .source_row = row.source_row,
        .at_ns = row.at_ns,
        .paths = row.paths,
        .path_count = row.path_count,
        .after = task->frame.next.cursor,
        .limit = PAGE_ROWS_MAX,
        .bytes_max = PAGE_BYTES_MAX,
    };
    int rc = catalog_tree(catalog, &query, &reply->rows, &page, &error);
    if (rc == HF_OK && page.count > 0) {
        rc = hf_buf_extend(&reply->memory, page.count * sizeof(struct hf_version), &out);
    }
    if (rc != HF_OK) {
        driver_refuse(restore, task, HF_WIRE_INTERNAL, error.message, (struct hf_bytes){0});
        ingest_reply_free(reply);
    } else {
        struct hf_version *versions = (struct hf_version *)(void *)out;
        for (size_t i = 0; i < page.count; i++) {
            versions[i] = page.rows[i].version;
        }
        reply->frame.page = (struct hf_restore_page){
            .job = restore->job,
            .versions = versions,
            .count = page.count,
            .next_cursor = page.last ? (struct hf_bytes){0} : page.next,
            .last = page.last,
        };
        reply->bytes = PAGE_BYTES_MAX; /* about; what matters is that many are not made ahead */
        restore_send(restore, reply);
    }
    catalog_memory_free(&memory);
}

/* --- results --- */

static void on_results(struct hf_restore *restore, const struct restore_task *task)
{
    const struct hf_restore_results *results = &task->frame.results;
    struct hf_event_job_result *rows = calloc(results->count ? results->count : 1, sizeof *rows);
    char actor[96];
    struct hf_error error = {0};
    if (!rows) {
        return; /* results are repeated when the job is resumed */
    }
    for (size_t i = 0; i < results->count; i++) {
        rows[i] = (struct hf_event_job_result){
            .path = results->results[i].path,
            .status = results->results[i].status,
            .bytes = results->results[i].bytes,
            .message = results->results[i].message,
        };
    }
    struct hf_event event = driver_event(restore, HF_EVENT_JOB_RESULTS, actor);
    event.job_results.job_id = restore->job;
    event.job_results.rows = rows;
    event.job_results.count = results->count;
    if (results->count > 0) {
        driver_commit(restore, &event, 1, &error);
    }
    free(rows);
}

static void on_done(struct hf_restore *restore, const struct restore_task *task,
                    struct hf_catalog_reader *catalog)
{
    const struct hf_restore_done *done = &task->frame.done;
    struct hf_catalog_memory memory = {0};
    struct hf_job_row row;
    char actor[96];
    char message[HF_TEXT_MAX_BYTES + 1];
    char detail[160];
    struct hf_error error = {0};
    enum hf_job_state state = done->outcome == HF_JOB_SUCCEEDED   ? HF_JOB_STATE_SUCCEEDED
                              : done->outcome == HF_JOB_CANCELLED ? HF_JOB_STATE_CANCELLED
                                                                  : HF_JOB_STATE_FAILED;
    bool own = catalog_job_get(catalog, done->job, &memory, &row, NULL) == HF_OK &&
               row.host_row == restore->options.host_row;
    catalog_memory_free(&memory);
    if (!own) {
        driver_refuse(restore, task, HF_WIRE_DENIED, "That is no job of this host",
                      (struct hf_bytes){0});
        return;
    }
    snprintf(message, sizeof message, "%.*s", (int)done->message.size,
             (const char *)done->message.data);
    snprintf(detail, sizeof detail, "job %llu: %llu files, %llu failed",
             (unsigned long long)done->job, (unsigned long long)done->file_count,
             (unsigned long long)done->failed_count);
    struct hf_event events[2] = {
        state_event(restore, done->job, state, message, actor),
        driver_event(restore, HF_EVENT_AUDIT, actor),
    };
    events[0].job_state.fetched_bytes = done->fetched_bytes;
    events[0].job_state.reused_bytes = done->reused_bytes;
    events[1].audit.action = event_text("restore.done");
    events[1].audit.object = event_text(restore->host_id);
    events[1].audit.detail = event_text(detail);
    events[1].audit.outcome = state == HF_JOB_STATE_SUCCEEDED ? HF_AUDIT_OK : HF_AUDIT_FAILED;
    int rc = driver_commit(restore, events, 2, &error);
    struct hf_ingest_reply *reply = driver_frame(HF_FRAME_RESTORE_DONE);
    if (rc != HF_OK && rc != HF_ERR_CONFLICT) {
        /* Not recorded, so not echoed: the agent says it again with its next connection. */
        if (reply &&
            hf_buf_append(&reply->memory, error.message, strlen(error.message) + 1) == HF_OK) {
            reply->kind = HF_REPLY_STORAGE;
            restore_send(restore, reply);
        } else {
            ingest_reply_free(reply);
        }
        return;
    }
    if (reply) {
        reply->frame.done = *done;
        reply->frame.done.message = (struct hf_bytes){0};
    }
    restore_send(restore, reply);
    if (done->job == restore->job) {
        forget_job(restore);
    }
    offer_next(restore, catalog);
}

static void on_cancelled(struct hf_restore *restore, uint64_t job)
{
    struct hf_ingest_reply *reply = NULL;
    if (restore->job == job && (reply = driver_frame(HF_FRAME_RESTORE_CANCEL))) {
        reply->frame.cancel.job = job;
        restore_send(restore, reply);
    }
}

/* The job that a frame names. */
static uint64_t job_of(const struct hf_frame *frame)
{
    switch (frame->type) {
    case HF_FRAME_RESTORE_ANSWER:
        return frame->answer.job;
    case HF_FRAME_RESTORE_NEXT:
        return frame->next.job;
    case HF_FRAME_CHUNK_GET:
        return frame->ids.request;
    case HF_FRAME_RESTORE_RESULT:
        return frame->results.job;
    default:
        return 0;
    }
}

bool driver_step(struct hf_restore *restore, struct restore_task *task,
                 struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    if (task->kind == RESTORE_WAKE) {
        offer_next(restore, catalog);
        return false;
    }
    if (task->kind == RESTORE_CANCELLED) {
        on_cancelled(restore, task->job);
        return false;
    }
    if (task->frame.type == HF_FRAME_RESTORE_DONE) {
        on_done(restore, task, catalog); /* also of a job that this session did not offer yet */
        return false;
    }
    if (restore->job == 0 || job_of(&task->frame) != restore->job) {
        driver_refuse(restore, task, HF_WIRE_DENIED,
                      "That is not the job that was offered to this host", (struct hf_bytes){0});
        return false;
    }
    switch (task->frame.type) {
    case HF_FRAME_RESTORE_ANSWER:
        on_answer(restore, task, catalog);
        break;
    case HF_FRAME_RESTORE_NEXT:
    case HF_FRAME_CHUNK_GET:
        if (!restore->accepted) {
            driver_refuse(restore, task, HF_WIRE_STATE, "Answer the offer first",
                          (struct hf_bytes){0});
        } else if (task->frame.type == HF_FRAME_RESTORE_NEXT) {
            on_next(restore, task, catalog);
        } else {
            return driver_send_chunks(restore, task, catalog, store);
        }
        break;
    default:
        on_results(restore, task);
        break;
    }
    return false;
}
