/* The operator's CLI: what its files share.
 *
 * A command is a row of the table in commands.c: its name, arguments, options and texts. Parsing,
 * --help, the man pages and bash completion all come from that table. A command's function talks to
 * the collector's API through struct ctl_client and to nothing else.
 */
#ifndef HF_COLLECTOR_CTL_CTL_H
#define HF_COLLECTOR_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "common/error.h"

/* Exit statuses; documented in the man page from ctl_exits. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3,
    CTL_DENIED = 4,
    CTL_NOT_FOUND = 5,
    CTL_TIMED_OUT = 6
};

#define CTL_OPTION_MAX     12
#define CTL_POSITIONAL_MAX 256

struct ctl_option {
    const char *name; /* without the dashes */
    /* What to call its value, NULL for a switch. "a|b|c" are choices: others are refused, and the
     * completion offers them. */
    const char *value;
    const char *help;
};

struct ctl_args;
struct ctl_client;

struct ctl {
    struct ctl_client *client; /* NULL for commands that need none */
    bool json;                 /* --json: one JSON document for programs */
    bool terminal;             /* stdout is one */
};

struct ctl_command {
    const char *name;      /* "snapshot create" */
    const char *arguments; /* "HOST:SOURCE [PATH...]" */
    const char *summary;   /* one line, no full stop */
    const char *details;   /* paragraphs for the man page and --help; may be NULL */
    size_t args_min, args_max;
    struct ctl_option options[CTL_OPTION_MAX]; /* ends with a NULL name */
    bool offline;                              /* works without a collector */
    int (*run)(struct ctl *ctl, const struct ctl_args *args);
};

extern const struct ctl_command ctl_commands[]; /* ends with a NULL name */
extern const struct ctl_option ctl_global_options[];
extern const struct ctl_exit_text {
    int status;
    const char *meaning;
} ctl_exits[]; /* ends with a NULL meaning */

/* --- arguments (args.c) --- */

/* Parse what follows the command's name. On a mistake prints it to stderr and returns CTL_USAGE.
 * Values point into argv. */
int args_parse(const struct ctl_command *command, int argc, char **argv, struct ctl_args **out);
void args_free(struct ctl_args *args);
size_t args_count(const struct ctl_args *args);
const char *args_positional(const struct ctl_args *args, size_t index); /* NULL past the end */
/* n-th value of an option (global ones too), NULL when it wasn't given so often. */
const char *args_value_n(const struct ctl_args *args, const char *name, size_t n);
const char *args_value(const struct ctl_args *args, const char *name); /* the last one */
/* --limit, or fallback; CTL_USAGE (said why) when it is no number. */
int args_limit(const struct ctl_args *args, size_t fallback, size_t *out);
/* The duration of --NAME in whole seconds, rounded up, or fallback_s. CTL_USAGE (said why) when it
 * is none, or shorter than a second: the API counts in seconds, and 0 would mean something else. */
int args_seconds(const struct ctl_args *args, const char *name, int64_t fallback_s, int64_t *out_s);
bool args_switch(const struct ctl_args *args, const char *name);
/* Complains and returns CTL_USAGE when both options were given. */
int args_exclude(const struct ctl_args *args, const char *one, const char *other);

/* --- texts from the table (help.c) --- */
void help_overview(FILE *out);
void help_command(const struct ctl_command *command, FILE *out);
int help_man(const char *command, FILE *out); /* roff; "" is holdfast(1) itself */
void help_completion(FILE *out);

/* --- what a HOST:SOURCE[/PATH] names (target.c) --- */
struct ctl_target {
    char host[256];
    char source[65]; /* empty when only a host was given */
    const char
        *path; /* exact bytes without the leading '/', "" for none; points into the argument */
};
enum ctl_target_need { CTL_TARGET_HOST, CTL_TARGET_SOURCE, CTL_TARGET_PATH };
/* Complains on stderr and returns CTL_USAGE when the text has less than `need`. */
int target_parse(const char *text, enum ctl_target_need need, struct ctl_target *out);

/* --- questions to the API (client.c) --- */
struct ctl_client_options {
    const char *url, *ca_file, *token_file; /* NULL: environment, then the configuration file */
};
int client_new(const struct ctl_client_options *options, struct ctl_client **out);
void client_free(struct ctl_client *client);

/* A URL path with its query, built piece by piece; every value is percent-encoded. */
struct ctl_url {
    char *text;
    bool has_query;
};
void url_start(struct ctl_url *url, const char *path);
void url_segment(struct ctl_url *url, const char *segment);
void url_param(struct ctl_url *url, const char *name, const char *value); /* NULL value: nothing */
/* path=, or path_hex= for a name with control characters, which a URL can't carry here. */
void url_param_path(struct ctl_url *url, const char *path);
void url_param_number(struct ctl_url *url, const char *name, uint64_t value);
void url_free(struct ctl_url *url);

/* These print what went wrong, with the API's hint, and return an exit status. *out (may be NULL
 * for POST) is the caller's to json_decref. POST takes the reference of body. */
int client_get(struct ctl_client *client, const struct ctl_url *url, json_t **out);
int client_post(struct ctl_client *client, const struct ctl_url *url, json_t *body, json_t **out);
/* Stream a body; progress (may be NULL) hears how much came so far, and about how much there will
 * be in all (0: not known). */
int client_download(struct ctl_client *client, const struct ctl_url *url, FILE *out,
                    void (*progress)(void *context, uint64_t bytes, uint64_t about_bytes),
                    void *context);
/* All pages of a list: calls each for every element of `member`. With --json collects them into one
 * document instead and prints that. at_most 0: no limit. */
int client_list(struct ctl *ctl, const struct ctl_url *url, const char *member, size_t at_most,
                void (*each)(void *context, const json_t *row), void *context);

/* --- output (table.c, show.c) --- */
struct ctl_table;
/* headings ends with NULL; one that starts with '>' is right-aligned. When all are "", there is no
 * line of headings. */
struct ctl_table *table_new(const char *const *headings);
void table_cell(struct ctl_table *table, const char *text);
void table_cell_format(struct ctl_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
size_t table_rows(const struct ctl_table *table);
void table_print_free(struct ctl_table *table, FILE *out);

void show_json(const json_t *json);                             /* pretty, to stdout */
const char *show_string(const json_t *object, const char *key); /* "" when absent */
int64_t show_integer(const json_t *object, const char *key);
/* A name or message from a host could hold what a terminal obeys: a copy with control characters
 * and marks of direction escaped, for the caller to free. Everything that is shown to people goes
 * through it: tables, complaints, show_line. Ends the program when out of memory. */
char *show_harmless(const char *text);
/* One line of text from the collector, made harmless, with a newline. */
void show_line(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In the zone of who looks, which is named; "" when absent. */
void show_time_text(const json_t *object, const char *key, char out[64]);
void show_time_cell(struct ctl_table *table, const json_t *object, const char *key);
void show_size_cell(struct ctl_table *table, const json_t *object, const char *key);
/* "3 s ago", "2 d ago"; "never" when absent. */
void show_age_cell(struct ctl_table *table, const json_t *object, const char *key);
/* The time of --NAME as RFC 3339 for the API; complains and returns CTL_USAGE for a bad one. Leaves
 * out empty when the option wasn't given. */
int show_moment_option(const struct ctl_args *args, const char *name, char out[64]);
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- progress (progress.c) --- */
struct ctl_progress;
/* A bar on stderr when that is a terminal, else nothing. */
struct ctl_progress *progress_new(const char *label);
/* total 0: unknown. At most ten redraws a second. */
void progress_update(struct ctl_progress *progress, uint64_t done, uint64_t total);
void progress_hide(struct ctl_progress *progress); /* wipes the bar until the next update */
void progress_free(struct ctl_progress *progress); /* wipes it */

/* --- commands (one file a group) --- */
int command_status(struct ctl *ctl, const struct ctl_args *args);
int command_hosts(struct ctl *ctl, const struct ctl_args *args);
int command_host_show(struct ctl *ctl, const struct ctl_args *args);
int command_host_label(struct ctl *ctl, const struct ctl_args *args);
int command_host_revoke(struct ctl *ctl, const struct ctl_args *args);
int command_sources(struct ctl *ctl, const struct ctl_args *args);
int command_wait(struct ctl *ctl, const struct ctl_args *args);
int command_ls(struct ctl *ctl, const struct ctl_args *args);
int command_versions(struct ctl *ctl, const struct ctl_args *args);
int command_cat(struct ctl *ctl, const struct ctl_args *args);
int command_diff(struct ctl *ctl, const struct ctl_args *args);
int command_snapshot_create(struct ctl *ctl, const struct ctl_args *args);
int command_snapshot_list(struct ctl *ctl, const struct ctl_args *args);
int command_snapshot_hold(struct ctl *ctl, const struct ctl_args *args);
int command_snapshot_release(struct ctl *ctl, const struct ctl_args *args);
int command_restore(struct ctl *ctl, const struct ctl_args *args);
int command_download(struct ctl *ctl, const struct ctl_args *args);
int command_jobs(struct ctl *ctl, const struct ctl_args *args);
int command_job_show(struct ctl *ctl, const struct ctl_args *args);
int command_job_cancel(struct ctl *ctl, const struct ctl_args *args);
int command_audit(struct ctl *ctl, const struct ctl_args *args);
int command_audit_verify(struct ctl *ctl, const struct ctl_args *args);
int command_token_create(struct ctl *ctl, const struct ctl_args *args);
int command_token_list(struct ctl *ctl, const struct ctl_args *args);
int command_token_revoke(struct ctl *ctl, const struct ctl_args *args);
int command_completion(struct ctl *ctl, const struct ctl_args *args);
int command_man(struct ctl *ctl, const struct ctl_args *args);
int command_version(struct ctl *ctl, const struct ctl_args *args);

#endif
