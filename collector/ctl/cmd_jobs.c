#include <errno.h>
#include <stdlib.h>

#include "collector/ctl/job.h"

static void add_job(void *context, const json_t *job)
{
    struct ctl_table *table = context;
    const json_t *files = json_object_get(job, "files");
    table_cell_format(table, "%lld", (long long)show_integer(job, "id"));
    table_cell_format(table, "%s:%s", show_string(job, "host_name"), show_string(job, "source"));
    show_time_cell(table, job, "at");
    table_cell(table, show_string(job, "state"));
    table_cell_format(table, "%lld/%lld", (long long)show_integer(files, "done"),
                      (long long)show_integer(files, "total"));
    table_cell_format(table, "%lld", (long long)show_integer(files, "failed"));
    table_cell(table, show_string(job, "created_by"));
    table_cell(table, show_string(job, "message"));
}

int command_jobs(struct ctl *ctl, const struct ctl_args *args)
{
    static const char *const headings[] = {">JOB",    "SOURCE", "AS OF",   "STATE", ">ENTRIES",
                                           ">FAILED", "BY",     "MESSAGE", NULL};
    size_t limit = 0;
    if (args_limit(args, 100, &limit) != CTL_OK) {
        return CTL_USAGE;
    }
    struct ctl_table *table = table_new(headings);
    struct ctl_url url;
    url_start(&url, "/v1/jobs");
    url_param(&url, "state", args_switch(args, "all") ? "all" : "active");
    url_param(&url, "host", args_value(args, "host"));
    int status = client_list(ctl, &url, "jobs", limit, add_job, table);
    url_free(&url);
    if (status == CTL_OK && !ctl->json && table_rows(table) == 0) {
        puts(args_switch(args, "all") ? "There was no restore job yet"
                                      : "No active jobs; --all shows ended ones");
    }
    table_print_free(table, stdout);
    return status;
}

static void add_result(void *context, const json_t *result)
{
    struct ctl_table *table = context;
    table_cell(table, show_string(result, "status"));
    show_size_cell(table, result, "bytes");
    table_cell_format(table, "/%s", show_string(result, "path"));
    table_cell(table, show_string(result, "message"));
}

int command_job_show(struct ctl *ctl, const struct ctl_args *args)
{
    static const char *const headings[] = {"STATUS", ">SIZE", "PATH", "MESSAGE", NULL};
    struct ctl_url url;
    json_t *job = NULL;
    url_start(&url, "/v1/jobs");
    url_segment(&url, args_positional(args, 0));
    int status = client_get(ctl->client, &url, &job);
    if (status == CTL_OK && ctl->json) {
        show_json(job);
    } else if (status == CTL_OK) {
        struct ctl_table *table = table_new(headings);
        job_print(job);
        url_segment(&url, "results");
        url_param(&url, "status", args_switch(args, "failed") ? "failed" : NULL);
        status = client_list(ctl, &url, "results", 0, add_result, table);
        table_print_free(table, stdout);
    }
    url_free(&url);
    json_decref(job);
    return status;
}

int command_job_cancel(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_url url;
    json_t *job = NULL;
    url_start(&url, "/v1/jobs");
    url_segment(&url, args_positional(args, 0));
    url_segment(&url, "cancel");
    int status = client_post(ctl->client, &url, NULL, &job);
    url_free(&url);
    if (status == CTL_OK && ctl->json) {
        show_json(job);
    } else if (status == CTL_OK) {
        job_print(job);
    }
    json_decref(job);
    return status;
}
