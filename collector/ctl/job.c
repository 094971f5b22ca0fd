#include "collector/ctl/job.h"

#include <string.h>
#include <time.h>

#include "common/clock.h"

#define POLL_FIRST_MS 20
#define POLL_LAST_MS  500

static bool is_over(const json_t *job)
{
    const char *state = show_string(job, "state");
    return strcmp(state, "waiting") != 0 && strcmp(state, "running") != 0;
}

static void print_failures(struct ctl *ctl, int64_t id)
{
    struct ctl_url url;
    json_t *answer = NULL;
    url_start(&url, "/v1/jobs");
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)id);
    url_segment(&url, text);
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
    int64_t at_ns = 0;
    hf_size_text((uint64_t)show_integer(bytes, "fetched"), fetched);
    hf_size_text((uint64_t)show_integer(bytes, "reused"), reused);
    if (hf_moment_parse(show_string(job, "at"), 0, &at_ns, NULL) == HF_OK) {
        hf_time_local(at_ns, at);
    }
    show_line(stdout, "Job %lld %s: %s:%s as of %s", (long long)show_integer(job, "id"),
              show_string(job, "state"), show_string(job, "host_name"), show_string(job, "source"),
              at);
    printf("  %lld of %lld files done, %lld failed; %s sent to the host, %s it already had\n",
           (long long)show_integer(files, "done"), (long long)show_integer(files, "total"),
           (long long)show_integer(files, "failed"), fetched, reused);
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
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)id);
    struct ctl_url url;
    url_start(&url, "/v1/jobs");
    url_segment(&url, text);
    int status = client_get(ctl->client, &url, out);
    url_free(&url);
    return status;
}

int job_follow(struct ctl *ctl, int64_t id)
{
    struct ctl_progress *progress = progress_new("Restoring");
    json_t *job = NULL;
    long wait_ms = POLL_FIRST_MS;
    int status = get_job(ctl, id, &job);
    while (status == CTL_OK && !is_over(job)) {
        const json_t *bytes = json_object_get(job, "bytes");
        progress_update(progress, (uint64_t)show_integer(bytes, "done"),
                        (uint64_t)show_integer(bytes, "total"));
        nanosleep(&(struct timespec){.tv_nsec = wait_ms * HF_NS_PER_MS}, NULL);
        wait_ms = wait_ms * 2 < POLL_LAST_MS ? wait_ms * 2 : POLL_LAST_MS;
        json_decref(job);
        job = NULL;
        status = get_job(ctl, id, &job);
    }
    progress_free(progress);
    if (status == CTL_OK) {
        if (ctl->json) {
            show_json(job);
        } else {
            job_print(job);
        }
        if (strcmp(show_string(job, "state"), "succeeded") != 0) {
            status = CTL_FAILED;
            if (!ctl->json) {
                print_failures(ctl, id);
            }
        }
    }
    json_decref(job);
    return status;
}
