#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ctl/ctl.h"

static int add_labels(const struct ctl_args *args, json_t *labels)
{
    const char *text;
    for (size_t i = 0; (text = args_value_n(args, "label", i)); i++) {
        const char *equals = strchr(text, '=');
        char *key = equals && equals > text ? strndup(text, (size_t)(equals - text)) : NULL;
        int rc = key ? json_object_set_new(labels, key, json_string(equals + 1)) : -1;
        free(key);
        if (rc != 0) {
            complain("--label: '%s' isn't of the form KEY=VALUE", text);
            return CTL_USAGE;
        }
    }
    return CTL_OK;
}

static int uses_option(const struct ctl_args *args, json_int_t *out)
{
    const char *text = args_value(args, "uses");
    char *end = NULL;
    *out = 1;
    if (text) {
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (errno != 0 || *end || end == text || value < 1) {
            complain("--uses: '%s' is not a number of hosts", text);
            return CTL_USAGE;
        }
        *out = value;
    }
    return CTL_OK;
}

static int token_body(const struct ctl_args *args, json_t **out)
{
    const char *role = args_value(args, "role");
    const char *name = args_value(args, "name");
    int64_t ttl_s = 0; /* not given: the collector's default, an hour or no end */
    json_int_t uses = 1;
    int status = args_seconds(args, "ttl", 0, &ttl_s);
    if (status != CTL_OK) {
        return status;
    }
    json_t *labels = json_object();
    status = add_labels(args, labels);
    status = status == CTL_OK ? uses_option(args, &uses) : status;
    json_t *body = json_pack("{s:s, s:s, s:I, s:O}", "kind", role ? "api" : "enrol", "name",
                             name ? name : "", "uses", uses, "labels", labels);
    json_decref(labels);
    if (body && role) {
        json_object_set_new(body, "role", json_string(role));
    }
    if (body && ttl_s > 0) {
        json_object_set_new(body, "ttl_s", json_integer(ttl_s));
    }
    if (status != CTL_OK || !body) {
        json_decref(body);
        return status != CTL_OK ? status : CTL_FAILED;
    }
    *out = body;
    return CTL_OK;
}

int command_token_create(struct ctl *ctl, const struct ctl_args *args)
{
    json_t *body = NULL;
    int status = args_exclude(args, "role", "uses");
    status = status == CTL_OK ? args_exclude(args, "role", "label") : status;
    status = status == CTL_OK ? token_body(args, &body) : status;
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_url url;
    json_t *token = NULL;
    url_start(&url, "/v1/tokens");
    status = client_post(ctl->client, &url, body, &token);
    url_free(&url);
    if (status == CTL_OK && ctl->json) {
        show_json(token);
    } else if (status == CTL_OK) {
        puts(show_string(token, "token")); /* alone on stdout, for redirecting into a file */
        if (ctl->terminal) {
            fprintf(stderr, "Shown this once. Give it to the host in a file that only root reads, "
                            "then run there:\n  holdfast-agent enroll --token-file FILE\n");
        }
    }
    json_decref(token);
    return status;
}

static void add_token(void *context, const json_t *token)
{
    struct ctl_table *table = context;
    table_cell(table, show_string(token, "id"));
    table_cell(table, show_string(token, "kind"));
    table_cell(table, show_string(token, "role"));
    table_cell(table, show_string(token, "name"));
    show_time_cell(table, token, "created");
    show_time_cell(table, token, "expires");
    if (json_object_get(token, "uses_left")) {
        table_cell_format(table, "%lld", (long long)show_integer(token, "uses_left"));
    } else {
        table_cell(table, "-");
    }
    table_cell(table, show_string(token, "state"));
}

int command_token_list(struct ctl *ctl, const struct ctl_args *args)
{
    (void)args;
    static const char *const headings[] = {"ID",      "KIND",       "ROLE",  "NAME", "CREATED",
                                           "EXPIRES", ">USES LEFT", "STATE", NULL};
    struct ctl_table *table = table_new(headings);
    struct ctl_url url;
    url_start(&url, "/v1/tokens");
    int status = client_list(ctl, &url, "tokens", 0, add_token, table);
    url_free(&url);
    table_print_free(table, stdout);
    return status;
}

int command_token_revoke(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_url url;
    json_t *token = NULL;
    url_start(&url, "/v1/tokens");
    url_segment(&url, args_positional(args, 0));
    url_segment(&url, "revoke");
    int status = client_post(ctl->client, &url, NULL, &token);
    url_free(&url);
    if (status == CTL_OK && ctl->json) {
        show_json(token);
    } else if (status == CTL_OK) {
        printf("Token %s is useless from now on\n", args_positional(args, 0));
    }
    json_decref(token);
    return status;
}
