/* holdfast-collector: what it can be asked to do. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "collector/config.h"
#include "collector/identity/identity.h"
#include "collector/man.h"
#include "collector/serve.h"
#include "common/clock.h"
#include "common/roff.h"

#define CONFIG_PATH "/var/lib/holdfast/collector.conf"

static int run(int argc, char **argv);
static int check(int argc, char **argv);
static int man(int argc, char **argv);
static int version(int argc, char **argv);
static int help(int argc, char **argv);

static const struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments, *summary;
} subcommands[] = {
    {"run", run, "[--config FILE]", "serve until stopped (the service does this)"},
    {"init", init_command, "--data DIR --name NAME[,...]", "make a new collector's data directory"},
    {"certificate", certificate_command, "--data DIR [--name NAME,...]",
     "issue the collector's own certificate anew, for other names"},
    {"check", check, "[--config FILE]", "say what the configuration means, or what is wrong in it"},
    {"man", man, "[conf]", "print this program's manual page, or its configuration's, in roff"},
    {"version", version, "", "print the version"},
    {"help", help, "", "print this"},
};

static void usage(FILE *out)
{
    fputs("holdfast-collector: keeps what the fleet's agents capture\n\n"
          "usage: holdfast-collector COMMAND [OPTION...]\n\nCommands\n",
          out);
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        fprintf(out, "  %-11s %-30s %s\n", subcommands[i].name, subcommands[i].arguments,
                subcommands[i].summary);
    }
    fputs("\nFILE is " CONFIG_PATH " unless given.\n", out);
}

/* 0, or an exit status + 1. */
static int read_config(int argc, char **argv, struct hf_collector_config *config)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CONFIG_PATH;
    struct hf_error error = {0};
    for (int choice; (choice = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (choice == 'c') {
            path = optarg;
        } else {
            usage(choice == 'h' ? stdout : stderr);
            return choice == 'h' ? 1 : 3;
        }
    }
    if (optind < argc) {
        usage(stderr);
        return 3;
    }
    if (collector_config_load(path, config, &error) != HF_OK) {
        fprintf(stderr, "holdfast-collector: %s\n", error.message);
        return 2;
    }
    return 0;
}

static int run(int argc, char **argv)
{
    static struct hf_collector_config config; /* large; lives as long as the program */
    int status = read_config(argc, argv, &config);
    if (status != 0) {
        return status - 1;
    }
    struct rlimit no_core = {0, 0};
    umask(0077);
    setrlimit(RLIMIT_CORE, &no_core); /* keys must not end up in a core file */
    prctl(PR_SET_DUMPABLE, 0);
    hf_log_set_program("holdfast-collector");
    hf_log_set_level(config.log_level);
    return collector_serve(&config);
}

static int check(int argc, char **argv)
{
    static struct hf_collector_config config;
    char text[HF_TIME_TEXT_BYTES];
    int status = read_config(argc, argv, &config);
    if (status != 0) {
        return status - 1;
    }
    printf("Data directory  %s\nCatalog         %s\nRepository      %s\nRepository key  %s\n",
           config.data, config.catalog, config.repository, config.key);
    printf("Agents          %s port %u, told to hosts as %s\n", config.agents.host,
           config.agents.port, config.advertise);
    printf("Enrolment       %s port %u\nOperators       %s port %u\n", config.enrol.host,
           config.enrol.port, config.api.host, config.api.port);
    hf_size_text(config.pack_bytes, text);
    printf("Packs           sealed at %s\n", text);
    hf_size_text(config.memory_bytes, text);
    printf("Limits          %s of bulk data under way, %llu sessions\n", text,
           (unsigned long long)config.sessions_max);
    hf_duration_text(config.validity_ns, text);
    printf("Certificates    of hosts are valid for %s\n", text);
    return 0;
}

static int man(int argc, char **argv)
{
    enum { COUNT = sizeof subcommands / sizeof subcommands[0] };
    struct hf_roff_command commands[COUNT + 1] = {0};
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "conf") != 0)) {
        usage(stderr);
        return 2;
    }
    for (size_t i = 0; i < COUNT; i++) {
        commands[i] = (struct hf_roff_command){subcommands[i].name, subcommands[i].arguments,
                                               subcommands[i].summary};
    }
    if (argc == 2) {
        man_config(stdout);
    } else {
        man_daemon(stdout, commands);
    }
    return 0;
}

static int version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("holdfast-collector " HF_VERSION);
    return 0;
}

static int help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    usage(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    name += strncmp(name, "--", 2) == 0 ? 2 : 0;
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++) {
        if (strcmp(subcommands[i].name, name) == 0) {
            return subcommands[i].run(argc - 1, argv + 1);
        }
    }
    usage(stderr);
    return 2;
}
