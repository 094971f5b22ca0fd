#include "tests/fleet/figures.h"

#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "proto/frame.h"

#define FINE_NS   (HF_NS_PER_MS / 10)
#define COARSE_NS (10 * HF_NS_PER_MS)

void times_add(struct times *times, int64_t elapsed_ns)
{
    int64_t elapsed = elapsed_ns > 0 ? elapsed_ns : 0;
    uint64_t bucket = (uint64_t)(elapsed / FINE_NS);
    times->count++;
    if (elapsed > times->longest_ns) {
        times->longest_ns = elapsed;
    }
    if (bucket < TIMES_FINE) {
        times->fine[bucket]++;
        return;
    }
    bucket = (uint64_t)(elapsed / COARSE_NS);
    times->coarse[bucket < TIMES_COARSE ? bucket : TIMES_COARSE - 1]++;
}

int64_t times_quantile_ns(const struct times *times, double share)
{
    uint64_t rank = (uint64_t)(share * (double)times->count);
    uint64_t seen = 0;
    int64_t edge = 0;
    for (size_t i = 0; i < TIMES_FINE && edge == 0; i++) {
        seen += times->fine[i];
        edge = seen > rank ? (int64_t)(i + 1) * FINE_NS : 0;
    }
    for (size_t i = 0; i < TIMES_COARSE && edge == 0; i++) {
        seen += times->coarse[i];
        edge = seen > rank ? (int64_t)(i + 1) * COARSE_NS : 0;
    }
    return edge == 0 || edge > times->longest_ns ? times->longest_ns : edge;
}

static double milliseconds(int64_t ns)
{
    return (double)ns / (double)HF_NS_PER_MS;
}

void times_print(const struct times *times, FILE *out)
{
    fprintf(out,
            "{\"count\":%llu,\"p50_ms\":%.1f,\"p90_ms\":%.1f,\"p99_ms\":%.1f,\"p999_ms\":%.1f,"
            "\"max_ms\":%.1f}",
            (unsigned long long)times->count, milliseconds(times_quantile_ns(times, 0.5)),
            milliseconds(times_quantile_ns(times, 0.9)),
            milliseconds(times_quantile_ns(times, 0.99)),
            milliseconds(times_quantile_ns(times, 0.999)), milliseconds(times->longest_ns));
}

static int64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * HF_NS_PER_SECOND +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
}

void figures_begin(struct figures *figures)
{
    memset(figures, 0, sizeof *figures);
    figures->began_ns = hf_clock_monotonic_ns();
    figures->began_cpu_ns = cpu_ns();
}

static void print_codes(const char *name, const uint64_t counts[CODES_MAX], FILE *out)
{
    const char *comma = "";
    fprintf(out, ",\"%s\":{", name);
    for (unsigned code = 0; code < CODES_MAX; code++) {
        if (counts[code] > 0) {
            fprintf(out, "%s\"%s\":%llu", comma, proto_code_name((enum hf_wire_code)code),
                    (unsigned long long)counts[code]);
            comma = ",";
        }
    }
    fputc('}', out);
}

void figures_print(const struct figures *figures, const char *name, FILE *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"sent", figures->sent},
        {"resent", figures->resent},
        {"acked", figures->acked},
        {"bytes", figures->bytes},
        {"held_window", figures->held_window},
        {"held_credit", figures->held_credit},
        {"held_offline", figures->held_offline},
        {"marks", figures->marks},
        {"connects", figures->connects},
        {"failed_connects", figures->failed_connects},
        {"cuts", figures->cuts},
    };
    double seconds =
        (double)(hf_clock_monotonic_ns() - figures->began_ns) / (double)HF_NS_PER_SECOND;
    fprintf(out, "{\"event\":\"phase\",\"name\":\"%s\",\"seconds\":%.3f,\"cpu_s\":%.3f", name,
            seconds, (double)(cpu_ns() - figures->began_cpu_ns) / (double)HF_NS_PER_SECOND);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        fprintf(out, ",\"%s\":%llu", counts[i].name, (unsigned long long)counts[i].value);
    }
    print_codes("goaways", figures->goaways, out);
    print_codes("errors", figures->errors, out);
    fputs(",\"ack\":", out);
    times_print(&figures->ack, out);
    fputs("}\n", out);
    fflush(out);
}
