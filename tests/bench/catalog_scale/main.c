/* The catalog with many versions and chunks, on this machine: how fast it grows, how large it
 * gets, how long each of the product's questions takes, what memory that needs, how long a rebuild
 * takes. Prints figures and asserts nothing; what it wrote is removed at the end.
 *
 *   catalog_scale [--versions N] [--chunks N] [--hosts N] [--batch N] [--samples N]
 *                 [--dir DIR] [--json FILE] [--no-rebuild]
 *
 * Writer, readers and rebuild are processes of their own, so that each one's memory is its own. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "grow.h"
#include "lookups.h"
#include "report.h"

/* Versions, each with a chunk: as many records as replay.c commits at once. */
#define REPLAY_BATCH 10000u
/* While questions are asked, the catalog grows by this part at most. */
#define BUSY_PART 10u
/* With its chunk, generously, for seeing whether there is room. */
#define BYTES_A_VERSION 450u

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static uint64_t size_of(const char *path, const char *suffix)
{
    char name[640];
    struct stat about;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &about) == 0 ? (uint64_t)about.st_size : 0;
}

static double seconds_since(int64_t start_ns)
{
    return (double)(hf_clock_monotonic_ns() - start_ns) / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* What this process sent to the disk so far; 0 where the system doesn't tell. */
static uint64_t written_bytes(void)
{
    char line[128];
    unsigned long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "write_bytes: ", 13) == 0) {
            bytes = strtoull(line + 13, NULL, 10);
        }
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

/* --- what each process does --- */

static void compare(const struct bench *bench, struct grow *grow)
{
    struct hf_catalog_reader *reader;
    struct hf_catalog_memory memory = {0};
    struct hf_error error = {0};
    uint64_t random = 2;
    bench_must(catalog_reader_open(bench->catalog, &reader, &error), &error);
    bench_must(catalog_begin(grow->catalog, &error), &error);
    for (unsigned i = 0; i < bench->samples; i++) {
        struct fleet_file file;
        struct hf_version_row live;
        fleet_file(&bench->fleet, fleet_random(&random) % fleet_file_count(&bench->fleet), &file);
        int rc = catalog_version_at(reader, file.source_row,
                                    (struct hf_bytes){(const uint8_t *)file.path, file.path_size},
                                    HF_CATALOG_NOW, &memory, &live, &error);
        if (rc == HF_OK) {
            grow_compare(grow, &live, file.host_row, file.source_row, &bench->results->equal,
                         &bench->results->changed);
        }
        catalog_memory_free(&memory);
    }
    catalog_rollback(grow->catalog);
    catalog_reader_close(reader);
}

/* Ends as if killed: the log of the last commits stays behind. */
static void write_all(const struct bench *bench)
{
    struct hf_catalog *catalog;
    struct hf_error error = {0};
    struct grow grow;
    bench_must(catalog_open(bench->catalog, &catalog, &error), &error);
    grow_start(&grow, &bench->fleet, catalog, GROW_INGEST);
    for (unsigned i = 0; i < STEPS; i++) {
        struct step *step = &bench->results->steps[i];
        int64_t start_ns = hf_clock_monotonic_ns();
        double cpu = cpu_seconds();
        uint64_t written = written_bytes();
        step->versions = bench->fleet.versions * (i + 1) / STEPS;
        grow_until(&grow, step->versions, bench->batch, &step->commits);
        step->seconds = seconds_since(start_ns);
        step->cpu_seconds = cpu_seconds() - cpu;
        step->written_bytes = written_bytes() - written;
        step->bytes = size_of(bench->catalog, "");
        step->wal_bytes = size_of(bench->catalog, "-wal");
        fprintf(stderr, "  %llu versions\n", (unsigned long long)step->versions);
    }
    compare(bench, &grow);
}

static void open_twice(const struct bench *bench)
{
    struct hf_catalog *catalog;
    struct hf_error error = {0};
    lookups_drop_cache(bench->catalog);
    int64_t start_ns = hf_clock_monotonic_ns();
    bench_must(catalog_open(bench->catalog, &catalog, &error), &error);
    bench->results->open_after_kill_s = seconds_since(start_ns);
    catalog_close(catalog);
    bench->results->bytes = size_of(bench->catalog, "");
    lookups_drop_cache(bench->catalog);
    start_ns = hf_clock_monotonic_ns();
    bench_must(catalog_open(bench->catalog, &catalog, &error), &error);
    bench->results->open_s = seconds_since(start_ns);
    catalog_close(catalog);
}

static void ask_cold(const struct bench *bench)
{
    unsigned count = bench->samples / 4 ? bench->samples / 4 : 1;
    bench->results->lookup_count =
        lookups_run(&bench->fleet, bench->catalog, LOOKUPS_COLD, count, bench->results->cold);
}

static void ask_warm(const struct bench *bench)
{
    lookups_run(&bench->fleet, bench->catalog, LOOKUPS_WARM, bench->samples, bench->results->warm);
}

static void ask_busy(const struct bench *bench)
{
    lookups_run(&bench->fleet, bench->catalog, LOOKUPS_BUSY, bench->samples, bench->results->busy);
}

/* On from where write_all ended, until the readers are done and it is killed. */
static void write_on(const struct bench *bench)
{
    struct hf_catalog *catalog;
    struct hf_error error = {0};
    struct grow grow = {.fleet = &bench->fleet, .way = GROW_INGEST};
    bench_must(catalog_open(bench->catalog, &catalog, &error), &error);
    grow_resume(&grow, &bench->fleet, catalog);
    grow_until(&grow, bench->fleet.versions + bench->fleet.versions / BUSY_PART, bench->batch,
               &bench->results->busy_commits);
    pause();
}

static bool totals_alike(const struct bench *bench)
{
    struct hf_catalog_totals a;
    struct hf_catalog_totals b;
    struct hf_catalog_reader *reader;
    struct hf_error error = {0};
    bench_must(catalog_reader_open(bench->catalog, &reader, &error), &error);
    bench_must(catalog_totals(reader, &a, &error), &error);
    catalog_reader_close(reader);
    bench_must(catalog_reader_open(bench->rebuilt, &reader, &error), &error);
    bench_must(catalog_totals(reader, &b, &error), &error);
    catalog_reader_close(reader);
    return memcmp(&a, &b, sizeof a) == 0;
}

static void rebuild(const struct bench *bench)
{
    struct hf_catalog *catalog;
    struct hf_error error = {0};
    struct grow grow;
    int64_t start_ns = hf_clock_monotonic_ns();
    bench_must(catalog_open(bench->rebuilt, &catalog, &error), &error);
    grow_start(&grow, &bench->fleet, catalog, GROW_REPLAY);
    grow_until(&grow, bench->fleet.versions, REPLAY_BATCH, &bench->results->replay_commits);
    bench->results->replay_s = seconds_since(start_ns);
    bench->results->replay_cpu_s = cpu_seconds();
    catalog_close(catalog);
    bench->results->rebuilt_alike = totals_alike(bench);
}

/* --- processes --- */

static pid_t start(void (*job)(const struct bench *bench), const struct bench *bench)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        job(bench);
        _exit(0);
    }
    if (pid < 0) {
        perror("catalog_scale: fork");
    }
    return pid;
}

/* Its peak memory in bytes; *failed when it failed, or the benchmark was stopped. */
static uint64_t finish(pid_t pid, bool expect_killed, bool *failed)
{
    struct rusage usage = {0};
    int status = 0;
    if (pid < 0) {
        *failed = true;
        return 0;
    }
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
        if (stopped) {
            kill(pid, SIGKILL);
        }
    }
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !stopped;
    *failed = *failed || stopped ||
              !((WIFEXITED(status) && WEXITSTATUS(status) == 0) || (expect_killed && killed));
    return (uint64_t)usage.ru_maxrss * 1024;
}

static uint64_t run(const char *what, void (*job)(const struct bench *bench),
                    const struct bench *bench, bool *failed)
{
    if (*failed) {
        return 0;
    }
    fprintf(stderr, "%s\n", what);
    return finish(start(job, bench), false, failed);
}

static void remove_catalog(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < 4; i++) {
        char name[640];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static bool run_all(const struct bench *bench, struct peaks *peaks)
{
    bool failed = false;
    peaks->writer = run("growing", write_all, bench, &failed);
    run("opening", open_twice, bench, &failed);
    run("asking, cold", ask_cold, bench, &failed);
    peaks->reader = run("asking, warm", ask_warm, bench, &failed);
    if (bench->rebuild) {
        peaks->rebuild = run("rebuilding", rebuild, bench, &failed);
        remove_catalog(bench->rebuilt);
    }
    if (!failed) {
        pid_t writer = start(write_on, bench);
        run("asking while it grows", ask_busy, bench, &failed);
        if (writer > 0) {
            kill(writer, SIGKILL);
        }
        finish(writer, true, &failed);
    }
    return !failed;
}

/* --- the command --- */

static int usage(void)
{
    fprintf(
        stderr,
        "usage: catalog_scale [--versions N] [--chunks N] [--hosts N] [--batch N] [--samples N] "
        "[--dir DIR] [--json FILE] [--no-rebuild]\n");
    return 2;
}

static bool has_room(const struct bench *bench)
{
    struct statvfs about;
    uint64_t needed = bench->fleet.versions * BYTES_A_VERSION * (bench->rebuild ? 2 : 1);
    if (statvfs(bench->directory, &about) != 0 || about.f_bavail * about.f_frsize < needed) {
        fprintf(stderr, "catalog_scale: %s has no room for about %.0f MB: name another --dir\n",
                bench->directory, (double)needed / 1e6);
        return false;
    }
    return true;
}

static bool prepare(struct bench *bench, const char *parent)
{
    snprintf(bench->directory, sizeof bench->directory, "%s/hf-catalog-scale-XXXXXX", parent);
    bench->results = mmap(NULL, sizeof *bench->results, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench->results == MAP_FAILED || !mkdtemp(bench->directory)) {
        perror("catalog_scale");
        return false;
    }
    snprintf(bench->catalog, sizeof bench->catalog, "%s/catalog.db", bench->directory);
    snprintf(bench->rebuilt, sizeof bench->rebuilt, "%s/rebuilt.db", bench->directory);
    snprintf(bench->results->equal.name, sizeof bench->results->equal.name,
             "equal to the live one");
    snprintf(bench->results->changed.name, sizeof bench->results->changed.name, "another");
    snprintf(bench->results->busy_commits.name, sizeof bench->results->busy_commits.name,
             "a commit of %u versions", bench->batch);
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"versions", required_argument, NULL, 'v'},
                                            {"chunks", required_argument, NULL, 'c'},
                                            {"hosts", required_argument, NULL, 'h'},
                                            {"batch", required_argument, NULL, 'b'},
                                            {"samples", required_argument, NULL, 's'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"no-rebuild", no_argument, NULL, 'n'},
                                            {0}};
    struct bench bench = {.batch = 200, .samples = 2000, .rebuild = true};
    struct peaks peaks = {0};
    uint64_t versions = 10000000;
    uint64_t chunks = 0;
    uint64_t hosts = 0;
    const char *directory = "/tmp";
    const char *json = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'v':
            versions = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            chunks = strtoull(optarg, NULL, 10);
            break;
        case 'h':
            hosts = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            bench.batch = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            bench.samples = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            directory = optarg;
            break;
        case 'j':
            json = optarg;
            break;
        case 'n':
            bench.rebuild = false;
            break;
        default:
            return usage();
        }
    }
    if (optind < argc || versions < 1000 || bench.batch == 0 || bench.samples == 0) {
        return usage();
    }
    fleet_plan(&bench.fleet, versions, chunks ? chunks : versions, hosts);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!prepare(&bench, directory)) {
        return 1;
    }
    bool good = has_room(&bench) && run_all(&bench, &peaks);
    if (good) {
        report_print(&bench, &peaks);
        good = !json || report_write_json(&bench, &peaks, json) == 0;
    }
    remove_catalog(bench.catalog);
    remove_catalog(bench.rebuilt);
    rmdir(bench.directory);
    return good ? 0 : 1;
}
