#include <string.h>
#include <time.h>

#include "collector/ctl/ctl.h"
#include "common/clock.h"

#define POLL_MS 50

static int get_sources(struct ctl *ctl, const char *host, json_t **out)
{
    struct ctl_url url;
    url_start(&url, "/v1/sources");
    url_param(&url, "host", host);
    int status = client_get(ctl->client, &url, out);
    url_free(&url);
    return status;
}

static void add_source(struct ctl_table *table, const json_t *source)
{
    table_cell_format(table, "%s:%s", show_string(source, "host_name"),
                      show_string(source, "name"));
    table_cell(table, show_string(source, "class"));
    table_cell_format(table, "%s%s", show_string(source, "state"),
                      json_is_true(json_object_get(source, "late")) ? ", late" : "");
    show_age_cell(table, source, "protected_until");
    table_cell_format(table, "%lld", (long long)show_integer(source, "live_files"));
    show_size_cell(table, source, "live_bytes");
    table_cell_format(table, "%lld", (long long)show_integer(source, "versions"));
    table_cell(table, show_string(source, "note"));
}

int command_sources(struct ctl *ctl, const struct ctl_args *args)
{
    static const char *const headings[] = {"SOURCE", "CLASS",     "STATE", "PROTECTED", ">ENTRIES",
                                           ">SIZE",  ">VERSIONS", "NOTE",  NULL};
    json_t *answer = NULL;
    int status = get_sources(ctl, args_value(args, "host"), &answer);
    if (status != CTL_OK) {
        return status;
    }
    const json_t *sources = json_object_get(answer, "sources");
    if (ctl->json) {
        show_json(answer);
    } else if (args_switch(args, "names")) {
        for (size_t i = 0; i < json_array_size(sources); i++) {
            show_line(stdout, "%s", show_string(json_array_get(sources, i), "name"));
        }
    } else {
        struct ctl_table *table = table_new(headings);
        for (size_t i = 0; i < json_array_size(sources); i++) {
            add_source(table, json_array_get(sources, i));
        }
        table_print_free(table, stdout);
    }
    json_decref(answer);
    return CTL_OK;
}

/* --- wait --- */

static bool protected_past(const json_t *source, int64_t moment_ns)
{
    int64_t until = 0;
    const char *text = show_string(source, "protected_until");
    return *text && hf_moment_parse(text, hf_clock_now_ns(), &until, NULL) == HF_OK &&
           until >= moment_ns;
}

static bool host_online(const json_t *hosts, const char *id)
{
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        const json_t *host = json_array_get(hosts, i);
        if (strcmp(show_string(host, "id"), id) == 0) {
            return json_is_true(json_object_get(host, "online"));
        }
    }
    return false;
}

/* The first source that isn't protected past the moment; NULL for none. hosts: only of those that
 * are online there; NULL: of any. */
static const json_t *first_behind(const json_t *sources, const json_t *hosts, int64_t moment_ns)
{
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *source = json_array_get(sources, i);
        bool retired = strcmp(show_string(source, "state"), "retired") == 0;
        bool counts = !retired && (!hosts || host_online(hosts, show_string(source, "host")));
        if (counts && !protected_past(source, moment_ns)) {
            return source;
        }
    }
    return NULL;
}

static void complain_late(const char *host, const json_t *behind)
{
    if (behind) {
        complain("%s:%s is not protected up to the moment this began; see 'holdfast sources'",
                 show_string(behind, "host_name"), show_string(behind, "name"));
    } else {
        complain("%s has no sources yet; see 'holdfast host show %s'", host, host);
    }
}

static int get_hosts(struct ctl *ctl, json_t **out)
{
    struct ctl_url url;
    url_start(&url, "/v1/hosts?limit=5000");
    int status = client_get(ctl->client, &url, out);
    url_free(&url);
    return status;
}

/* The collector's clock, which protected_until is told by. */
static int collector_now(struct ctl *ctl, int64_t *out_ns)
{
    struct ctl_url url;
    json_t *answer = NULL;
    url_start(&url, "/v1/status");
    int status = client_get(ctl->client, &url, &answer);
    url_free(&url);
    if (status == CTL_OK && hf_moment_parse(show_string(answer, "now"), 0, out_ns, NULL) != HF_OK) {
        complain("The collector did not tell its time");
        status = CTL_FAILED;
    }
    json_decref(answer);
    return status;
}

/* Of one host, or (host NULL) of all that are online in hosts. */
static int wait_for(struct ctl *ctl, const char *host, const json_t *hosts, int64_t moment_ns,
                    int64_t deadline_ns)
{
    for (;;) {
        json_t *sources = NULL;
        int status = get_sources(ctl, host, &sources);
        const json_t *list = json_object_get(sources, "sources");
        const json_t *behind = first_behind(list, hosts, moment_ns);
        bool again = status == CTL_OK && (behind || (host && json_array_size(list) == 0));
        if (again && hf_clock_monotonic_ns() >= deadline_ns) {
            complain_late(host, behind);
            status = CTL_TIMED_OUT;
        }
        json_decref(sources);
        if (status != CTL_OK || !again) {
            return status;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * HF_NS_PER_MS}, NULL);
    }
}

int command_wait(struct ctl *ctl, const struct ctl_args *args)
{
    struct hf_error error = {0};
    const char *timeout_text = args_value(args, "timeout");
    int64_t timeout_ns = 60 * HF_NS_PER_SECOND;
    if (timeout_text && hf_duration_parse(timeout_text, &timeout_ns, &error) != HF_OK) {
        complain("--timeout: %s", error.message);
        return CTL_USAGE;
    }
    int64_t moment_ns = 0;
    int status = collector_now(ctl, &moment_ns);
    int64_t deadline_ns = hf_clock_monotonic_ns() + timeout_ns;
    const char *host = args_positional(args, 0);
    for (size_t i = 0; status == CTL_OK && host; host = args_positional(args, ++i)) {
        status = wait_for(ctl, host, NULL, moment_ns, deadline_ns);
    }
    if (status == CTL_OK && !args_positional(args, 0)) {
        /* Asked once: a host whose connection breaks meanwhile still has to deliver. */
        json_t *hosts = NULL;
        status = get_hosts(ctl, &hosts);
        const json_t *list = json_object_get(hosts, "hosts");
        status = status == CTL_OK ? wait_for(ctl, NULL, list, moment_ns, deadline_ns) : status;
        json_decref(hosts);
    }
    return status;
}
