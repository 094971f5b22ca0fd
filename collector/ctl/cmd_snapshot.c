#include "collector/ctl/ctl.h"

static void add_snapshot(void *context, const json_t *snapshot)
{
    struct ctl_table *table = context;
    table_cell_format(table, "%lld", (long long)show_integer(snapshot, "id"));
    table_cell(table, show_string(snapshot, "name"));
    table_cell_format(table, "%s:%s", show_string(snapshot, "host_name"),
                      show_string(snapshot, "source"));
    show_time_cell(table, snapshot, "at");
    table_cell(table, show_string(snapshot, "reason"));
    if (json_is_true(json_object_get(snapshot, "held"))) {
        table_cell_format(table, "held %s", show_string(snapshot, "hold_reason"));
    } else {
        table_cell(table, "");
    }
}

static struct ctl_table *snapshot_table(void)
{
    static const char *const headings[] = {">ID", "NAME", "SOURCE", "AT", "REASON", "HOLD", NULL};
    return table_new(headings);
}

/* POST and show the snapshot that comes back. Takes body. */
static int post_snapshot(struct ctl *ctl, struct ctl_url *url, json_t *body)
{
    json_t *snapshot = NULL;
    int status = client_post(ctl->client, url, body, &snapshot);
    url_free(url);
    if (status == CTL_OK && ctl->json) {
        show_json(snapshot);
    } else if (status == CTL_OK) {
        struct ctl_table *table = snapshot_table();
        add_snapshot(table, snapshot);
        table_print_free(table, stdout);
    }
    json_decref(snapshot);
    return status;
}

int command_snapshot_create(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_target target;
    char at[64];
    const char *name = args_value(args, "name");
    int status = target_parse(args_positional(args, 0), CTL_TARGET_SOURCE, &target);
    status = status == CTL_OK ? show_moment_option(args, "at", at) : status;
    if (status == CTL_OK && !name) {
        complain("'holdfast snapshot create' needs --name NAME");
        status = CTL_USAGE;
    }
    if (status != CTL_OK) {
        return status;
    }
    json_t *body = json_pack("{s:s, s:s, s:s, s:b}", "host", target.host, "source", target.source,
                             "name", name, "hold", (int)args_switch(args, "hold"));
    if (body && *at) {
        json_object_set_new(body, "at", json_string(at));
    }
    struct ctl_url url;
    url_start(&url, "/v1/snapshots");
    return post_snapshot(ctl, &url, body);
}

int command_snapshot_list(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_target target = {.host = ""};
    const char *text = args_positional(args, 0);
    int status = text ? target_parse(text, CTL_TARGET_HOST, &target) : CTL_OK;
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_table *table = snapshot_table();
    struct ctl_url url;
    url_start(&url, "/v1/snapshots");
    url_param(&url, "host", *target.host ? target.host : NULL);
    url_param(&url, "source", *target.source ? target.source : NULL);
    status = client_list(ctl, &url, "snapshots", 0, add_snapshot, table);
    url_free(&url);
    table_print_free(table, stdout);
    return status;
}

static int post_verb(struct ctl *ctl, const struct ctl_args *args, const char *verb)
{
    const char *reason = args_value(args, "reason");
    struct ctl_url url;
    url_start(&url, "/v1/snapshots");
    url_segment(&url, args_positional(args, 0));
    url_segment(&url, verb);
    return post_snapshot(ctl, &url, json_pack("{s:s}", "reason", reason ? reason : ""));
}

int command_snapshot_hold(struct ctl *ctl, const struct ctl_args *args)
{
    return post_verb(ctl, args, "hold");
}

int command_snapshot_release(struct ctl *ctl, const struct ctl_args *args)
{
    return post_verb(ctl, args, "release");
}
