#include "collector/ctl/ctl.h"

static void add_entry(void *context, const json_t *entry)
{
    struct ctl_table *table = context;
    table_cell_format(table, "%lld", (long long)show_integer(entry, "seq"));
    show_time_cell(table, entry, "time");
    table_cell(table, show_string(entry, "actor"));
    table_cell(table, show_string(entry, "action"));
    table_cell(table, show_string(entry, "object"));
    table_cell(table, show_string(entry, "outcome"));
    table_cell(table, show_string(entry, "detail"));
}

int command_audit(struct ctl *ctl, const struct ctl_args *args)
{
    static const char *const headings[] = {">SEQ",   "TIME",    "ACTOR",  "ACTION",
                                           "OBJECT", "OUTCOME", "DETAIL", NULL};
    size_t limit = 0;
    if (args_limit(args, 50, &limit) != CTL_OK) {
        return CTL_USAGE;
    }
    struct ctl_table *table = table_new(headings);
    struct ctl_url url;
    url_start(&url, "/v1/audit");
    int status = client_list(ctl, &url, "entries", limit, add_entry, table);
    url_free(&url);
    table_print_free(table, stdout);
    return status;
}

int command_audit_verify(struct ctl *ctl, const struct ctl_args *args)
{
    (void)args;
    struct ctl_url url;
    json_t *answer = NULL;
    url_start(&url, "/v1/audit/verify");
    int status = client_get(ctl->client, &url, &answer);
    url_free(&url);
    if (status != CTL_OK) {
        return status;
    }
    bool intact = json_is_true(json_object_get(answer, "intact"));
    if (ctl->json) {
        show_json(answer);
    } else if (intact) {
        printf("Audit log      intact: each of its %lld entries follows from the one before\n",
               (long long)show_integer(answer, "entries"));
    } else {
        complain("The audit log was changed at entry %lld: %s",
                 (long long)show_integer(answer, "broken_at"), show_string(answer, "message"));
    }
    json_decref(answer);
    return intact ? CTL_OK : CTL_FAILED;
}
