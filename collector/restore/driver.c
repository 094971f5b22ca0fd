/* What each frame of a restore does. */
#include "collector/restore/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

#define PAGE_ROWS_MAX     500u
#define PAGE_BYTES_MAX    (512u * 1024u)
#define CONTENT_BYTES_MAX (256u * 1024u) /* of one CHUNKS frame, unless one chunk is larger */

static struct hf_ingest_reply *new_frame(enum hf_frame_type type)
{
    struct hf_ingest_reply *reply = calloc(1, sizeof *reply);
    if (reply) {
        reply->kind = HF_REPLY_FRAME;
        reply->frame.type = type;
    }
    return reply;
}

static void refuse(struct hf_restore *restore, const struct restore_task *task,
                   enum hf_wire_code code, const char *message, struct hf_bytes ids)
{
    struct hf_ingest_reply *reply = new_frame(HF_FRAME_ERROR);
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

static struct hf_event new_event(const struct hf_restore *restore, enum hf_event_type type,
                                 char actor[96])
{
    snprintf(actor, 96, "host %s", restore->host_id);
    return (struct hf_event){
        .type = type, .time_ns = hf_clock_now_ns(), .actor = event_text(actor)};
}

/* HF_ERR_CONFLICT: the job had ended before, for example because the operator cancelled it. */
static int commit(struct hf_restore *restore, struct hf_event *events, size_t count,
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
    struct hf_event event = new_event(restore, HF_EVENT_JOB_STATE, actor);
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
}

/* --- offering --- */

static void offer(struct hf_restore *restore, const struct hf_job_row *row)
{
    struct hf_ingest_reply *reply = new_frame(HF_FRAME_RESTORE_OFFER);
    bool own = strcmp(row->origin_host_id, restore->host_id) == 0;
    size_t name = strlen(row->source_name);
    size_t origin = own ? 0 : strlen(row->origin_host_id);
    if (!reply || hf_buf_append(&reply->memory, row->source_name, name) != HF_OK ||
        hf_buf_append(&reply->memory, row->origin_host_id, origin) != HF_OK ||
        hf_buf_append(&reply->memory, row->destination.data, row->destination.size) != HF_OK) {
        ingest_reply_free(reply);
        return;
    }
    const uint8_t *memory = reply->memory.data;
    reply->frame.offer = (struct hf_restore_offer){
        .job = row->job_id,
        .source = {memory, name},
        .origin_host = {memory + name, origin},
        .at_ns = row->at_ns,
        .destination = {memory + name + origin, row->destination.size},
        .conflict = row->conflict,
        .dry_run = row->dry_run,
        .file_count = row->files_total,
        .byte_count = row->bytes_total,
        .expires_ns = row->expires_ns,
    };
    restore->job = row->job_id;
    restore->accepted = false;
    restore->origin_row = row->origin_host_row;
    restore->source_row = row->source_row;
    restore->fetched_bytes = row->fetched_bytes;
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
            commit(restore, &event, 1, &error);
            continue;
        }
        offer(restore, &rows[i]);
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
    struct hf_event snapshot = new_event(restore, HF_EVENT_SNAPSHOT_CREATED, snapshot_actor);
    int rc = catalog_job_get(catalog, restore->job, &memory, &row, error);
    if (rc == HF_OK && !row.dry_run && (row.snapshot_id == 0 || restore->accepted) &&
        take_snapshot(restore, catalog, &row, &snapshot, name)) {
        rc = commit(restore, &snapshot, 1, error);
    }
    catalog_memory_free(&memory);
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_event state =
        state_event(restore, restore->job, HF_JOB_STATE_RUNNING, "", state_actor);
    state.job_state.snapshot_id = snapshot.snapshot_created.snapshot_id;
    return commit(restore, &state, 1, error);
}

static void send_cancel(struct hf_restore *restore, uint64_t job)
{
    struct hf_ingest_reply *reply = new_frame(HF_FRAME_RESTORE_CANCEL);
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
        refuse(restore, task, HF_WIRE_STORAGE, error.message, (struct hf_bytes){0});
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
        new_event(restore, HF_EVENT_AUDIT, actor),
    };
    events[1].audit.action = event_text("restore.refused");
    events[1].audit.object = event_text(restore->host_id);
    events[1].audit.detail = event_text(message);
    events[1].audit.outcome = HF_AUDIT_REFUSED;
    commit(restore, events, 2, &error);
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
    struct hf_ingest_reply *reply = new_frame(HF_FRAME_RESTORE_PAGE);
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
        refuse(restore, task, HF_WIRE_INTERNAL, error.message, (struct hf_bytes){0});
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

/* --- content --- */

struct wanted {
    const uint8_t *id;
    struct hf_chunk_place place;
};

static int compare_places(const void *a, const void *b)
{
    const struct hf_location *left = &((const struct wanted *)a)->place.location;
    const struct hf_location *right = &((const struct wanted *)b)->place.location;
    if (left->pack != right->pack) {
        return left->pack < right->pack ? -1 : 1;
    }
    return (left->offset > right->offset) - (left->offset < right->offset);
}

/* One CHUNKS frame from wanted[*next] on. */
static int send_content(struct hf_restore *restore, struct hf_store_reader *store,
                        const struct wanted *wanted, size_t count, size_t *next,
                        struct hf_error *error)
{
    struct hf_ingest_reply *reply = new_frame(HF_FRAME_CHUNKS);
    struct {
        size_t offset, size;
        enum hf_codec codec;
        uint32_t plain_size;
        const uint8_t *id;
    } parts[HF_FRAME_CHUNKS_MAX];
    size_t part_count = 0;
    int rc = reply ? HF_OK : HF_ERR_NO_MEMORY;
    while (rc == HF_OK && *next < count && part_count < HF_FRAME_CHUNKS_MAX &&
           (part_count == 0 ||
            reply->memory.size + wanted[*next].place.location.size <= CONTENT_BYTES_MAX)) {
        size_t offset = reply->memory.size;
        rc = store_read_stored(store, &wanted[*next].place.location, wanted[*next].id,
                               &parts[part_count].codec, &parts[part_count].plain_size,
                               &reply->memory, error);
        parts[part_count].offset = offset;
        parts[part_count].size = reply->memory.size - offset;
        parts[part_count].id = wanted[*next].id;
        part_count++;
        (*next)++;
    }
    /* Ids and chunk structs go behind the content, in the same memory. */
    size_t ids_at = rc == HF_OK ? reply->memory.size : 0;
    for (size_t i = 0; rc == HF_OK && i < part_count; i++) {
        rc = hf_buf_append(&reply->memory, parts[i].id, HF_HASH_BYTES);
    }
    static const uint8_t zeros[16];
    if (rc == HF_OK) {
        rc = hf_buf_append(&reply->memory, zeros, (16 - reply->memory.size % 16) % 16);
    }
    size_t chunks_at = rc == HF_OK ? reply->memory.size : 0;
    if (rc == HF_OK) {
        rc = hf_buf_extend(&reply->memory, part_count * sizeof(struct hf_chunk), NULL);
    }
    if (rc != HF_OK) {
        ingest_reply_free(reply);
        return rc;
    }
    const uint8_t *memory = reply->memory.data;
    struct hf_chunk *chunks = (struct hf_chunk *)(void *)(reply->memory.data + chunks_at);
    for (size_t i = 0; i < part_count; i++) {
        chunks[i] = (struct hf_chunk){.id = memory + ids_at + i * HF_HASH_BYTES,
                                      .codec = parts[i].codec,
                                      .plain_size = parts[i].plain_size,
                                      .data = {memory + parts[i].offset, parts[i].size}};
        restore->fetched_bytes += parts[i].plain_size;
    }
    reply->frame.chunks.chunks = chunks;
    reply->frame.chunks.count = part_count;
    reply->frame.chunks.job = restore->job;
    reply->bytes = reply->memory.size;
    restore_send(restore, reply);
    return HF_OK;
}

/* Once a job: an agent that goes on asking must not fill the journal. */
static void audit_denied(struct hf_restore *restore, size_t count)
{
    if (restore->denied_job == restore->job) {
        return;
    }
    restore->denied_job = restore->job;
    char actor[96];
    char detail[128];
    struct hf_error error = {0};
    struct hf_event event = new_event(restore, HF_EVENT_AUDIT, actor);
    snprintf(detail, sizeof detail, "asked for %zu chunks that are not of its job %llu", count,
             (unsigned long long)restore->job);
    event.audit.action = event_text("chunk.denied");
    event.audit.object = event_text(restore->host_id);
    event.audit.detail = event_text(detail);
    event.audit.outcome = HF_AUDIT_REFUSED;
    commit(restore, &event, 1, &error);
}

static bool on_chunk_get(struct hf_restore *restore, struct restore_task *task,
                         struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    struct hf_bytes ids = task->frame.ids.ids;
    size_t count = ids.size / HF_HASH_BYTES;
    struct hf_chunk_place *places = calloc(count, sizeof *places);
    bool *held = calloc(count, sizeof *held);
    struct wanted *wanted = calloc(count, sizeof *wanted);
    struct hf_buf denied = {0};
    struct hf_error error = {0};
    size_t wanted_count = 0;
    int rc = places && held && wanted ? catalog_chunks_locate(catalog, restore->origin_row,
                                                              ids.data, count, places, held, &error)
                                      : HF_ERR_NO_MEMORY;
    for (size_t i = 0; rc == HF_OK && i < count; i++) {
        const uint8_t *id = ids.data + i * HF_HASH_BYTES;
        if (held[i]) {
            wanted[wanted_count++] = (struct wanted){id, places[i]};
        } else {
            rc = hf_buf_append(&denied, id, HF_HASH_BYTES);
        }
    }
    if (rc == HF_OK && denied.size > 0 && !task->begun) {
        refuse(restore, task, HF_WIRE_DENIED, "The job's origin host never stored these chunks",
               (struct hf_bytes){denied.data, denied.size});
        audit_denied(restore, denied.size / HF_HASH_BYTES);
    }
    if (rc == HF_OK) {
        qsort(wanted, wanted_count, sizeof *wanted, compare_places);
    }
    task->begun = true;
    do {
        rc = rc == HF_OK && task->sent < wanted_count
                 ? send_content(restore, store, wanted, wanted_count, &task->sent, &error)
                 : rc;
    } while (rc == HF_OK && task->sent < wanted_count && !restore_is_full(restore));
    bool more = rc == HF_OK && task->sent < wanted_count;
    if (rc != HF_OK) {
        hf_log_error("Restore job %llu: %s", (unsigned long long)restore->job,
                     error.message[0] ? error.message : "out of memory");
        refuse(restore, task, HF_WIRE_INTERNAL,
               error.message[0] ? error.message : "The collector is out of memory", ids);
    }
    hf_buf_free(&denied);
    free(wanted);
    free(held);
    free(places);
    return more;
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
    struct hf_event event = new_event(restore, HF_EVENT_JOB_RESULTS, actor);
    event.job_results.job_id = restore->job;
    event.job_results.rows = rows;
    event.job_results.count = results->count;
    if (results->count > 0) {
        commit(restore, &event, 1, &error);
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
        refuse(restore, task, HF_WIRE_DENIED, "That is no job of this host", (struct hf_bytes){0});
        return;
    }
    snprintf(message, sizeof message, "%.*s", (int)done->message.size,
             (const char *)done->message.data);
    snprintf(detail, sizeof detail, "job %llu: %llu files, %llu failed",
             (unsigned long long)done->job, (unsigned long long)done->file_count,
             (unsigned long long)done->failed_count);
    struct hf_event events[2] = {
        state_event(restore, done->job, state, message, actor),
        new_event(restore, HF_EVENT_AUDIT, actor),
    };
    events[0].job_state.fetched_bytes = done->fetched_bytes;
    events[0].job_state.reused_bytes = done->reused_bytes;
    events[1].audit.action = event_text("restore.done");
    events[1].audit.object = event_text(restore->host_id);
    events[1].audit.detail = event_text(detail);
    events[1].audit.outcome = state == HF_JOB_STATE_SUCCEEDED ? HF_AUDIT_OK : HF_AUDIT_FAILED;
    int rc = commit(restore, events, 2, &error);
    if (rc != HF_OK && rc != HF_ERR_CONFLICT) {
        return; /* not recorded, so not echoed: the agent says it again with its next connection */
    }
    struct hf_ingest_reply *reply = new_frame(HF_FRAME_RESTORE_DONE);
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
    if (restore->job == job && (reply = new_frame(HF_FRAME_RESTORE_CANCEL))) {
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
        refuse(restore, task, HF_WIRE_DENIED, "That is not the job that was offered to this host",
               (struct hf_bytes){0});
        return false;
    }
    switch (task->frame.type) {
    case HF_FRAME_RESTORE_ANSWER:
        on_answer(restore, task, catalog);
        break;
    case HF_FRAME_RESTORE_NEXT:
    case HF_FRAME_CHUNK_GET:
        if (!restore->accepted) {
            refuse(restore, task, HF_WIRE_STATE, "Answer the offer first", (struct hf_bytes){0});
        } else if (task->frame.type == HF_FRAME_RESTORE_NEXT) {
            on_next(restore, task, catalog);
        } else {
            return on_chunk_get(restore, task, catalog, store);
        }
        break;
    default:
        on_results(restore, task);
        break;
    }
    return false;
}
