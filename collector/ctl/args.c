#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ctl/ctl.h"
#include "common/clock.h"

#define VALUE_MAX 128

struct ctl_args {
    const char *positional[CTL_POSITIONAL_MAX];
    size_t positional_count;
    struct {
        const struct ctl_option *option;
        const char *value; /* NULL for a switch */
    } values[VALUE_MAX];
    size_t value_count;
};

static const struct ctl_option *find_option(const struct ctl_command *command, const char *name,
                                            size_t length)
{
    const struct ctl_option *lists[] = {command->options, ctl_global_options};
    for (size_t i = 0; i < 2; i++) {
        for (const struct ctl_option *option = lists[i]; option->name; option++) {
            if (strlen(option->name) == length && memcmp(option->name, name, length) == 0) {
                return option;
            }
        }
    }
    return NULL;
}

static int usage(const struct ctl_command *command)
{
    fprintf(stderr, "Try: holdfast %s --help\n", command->name);
    return CTL_USAGE;
}

/* Whether a value is one of "a|b|c", the form in which the table lists choices. */
static bool is_choice(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (const char *p = choices; *p;) {
        size_t size = strcspn(p, "|");
        if (size == length && memcmp(p, value, size) == 0) {
            return true;
        }
        p += size;
        p += *p == '|';
    }
    return false;
}

/* One "--name", "--name=value" or "--name value"; *i moves past a value of its own. */
static int parse_option(const struct ctl_command *command, int argc, char **argv, int *i,
                        struct ctl_args *args)
{
    const char *text = argv[*i] + 2;
    size_t length = strcspn(text, "=");
    const struct ctl_option *option = find_option(command, text, length);
    if (!option) {
        complain("'holdfast %s' has no option --%.*s", command->name, (int)length, text);
        return usage(command);
    }
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    if (option->value && !value && *i + 1 < argc) {
        value = argv[++*i];
    }
    if (option->value && !value) {
        complain("--%s needs a value: --%s %s", option->name, option->name, option->value);
        return usage(command);
    }
    if (!option->value && value) {
        complain("--%s takes no value", option->name);
        return usage(command);
    }
    if (value && strchr(option->value, '|') && !is_choice(option->value, value)) {
        complain("--%s: '%s' is not one of %s", option->name, value, option->value);
        return usage(command);
    }
    if (args->value_count == VALUE_MAX) {
        complain("Too many options (at most %d)", VALUE_MAX);
        return CTL_USAGE;
    }
    args->values[args->value_count].option = option;
    args->values[args->value_count++].value = value;
    return CTL_OK;
}

static int check_count(const struct ctl_command *command, const struct ctl_args *args)
{
    if (args_switch(args, "help")) {
        return CTL_OK;
    }
    if (args->positional_count < command->args_min) {
        complain("'holdfast %s' needs %s", command->name, command->arguments);
        return usage(command);
    }
    if (args->positional_count > command->args_max) {
        complain("'holdfast %s' does not know what to do with '%s'", command->name,
                 args->positional[command->args_max]);
        return usage(command);
    }
    return CTL_OK;
}

int args_parse(const struct ctl_command *command, int argc, char **argv, struct ctl_args **out)
{
    struct ctl_args *args = calloc(1, sizeof *args);
    if (!args) {
        complain("Out of memory");
        return CTL_FAILED;
    }
    int status = CTL_OK;
    bool options_over = false;
    for (int i = 0; i < argc && status == CTL_OK; i++) {
        if (!options_over && strcmp(argv[i], "--") == 0) {
            options_over = true;
        } else if (!options_over && strncmp(argv[i], "--", 2) == 0) {
            status = parse_option(command, argc, argv, &i, args);
        } else if (!options_over && strcmp(argv[i], "-h") == 0) {
            char help[] = "--help";
            char *help_argv[] = {help};
            int help_index = 0;
            status = parse_option(command, 1, help_argv, &help_index, args);
        } else if (!options_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            complain("Options have two dashes and a word; '%s' isn't one", argv[i]);
            status = usage(command);
        } else if (args->positional_count == CTL_POSITIONAL_MAX) {
            complain("Too many arguments (at most %d)", CTL_POSITIONAL_MAX);
            status = CTL_USAGE;
        } else {
            args->positional[args->positional_count++] = argv[i];
        }
    }
    if (status == CTL_OK) {
        status = check_count(command, args);
    }
    if (status != CTL_OK) {
        args_free(args);
        return status;
    }
    *out = args;
    return CTL_OK;
}

void args_free(struct ctl_args *args)
{
    free(args);
}

size_t args_count(const struct ctl_args *args)
{
    return args->positional_count;
}

const char *args_positional(const struct ctl_args *args, size_t index)
{
    return index < args->positional_count ? args->positional[index] : NULL;
}

const char *args_value_n(const struct ctl_args *args, const char *name, size_t n)
{
    for (size_t i = 0; i < args->value_count; i++) {
        if (strcmp(args->values[i].option->name, name) == 0 && n-- == 0) {
            return args->values[i].value;
        }
    }
    return NULL;
}

const char *args_value(const struct ctl_args *args, const char *name)
{
    for (size_t i = args->value_count; i > 0; i--) {
        if (strcmp(args->values[i - 1].option->name, name) == 0) {
            return args->values[i - 1].value;
        }
    }
    return NULL;
}

bool args_switch(const struct ctl_args *args, const char *name)
{
    for (size_t i = 0; i < args->value_count; i++) {
        if (strcmp(args->values[i].option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

int args_exclude(const struct ctl_args *args, const char *one, const char *other)
{
    if (!args_switch(args, one) || !args_switch(args, other)) {
        return CTL_OK;
    }
    complain("--%s and --%s exclude each other: give one of them", one, other);
    return CTL_USAGE;
}

int args_seconds(const struct ctl_args *args, const char *name, int64_t fallback_s, int64_t *out_s)
{
    const char *text = args_value(args, name);
    struct hf_error error = {0};
    int64_t ns = 0;
    *out_s = fallback_s;
    if (!text) {
        return CTL_OK;
    }
    if (hf_duration_parse(text, &ns, &error) != HF_OK) {
        complain("--%s: %s", name, error.message);
        return CTL_USAGE;
    }
    if (ns < HF_NS_PER_SECOND) {
        complain("--%s: '%s' is too short; a second is the least", name, text);
        return CTL_USAGE;
    }
    *out_s = ns / HF_NS_PER_SECOND + (ns % HF_NS_PER_SECOND != 0);
    return CTL_OK;
}

int args_limit(const struct ctl_args *args, size_t fallback, size_t *out)
{
    const char *text = args_value(args, "limit");
    char *end = NULL;
    *out = fallback;
    if (text) {
        errno = 0;
        unsigned long long value = strtoull(text, &end, 10);
        if (errno != 0 || *text < '0' || *text > '9' || *end) {
            complain("--limit: '%s' is not a number", text);
            return CTL_USAGE;
        }
        *out = (size_t)value;
    }
    return CTL_OK;
}
