#include "report.h"

#include <jansson.h>
#include <stdio.h>

#include "common/clock.h"

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

static double mb(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

static void print_growth(const struct bench *bench)
{
    printf("%12s %12s %12s %12s %9s %9s %9s %10s %8s\n", "versions", "versions/s", "cpu us each",
           "KB written", "p50 ms", "p99 ms", "max ms", "MB", "log MB");
    uint64_t before = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        const struct step *step = &bench->results->steps[i];
        double count = (double)(step->versions - before);
        printf("%12llu %12.0f %12.1f %12.2f %9.2f %9.2f %9.1f %10.1f %8.1f\n",
               (unsigned long long)step->versions, count / step->seconds,
               step->cpu_seconds * 1e6 / count, (double)step->written_bytes / 1e3 / count,
               ms(figure_quantile(&step->commits, 0.5)), ms(figure_quantile(&step->commits, 0.99)),
               ms(step->commits.max_ns), mb(step->bytes), mb(step->wal_bytes));
        before = step->versions;
    }
}

static void print_figures(const char *title, const struct figure *figures, unsigned count)
{
    printf("\n%-40s %9s %9s %9s %9s\n", title, "count", "p50 ms", "p99 ms", "max ms");
    for (unsigned i = 0; i < count; i++) {
        const struct figure *f = &figures[i];
        if (f->count > 0) {
            printf("%-40s %9llu %9.3f %9.3f %9.2f%s\n", f->name, (unsigned long long)f->count,
                   ms(figure_quantile(f, 0.5)), ms(figure_quantile(f, 0.99)), ms(f->max_ns),
                   figure_quantile(f, 0.99) >= 10 * HF_NS_PER_MS ? "  <- over 10 ms" : "");
        }
    }
}

static void print_lookups(const char *title, const struct lookup_figures *figures, unsigned count)
{
    printf("\n%-40s %9s %9s %9s %9s %11s\n", title, "count", "p50 ms", "p99 ms", "max ms",
           "cpu p99 ms");
    for (unsigned i = 0; i < count; i++) {
        const struct figure *f = &figures[i].time;
        int64_t p99_ns = figure_quantile(f, 0.99);
        printf("%-40s %9llu %9.3f %9.3f %9.2f %11.3f%s\n", f->name, (unsigned long long)f->count,
               ms(figure_quantile(f, 0.5)), ms(p99_ns), ms(f->max_ns),
               ms(figure_quantile(&figures[i].cpu, 0.99)),
               p99_ns >= 10 * HF_NS_PER_MS ? "  <- over 10 ms" : "");
    }
}

void report_print(const struct bench *bench, const struct peaks *peaks)
{
    const struct results *r = bench->results;
    printf("%llu versions of %llu files on %llu hosts, %llu chunks; %u versions to a commit\n\n",
           (unsigned long long)bench->fleet.versions,
           (unsigned long long)fleet_file_count(&bench->fleet),
           (unsigned long long)bench->fleet.hosts + 1, (unsigned long long)bench->fleet.chunks,
           bench->batch);
    print_growth(bench);
    printf("\nsize: %.1f MB, %.1f MB a million versions with their chunks\n", mb(r->bytes),
           mb(r->bytes) * 1e6 / (double)bench->fleet.versions);
    printf("opening after a kill: %.3f s, after an orderly end: %.3f s\n", r->open_after_kill_s,
           r->open_s);
    if (bench->rebuild) {
        printf("rebuild: %.1f s, %.0f versions/s, %.1f us of cpu each; %s\n", r->replay_s,
               (double)bench->fleet.versions / r->replay_s,
               r->replay_cpu_s * 1e6 / (double)bench->fleet.versions,
               r->rebuilt_alike ? "totals are alike" : "TOTALS DIFFER");
    }
    printf("peak memory: writer %.1f MB, one reader %.1f MB, rebuild %.1f MB\n", mb(peaks->writer),
           mb(peaks->reader), mb(peaks->rebuild));
    print_figures("comparison of a version that comes in", &r->equal, 2);
    print_lookups("cold", r->cold, r->lookup_count);
    print_lookups("warm", r->warm, r->lookup_count);
    print_lookups("while it grows", r->busy, r->lookup_count);
    print_figures("commits meanwhile", &r->busy_commits, 1);
}

static json_t *json_of_figure(const struct figure *f)
{
    return json_pack("{s:s, s:I, s:f, s:f, s:f}", "name", f->name, "count", (json_int_t)f->count,
                     "p50_ms", ms(figure_quantile(f, 0.5)), "p99_ms", ms(figure_quantile(f, 0.99)),
                     "max_ms", ms(f->max_ns));
}

static json_t *json_of_figures(const struct figure *figures, unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        json_array_append_new(list, json_of_figure(&figures[i]));
    }
    return list;
}

static json_t *json_of_lookups(const struct lookup_figures *figures, unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        json_t *lookup = json_of_figure(&figures[i].time);
        json_object_set_new(lookup, "cpu_p99_ms",
                            json_real(ms(figure_quantile(&figures[i].cpu, 0.99))));
        json_array_append_new(list, lookup);
    }
    return list;
}

static json_t *json_of_growth(const struct results *r)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < STEPS; i++) {
        const struct step *step = &r->steps[i];
        json_array_append_new(list, json_pack("{s:I, s:f, s:f, s:I, s:I, s:I, s:o}", "versions",
                                              (json_int_t)step->versions, "seconds", step->seconds,
                                              "cpu_seconds", step->cpu_seconds, "bytes",
                                              (json_int_t)step->bytes, "wal_bytes",
                                              (json_int_t)step->wal_bytes, "written_bytes",
                                              (json_int_t)step->written_bytes, "commits",
                                              json_of_figures(&step->commits, 1)));
    }
    return list;
}

int report_write_json(const struct bench *bench, const struct peaks *peaks, const char *file)
{
    const struct results *r = bench->results;
    json_t *all = json_pack(
        "{s:I, s:I, s:I, s:I, s:i, s:o, s:I, s:f, s:f, s:f, s:f, s:b, s:I, s:I, s:I, s:o, s:o, s:o,"
        " s:o, s:o}",
        "versions", (json_int_t)bench->fleet.versions, "chunks", (json_int_t)bench->fleet.chunks,
        "files", (json_int_t)fleet_file_count(&bench->fleet), "hosts",
        (json_int_t)bench->fleet.hosts + 1, "batch", (int)bench->batch, "growth", json_of_growth(r),
        "bytes", (json_int_t)r->bytes, "open_after_kill_s", r->open_after_kill_s, "open_s",
        r->open_s, "rebuild_s", r->replay_s, "rebuild_cpu_s", r->replay_cpu_s, "rebuilt_alike",
        (int)r->rebuilt_alike, "writer_peak_bytes", (json_int_t)peaks->writer, "reader_peak_bytes",
        (json_int_t)peaks->reader, "rebuild_peak_bytes", (json_int_t)peaks->rebuild, "compare",
        json_of_figures(&r->equal, 2), "cold", json_of_lookups(r->cold, r->lookup_count), "warm",
        json_of_lookups(r->warm, r->lookup_count), "busy",
        json_of_lookups(r->busy, r->lookup_count), "busy_commits",
        json_of_figures(&r->busy_commits, 1));
    int rc = all ? json_dump_file(all, file, JSON_INDENT(1)) : -1;
    json_decref(all);
    if (rc != 0) {
        fprintf(stderr, "catalog_scale: %s can't be written\n", file);
    }
    return rc;
}
