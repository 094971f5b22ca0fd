#include <stdlib.h>
#include <string.h>

#include "collector/ctl/ctl.h"

static const char *host_state(const json_t *host)
{
    if (json_object_get(host, "revoked")) {
        return "revoked";
    }
    return json_is_true(json_object_get(host, "online")) ? "online" : "offline";
}

static void labels_text(const json_t *host, char *out, size_t size)
{
    const char *key;
    json_t *value;
    size_t used = 0;
    out[0] = '\0';
    json_object_foreach(json_object_get(host, "labels"), key, value)
    {
        int written = snprintf(out + used, size - used, "%s%s=%s", used ? "," : "", key,
                               json_string_value(value));
        if (written < 0 || (size_t)written >= size - used) {
            return;
        }
        used += (size_t)written;
    }
}

static void add_host(void *context, const json_t *host)
{
    struct ctl_table *table = context;
    char labels[256];
    labels_text(host, labels, sizeof labels);
    table_cell(table, show_string(host, "name"));
    table_cell(table, show_string(host, "id"));
    table_cell(table, host_state(host));
    show_age_cell(table, host, "protected_until");
    table_cell_format(table, "%lld", (long long)show_integer(host, "live_files"));
    show_size_cell(table, host, "live_bytes");
    table_cell_format(table, "%lld", (long long)show_integer(host, "versions"));
    int64_t refused = show_integer(host, "duplicates_refused");
    if (refused > 0) {
        table_cell_format(table, "%s (a second session with its identity was refused %lld times)",
                          labels, (long long)refused);
    } else {
        table_cell(table, labels);
    }
}

int command_hosts(struct ctl *ctl, const struct ctl_args *args)
{
    (void)args;
    static const char *const headings[] = {"NAME",  "ID",        "STATE",  "PROTECTED", ">ENTRIES",
                                           ">SIZE", ">VERSIONS", "LABELS", NULL};
    struct ctl_table *table = table_new(headings);
    struct ctl_url url;
    url_start(&url, "/v1/hosts");
    int status = client_list(ctl, &url, "hosts", 0, add_host, table);
    url_free(&url);
    if (status == CTL_OK && !ctl->json && table_rows(table) == 0) {
        puts("No host has enrolled yet. Make a token with 'holdfast token create'.");
    }
    table_print_free(table, stdout);
    return status;
}

static void print_source_rows(const json_t *sources)
{
    static const char *const headings[] = {"SOURCE",   "CLASS", "STATE", "PROTECTED",
                                           ">ENTRIES", ">SIZE", "NOTE",  NULL};
    struct ctl_table *table = table_new(headings);
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *source = json_array_get(sources, i);
        table_cell(table, show_string(source, "name"));
        table_cell(table, show_string(source, "class"));
        table_cell(table, show_string(source, "state"));
        show_age_cell(table, source, "protected_until");
        table_cell_format(table, "%lld", (long long)show_integer(source, "live_files"));
        show_size_cell(table, source, "live_bytes");
        table_cell(table, show_string(source, "note"));
    }
    table_print_free(table, stdout);
}

static void print_host(const json_t *host)
{
    static const char *const headings[] = {"", "", NULL};
    static const char *const plain[][2] = {{"Hostname", "hostname"},
                                           {"System", "os"},
                                           {"Agent", "agent_version"},
                                           {"Address", "address"}};
    static const char *const times[][2] = {
        {"Enrolled", "created"}, {"Online since", "since"}, {"Last seen", "last_seen"}};
    struct ctl_table *table = table_new(headings);
    char labels[1024];
    labels_text(host, labels, sizeof labels);
    table_cell(table, "Name");
    table_cell(table, show_string(host, "name"));
    table_cell(table, "Id");
    table_cell(table, show_string(host, "id"));
    table_cell(table, "State");
    table_cell(table, host_state(host));
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        table_cell(table, plain[i][0]);
        table_cell(table, show_string(host, plain[i][1]));
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        table_cell(table, times[i][0]);
        show_time_cell(table, host, times[i][1]);
    }
    table_cell(table, "Labels");
    table_cell(table, labels);
    table_cell(table, "Certificate ends");
    show_time_cell(table, json_object_get(host, "certificate"), "not_after");
    table_print_free(table, stdout);
    putchar('\n');
    print_source_rows(json_object_get(host, "sources"));
}

/* Show the host in *answer (taken) as JSON or for people. */
static int show_host(struct ctl *ctl, json_t *answer)
{
    if (ctl->json) {
        show_json(answer);
    } else {
        print_host(answer);
    }
    json_decref(answer);
    return CTL_OK;
}

int command_host_show(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_url url;
    json_t *host = NULL;
    url_start(&url, "/v1/hosts");
    url_segment(&url, args_positional(args, 0));
    int status = client_get(ctl->client, &url, &host);
    url_free(&url);
    return status == CTL_OK ? show_host(ctl, host) : status;
}

/* "key=value" sets, "key-" removes. */
static int add_label(const char *text, json_t *set, json_t *remove)
{
    const char *equals = strchr(text, '=');
    size_t length = strlen(text);
    if (equals && equals > text) {
        char *key = strndup(text, (size_t)(equals - text));
        int rc = key ? json_object_set_new(set, key, json_string(equals + 1)) : -1;
        free(key);
        if (rc != 0) {
            complain("A label's value has to be UTF-8: '%s'", text);
            return CTL_USAGE;
        }
        return CTL_OK;
    }
    if (!equals && length > 1 && text[length - 1] == '-') {
        json_array_append_new(remove, json_stringn(text, length - 1));
        return CTL_OK;
    }
    complain("'%s' isn't a label: write KEY=VALUE to set one, KEY- to remove one", text);
    return CTL_USAGE;
}

int command_host_label(struct ctl *ctl, const struct ctl_args *args)
{
    json_t *set = json_object();
    json_t *remove = json_array();
    int status = CTL_OK;
    for (size_t i = 1; i < args_count(args) && status == CTL_OK; i++) {
        status = add_label(args_positional(args, i), set, remove);
    }
    json_t *body = json_pack("{s:o, s:o}", "set", set, "remove", remove);
    if (status != CTL_OK) {
        json_decref(body);
        return status;
    }
    struct ctl_url url;
    json_t *host = NULL;
    url_start(&url, "/v1/hosts");
    url_segment(&url, args_positional(args, 0));
    url_segment(&url, "labels");
    status = client_post(ctl->client, &url, body, &host);
    url_free(&url);
    return status == CTL_OK ? show_host(ctl, host) : status;
}

int command_host_revoke(struct ctl *ctl, const struct ctl_args *args)
{
    const char *reason = args_value(args, "reason");
    struct ctl_url url;
    json_t *host = NULL;
    url_start(&url, "/v1/hosts");
    url_segment(&url, args_positional(args, 0));
    url_segment(&url, "revoke");
    int status =
        client_post(ctl->client, &url, json_pack("{s:s}", "reason", reason ? reason : ""), &host);
    url_free(&url);
    if (status == CTL_OK && !ctl->json) {
        printf("%s is revoked: its session has ended and its certificate is refused from now on\n",
               args_positional(args, 0));
    } else if (status == CTL_OK) {
        show_json(host);
    }
    json_decref(host);
    return status;
}
