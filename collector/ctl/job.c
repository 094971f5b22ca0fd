#include "collector/ctl/job.h"

#include <string.h>
#include <time.h>

#include "common/clock.h"

#define POLL_FIRST_MS 20
#define POLL_LAST_MS  200
/* Looks at a job that waits, from one question whether its host is there to the next. */
#define OFFLINE_LOOKS   4
#define WOULD_SHOWN_MAX 1000

static bool is_over(const json_t *job)
{
    const char *state = show_string(job, "state");
    return strcmp(state, "waiting") != 0 && strcmp(state, "running") != 0;
}

static bool is_dry_run(const json_t *job)
{
    return json_is_true(json_object_get(job, "dry_run"));
}

static void start_job_url(struct ctl_url *url, int64_t id)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)id);
    url_start(url, "/v1/jobs");
    url_segment(url, text);
}

static void print_failures(struct ctl *ctl, int64_t id)
{
    struct ctl_url url;
    json_t *answer = NULL;
    start_job_url(&url, id);
    url_segment(&url, "results");
    url_param(&url, "status", "failed");
    url_param_number(&url, "limit", 20);
    if (client_get(ctl->client, &url, &answer) == CTL_OK) {
        const json_t *rows = json_object_get(answer, "results");
        static const char *const headings[] = {"FAILED", "WHY", NULL};
        struct ctl_table *table = table_new(headings);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            table_cell_format(table, "/%s", show_string(row, "path"));
            table_cell(table, show_string(row, "message"));
        }
        table_print_free(table, stdout);
        if (json_object_get(answer, "next")) {
            printf("... and more: holdfast job show %lld --failed\n", (long long)id);
        }
    }
    json_decref(answer);
    url_free(&url);
}

void job_print(const json_t *job)
{
    const json_t *files = json_object_get(job, "files");
    const json_t *bytes = json_object_get(job, "bytes");
    char fetched[HF_TIME_TEXT_BYTES];
    char reused[HF_TIME_TEXT_BYTES];
    char at[HF_TIME_TEXT_BYTES] = "";
    hf_size_text((uint64_t)show_integer(bytes, "fetched"), fetched);
    hf_size_text((uint64_t)show_integer(bytes, "reused"), reused);
    show_time_text(job, "at", at);
    show_line(stdout, "Job %lld %s: %s:%s as of %s", (long long)show_integer(job, "id"),
              show_string(job, "state"), show_string(job, "host_name"), show_string(job, "source"),
              at);
    if (is_dry_run(job)) {
        puts("  dry run: nothing is changed");
    } else {
        printf("  %lld of %lld entries done, %lld failed; %s sent to the host, %s it already had\n",
               (long long)show_integer(files, "done"), (long long)show_integer(files, "total"),
               (long long)show_integer(files, "failed"), fetched, reused);
    }
    if (show_integer(job, "snapshot") > 0) {
        printf("  what was there before is snapshot %lld\n",
               (long long)show_integer(job, "snapshot"));
    }
    if (*show_string(job, "message")) {
        show_line(stdout, "  %s", show_string(job, "message"));
    }
}

static int get_job(struct ctl *ctl, int64_t id, json_t **out)
{
    struct ctl_url url;
    start_job_url(&url, id);
    int status = client_get(ctl->client, &url, out);
    url_free(&url);
    return status;
}

/* --- a dry run --- */

struct would {
    struct ctl_table *table;
    uint64_t would, as_wanted, skipped, failed;
};

static void count_result(void *context, const json_t *result)
{
    struct would *would = context;
    const char *status = show_string(result, "status");
    if (strcmp(status, "would-restore") == 0) {
        if (would->would++ < WOULD_SHOWN_MAX) {
            table_cell(would->table, "would restore");
            show_size_cell(would->table, result, "bytes");
            table_cell_format(would->table, "/%s", show_string(result, "path"));
        }
    } else if (strcmp(status, "identical") == 0) {
        would->as_wanted++;
    } else if (strcmp(status, "failed") == 0) {
        would->failed++;
    } else {
        would->skipped++;
    }
}

static int print_would(struct ctl *ctl, int64_t id)
{
    static const char *const headings[] = {"", ">", "", NULL};
    struct would would = {.table = table_new(headings)};
    struct ctl_url url;
    start_job_url(&url, id);
    url_segment(&url, "results");
    int status = client_list(ctl, &url, "results", 0, count_result, &would);
    url_free(&url);
    table_print_free(would.table, stdout);
    if (would.would > WOULD_SHOWN_MAX) {
        printf("... and more: holdfast job show %lld\n", (long long)id);
    }
    printf(
        "  %llu would be restored, %llu are as wanted, %llu would be left alone, %llu can't be\n",
        (unsigned long long)would.would, (unsigned long long)would.as_wanted,
        (unsigned long long)would.skipped, (unsigned long long)would.failed);
    return status;
}

/* --- following --- */

/* True once it was said: the job waits for a host that isn't there. */
static bool say_if_offline(struct ctl *ctl, const json_t *job)
{
    struct ctl_url url;
    json_t *host = NULL;
    char heard[HF_TIME_TEXT_BYTES] = "";
    char expires[HF_TIME_TEXT_BYTES] = "";
    url_start(&url, "/v1/hosts");
    url_segment(&url, show_string(job, "host"));
    bool offline = client_get(ctl->client, &url, &host) == CTL_OK &&
                   !json_is_true(json_object_get(host, "online"));
    if (offline) {
        show_time_text(host, "last_seen", heard);
        show_time_text(job, "expires", expires);
        show_line(stderr,
                  "Job %lld waits: %s is offline, last heard %s. It goes on without this command "
                  "when the host is back, until %s",
                  (long long)show_integer(job, "id"), show_string(job, "host_name"),
                  *heard ? heard : "never", expires);
    }
    json_decref(host);
    url_free(&url);
    return offline;
}

/* One look at a job that isn't over. Returns whether it was said that its host is offline. */
static bool look(struct ctl *ctl, const json_t *job, unsigned looks, bool said,
                 struct ctl_progress *progress)
{
    const json_t *bytes = json_object_get(job, "bytes");
    bool waits = strcmp(show_string(job, "state"), "waiting") == 0;
    if (waits && !said && !ctl->json && looks % OFFLINE_LOOKS == 0) {
        progress_hide(progress);
        said = say_if_offline(ctl, job);
    }
    if (!waits || !said) { /* a bar at 0 % would say that something happens */
        progress_update(progress, (uint64_t)show_integer(bytes, "done"),
                        (uint64_t)show_integer(bytes, "total"));
    }
    return said;
}

static int show_outcome(struct ctl *ctl, const json_t *job)
{
    int64_t id = show_integer(job, "id");
    bool succeeded = strcmp(show_string(job, "state"), "succeeded") == 0;
    int status = CTL_OK;
    if (ctl->json) {
        show_json(job);
    } else {
        job_print(job);
        status = is_dry_run(job) ? print_would(ctl, id) : CTL_OK;
        if (!succeeded) {
            print_failures(ctl, id);
        }
    }
    return succeeded ? status : CTL_FAILED;
}

int job_follow(struct ctl *ctl, int64_t id)
{
    struct ctl_progress *progress = progress_new("Restoring");
    json_t *job = NULL;
    long wait_ms = POLL_FIRST_MS;
    bool said_offline = false;
    int status = get_job(ctl, id, &job);
    for (unsigned looks = 0; status == CTL_OK && !is_over(job); looks++) {
        said_offline = look(ctl, job, looks, said_offline, progress);
        nanosleep(&(struct timespec){.tv_nsec = wait_ms * HF_NS_PER_MS}, NULL);
        wait_ms = wait_ms * 2 < POLL_LAST_MS ? wait_ms * 2 : POLL_LAST_MS;
        json_decref(job);
        job = NULL;
        status = get_job(ctl, id, &job);
    }
    progress_free(progress);
    status = status == CTL_OK ? show_outcome(ctl, job) : status;
    json_decref(job);
    return status;
}
