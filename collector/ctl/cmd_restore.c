#include <string.h>

#include "collector/ctl/job.h"

/* The paths to restore: the target's own, if it has one, and the further arguments. Bytes that are
 * not UTF-8 travel as {"hex": ...}. */
static int add_path(json_t *paths, const char *path)
{
    path += strspn(path, "/");
    json_t *text = json_string(path); /* NULL when not UTF-8 */
    if (!text) {
        char hex[2 * 4096 + 1];
        size_t length = strlen(path);
        if (length > 4096) {
            complain("A path is longer than 4096 bytes");
            return CTL_USAGE;
        }
        for (size_t i = 0; i < length; i++) {
            snprintf(hex + 2 * i, 3, "%02x", (unsigned char)path[i]);
        }
        text = json_pack("{s:s}", "hex", hex);
    }
    return json_array_append_new(paths, text) == 0 ? CTL_OK : CTL_FAILED;
}

static int request_body(const struct ctl_args *args, json_t **out)
{
    struct ctl_target target;
    char at[64];
    int64_t expires_s = 0;
    int status = target_parse(args_positional(args, 0), CTL_TARGET_SOURCE, &target);
    status = status == CTL_OK ? show_moment_option(args, "at", at) : status;
    status = status == CTL_OK ? args_seconds(args, "expires", 7 * 24 * 3600, &expires_s) : status;
    if (status != CTL_OK) {
        return status;
    }
    const char *onto = args_value(args, "onto");
    const char *to = args_value(args, "to");
    const char *on_conflict = args_value(args, "on-conflict");
    json_t *paths = json_array();
    if (*target.path) {
        status = add_path(paths, target.path);
    }
    for (size_t i = 1; i < args_count(args) && status == CTL_OK; i++) {
        status = add_path(paths, args_positional(args, i));
    }
    json_t *body = json_pack("{s:s, s:s, s:o, s:b, s:I, s:s}", "host", onto ? onto : target.host,
                             "source", target.source, "paths", paths, "dry_run",
                             (int)args_switch(args, "dry-run"), "expires_s", (json_int_t)expires_s,
                             "on_conflict", on_conflict ? on_conflict : "replace");
    if (status == CTL_OK && body && onto) {
        json_object_set_new(body, "origin_host", json_string(target.host));
    }
    if (status == CTL_OK && body && *at) {
        json_object_set_new(body, "at", json_string(at));
    }
    if (status == CTL_OK && body && to) {
        json_object_set_new(body, "to", json_string(to));
    }
    if (status != CTL_OK || !body) {
        json_decref(body);
        return status != CTL_OK ? status : CTL_FAILED;
    }
    *out = body;
    return CTL_OK;
}

int command_restore(struct ctl *ctl, const struct ctl_args *args)
{
    json_t *body = NULL;
    int status = args_exclude(args, "wait", "no-wait");
    status = status == CTL_OK ? request_body(args, &body) : status;
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_url url;
    json_t *job = NULL;
    url_start(&url, "/v1/restores");
    status = client_post(ctl->client, &url, body, &job);
    url_free(&url);
    if (status != CTL_OK) {
        return status;
    }
    int64_t id = show_integer(job, "id");
    bool follow = args_switch(args, "wait") || (ctl->terminal && !args_switch(args, "no-wait"));
    if (follow) {
        if (ctl->terminal && !ctl->json) {
            show_line(stderr,
                      "Job %lld: interrupting this command does not stop it, 'holdfast job "
                      "cancel %lld' does",
                      (long long)id, (long long)id);
        }
        status = job_follow(ctl, id);
    } else if (ctl->json) {
        show_json(job);
    } else {
        printf("Job %lld is %s; 'holdfast job show %lld' tells how it goes\n", (long long)id,
               show_string(job, "state"), (long long)id);
    }
    json_decref(job);
    return status;
}
