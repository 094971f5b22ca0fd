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

/* Whether a source isn't protected past the moment though it should be. hosts: only those that are
 * online there count; NULL: all. */
static bool is_behind(const json_t *source, const json_t *hosts, int64_t moment_ns)
{
    bool retired = strcmp(show_string(source, "state"), "retired") == 0;
    bool counts = !retired && (!hosts || host_online(hosts, show_string(source, "host")));
    return counts && !protected_past(source, moment_ns);
}

/* Of these sources, those that are behind. */
static json_t *all_behind(const json_t *sources, const json_t *hosts, int64_t moment_ns)
{
    json_t *behind = json_array();
    for (size_t i = 0; i < json_array_size(sources); i++) {
        json_t *source = json_array_get(sources, i);
        if (is_behind(source, hosts, moment_ns)) {
            json_array_append(behind, source);
        }
    }
    return behind;
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

/* Of one host, or (host NULL) of all that are online in hosts. *behind receives the sources that
 * were not protected in time. */
static int wait_for(struct ctl *ctl, const char *host, const json_t *hosts, int64_t moment_ns,
                    int64_t deadline_ns, json_t **behind)
{
    for (;;) {
        json_t *sources = NULL;
        int status = get_sources(ctl, host, &sources);
        const json_t *list = json_object_get(sources, "sources");
        *behind = all_behind(list, hosts, moment_ns);
        bool again = status == CTL_OK &&
                     (json_array_size(*behind) > 0 || (host && json_array_size(list) == 0));
        if (again && hf_clock_monotonic_ns() >= deadline_ns) {
            complain_late(host, json_array_get(*behind, 0));
            status = CTL_TIMED_OUT;
        }
        json_decref(sources);
        if (status != CTL_OK || !again) {
            return status;
        }
        json_decref(*behind);
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * HF_NS_PER_MS}, NULL);
    }
}

static void show_waited(int status, int64_t moment_ns, json_t *behind)
{
    char moment[HF_TIME_TEXT_BYTES];
    hf_time_rfc3339(moment_ns, moment);
    json_t *document = json_pack("{s:s, s:b, s:O}", "moment", moment, "protected",
                                 (int)(status == CTL_OK), "behind", behind);
    show_json(document);
    json_decref(document);
}

static int wait_for_all(struct ctl *ctl, const struct ctl_args *args, int64_t moment_ns,
                        int64_t deadline_ns, json_t **behind)
{
    int status = CTL_OK;
    if (args_count(args) == 0) {
        /* Asked once: a host whose connection breaks meanwhile still has to deliver. */
        json_t *hosts = NULL;
        status = get_hosts(ctl, &hosts);
        const json_t *list = json_object_get(hosts, "hosts");
        if (status == CTL_OK) {
            status = wait_for(ctl, NULL, list, moment_ns, deadline_ns, behind);
        }
        json_decref(hosts);
    }
    for (size_t i = 0; status == CTL_OK && i < args_count(args); i++) {
        json_decref(*behind);
        status = wait_for(ctl, args_positional(args, i), NULL, moment_ns, deadline_ns, behind);
    }
    return status;
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
    json_t *behind = NULL;
    int status = collector_now(ctl, &moment_ns);
    int64_t deadline_ns = hf_clock_monotonic_ns() + timeout_ns;
    if (status == CTL_OK) {
        status = wait_for_all(ctl, args, moment_ns, deadline_ns, &behind);
    }
    if (ctl->json && (status == CTL_OK || status == CTL_TIMED_OUT)) {
        show_waited(status, moment_ns, behind);
    }
    json_decref(behind);
    return status;
}
