#include "lookups.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/catalog/catalog.h"
#include "common/chunker.h"
#include "common/clock.h"
#include "grow.h"

#define HAVE_IDS     256u /* of a HAVE; half of them unknown */
#define GET_IDS      64u  /* of a CHUNK_GET */
#define PAGE_ROWS    512u /* of a RESTORE_PAGE or a LISTING */
#define PAGE_BYTES   (512u * 1024u)
#define API_PAGE     100u
#define METRICS_PAGE 1000u

enum sample_kind { OF_CHECKPOINTS, OF_ROBOTS, OF_SHARE, SAMPLE_KINDS };

struct sample {
    struct fleet_file file;
    int64_t at_ns;
    uint64_t seq; /* of the version alive then; 0: none was */
    uint8_t chunk[HF_HASH_BYTES];
};

struct probe {
    const struct fleet *fleet;
    struct hf_catalog_reader *reader;
    struct sample *samples[SAMPLE_KINDS];
    unsigned count;
    struct hf_catalog_memory memory;
    struct hf_error error;
};

static struct hf_bytes path_of(const struct sample *sample)
{
    return (struct hf_bytes){(const uint8_t *)sample->file.path, sample->file.path_size};
}

static struct hf_bytes directory_of(const struct sample *sample)
{
    return (struct hf_bytes){(const uint8_t *)sample->file.path, fleet_directory(&sample->file)};
}

static void host_id_of(const struct sample *sample, char out[24])
{
    snprintf(out, 24, "h-%016llx", (unsigned long long)sample->file.host_row);
}

/* --- the questions; each returns the catalog's answer --- */

static int version_then(struct probe *p, const struct sample *s)
{
    struct hf_version_row row;
    return catalog_version_at(p->reader, s->file.source_row, path_of(s), s->at_ns, &p->memory, &row,
                              &p->error);
}

static int version_now(struct probe *p, const struct sample *s)
{
    struct hf_version_row row;
    return catalog_version_at(p->reader, s->file.source_row, path_of(s), HF_CATALOG_NOW, &p->memory,
                              &row, &p->error);
}

static int version_numbered(struct probe *p, const struct sample *s)
{
    struct hf_version_row row;
    return catalog_version_by_seq(p->reader, s->file.source_row, path_of(s), s->seq, &p->memory,
                                  &row, &p->error);
}

static int versions_before(struct probe *p, const struct sample *s, uint64_t before)
{
    const struct hf_version_row *rows;
    size_t count;
    return catalog_version_list(p->reader, s->file.source_row, path_of(s), before, API_PAGE,
                                &p->memory, &rows, &count, &p->error);
}

static int newest_versions(struct probe *p, const struct sample *s)
{
    return versions_before(p, s, 0);
}

static int older_versions(struct probe *p, const struct sample *s)
{
    return versions_before(p, s, s->seq);
}

static int list(struct probe *p, const struct sample *s, struct hf_bytes directory)
{
    struct hf_version_page page;
    struct hf_timeline_query query = {.source_row = s->file.source_row,
                                      .at_ns = s->at_ns,
                                      .paths = &directory,
                                      .path_count = directory.size > 0,
                                      .limit = API_PAGE};
    return catalog_list(p->reader, &query, &p->memory, &page, &p->error);
}

static int directory_then(struct probe *p, const struct sample *s)
{
    return list(p, s, directory_of(s));
}

static int top_then(struct probe *p, const struct sample *s)
{
    return list(p, s, (struct hf_bytes){0});
}

static int tree_page(struct probe *p, const struct sample *s, int64_t at_ns, struct hf_bytes after)
{
    struct hf_version_page page;
    struct hf_timeline_query query = {.source_row = s->file.source_row,
                                      .at_ns = at_ns,
                                      .after = after,
                                      .limit = PAGE_ROWS,
                                      .bytes_max = PAGE_BYTES};
    return catalog_tree(p->reader, &query, &p->memory, &page, &p->error);
}

static int restore_page(struct probe *p, const struct sample *s)
{
    return tree_page(p, s, s->at_ns, path_of(s));
}

static int first_page(struct probe *p, const struct sample *s)
{
    return tree_page(p, s, s->at_ns, (struct hf_bytes){0});
}

static int resync_page(struct probe *p, const struct sample *s)
{
    return tree_page(p, s, HF_CATALOG_NOW, path_of(s));
}

static int directory_size(struct probe *p, const struct sample *s)
{
    uint64_t files;
    uint64_t bytes;
    struct hf_bytes directory = directory_of(s);
    struct hf_timeline_query query = {
        .source_row = s->file.source_row, .at_ns = s->at_ns, .paths = &directory, .path_count = 1};
    return catalog_tree_totals(p->reader, &query, &files, &bytes, &p->error);
}

/* Of the whole source: what a restore of its present state has to know. */
static int share_size(struct probe *p, const struct sample *s)
{
    uint64_t files;
    uint64_t bytes;
    struct hf_timeline_query query = {.source_row = s->file.source_row, .at_ns = HF_CATALOG_NOW};
    return catalog_tree_totals(p->reader, &query, &files, &bytes, &p->error);
}

static int changes(struct probe *p, const struct sample *s)
{
    struct hf_diff_page page;
    struct hf_timeline_query query = {.source_row = s->file.source_row,
                                      .at_ns = s->at_ns,
                                      .after = path_of(s),
                                      .limit = API_PAGE};
    return catalog_diff(p->reader, &query, HF_CATALOG_NOW, &p->memory, &page, &p->error);
}

static int chunk_place(struct probe *p, const struct sample *s)
{
    struct hf_chunk_place place;
    return catalog_chunk_locate(p->reader, s->chunk, &place, &p->error);
}

static int unknown_chunk(struct probe *p, const struct sample *s)
{
    struct hf_chunk_place place;
    uint8_t id[HF_HASH_BYTES];
    fleet_chunk_id(UINT64_MAX - (uint64_t)s->at_ns, id);
    return catalog_chunk_locate(p->reader, id, &place, &p->error);
}

/* Ids of this and the following samples, every second one if half are to be unknown. */
static void gather(const struct probe *p, const struct sample *s, uint8_t *ids, unsigned count,
                   bool half_unknown)
{
    const struct sample *all = p->samples[OF_CHECKPOINTS];
    size_t first = (size_t)(s - all);
    for (unsigned i = 0; i < count; i++) {
        if (half_unknown && i % 2) {
            fleet_chunk_id(UINT64_MAX - (uint64_t)s->at_ns - i, ids + (size_t)i * HF_HASH_BYTES);
        } else {
            memcpy(ids + (size_t)i * HF_HASH_BYTES, all[(first + i) % p->count].chunk,
                   HF_HASH_BYTES);
        }
    }
}

static int have(struct probe *p, const struct sample *s)
{
    uint8_t ids[HAVE_IDS * HF_HASH_BYTES];
    uint8_t bitmap[HAVE_IDS / 8];
    gather(p, s, ids, HAVE_IDS, true);
    return catalog_chunks_missing(p->reader, s->file.host_row, ids, HAVE_IDS, bitmap, &p->error);
}

static int chunks_get(struct probe *p, const struct sample *s)
{
    uint8_t ids[GET_IDS * HF_HASH_BYTES];
    struct hf_chunk_place places[GET_IDS];
    bool held[GET_IDS];
    gather(p, s, ids, GET_IDS, false);
    return catalog_chunks_locate(p->reader, s->file.host_row, ids, GET_IDS, places, held,
                                 &p->error);
}

static int host_by_id(struct probe *p, const struct sample *s)
{
    struct hf_host_row row;
    char id[24];
    host_id_of(s, id);
    return catalog_host_by_id(p->reader, id, &p->memory, &row, &p->error);
}

static int host_by_name(struct probe *p, const struct sample *s)
{
    struct hf_host_row row;
    char name[24];
    snprintf(name, sizeof name, "robot-%05llu", (unsigned long long)s->file.host_row);
    return catalog_host_resolve(p->reader, name, &p->memory, &row, &p->error);
}

static int certificate(struct probe *p, const struct sample *s)
{
    struct hf_certificate_row row;
    return catalog_certificate_newest(p->reader, s->file.host_row, &p->memory, &row, &p->error);
}

static int source_by_name(struct probe *p, const struct sample *s)
{
    struct hf_source_row row;
    return catalog_source_by_name(p->reader, s->file.host_row, fleet_source_name(s->file.source),
                                  &p->memory, &row, &p->error);
}

static int sources_page(struct probe *p, uint64_t host_row, uint64_t after, size_t limit)
{
    const struct hf_source_row *rows;
    size_t count;
    return catalog_source_list(p->reader, host_row, after, limit, &p->memory, &rows, &count,
                               &p->error);
}

static int sources_of_host(struct probe *p, const struct sample *s)
{
    return sources_page(p, s->file.host_row, 0, METRICS_PAGE);
}

static int metrics_sources(struct probe *p, const struct sample *s)
{
    uint64_t all = p->fleet->hosts * FLEET_SOURCES;
    return sources_page(p, 0, all > METRICS_PAGE ? s->file.source_row % (all - METRICS_PAGE) : 0,
                        METRICS_PAGE);
}

static int hosts_page(struct probe *p, const struct sample *s)
{
    const struct hf_host_row *rows;
    size_t count;
    return catalog_host_list(p->reader, s->file.host_row / 2, API_PAGE, &p->memory, &rows, &count,
                             &p->error);
}

static int totals(struct probe *p, const struct sample *s)
{
    struct hf_catalog_totals out;
    (void)s;
    return catalog_totals(p->reader, &out, &p->error);
}

static int snapshots(struct probe *p, uint64_t host_row, uint64_t source_row)
{
    const struct hf_snapshot_row *rows;
    size_t count;
    return catalog_snapshot_list(p->reader, host_row, source_row, 0, API_PAGE, &p->memory, &rows,
                                 &count, &p->error);
}

static int snapshots_of_source(struct probe *p, const struct sample *s)
{
    return snapshots(p, 0, s->file.source_row);
}

static int snapshots_of_host(struct probe *p, const struct sample *s)
{
    return snapshots(p, s->file.host_row, 0);
}

static int snapshot_by_id(struct probe *p, const struct sample *s)
{
    struct hf_snapshot_row row;
    return catalog_snapshot_get(p->reader, 1 + s->file.host_row % p->fleet->hosts, &p->memory, &row,
                                &p->error);
}

static int jobs(struct probe *p, enum hf_job_filter filter, uint64_t host_row)
{
    const struct hf_job_row *rows;
    size_t count;
    return catalog_job_list(p->reader, filter, host_row, 0, API_PAGE, &p->memory, &rows, &count,
                            &p->error);
}

static int jobs_of_host(struct probe *p, const struct sample *s)
{
    return jobs(p, HF_JOBS_ALL, s->file.host_row);
}

static int active_jobs(struct probe *p, const struct sample *s)
{
    (void)s;
    return jobs(p, HF_JOBS_ACTIVE, 0);
}

static int job_for_host(struct probe *p, const struct sample *s)
{
    const struct hf_job_row *rows;
    size_t count;
    return catalog_job_active(p->reader, s->file.host_row, &p->memory, &rows, &count, &p->error);
}

static int audit_page(struct probe *p, const struct sample *s)
{
    const struct hf_audit_row *rows;
    size_t count;
    (void)s;
    return catalog_audit_list(p->reader, 0, API_PAGE, &p->memory, &rows, &count, &p->error);
}

static const struct lookup {
    const char *name;
    enum sample_kind kind;
    int (*ask)(struct probe *p, const struct sample *s);
} lookups[] = {
    {"checkpoint at a moment", OF_CHECKPOINTS, version_then},
    {"checkpoint now", OF_CHECKPOINTS, version_now},
    {"other robot file at a moment", OF_ROBOTS, version_then},
    {"shared file at a moment", OF_SHARE, version_then},
    {"checkpoint's version by number", OF_CHECKPOINTS, version_numbered},
    {"checkpoint's newest 100 versions", OF_CHECKPOINTS, newest_versions},
    {"checkpoint's 100 versions before one", OF_CHECKPOINTS, older_versions},
    {"directory of checkpoints at a moment", OF_CHECKPOINTS, directory_then},
    {"directory of 100 shared files", OF_SHARE, directory_then},
    {"top of the share", OF_SHARE, top_then},
    {"restore page of checkpoints", OF_CHECKPOINTS, first_page},
    {"restore page, 512 shared files", OF_SHARE, restore_page},
    {"resynchronisation page, 512 rows", OF_SHARE, resync_page},
    {"size of a directory of 100", OF_SHARE, directory_size},
    {"size of the share now", OF_SHARE, share_size},
    {"what changed, checkpoints", OF_CHECKPOINTS, changes},
    {"what changed, share", OF_SHARE, changes},
    {"chunk by id", OF_CHECKPOINTS, chunk_place},
    {"chunk by id, unknown", OF_CHECKPOINTS, unknown_chunk},
    {"HAVE of 256 ids", OF_CHECKPOINTS, have},
    {"CHUNK_GET of 64 ids", OF_CHECKPOINTS, chunks_get},
    {"host by id", OF_ROBOTS, host_by_id},
    {"host by name", OF_ROBOTS, host_by_name},
    {"host's certificate", OF_ROBOTS, certificate},
    {"source by name", OF_ROBOTS, source_by_name},
    {"sources of a host", OF_ROBOTS, sources_of_host},
    {"snapshots of a source", OF_CHECKPOINTS, snapshots_of_source},
    {"snapshots of a host", OF_ROBOTS, snapshots_of_host},
    {"snapshot by id", OF_ROBOTS, snapshot_by_id},
    {"jobs of a host", OF_ROBOTS, jobs_of_host},
    {"active jobs of a host", OF_ROBOTS, job_for_host},
    {"active jobs of all hosts", OF_ROBOTS, active_jobs},
    {"newest 100 audit entries", OF_ROBOTS, audit_page},
    {"hosts, a page of 100", OF_ROBOTS, hosts_page},
    {"sources for /metrics, 1000 of them", OF_ROBOTS, metrics_sources},
    {"totals for status and /metrics", OF_ROBOTS, totals},
};
#define LOOKUP_COUNT ((unsigned)(sizeof lookups / sizeof lookups[0]))
_Static_assert(sizeof lookups / sizeof lookups[0] <= LOOKUPS_MAX, "room for the figures");

/* --- asking them --- */

static uint64_t choose_file(const struct fleet *fleet, enum sample_kind kind, uint64_t *random)
{
    uint64_t host = fleet_random(random) % fleet->hosts;
    switch (kind) {
    case OF_CHECKPOINTS:
        return host * FLEET_FILES + fleet_random(random) % FLEET_CHECKPOINTS;
    case OF_ROBOTS:
        return host * FLEET_FILES + FLEET_CHECKPOINTS +
               fleet_random(random) % (FLEET_FILES - FLEET_CHECKPOINTS);
    default:
        return fleet->hosts * FLEET_FILES +
               fleet_random(random) % (fleet->shared_files ? fleet->shared_files : 1);
    }
}

/* What was alive at the sample's moment, so that questions can be asked about it by name. */
static void look_at(struct probe *p, struct sample *sample)
{
    struct hf_version_row row;
    int rc = catalog_version_at(p->reader, sample->file.source_row, path_of(sample), sample->at_ns,
                                &p->memory, &row, &p->error);
    if (rc == HF_OK) {
        sample->seq = row.version.seq;
        if (row.version.refs.size >= HF_HASH_BYTES) {
            memcpy(sample->chunk, row.version.refs.data, HF_HASH_BYTES);
        }
    } else if (rc != HF_ERR_NOT_FOUND) {
        bench_must(rc, &p->error);
    }
    catalog_memory_free(&p->memory);
}

static void choose_samples(struct probe *p)
{
    const struct fleet *fleet = p->fleet;
    uint64_t random = 1;
    uint64_t first = fleet->shared_files + fleet->hosts * FLEET_FILES; /* all files have one */
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        p->samples[kind] = calloc(p->count, sizeof *p->samples[kind]);
        if (!p->samples[kind]) {
            bench_must(HF_ERR_NO_MEMORY, &p->error);
            return;
        }
        for (unsigned i = 0; i < p->count; i++) {
            struct sample *sample = &p->samples[kind][i];
            uint64_t later = fleet->versions > first ? fleet->versions - first : 1;
            fleet_file(fleet, choose_file(fleet, kind, &random), &sample->file);
            sample->at_ns = fleet_moment(fleet, first + fleet_random(&random) % later);
            look_at(p, sample);
        }
    }
}

void lookups_drop_cache(const char *catalog_path)
{
    static const char *const suffixes[] = {"", "-wal"};
    for (size_t i = 0; i < 2; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s%s", catalog_path, suffixes[i]);
        int fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            fdatasync(fd); /* what is not written yet can't be forgotten */
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
    }
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * HF_NS_PER_SECOND + now.tv_nsec;
}

static void ask_all(struct probe *p, const struct lookup *lookup, struct lookup_figures *figures)
{
    for (unsigned i = 0; i < p->count; i++) {
        int64_t start_cpu_ns = cpu_ns();
        int64_t start_ns = hf_clock_monotonic_ns();
        int rc = lookup->ask(p, &p->samples[lookup->kind][i]);
        catalog_memory_free(&p->memory);
        if (figures) {
            figure_add(&figures->time, hf_clock_monotonic_ns() - start_ns);
            figure_add(&figures->cpu, cpu_ns() - start_cpu_ns);
        }
        bench_must(rc == HF_ERR_NOT_FOUND ? HF_OK : rc, &p->error);
    }
}

unsigned lookups_run(const struct fleet *fleet, const char *catalog_path, enum lookups_cache cache,
                     unsigned count, struct lookup_figures figures[LOOKUPS_MAX])
{
    struct probe probe = {.fleet = fleet, .count = count};
    bench_must(catalog_reader_open(catalog_path, &probe.reader, &probe.error), &probe.error);
    choose_samples(&probe);
    for (unsigned i = 0; i < LOOKUP_COUNT; i++) {
        snprintf(figures[i].time.name, sizeof figures[i].time.name, "%s", lookups[i].name);
        if (cache == LOOKUPS_COLD) {
            catalog_reader_close(probe.reader);
            lookups_drop_cache(catalog_path);
            bench_must(catalog_reader_open(catalog_path, &probe.reader, &probe.error),
                       &probe.error);
        } else if (cache == LOOKUPS_WARM) {
            ask_all(&probe, &lookups[i], NULL);
        }
        ask_all(&probe, &lookups[i], &figures[i]);
    }
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++) {
        free(probe.samples[kind]);
    }
    catalog_reader_close(probe.reader);
    return LOOKUP_COUNT;
}
