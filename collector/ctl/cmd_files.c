/* ls, versions, cat, diff, download: looking into a source's timeline. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/ctl/ctl.h"

#define PREFIXES_MAX 64 /* levels that 'ls' goes down by itself */

static void start_source_url(struct ctl_url *url, const struct ctl_target *target,
                             const char *question)
{
    url_start(url, "/v1/hosts");
    url_segment(url, target->host);
    url_segment(url, "sources");
    url_segment(url, target->source);
    url_segment(url, question);
}

/* "drwxr-x---", as ls(1) has it */
static void mode_text(const json_t *file, char out[11])
{
    static const char letters[] = "rwxrwxrwx";
    const char *type = show_string(file, "type");
    unsigned long mode = strtoul(show_string(file, "mode"), NULL, 8);
    out[0] = '-';
    if (strcmp(type, "directory") == 0) {
        out[0] = 'd';
    } else if (strcmp(type, "symlink") == 0) {
        out[0] = 'l';
    } else if (strcmp(type, "char-device") == 0) {
        out[0] = 'c';
    } else if (strcmp(type, "block-device") == 0) {
        out[0] = 'b';
    }
    for (int i = 0; i < 9; i++) {
        out[i + 1] = '-';
        if (mode & (0400ul >> i)) {
            out[i + 1] = letters[i];
        }
    }
    out[10] = '\0';
}

static void owner_text(const json_t *file, const char *name_key, const char *id_key, char *out,
                       size_t size)
{
    const char *name = show_string(file, name_key);
    if (*name) {
        snprintf(out, size, "%s", name);
    } else {
        snprintf(out, size, "%lld", (long long)show_integer(file, id_key));
    }
}

static void add_file(void *context, const json_t *file)
{
    struct ctl_table *table = context;
    if (json_is_true(json_object_get(file, "implied"))) {
        table_cell(table, "d");
        table_cell(table, "");
        table_cell(table, "");
        table_cell(table, "");
        table_cell_format(table, "/%s/", show_string(file, "path"));
        return;
    }
    char mode[11];
    char owner[64];
    char group[64];
    mode_text(file, mode);
    owner_text(file, "owner", "uid", owner, sizeof owner);
    owner_text(file, "group", "gid", group, sizeof group);
    table_cell(table, mode);
    table_cell_format(table, "%s:%s", owner, group);
    const char *target = show_string(file, "target");
    if (mode[0] == 'c' || mode[0] == 'b') { /* its numbers, in the place of its size */
        table_cell(table, target);
        target = "";
    } else {
        table_cell_format(table, "%lld", (long long)show_integer(file, "size"));
    }
    show_time_cell(table, file, "mtime");
    table_cell_format(table, "/%s%s%s%s", show_string(file, "path"), mode[0] == 'd' ? "/" : "",
                      *target ? " -> " : "", target);
}

static void start_list_url(struct ctl_url *url, const struct ctl_target *target,
                           const char *question, const char *at, const char *path)
{
    start_source_url(url, target, question);
    url_param(url, "at", *at ? at : NULL);
    url_param_path(url, path);
}

/* Where all that a level has is one directory that isn't protected itself but leads to what is, go
 * on to that: "home/" helps nobody who asks for the source. *path is the caller's to free. */
static int skip_lone_prefixes(struct ctl *ctl, const struct ctl_target *target, const char *at,
                              char **path)
{
    for (int depth = 0; depth < PREFIXES_MAX; depth++) {
        struct ctl_url url;
        json_t *page = NULL;
        start_list_url(&url, target, "list", at, *path);
        url_param_number(&url, "limit", 2);
        int status = client_get(ctl->client, &url, &page);
        url_free(&url);
        const json_t *entries = json_object_get(page, "entries");
        const json_t *entry = json_array_get(entries, 0);
        /* One whose name is no UTF-8 has path_hex: let it be listed. */
        bool lone = status == CTL_OK && json_array_size(entries) == 1 &&
                    json_is_true(json_object_get(entry, "implied")) &&
                    !json_object_get(entry, "path_hex");
        char *next = lone ? strdup(show_string(entry, "path")) : NULL;
        json_decref(page);
        if (status != CTL_OK || !next) {
            return status;
        }
        free(*path);
        *path = next;
    }
    return CTL_OK;
}

int command_ls(struct ctl *ctl, const struct ctl_args *args)
{
    static const char *const headings[] = {"MODE", "OWNER", ">BYTES", "MODIFIED", "PATH", NULL};
    struct ctl_target target;
    char at[64];
    int status = target_parse(args_positional(args, 0), CTL_TARGET_SOURCE, &target);
    status = status == CTL_OK ? show_moment_option(args, "at", at) : status;
    if (status != CTL_OK) {
        return status;
    }
    bool recursive = args_switch(args, "recursive");
    char *path = strdup(target.path);
    if (!path) {
        complain("Out of memory");
        return CTL_FAILED;
    }
    if (!recursive && !ctl->json) {
        status = skip_lone_prefixes(ctl, &target, at, &path);
    }
    if (status == CTL_OK) {
        struct ctl_table *table = table_new(headings);
        struct ctl_url url;
        start_list_url(&url, &target, recursive ? "tree" : "list", at, path);
        status = client_list(ctl, &url, "entries", 0, add_file, table);
        url_free(&url);
        table_print_free(table, stdout);
    }
    free(path);
    return status;
}

static void add_version(void *context, const json_t *version)
{
    struct ctl_table *table = context;
    bool absent = strcmp(show_string(version, "type"), "absent") == 0;
    table_cell_format(table, "%lld", (long long)show_integer(version, "version"));
    show_time_cell(table, version, "at");
    if (absent) {
        table_cell(table, "-");
        table_cell(table, "");
        table_cell(table, "deleted");
        return;
    }
    table_cell_format(table, "%lld", (long long)show_integer(version, "size"));
    table_cell_format(table, "%.12s", show_string(version, "content"));
    int64_t job = show_integer(version, "restored_by");
    if (job > 0) {
        table_cell_format(table, "restored by job %lld", (long long)job);
    } else if (json_is_true(json_object_get(version, "unparsable"))) {
        bool database = json_is_true(json_object_get(version, "database"));
        table_cell(table, database ? "a damaged database" : "does not parse");
    } else {
        table_cell(table, "");
    }
}

int command_versions(struct ctl *ctl, const struct ctl_args *args)
{
    static const char *const headings[] = {">VERSION", "AT", ">BYTES", "CONTENT", "NOTE", NULL};
    struct ctl_target target;
    size_t limit = 0;
    int status = target_parse(args_positional(args, 0), CTL_TARGET_PATH, &target);
    status = status == CTL_OK ? args_limit(args, 100, &limit) : status;
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_table *table = table_new(headings);
    struct ctl_url url;
    start_source_url(&url, &target, "versions");
    url_param_path(&url, target.path);
    status = client_list(ctl, &url, "versions", limit, add_version, table);
    url_free(&url);
    table_print_free(table, stdout);
    return status;
}

int command_cat(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_target target;
    char at[64];
    int status = target_parse(args_positional(args, 0), CTL_TARGET_PATH, &target);
    status = status == CTL_OK ? show_moment_option(args, "at", at) : status;
    status = status == CTL_OK ? args_exclude(args, "at", "version") : status;
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_url url;
    start_source_url(&url, &target, "content");
    url_param_path(&url, target.path);
    url_param(&url, "at", *at ? at : NULL);
    url_param(&url, "version", args_value(args, "version"));
    status = client_download(ctl->client, &url, stdout, NULL, NULL);
    url_free(&url);
    return status;
}

static void print_change(void *context, const json_t *change)
{
    (void)context;
    const char *kind = show_string(change, "change");
    const json_t *file = json_object_get(change, "after");
    file = file ? file : json_object_get(change, "before");
    const char *letter = strcmp(kind, "added") == 0      ? "A"
                         : strcmp(kind, "removed") == 0  ? "D"
                         : strcmp(kind, "modified") == 0 ? "M"
                                                         : "m";
    static const char *const headings[] = {"", "", NULL};
    struct ctl_table *line = table_new(headings); /* for its escaping */
    table_cell(line, letter);
    table_cell_format(line, "/%s", show_string(file, "path"));
    table_print_free(line, stdout);
}

int command_diff(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_target target;
    char from[64];
    char to[64];
    int status = target_parse(args_positional(args, 0), CTL_TARGET_SOURCE, &target);
    status = status == CTL_OK ? show_moment_option(args, "from", from) : status;
    status = status == CTL_OK ? show_moment_option(args, "to", to) : status;
    if (status == CTL_OK && !*from) {
        complain("'holdfast diff' needs --from TIME");
        status = CTL_USAGE;
    }
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_url url;
    start_source_url(&url, &target, "diff");
    url_param(&url, "from", from);
    url_param(&url, "to", *to ? to : NULL);
    if (*target.path) {
        url_param_path(&url, target.path);
    }
    status = client_list(ctl, &url, "changes", 0, print_change, NULL);
    url_free(&url);
    return status;
}

static void download_progress(void *context, uint64_t bytes, uint64_t about_bytes)
{
    progress_update(context, bytes, about_bytes);
}

int command_download(struct ctl *ctl, const struct ctl_args *args)
{
    struct ctl_target target;
    char at[64];
    const char *output = args_value(args, "output");
    bool to_stdout = !output || strcmp(output, "-") == 0;
    int status = target_parse(args_positional(args, 0), CTL_TARGET_SOURCE, &target);
    status = status == CTL_OK ? show_moment_option(args, "at", at) : status;
    if (status == CTL_OK && to_stdout && ctl->terminal) {
        complain("A tar on a terminal helps nobody: name a file with --output FILE, or use a pipe");
        status = CTL_USAGE;
    }
    if (status != CTL_OK) {
        return status;
    }
    FILE *out = to_stdout ? stdout : fopen(output, "wxe");
    if (!out) {
        complain("Can't make %s: %s", output, strerror(errno));
        return CTL_FAILED;
    }
    struct ctl_url url;
    start_source_url(&url, &target, "archive");
    url_param(&url, "at", *at ? at : NULL);
    if (*target.path) {
        url_param_path(&url, target.path);
    }
    for (size_t i = 1; i < args_count(args); i++) {
        const char *path = args_positional(args, i);
        url_param_path(&url, path + strspn(path, "/"));
    }
    struct ctl_progress *progress = progress_new("Downloading");
    status = client_download(ctl->client, &url, out, download_progress, progress);
    progress_free(progress);
    url_free(&url);
    if (!to_stdout && fclose(out) != 0 && status == CTL_OK) {
        complain("Writing %s failed: %s", output, strerror(errno));
        status = CTL_FAILED;
    }
    if (!to_stdout && status != CTL_OK) {
        unlink(output); /* half a tar is worse than none */
    }
    return status;
}
