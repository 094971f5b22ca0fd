/* What each type of event consists of, in the order in which it is journalled (JOURNAL.md).
 * Fields are only ever added at the end. */
#include "collector/catalog/event_codec.h"

#define ROW_MAX  ((uint64_t)INT64_MAX) /* what a SQLite integer holds */
#define TEXT_MAX HF_EVENT_TEXT_MAX_BYTES

static void describe_host_created(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_host_created *e = &event->host_created;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_text(codec, "host_id", &e->host_id, TEXT_MAX);
    field_text(codec, "name", &e->name, TEXT_MAX);
    field_labels(codec, &e->labels, &e->label_count);
    field_text(codec, "token_id", &e->token_id, TEXT_MAX);
}

static void describe_host_seen(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_host_seen *e = &event->host_seen;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_text(codec, "host_id", &e->host_id, TEXT_MAX);
    field_text(codec, "hostname", &e->hostname, TEXT_MAX);
    field_text(codec, "machine_id", &e->machine_id, TEXT_MAX);
    field_text(codec, "os", &e->os, TEXT_MAX);
    field_text(codec, "agent_version", &e->agent_version, TEXT_MAX);
    field_text(codec, "address", &e->address, TEXT_MAX);
}

static void describe_host_labelled(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_host_labelled *e = &event->host_labelled;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_text(codec, "host_id", &e->host_id, TEXT_MAX);
    field_labels(codec, &e->set, &e->set_count);
    field_texts(codec, "removed", &e->removed, &e->removed_count, HF_EVENT_LABELS_MAX);
}

static void describe_host_revoked(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_host_revoked *e = &event->host_revoked;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_text(codec, "host_id", &e->host_id, TEXT_MAX);
    field_text(codec, "reason", &e->reason, TEXT_MAX);
}

static void describe_cert_issued(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_cert_issued *e = &event->cert_issued;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_text(codec, "host_id", &e->host_id, TEXT_MAX);
    field_text(codec, "serial", &e->serial, TEXT_MAX);
    field_hash(codec, "key_hash", e->key_hash);
    field_int(codec, "not_before", &e->not_before_ns);
    field_int(codec, "not_after", &e->not_after_ns);
    field_text(codec, "certificate", &e->certificate_pem, HF_EVENT_DETAIL_MAX_BYTES);
    field_text(codec, "token_id", &e->token_id, TEXT_MAX);
}

static void describe_token_created(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_token_created *e = &event->token_created;
    field_text(codec, "token_id", &e->token_id, TEXT_MAX);
    field_enum(codec, "kind", &e->kind, HF_TOKEN_ENROL, HF_TOKEN_API);
    field_enum(codec, "role", &e->role, HF_ROLE_NONE, HF_ROLE_ADMIN);
    field_hash(codec, "secret_hash", e->secret_hash);
    field_int(codec, "expires", &e->expires_ns);
    field_uint32(codec, "uses", &e->uses);
    field_text(codec, "name", &e->name, TEXT_MAX);
    field_labels(codec, &e->labels, &e->label_count);
}

static void describe_token_revoked(struct event_codec *codec, struct hf_event *event)
{
    field_text(codec, "token_id", &event->token_revoked.token_id, TEXT_MAX);
}

static void describe_source_opened(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_source_opened *e = &event->source_opened;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_uint(codec, "source_row", &e->source_row, ROW_MAX);
    field_text(codec, "name", &e->name, HF_NAME_MAX_BYTES);
    field_text(codec, "kind", &e->kind, TEXT_MAX);
    field_text(codec, "class", &e->class_name, TEXT_MAX);
    field_texts(codec, "roots", &e->roots, &e->root_count, HF_EVENT_ROOTS_MAX);
}

static void describe_version(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_version *e = &event->version;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_uint(codec, "source_row", &e->source_row, ROW_MAX);
    field_int(codec, "at", &e->at_ns);
    field_int(codec, "received", &e->received_ns);
    field_bool(codec, "recorded", &e->recorded);
    if (e->recorded) {
        field_version(codec, &e->version);
    } else {
        field_uint(codec, "seq", &e->version.seq, ROW_MAX);
    }
}

static void describe_chunks_held(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_chunks_held *e = &event->chunks_held;
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_bytes(codec, "ids", &e->ids, (size_t)HF_EVENT_IDS_MAX * HF_HASH_BYTES);
}

static void describe_mark(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_mark *e = &event->mark;
    field_uint(codec, "source_row", &e->source_row, ROW_MAX);
    field_uint(codec, "version_seq", &e->version_seq, ROW_MAX);
    field_int(codec, "until", &e->until_ns);
    field_enum(codec, "state", &e->state, HF_SOURCE_WATCHING, HF_SOURCE_RETIRED);
    field_uint(codec, "pending", &e->pending_files, ROW_MAX);
    field_text(codec, "note", &e->note, TEXT_MAX);
}

static void describe_snapshot_created(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_snapshot_created *e = &event->snapshot_created;
    field_uint(codec, "snapshot_id", &e->snapshot_id, ROW_MAX);
    field_uint(codec, "source_row", &e->source_row, ROW_MAX);
    field_text(codec, "name", &e->name, TEXT_MAX);
    field_int(codec, "at", &e->at_ns);
    field_enum(codec, "reason", &e->reason, HF_SNAPSHOT_MANUAL, HF_SNAPSHOT_PRE_RESTORE);
    field_uint(codec, "job", &e->job, ROW_MAX);
    field_bool(codec, "held", &e->held);
    field_text(codec, "hold_reason", &e->hold_reason, TEXT_MAX);
}

static void describe_snapshot_held(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_snapshot_held *e = &event->snapshot_held;
    field_uint(codec, "snapshot_id", &e->snapshot_id, ROW_MAX);
    field_text(codec, "reason", &e->reason, TEXT_MAX);
}

static void describe_job_created(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_job_created *e = &event->job_created;
    field_uint(codec, "job_id", &e->job_id, ROW_MAX);
    field_uint(codec, "host_row", &e->host_row, ROW_MAX);
    field_uint(codec, "source_row", &e->source_row, ROW_MAX);
    field_text(codec, "host_id", &e->host_id, TEXT_MAX);
    field_text(codec, "origin_host_id", &e->origin_host_id, TEXT_MAX);
    field_text(codec, "source_name", &e->source_name, HF_NAME_MAX_BYTES);
    field_int(codec, "at", &e->at_ns);
    field_texts(codec, "paths", &e->paths, &e->path_count, HF_EVENT_PATHS_MAX);
    field_text(codec, "destination", &e->destination, TEXT_MAX);
    field_enum(codec, "conflict", &e->conflict, HF_CONFLICT_REPLACE, HF_CONFLICT_RENAME);
    field_bool(codec, "dry_run", &e->dry_run);
    field_int(codec, "expires", &e->expires_ns);
    field_uint(codec, "files", &e->file_count, ROW_MAX);
    field_uint(codec, "bytes", &e->byte_count, ROW_MAX);
}

static void describe_job_state(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_job_state *e = &event->job_state;
    field_uint(codec, "job_id", &e->job_id, ROW_MAX);
    field_enum(codec, "state", &e->state, HF_JOB_STATE_WAITING, HF_JOB_STATE_EXPIRED);
    field_uint(codec, "snapshot_id", &e->snapshot_id, ROW_MAX);
    field_uint(codec, "fetched", &e->fetched_bytes, ROW_MAX);
    field_uint(codec, "reused", &e->reused_bytes, ROW_MAX);
    field_text(codec, "message", &e->message, TEXT_MAX);
}

static void describe_job_results(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_job_results *e = &event->job_results;
    void *elements = (void *)e->rows;
    field_uint(codec, "job_id", &e->job_id, ROW_MAX);
    field_array(codec, "results", &elements, &e->count, sizeof *e->rows, HF_FRAME_RESULTS_MAX);
    e->rows = elements;
    for (size_t i = 0; i < e->count && codec->rc == HF_OK; i++) {
        struct hf_event_job_result *row = &((struct hf_event_job_result *)elements)[i];
        field_tuple(codec, "result", 4);
        field_text(codec, "path", &row->path, HF_PATH_MAX_BYTES);
        field_enum(codec, "status", &row->status, HF_RESTORE_RESTORED, HF_RESTORE_WOULD);
        field_uint(codec, "bytes", &row->bytes, ROW_MAX);
        field_text(codec, "message", &row->message, TEXT_MAX);
    }
}

/* What the chain covers. */
static void describe_audit_content(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_audit *e = &event->audit;
    field_uint(codec, "audit_seq", &e->audit_seq, ROW_MAX);
    field_text(codec, "action", &e->action, TEXT_MAX);
    field_text(codec, "object", &e->object, TEXT_MAX);
    field_text(codec, "detail", &e->detail, HF_EVENT_DETAIL_MAX_BYTES);
    field_enum(codec, "outcome", &e->outcome, HF_AUDIT_OK, HF_AUDIT_FAILED);
}

static void describe_audit(struct event_codec *codec, struct hf_event *event)
{
    describe_audit_content(codec, event);
    field_hash(codec, "hash", event->audit.hash);
}

static void describe_dictionary_trained(struct event_codec *codec, struct hf_event *event)
{
    struct hf_event_dictionary_trained *e = &event->dictionary_trained;
    field_uint(codec, "row", &e->row, ROW_MAX);
    field_text(codec, "class", &e->class_name, TEXT_MAX);
    field_hash(codec, "id", e->id);
    field_bytes(codec, "bytes", &e->bytes, HF_DICTIONARY_MAX_BYTES);
}

static int append(void *context, const char *data, size_t size)
{
    return hf_buf_append(context, data, size) == HF_OK ? 0 : -1;
}

int event_audit_hash(const struct hf_event *event, const uint8_t previous[HF_HASH_BYTES],
                     uint8_t out[HF_HASH_BYTES])
{
    struct hf_buf text = {0};
    struct hf_event entry = *event;
    struct event_codec codec = {.encoding = true, .out = &text};
    codec.rc = hf_buf_append(&text, previous, HF_HASH_BYTES);
    msgpack_packer_init(&codec.packer, &text, append);
    field_int(&codec, "time", &entry.time_ns);
    field_text(&codec, "actor", &entry.actor, TEXT_MAX);
    describe_audit_content(&codec, &entry);
    if (codec.rc == HF_OK) {
        hf_sha256(text.data, text.size, out);
    }
    hf_buf_free(&text);
    return codec.rc;
}

static const struct event_kind kinds[] = {
    {HF_EVENT_HOST_CREATED, "HOST_CREATED", 5, describe_host_created},
    {HF_EVENT_HOST_SEEN, "HOST_SEEN", 7, describe_host_seen},
    {HF_EVENT_HOST_LABELLED, "HOST_LABELLED", 4, describe_host_labelled},
    {HF_EVENT_HOST_REVOKED, "HOST_REVOKED", 3, describe_host_revoked},
    {HF_EVENT_CERT_ISSUED, "CERT_ISSUED", 8, describe_cert_issued},
    {HF_EVENT_TOKEN_CREATED, "TOKEN_CREATED", 8, describe_token_created},
    {HF_EVENT_TOKEN_REVOKED, "TOKEN_REVOKED", 1, describe_token_revoked},
    {HF_EVENT_SOURCE_OPENED, "SOURCE_OPENED", 6, describe_source_opened},
    {HF_EVENT_VERSION, "VERSION", 6, describe_version},
    {HF_EVENT_CHUNKS_HELD, "CHUNKS_HELD", 2, describe_chunks_held},
    {HF_EVENT_MARK, "MARK", 6, describe_mark},
    {HF_EVENT_SNAPSHOT_CREATED, "SNAPSHOT_CREATED", 8, describe_snapshot_created},
    {HF_EVENT_SNAPSHOT_HELD, "SNAPSHOT_HELD", 2, describe_snapshot_held},
    {HF_EVENT_SNAPSHOT_RELEASED, "SNAPSHOT_RELEASED", 2, describe_snapshot_held},
    {HF_EVENT_JOB_CREATED, "JOB_CREATED", 14, describe_job_created},
    {HF_EVENT_JOB_STATE, "JOB_STATE", 6, describe_job_state},
    {HF_EVENT_JOB_RESULTS, "JOB_RESULTS", 2, describe_job_results},
    {HF_EVENT_AUDIT, "AUDIT", 6, describe_audit},
    {HF_EVENT_DICTIONARY_TRAINED, "DICTIONARY_TRAINED", 4, describe_dictionary_trained},
};

const struct event_kind *event_kind_find(enum hf_event_type type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].type == type) {
            return &kinds[i];
        }
    }
    return NULL;
}
