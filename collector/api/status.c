/* Health, status and metrics. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collector/api/call.h"
#include "collector/ingest/ingest.h"
#include "common/clock.h"

void api_health(struct api_call *call)
{
    call_json(call, json_pack("{s:s}", "status", "healthy"));
}

void api_ready(struct api_call *call)
{
    struct hf_ingest_stats stats;
    ingest_stats(call->api->options.ingest, &stats);
    if (stats.storage_ok) {
        call_json(call, json_pack("{s:b}", "ready", 1));
    } else {
        http_respond_json(
            call->response, 503,
            json_pack("{s:b, s:o}", "ready", 0, "reason", json_of_cstr(stats.message)));
    }
}

/* Every source, page by page. */
static int each_source(struct api_call *call,
                       void (*each)(struct api_call *call, const struct hf_source_row *row,
                                    void *context),
                       void *context)
{
    uint64_t after = 0;
    size_t count = 0;
    do {
        const struct hf_source_row *rows = NULL;
        struct hf_catalog_memory memory = {0};
        int rc = catalog_source_list(call->catalog, 0, after, 1000, &memory, &rows, &count,
                                     &call->error);
        for (size_t i = 0; rc == HF_OK && i < count; i++) {
            each(call, &rows[i], context);
            after = rows[i].row;
        }
        catalog_memory_free(&memory);
        if (rc != HF_OK) {
            return rc;
        }
    } while (count == 1000);
    return HF_OK;
}

struct source_counts {
    uint64_t late, retired;
};

static void count_source(struct api_call *call, const struct hf_source_row *row, void *context)
{
    struct source_counts *counts = context;
    int state = 0;
    int64_t until_ns = api_protected_until(call, row, &state);
    counts->late += api_is_late(row, until_ns, state);
    counts->retired += state == HF_SOURCE_RETIRED;
}

static uint64_t online_hosts(const struct api_call *call)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    return sessions->count ? sessions->count(sessions->context) : 0;
}

void api_status(struct api_call *call)
{
    struct hf_catalog_totals totals;
    struct hf_ingest_stats stats;
    struct source_counts sources = {0};
    int rc = catalog_totals(call->catalog, &totals, &call->error);
    rc = rc == HF_OK ? each_source(call, count_source, &sources) : rc;
    if (rc != HF_OK) {
        call_fail(call, rc);
        return;
    }
    ingest_stats(call->api->options.ingest, &stats);
    int64_t uptime_s = (hf_clock_monotonic_ns() - call->api->started_ns) / HF_NS_PER_SECOND;
    json_t *repository = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "packs", (json_int_t)stats.store.packs,
        "stored_bytes", (json_int_t)stats.store.bytes, "logical_bytes",
        (json_int_t)totals.live_bytes, "unique_bytes", (json_int_t)totals.plain_bytes, "chunks",
        (json_int_t)totals.chunks, "versions", (json_int_t)totals.versions, "storage_ok",
        (int)stats.storage_ok, "message", json_of_cstr(stats.message));
    json_set_time(repository, "last_commit", stats.last_commit_ns);
    call_json(call,
              json_pack("{s:s, s:o, s:I, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:o, s:{s:I}}",
                        "version", HF_VERSION, "now", json_of_time(hf_clock_now_ns()), "uptime_s",
                        (json_int_t)uptime_s, "hosts", "total", (json_int_t)totals.hosts, "online",
                        (json_int_t)online_hosts(call), "revoked", (json_int_t)totals.hosts_revoked,
                        "sources", "total", (json_int_t)totals.sources, "late",
                        (json_int_t)sources.late, "retired", (json_int_t)sources.retired,
                        "repository", repository, "jobs", "active",
                        (json_int_t)totals.jobs_waiting + (json_int_t)totals.jobs_running));
}

/* --- metrics: the Prometheus text format, version 0.0.4 --- */

static void family(struct hf_buf *out, const char *name, const char *type, const char *help)
{
    hf_buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct hf_buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    family(out, name, type, help);
    hf_buf_append_format(out, "%s %llu\n", name, (unsigned long long)value);
}

/* A label's value: backslash, quote and newline escaped. */
static void append_label(struct hf_buf *out, const char *name, const char *value,
                         const char *before)
{
    hf_buf_append_format(out, "%s%s=\"", before, name);
    for (const char *p = value; *p; p++) {
        if (*p == '\\' || *p == '"') {
            hf_buf_append_format(out, "\\%c", *p);
        } else if (*p == '\n') {
            hf_buf_append_str(out, "\\n");
        } else {
            hf_buf_append_byte(out, (uint8_t)*p);
        }
    }
    hf_buf_append_str(out, "\"");
}

/* Without the closing brace: there may be more. */
static void source_labels(struct hf_buf *out, const char *metric, const struct hf_source_row *row)
{
    hf_buf_append_str(out, metric);
    append_label(out, "host", row->host_name, "{");
    append_label(out, "host_id", row->host_id, ",");
    append_label(out, "source", row->name, ",");
    append_label(out, "class", row->class_name, ",");
}

struct source_metrics {
    struct hf_buf until, late, retired, state;
};

static void add_source(struct api_call *call, const struct hf_source_row *row, void *context)
{
    struct source_metrics *metrics = context;
    int state = 0;
    int64_t until_ns = api_protected_until(call, row, &state);
    if (until_ns != 0) {
        source_labels(&metrics->until, "holdfast_source_protected_until_seconds", row);
        hf_buf_append_format(&metrics->until, "} %.3f\n", (double)until_ns / 1e9);
    }
    source_labels(&metrics->late, "holdfast_source_late", row);
    hf_buf_append_format(&metrics->late, "} %d\n", (int)api_is_late(row, until_ns, state));
    source_labels(&metrics->retired, "holdfast_source_retired", row);
    hf_buf_append_format(&metrics->retired, "} %d\n", (int)(state == HF_SOURCE_RETIRED));
    source_labels(&metrics->state, "holdfast_source_state", row);
    append_label(&metrics->state, "state", event_source_state_name(state), ",");
    hf_buf_append_str(&metrics->state, "} 1\n");
}

static void commit_histogram(struct hf_buf *out, const struct hf_ingest_stats *stats)
{
    static const char *const limits[HF_INGEST_LATENCY_BUCKETS] = {
        "0.001", "0.002", "0.005", "0.01", "0.025", "0.1", "1", "+Inf"};
    const char *name = "holdfast_ingest_commit_seconds";
    uint64_t sum = 0;
    family(out, name, "histogram", "Time of a group commit, journal and catalog.");
    for (size_t i = 0; i < HF_INGEST_LATENCY_BUCKETS; i++) {
        sum += stats->commit_buckets[i];
        hf_buf_append_format(out, "%s_bucket{le=\"%s\"} %llu\n", name, limits[i],
                             (unsigned long long)sum);
    }
    hf_buf_append_format(out, "%s_sum %.6f\n%s_count %llu\n", name,
                         (double)stats->commit_ns_sum / 1e9, name, (unsigned long long)sum);
}

static void resident_bytes(struct hf_buf *out)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) {
        return;
    }
    /* The kernel's own numbers. NOLINTNEXTLINE(cert-err34-c) */
    if (fscanf(file, "%*u %llu", &pages) == 1) {
        single(out, "holdfast_process_resident_bytes", "gauge", "Resident memory of the collector.",
               pages * (unsigned long long)sysconf(_SC_PAGESIZE));
    }
    fclose(file);
}

static void ingest_metrics(struct hf_buf *out, const struct hf_ingest_stats *stats)
{
    single(out, "holdfast_ingest_bytes_total", "counter", "Bulk bytes received from agents.",
           stats->bytes);
    single(out, "holdfast_ingest_chunks_total", "counter", "Chunks received.", stats->chunks);
    single(out, "holdfast_ingest_chunks_stored_total", "counter",
           "Chunks that were new and written to packs.", stats->chunks_stored);
    single(out, "holdfast_ingest_versions_total", "counter", "Versions accepted.", stats->versions);
    single(out, "holdfast_ingest_refused_total", "counter", "Frames refused by the committer.",
           stats->refused);
    single(out, "holdfast_ingest_commits_total", "counter", "Group commits.", stats->commits);
    single(out, "holdfast_ingest_queue_bytes", "gauge", "Bytes of frames under way.",
           stats->queue_bytes);
    commit_histogram(out, stats);
    single(out, "holdfast_repository_bytes", "gauge", "Bytes of all packs.", stats->store.bytes);
    single(out, "holdfast_repository_packs", "gauge", "Number of packs.", stats->store.packs);
    single(out, "holdfast_repository_writable", "gauge",
           "1 when the repository takes data, 0 when it can't.", stats->storage_ok);
}

static void refusal_metrics(struct api_call *call, struct hf_buf *out)
{
    const struct hf_api_sessions *sessions = &call->api->options.sessions;
    struct hf_api_refusals refusals[HF_API_REASONS_MAX];
    size_t count = sessions->refusals ? sessions->refusals(sessions->context, refusals) : 0;
    if (count == 0) {
        return;
    }
    family(out, "holdfast_sessions_refused_total", "counter",
           "Agents' connections that were refused or ended for what the agent did.");
    for (size_t i = 0; i < count; i++) {
        hf_buf_append_format(out, "holdfast_sessions_refused_total{reason=\"%s\"} %llu\n",
                             refusals[i].reason, (unsigned long long)refusals[i].count);
    }
}

void api_metrics(struct api_call *call)
{
    struct hf_buf *out = &call->response->body;
    struct hf_catalog_totals totals;
    struct hf_ingest_stats stats;
    struct source_metrics sources = {0};
    int rc = catalog_totals(call->catalog, &totals, &call->error);
    rc = rc == HF_OK ? each_source(call, add_source, &sources) : rc;
    if (rc != HF_OK) {
        call_fail(call, rc);
    } else {
        ingest_stats(call->api->options.ingest, &stats);
        call->response->content_type = "text/plain; version=0.0.4; charset=utf-8";
        single(out, "holdfast_up", "gauge", "1 while the collector answers.", 1);
        family(out, "holdfast_build_info", "gauge", "The collector's version.");
        hf_buf_append_str(out, "holdfast_build_info{version=\"" HF_VERSION "\"} 1\n");
        uint64_t online = online_hosts(call);
        family(out, "holdfast_hosts", "gauge", "Hosts by state.");
        hf_buf_append_format(out,
                             "holdfast_hosts{state=\"online\"} %llu\n"
                             "holdfast_hosts{state=\"offline\"} %llu\n"
                             "holdfast_hosts{state=\"revoked\"} %llu\n",
                             (unsigned long long)online,
                             (unsigned long long)(totals.hosts - totals.hosts_revoked > online
                                                      ? totals.hosts - totals.hosts_revoked - online
                                                      : 0),
                             (unsigned long long)totals.hosts_revoked);
        single(out, "holdfast_sessions", "gauge", "Agents' sessions that are open.", online);
        refusal_metrics(call, out);
        family(out, "holdfast_jobs", "gauge", "Restore jobs by state.");
        hf_buf_append_format(out,
                             "holdfast_jobs{state=\"waiting\"} %llu\n"
                             "holdfast_jobs{state=\"running\"} %llu\n",
                             (unsigned long long)totals.jobs_waiting,
                             (unsigned long long)totals.jobs_running);
        if (sources.late.size > 0) {
            if (sources.until.size > 0) {
                family(out, "holdfast_source_protected_until_seconds", "gauge",
                       "The latest moment that is durable, in seconds since the epoch.");
                hf_buf_append(out, sources.until.data, sources.until.size);
            }
            family(out, "holdfast_source_late", "gauge",
                   "1 when protected-until is older than the class's recovery point objective.");
            hf_buf_append(out, sources.late.data, sources.late.size);
            family(out, "holdfast_source_retired", "gauge",
                   "1 when its host has the source no more; what it stored stays.");
            hf_buf_append(out, sources.retired.data, sources.retired.size);
            family(out, "holdfast_source_state", "gauge",
                   "1 with the state that the agent told last: watching, scanning, degraded (scans "
                   "alone notice changes), failing, waiting (for the end of quiet hours), retired, "
                   "unknown.");
            hf_buf_append(out, sources.state.data, sources.state.size);
        }
        ingest_metrics(out, &stats);
        resident_bytes(out);
    }
    hf_buf_free(&sources.until);
    hf_buf_free(&sources.late);
    hf_buf_free(&sources.retired);
    hf_buf_free(&sources.state);
}
