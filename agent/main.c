/* holdfast-agent: everything it can be asked to do, in one table. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/capture/sqlite_reader.h"
#include "agent/config/config.h"
#include "agent/daemon.h"
#include "agent/identity/enroll_command.h"
#include "agent/identity/identity.h"
#include "agent/man.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/roff.h"

#define CONFIG_PATH "/etc/holdfast/agent.conf"

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *summary;
};

static int run_daemon(int argc, char **argv);
static int run_check(int argc, char **argv);
static int run_man(int argc, char **argv);
static int run_version(int argc, char **argv);
static int run_help(int argc, char **argv);

static const struct subcommand subcommands[] = {
    {"run", run_daemon, "[--config FILE] [--log-level LEVEL]",
     "protect this host until stopped (the service does this)"},
    {"enroll", enroll_command, "--token-file FILE [--identity DIR]",
     "join a collector with the token that `holdfast token create` printed"},
    {"check", run_check, "[--config FILE]", "say whether the configuration is good"},
    {"man", run_man, "[conf]", "print this program's manual page, or its configuration's, in roff"},
    {"version", run_version, "", "print the version"},
    {"help", run_help, "", "print this"},
};

#define SUBCOMMANDS (sizeof(subcommands) / sizeof(subcommands[0]))

static void print_usage(FILE *stream)
{
    fprintf(stream, "Usage: holdfast-agent COMMAND [OPTION...]\n\n"
                    "Captures this host's files the moment they change, and restores them.\n\n"
                    "Commands:\n");
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        fprintf(stream, "  %-8s %s\n           %s\n", subcommands[i].name, subcommands[i].arguments,
                subcommands[i].summary);
    fprintf(stream, "\nFILE is " CONFIG_PATH " unless given; LEVEL is error, warning, info or "
                    "debug.\n");
}

struct options {
    const char *config;
    bool helped; /* --help: there is nothing else to do */
};

/* 0, or the exit code after a complaint. */
static int read_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"log-level", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *options = (struct options){.config = CONFIG_PATH};
    for (int option; (option = getopt_long(argc, argv, "c:l:h", known, NULL)) != -1;) {
        enum hf_log_level level;
        if (option == 'h') {
            print_usage(stdout);
            options->helped = true;
            return 0;
        }
        if (option == 'c') {
            options->config = optarg;
        } else if (option == 'l' && !hf_log_level_parse(optarg, &level)) {
            hf_log_set_level(level);
        } else {
            if (option == 'l')
                fprintf(stderr,
                        "holdfast-agent: --log-level %s: error, warning, info or debug "
                        "is expected\n",
                        optarg);
            return 2;
        }
    }
    if (optind == argc)
        return 0;
    fprintf(stderr, "holdfast-agent %s: %s is not understood; see holdfast-agent help\n", argv[0],
            argv[optind]);
    return 2;
}

static int run_daemon(int argc, char **argv)
{
    struct options options;
    int result = read_options(argc, argv, &options);
    hf_keep_memory_small();
    return result || options.helped ? result : daemon_run(options.config);
}

/* It may be checked before the host has joined. */
static void warn_of_identity(const char *directory)
{
    struct hf_identity *identity = NULL;
    struct hf_error error;
    if (identity_open(directory, &identity, &error))
        printf("warning: %s\n", error.message);
    identity_free(identity);
}

static int run_check(int argc, char **argv)
{
    struct options options;
    struct hf_config *config;
    struct hf_error error;
    int result = read_options(argc, argv, &options);
    if (result || options.helped)
        return result;
    result = config_check_file(options.config, &error);
    if (!result)
        result = config_load(options.config, &config, &error);
    if (result) {
        fprintf(stderr, "holdfast-agent: %s\n", error.message);
        return 1;
    }
    config_describe(config, stdout);
    warn_of_identity(config->identity_directory);
    config_free(config);
    return 0;
}

static int run_man(int argc, char **argv)
{
    struct hf_roff_command commands[SUBCOMMANDS + 1] = {0};
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "conf") != 0)) {
        print_usage(stderr);
        return 2;
    }
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        commands[i] = (struct hf_roff_command){subcommands[i].name, subcommands[i].arguments,
                                               subcommands[i].summary};
    if (argc == 2)
        man_config(stdout);
    else
        man_daemon(stdout, commands);
    return 0;
}

static int run_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("holdfast-agent " HF_VERSION "\n");
    return 0;
}

static int run_help(int argc, char **argv)
{
    (void)argc, (void)argv;
    print_usage(stdout);
    return 0;
}

/* Keys pass through this process's memory: no core files, no peeking by the same user. */
static void harden(void)
{
    struct rlimit none = {0};
    umask(077);
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
}

int main(int argc, char **argv)
{
    harden();
    hf_log_set_program("holdfast-agent");
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, SQLITE_READER_COMMAND)) /* which no person starts */
        return sqlite_reader_main(argc, argv);
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version"))
        name = "version";
    for (size_t i = 0; i < SUBCOMMANDS; i++)
        if (!strcmp(subcommands[i].name, name))
            return subcommands[i].run(argc - 1, argv + 1);
    if (*name)
        fprintf(stderr, "holdfast-agent: there is no command %s\n\n", name);
    print_usage(stderr);
    return 2;
}
