#include "grow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"

#define CONTENT_BYTES      512u /* of a chunk: a robot's checkpoint */
#define STORED_BYTES       360u
#define PACK_BYTES         (UINT64_C(256) * 1024 * 1024)
#define REFS_MAX           8u
#define DAYS               30u
#define VERSIONS_TO_A_MARK 100u
#define JOB_EVERY          15u /* snapshots */
#define HISTORY_PERCENT    2u  /* of the changes are not of checkpoints */

void bench_must(int rc, const struct hf_error *error)
{
    if (rc != HF_OK) {
        fprintf(stderr, "catalog_scale: %s\n", error->message[0] ? error->message : "failed");
        exit(1);
    }
}

static struct hf_location next_location(struct grow *grow, uint32_t size)
{
    struct hf_location location = {
        .pack = 1 + grow->offset / PACK_BYTES, .offset = grow->offset % PACK_BYTES, .size = size};
    grow->offset += size;
    return location;
}

static void apply(struct grow *grow, struct hf_event *event)
{
    hf_buf_clear(&grow->entry);
    bench_must(event_encode(event, &grow->entry, &grow->error), &grow->error);
    struct hf_location location = next_location(grow, (uint32_t)grow->entry.size);
    if (grow->way == GROW_INGEST) {
        bench_must(catalog_apply(grow->catalog, event, &location, &grow->error), &grow->error);
        return;
    }
    struct hf_event decoded;
    bench_must(event_decode(grow->entry.data, grow->entry.size, &decoded, &grow->error),
               &grow->error);
    bench_must(catalog_apply(grow->catalog, &decoded, &location, &grow->error), &grow->error);
    event_free(&decoded);
}

/* A rare event: its ids are given out by check, in a rebuild too. */
static void put(struct grow *grow, struct hf_event *event)
{
    event->time_ns = fleet_moment(grow->fleet, grow->done);
    bench_must(catalog_check(grow->catalog, event, &grow->error), &grow->error);
    apply(grow, event);
}

/* A frequent one: a rebuild does not check. */
static int put_often(struct grow *grow, struct hf_event *event)
{
    event->time_ns = fleet_moment(grow->fleet, grow->done);
    int rc = grow->way == GROW_INGEST ? catalog_check(grow->catalog, event, &grow->error) : HF_OK;
    if (rc == HF_OK) {
        apply(grow, event);
    }
    return rc;
}

static void host_id_of(uint64_t host_row, char out[24])
{
    snprintf(out, 24, "h-%016llx", (unsigned long long)host_row);
}

static void open_source(struct grow *grow, uint64_t host_row, enum fleet_source source)
{
    static const struct hf_bytes root = {.data = (const uint8_t *)"/home/robot", .size = 11};
    struct hf_event event = {.type = HF_EVENT_SOURCE_OPENED};
    event.source_opened = (struct hf_event_source_opened){
        .host_row = host_row,
        .name = event_text(fleet_source_name(source)),
        .kind = event_text("files"),
        .class_name = event_text(fleet_source_name(source)),
        .roots = &root,
        .root_count = 1,
    };
    put(grow, &event);
}

static void open_host(struct grow *grow, uint64_t host_row, unsigned sources)
{
    char id[24];
    char name[24];
    char serial[40];
    host_id_of(host_row, id);
    snprintf(name, sizeof name, "robot-%05llu", (unsigned long long)host_row);
    snprintf(serial, sizeof serial, "%032llx", (unsigned long long)host_row);
    struct hf_event host = {.type = HF_EVENT_HOST_CREATED};
    host.host_created.host_id = event_text(id);
    host.host_created.name = event_text(name);
    put(grow, &host);
    struct hf_event certificate = {.type = HF_EVENT_CERT_ISSUED};
    certificate.cert_issued.host_id = event_text(id);
    certificate.cert_issued.serial = event_text(serial);
    certificate.cert_issued.certificate_pem = event_text("-----BEGIN CERTIFICATE-----\n");
    certificate.cert_issued.not_before_ns = 1;
    certificate.cert_issued.not_after_ns = HF_TIME_MAX_NS;
    put(grow, &certificate);
    for (unsigned i = 0; i < sources; i++) {
        open_source(grow, host_row, sources == 1 ? FLEET_WORKFLOWS : (enum fleet_source)i);
    }
}

static void init(struct grow *grow, const struct fleet *fleet, struct hf_catalog *catalog,
                 enum grow_way way)
{
    *grow = (struct grow){.fleet = fleet, .catalog = catalog, .way = way};
    grow->seqs = calloc(fleet->hosts * FLEET_SOURCES + 2, sizeof *grow->seqs);
    if (!grow->seqs) {
        bench_must(HF_ERR_NO_MEMORY, &grow->error);
    }
}

void grow_start(struct grow *grow, const struct fleet *fleet, struct hf_catalog *catalog,
                enum grow_way way)
{
    init(grow, fleet, catalog, way);
    bench_must(catalog_begin(catalog, &grow->error), &grow->error);
    for (uint64_t host = 1; host <= fleet->hosts; host++) {
        open_host(grow, host, FLEET_SOURCES);
    }
    open_host(grow, fleet->hosts + 1, 1);
    bench_must(catalog_commit(catalog, &grow->error), &grow->error);
}

void grow_resume(struct grow *grow, const struct fleet *fleet, struct hf_catalog *catalog)
{
    struct hf_source_state_row state;
    struct hf_location applied;
    init(grow, fleet, catalog, GROW_INGEST);
    for (uint64_t row = 1; row <= fleet->hosts * FLEET_SOURCES + 1; row++) {
        bench_must(catalog_source_state(catalog, row, &state, &grow->error), &grow->error);
        grow->seqs[row] = state.committed_seq;
    }
    bench_must(catalog_applied(catalog, &applied, &grow->error), &grow->error);
    grow->offset = (applied.pack - 1) * PACK_BYTES + applied.offset + STORED_BYTES;
    grow->done = fleet->versions;
    grow->chunks = fleet->chunks;
    grow->random = fleet->versions;
}

void grow_free(struct grow *grow)
{
    free(grow->seqs);
    hf_buf_free(&grow->entry);
    hf_buf_free(&grow->held);
}

/* --- the day's business: snapshots, jobs, audit entries, marks --- */

static void put_job(struct grow *grow, uint64_t host_row)
{
    char id[24];
    host_id_of(host_row, id);
    struct hf_event created = {.type = HF_EVENT_JOB_CREATED, .actor = event_text("bench")};
    created.job_created.host_id = created.job_created.origin_host_id = event_text(id);
    created.job_created.source_name = event_text(fleet_source_name(FLEET_CHECKPOINT));
    created.job_created.at_ns = fleet_moment(grow->fleet, grow->done);
    created.job_created.conflict = HF_CONFLICT_REPLACE;
    created.job_created.expires_ns = HF_TIME_MAX_NS;
    created.job_created.file_count = FLEET_CHECKPOINTS;
    put(grow, &created);
    struct hf_event state = {.type = HF_EVENT_JOB_STATE, .actor = event_text("bench")};
    state.job_state.job_id = created.job_created.job_id;
    state.job_state.state = HF_JOB_STATE_RUNNING;
    put(grow, &state);
    state.job_state.state = HF_JOB_STATE_SUCCEEDED;
    put(grow, &state);
    struct hf_event audit = {.type = HF_EVENT_AUDIT, .actor = event_text("token bench")};
    audit.audit.action = event_text("job.created");
    audit.audit.object = event_text(id);
    audit.audit.outcome = HF_AUDIT_OK;
    put(grow, &audit);
}

static void put_business(struct grow *grow)
{
    uint64_t day_length = grow->fleet->versions / DAYS + 1;
    uint64_t day = grow->done / day_length;
    uint64_t host = grow->done % day_length;
    if (host >= grow->fleet->hosts) {
        return;
    }
    struct hf_event event = {.type = HF_EVENT_SNAPSHOT_CREATED, .actor = event_text("bench")};
    event.snapshot_created.source_row = host * FLEET_SOURCES + FLEET_CHECKPOINT + 1;
    event.snapshot_created.name = event_text("daily");
    event.snapshot_created.at_ns = fleet_moment(grow->fleet, grow->done);
    event.snapshot_created.reason = HF_SNAPSHOT_MANUAL;
    put(grow, &event);
    if ((host + day) % JOB_EVERY == 0) {
        put_job(grow, host + 1);
    }
}

static void put_mark(struct grow *grow, const struct fleet_file *file)
{
    struct hf_event event = {.type = HF_EVENT_MARK};
    event.mark.source_row = file->source_row;
    event.mark.version_seq = grow->seqs[file->source_row];
    event.mark.until_ns = fleet_moment(grow->fleet, grow->done);
    event.mark.state = HF_SOURCE_WATCHING;
    bench_must(put_often(grow, &event), &grow->error);
}

/* --- versions and their chunks --- */

static uint64_t choose_file(struct grow *grow)
{
    const struct fleet *fleet = grow->fleet;
    uint64_t robots = fleet->hosts * FLEET_FILES;
    if (grow->done < fleet->shared_files) {
        return robots + grow->done;
    }
    if (grow->done < fleet->shared_files + robots) {
        return grow->done - fleet->shared_files;
    }
    uint64_t host = fleet_random(&grow->random) % fleet->hosts;
    bool checkpoint = fleet_random(&grow->random) % 100 >= HISTORY_PERCENT;
    uint64_t index = checkpoint ? fleet_random(&grow->random) % FLEET_CHECKPOINTS
                                : FLEET_CHECKPOINTS + fleet_random(&grow->random) %
                                                          (FLEET_FILES - FLEET_CHECKPOINTS);
    return host * FLEET_FILES + index;
}

static void add_ref(struct hf_version *version, uint8_t *refs, const uint8_t id[HF_HASH_BYTES])
{
    memcpy(refs + version->refs.size, id, HF_HASH_BYTES);
    hf_put_le32(refs + version->refs.size + HF_HASH_BYTES, CONTENT_BYTES);
    version->refs.size += HF_CHUNK_REF_BYTES;
    version->size += CONTENT_BYTES;
}

static void put_chunk(struct grow *grow, uint64_t number, uint64_t host_row, uint8_t *id)
{
    struct hf_chunk_place place;
    fleet_chunk_id(number, id);
    if (grow->way == GROW_INGEST) {
        int rc = catalog_chunk_find(grow->catalog, id, &place, &grow->error);
        if (rc == HF_OK && place.owner != host_row) {
            bench_must(hf_buf_append(&grow->held, id, HF_HASH_BYTES), &grow->error);
            return;
        }
        if (rc != HF_ERR_NOT_FOUND) {
            bench_must(rc == HF_OK ? HF_ERR_EXISTS : rc, &grow->error);
        }
    }
    struct hf_location location = next_location(grow, STORED_BYTES);
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_block block = {.codec = HF_CODEC_ZSTD, .chunks = {ref, sizeof ref}};
    memcpy(ref, id, HF_HASH_BYTES);
    hf_put_le32(ref + HF_HASH_BYTES, CONTENT_BYTES);
    bench_must(
        catalog_apply_block(grow->catalog, &block, &location, 0, host_row, NULL, &grow->error),
        &grow->error);
}

/* The first capture of a workflow that the first robot stored: only noted as held. */
static bool put_same_workflow(struct grow *grow, const struct fleet_file *file, uint64_t number,
                              struct hf_version *version, uint8_t *refs)
{
    uint8_t id[HF_HASH_BYTES];
    uint64_t robots = grow->fleet->hosts * FLEET_FILES;
    uint64_t known = number < robots ? grow->workflow_chunks[number % FLEET_FILES] : 0;
    bool first_capture = grow->done < grow->fleet->shared_files + robots;
    if (!first_capture || file->source != FLEET_WORKFLOWS || number < FLEET_FILES || known == 0) {
        return false;
    }
    if (grow->way == GROW_INGEST) {
        put_chunk(grow, known - 1, file->host_row, id);
    } else {
        fleet_chunk_id(known - 1, id);
        bench_must(hf_buf_append(&grow->held, id, HF_HASH_BYTES), &grow->error);
    }
    struct hf_event event = {.type = HF_EVENT_CHUNKS_HELD};
    event.chunks_held.host_row = file->host_row;
    event.chunks_held.ids = (struct hf_bytes){grow->held.data, grow->held.size};
    bench_must(put_often(grow, &event), &grow->error);
    hf_buf_clear(&grow->held);
    add_ref(version, refs, id);
    return true;
}

static void put_content(struct grow *grow, const struct fleet_file *file, uint64_t number,
                        struct hf_version *version, uint8_t *refs)
{
    uint8_t id[HF_HASH_BYTES];
    if (put_same_workflow(grow, file, number, version, refs)) {
        return;
    }
    __uint128_t due = (__uint128_t)(grow->done + 1) * grow->fleet->chunks / grow->fleet->versions;
    for (unsigned i = 0; i < REFS_MAX && grow->chunks < due; i++) {
        put_chunk(grow, grow->chunks, file->host_row, id);
        add_ref(version, refs, id);
        grow->chunks++;
    }
    if (number < FLEET_FILES && version->refs.size > 0) {
        grow->workflow_chunks[number] = grow->chunks;
    }
}

static void ask_for_missing(struct grow *grow, const struct fleet_file *file,
                            const struct hf_version *version)
{
    struct hf_source_state_row state;
    struct hf_buf missing = {0};
    bench_must(catalog_source_state(grow->catalog, file->source_row, &state, &grow->error),
               &grow->error);
    bench_must(
        catalog_missing_refs(grow->catalog, file->host_row, version->refs, &missing, &grow->error),
        &grow->error);
    bench_must(missing.size == 0 ? HF_OK : HF_ERR_CORRUPT, &grow->error);
    hf_buf_free(&missing);
}

static void put_version(struct grow *grow)
{
    uint8_t refs[REFS_MAX * HF_CHUNK_REF_BYTES];
    struct fleet_file file;
    uint64_t number = choose_file(grow);
    fleet_file(grow->fleet, number, &file);
    int64_t at_ns = fleet_moment(grow->fleet, grow->done);
    struct hf_event event = {.type = HF_EVENT_VERSION};
    struct hf_version *version = &event.version.version;
    event.version = (struct hf_event_version){
        .host_row = file.host_row,
        .source_row = file.source_row,
        .at_ns = at_ns,
        .received_ns = at_ns,
        .recorded = true,
        .version = {.seq = ++grow->seqs[file.source_row],
                    .type = HF_FILE_REGULAR,
                    .path = {(const uint8_t *)file.path, file.path_size},
                    .captured_ns = at_ns - 3 * HF_NS_PER_MS,
                    .mode = 0640,
                    .uid = 1000,
                    .gid = 1000,
                    .owner = event_text("robot"),
                    .group = event_text("robot"),
                    .mtime_ns = at_ns - 5 * HF_NS_PER_MS,
                    .refs = {refs, 0}},
    };
    put_content(grow, &file, number, version, refs);
    if (grow->way == GROW_INGEST) {
        ask_for_missing(grow, &file, version);
    }
    bench_must(put_often(grow, &event), &grow->error);
    if (grow->done % VERSIONS_TO_A_MARK == 0) {
        put_mark(grow, &file);
    }
    put_business(grow);
    grow->done++;
}

void grow_until(struct grow *grow, uint64_t versions, unsigned batch, struct figure *commits)
{
    while (grow->done < versions) {
        int64_t start_ns = hf_clock_monotonic_ns();
        bench_must(catalog_begin(grow->catalog, &grow->error), &grow->error);
        for (unsigned i = 0; i < batch && grow->done < versions; i++) {
            put_version(grow);
        }
        bench_must(catalog_commit(grow->catalog, &grow->error), &grow->error);
        figure_add(commits, hf_clock_monotonic_ns() - start_ns);
    }
}

static void compare_once(struct grow *grow, struct hf_event *event, struct figure *figure)
{
    int64_t start_ns = hf_clock_monotonic_ns();
    int rc = catalog_check(grow->catalog, event, &grow->error);
    figure_add(figure, hf_clock_monotonic_ns() - start_ns);
    bench_must(rc, &grow->error);
}

void grow_compare(struct grow *grow, const struct hf_version_row *live, uint64_t host_row,
                  uint64_t source_row, struct figure *equal, struct figure *changed)
{
    struct hf_event event = {.type = HF_EVENT_VERSION};
    event.time_ns = fleet_moment(grow->fleet, grow->done);
    event.version = (struct hf_event_version){.host_row = host_row,
                                              .source_row = source_row,
                                              .at_ns = event.time_ns,
                                              .received_ns = event.time_ns,
                                              .version = live->version};
    event.version.version.seq = grow->seqs[source_row] + 1;
    compare_once(grow, &event, equal);
    event.version.version.mode ^= 0111;
    compare_once(grow, &event, changed);
}
