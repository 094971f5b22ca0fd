/* One table says what each event type holds; encoding and decoding walk it. */
#include "collector/catalog/event.h"

#include <string.h>

#include <msgpack.h>

#include "proto/frame.h"
#include "proto/reader.h"

enum field_kind { FIELD_END, FIELD_U64, FIELD_I64, FIELD_BYTES };

struct field {
    enum field_kind kind;
    const char *name;
    size_t offset;
};

#define FIELDS_MAX 16

struct layout {
    const char *name;
    struct field fields[FIELDS_MAX];
};

#define U64(member)   {FIELD_U64, #member, offsetof(struct hf_event, member)}
#define I64(member)   {FIELD_I64, #member, offsetof(struct hf_event, member)}
#define BYTES(member) {FIELD_BYTES, #member, offsetof(struct hf_event, member)}

/* The order of fields is the journal's format: append only. */
static const struct layout layouts[] = {
    [HF_EVENT_HOST_CREATED] = {"host-created",
                               {U64(host_created.host), BYTES(host_created.host_id),
                                BYTES(host_created.name), BYTES(host_created.labels),
                                BYTES(host_created.token_id)}},
    [HF_EVENT_HOST_SEEN] = {"host-seen",
                            {U64(host_seen.host), BYTES(host_seen.hostname), BYTES(host_seen.os),
                             BYTES(host_seen.agent_version), BYTES(host_seen.machine_id)}},
    [HF_EVENT_HOST_LABELLED] = {"host-labelled",
                                {U64(host_labelled.host), BYTES(host_labelled.labels),
                                 BYTES(host_labelled.name)}},
    [HF_EVENT_HOST_REVOKED] = {"host-revoked",
                               {U64(host_revoked.host), BYTES(host_revoked.reason)}},
    [HF_EVENT_CERT_ISSUED] = {"certificate-issued",
                              {U64(cert_issued.host), BYTES(cert_issued.serial),
                               BYTES(cert_issued.key_hash), BYTES(cert_issued.pem),
                               BYTES(cert_issued.token_id), I64(cert_issued.not_before_ns),
                               I64(cert_issued.not_after_ns)}},
    [HF_EVENT_TOKEN_CREATED] = {"token-created",
                                {BYTES(token_created.token_id), BYTES(token_created.secret_hash),
                                 BYTES(token_created.labels), BYTES(token_created.name),
                                 U64(token_created.kind), U64(token_created.role),
                                 U64(token_created.uses), I64(token_created.expires_ns)}},
    [HF_EVENT_TOKEN_REVOKED] = {"token-revoked", {BYTES(token_revoked.token_id)}},
    [HF_EVENT_SOURCE_OPENED] = {"source-opened",
                                {U64(source_opened.source), U64(source_opened.host),
                                 BYTES(source_opened.name), BYTES(source_opened.kind),
                                 BYTES(source_opened.class_name), BYTES(source_opened.roots)}},
    [HF_EVENT_VERSION] = {"version",
                          {U64(version.source), I64(version.at_ns), I64(version.received_ns),
                           U64(version.recorded), BYTES(version.version)}},
    [HF_EVENT_CHUNKS_HELD] = {"chunks-held", {U64(chunks_held.host), BYTES(chunks_held.ids)}},
    [HF_EVENT_MARK] = {"mark",
                       {U64(mark.source), I64(mark.until_ns), U64(mark.state), U64(mark.pending),
                        BYTES(mark.note)}},
    [HF_EVENT_SNAPSHOT_CREATED] = {"snapshot-created",
                                   {U64(snapshot_created.snapshot), U64(snapshot_created.source),
                                    U64(snapshot_created.reason), U64(snapshot_created.job),
                                    U64(snapshot_created.held), I64(snapshot_created.at_ns),
                                    BYTES(snapshot_created.name)}},
    [HF_EVENT_SNAPSHOT_HELD] = {"snapshot-held",
                                {U64(snapshot_held.snapshot), BYTES(snapshot_held.reason)}},
    [HF_EVENT_SNAPSHOT_RELEASED] = {"snapshot-released", {U64(snapshot_released.snapshot)}},
    [HF_EVENT_JOB_CREATED] = {"job-created",
                              {U64(job_created.job), U64(job_created.host), U64(job_created.source),
                               I64(job_created.at_ns), I64(job_created.expires_ns),
                               BYTES(job_created.paths), BYTES(job_created.destination),
                               U64(job_created.conflict), U64(job_created.dry_run),
                               U64(job_created.file_count), U64(job_created.byte_count),
                               BYTES(job_created.created_by)}},
    [HF_EVENT_JOB_STATE] = {"job-state",
                            {U64(job_state.job), U64(job_state.state), U64(job_state.snapshot),
                             U64(job_state.done_files), U64(job_state.failed_files),
                             U64(job_state.done_bytes), U64(job_state.fetched_bytes),
                             U64(job_state.reused_bytes), BYTES(job_state.message)}},
    [HF_EVENT_JOB_RESULTS] = {"job-results",
                              {U64(job_results.job), BYTES(job_results.results)}},
    [HF_EVENT_AUDIT] = {"audit",
                        {U64(audit.seq), BYTES(audit.action), BYTES(audit.object),
                         BYTES(audit.detail), U64(audit.outcome), BYTES(audit.hash)}},
};

static const struct layout *layout_of(enum hf_event_type type)
{
    size_t index = (size_t)type;
    return index < sizeof layouts / sizeof layouts[0] && layouts[index].name ? &layouts[index]
                                                                             : NULL;
}

static size_t field_count(const struct layout *layout)
{
    size_t count = 0;
    while (count < FIELDS_MAX && layout->fields[count].kind != FIELD_END) {
        count++;
    }
    return count;
}

struct hf_bytes hf_text(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

const char *event_name(enum hf_event_type type)
{
    const struct layout *layout = layout_of(type);
    return layout ? layout->name : "unknown";
}

static int append(void *context, const char *data, size_t size)
{
    return hf_buf_append(context, data, size) == HF_OK ? 0 : -1;
}

static int pack_bytes(msgpack_packer *packer, struct hf_bytes bytes)
{
    int failed = msgpack_pack_bin(packer, bytes.size);
    return bytes.size > 0 ? msgpack_pack_bin_body(packer, bytes.data, bytes.size) : failed;
}

int event_encode(const struct hf_event *event, struct hf_buf *out)
{
    const struct layout *layout = layout_of(event->type);
    size_t start = out->size;
    msgpack_packer packer;
    if (!layout) {
        return HF_ERR_UNSUPPORTED;
    }
    msgpack_packer_init(&packer, out, append);
    msgpack_pack_array(&packer, field_count(layout) + 3);
    msgpack_pack_uint32(&packer, (uint32_t)event->type);
    msgpack_pack_int64(&packer, event->time_ns);
    int failed = pack_bytes(&packer, event->actor);
    for (const struct field *field = layout->fields; field->kind != FIELD_END; field++) {
        const void *member = (const char *)event + field->offset;
        if (field->kind == FIELD_U64) {
            failed = msgpack_pack_uint64(&packer, *(const uint64_t *)member);
        } else if (field->kind == FIELD_I64) {
            failed = msgpack_pack_int64(&packer, *(const int64_t *)member);
        } else {
            failed = pack_bytes(&packer, *(const struct hf_bytes *)member);
        }
    }
    if (failed) {
        out->size = start;
        return HF_ERR_NO_MEMORY;
    }
    return HF_OK;
}

int event_decode(const uint8_t *data, size_t size, struct hf_event *event, struct hf_error *error)
{
    struct proto_reader reader;
    reader_init(&reader, data, size, error);
    *event = (struct hf_event){0};
    size_t count = reader_array(&reader, "event", 3, 64);
    event->type = (enum hf_event_type)reader_uint(&reader, "type", 0, UINT16_MAX);
    event->time_ns = reader_int(&reader, "time");
    event->actor = reader_bytes(&reader, "actor", HF_TEXT_MAX_BYTES);
    if (reader.rc != HF_OK) {
        return reader.rc;
    }
    const struct layout *layout = layout_of(event->type);
    if (!layout) {
        return hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                            "Event type %d is not known to this version of the collector",
                            (int)event->type);
    }
    if (count < field_count(layout) + 3) {
        return hf_error_set(error, HF_ERR_PROTOCOL, 0, "A %s event has %zu fields of %zu",
                            layout->name, count, field_count(layout) + 3);
    }
    for (const struct field *field = layout->fields; field->kind != FIELD_END; field++) {
        void *member = (char *)event + field->offset;
        if (field->kind == FIELD_U64) {
            *(uint64_t *)member = reader_uint(&reader, field->name, 0, INT64_MAX);
        } else if (field->kind == FIELD_I64) {
            *(int64_t *)member = reader_int(&reader, field->name);
        } else {
            *(struct hf_bytes *)member = reader_bytes(&reader, field->name, HF_FRAME_MAX_BYTES);
        }
    }
    size_t objects = HF_FRAME_OBJECTS_MAX;
    for (size_t i = field_count(layout) + 3; i < count && reader.rc == HF_OK; i++) {
        reader_skip(&reader, HF_FRAME_DEPTH_MAX, &objects);
    }
    if (reader.rc == HF_OK && reader.next != reader.end) {
        reader.field = "event";
        reader_fail(&reader, HF_ERR_PROTOCOL, "is followed by %zu stray bytes",
                    (size_t)(reader.end - reader.next));
    }
    return reader.rc;
}

int event_copy(const struct hf_event *event, struct hf_event *out, struct hf_buf *memory)
{
    *memory = (struct hf_buf){0};
    int rc = event_encode(event, memory);
    if (rc == HF_OK) {
        rc = event_decode(memory->data, memory->size, out, NULL);
    }
    if (rc != HF_OK) {
        hf_buf_free(memory);
    }
    return rc;
}
