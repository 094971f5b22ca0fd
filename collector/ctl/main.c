#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "collector/ctl/ctl.h"

/* The command named by the first one or two words; *words says how many it took. */
static const struct ctl_command *find_command(int argc, char **argv, int *words)
{
    const struct ctl_command *found = NULL;
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        const char *space = strchr(command->name, ' ');
        size_t first = space ? (size_t)(space - command->name) : strlen(command->name);
        if (strlen(argv[1]) != first || memcmp(argv[1], command->name, first) != 0) {
            continue;
        }
        if (space && argc > 2 && strcmp(argv[2], space + 1) == 0) {
            *words = 2;
            return command;
        }
        if (!space) {
            *words = 1;
            found = command;
        }
    }
    return found;
}

static int unknown_command(int argc, char **argv)
{
    bool listed = false;
    size_t length = strlen(argv[1]);
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        if (strncmp(command->name, argv[1], length) == 0 && command->name[length] == ' ') {
            if (!listed) {
                complain("'%s%s%s' is no command. There are:", argv[1], argc > 2 ? " " : "",
                         argc > 2 ? argv[2] : "");
            }
            listed = true;
            fprintf(stderr, "  holdfast %-17s %s\n", command->name, command->summary);
        }
    }
    if (!listed) {
        complain("There is no command '%s'. 'holdfast --help' lists them all", argv[1]);
    }
    return CTL_USAGE;
}

/* How many of argv[1...] are options of every command that stand before it; their values too. */
static int count_leading_options(int argc, char **argv)
{
    int i = 1;
    while (i < argc && strncmp(argv[i], "--", 2) == 0) {
        const char *name = argv[i] + 2;
        size_t length = strcspn(name, "=");
        const struct ctl_option *option = ctl_global_options;
        while (option->name &&
               (strlen(option->name) != length || memcmp(option->name, name, length) != 0)) {
            option++;
        }
        if (!option->name) {
            break;
        }
        i += option->value && name[length] != '=' ? 2 : 1;
    }
    return i > argc ? argc - 1 : i - 1;
}

/* Move them behind the command's words, where args_parse finds them. */
static void move_leading_options(int count, int words, char **argv)
{
    for (int word = 0; word < words; word++) {
        char *moved = argv[1 + count + word];
        for (int i = count + word; i > word; i--) {
            argv[1 + i] = argv[i];
        }
        argv[1 + word] = moved;
    }
}

/* "help COMMAND" is "COMMAND --help". */
static int help_on(int argc, char **argv)
{
    int words = 0;
    const struct ctl_command *command = find_command(argc, argv, &words);
    if (!command) {
        return unknown_command(argc, argv);
    }
    help_command(command, stdout);
    return CTL_OK;
}

static int run_command(const struct ctl_command *command, const struct ctl_args *args)
{
    struct ctl ctl = {.json = args_switch(args, "json"), .terminal = isatty(STDOUT_FILENO) == 1};
    if (!command->offline) {
        struct ctl_client_options options = {
            .url = args_value(args, "url"),
            .ca_file = args_value(args, "ca-file"),
            .token_file = args_value(args, "token-file"),
        };
        int status = client_new(&options, &ctl.client);
        if (status != CTL_OK) {
            return status;
        }
    }
    int status = command->run(&ctl, args);
    client_free(ctl.client);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("Writing to standard output failed");
        status = status == CTL_OK ? CTL_FAILED : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    bool asks_help = argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                                   strcmp(argv[1], "help") == 0);
    if (asks_help && argc > 2) {
        return help_on(argc - 1, argv + 1);
    }
    if (asks_help || argc < 2) {
        help_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? CTL_USAGE : CTL_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        argv[1] += 2;
    }
    int words = 0;
    int leading = count_leading_options(argc, argv);
    if (leading + 1 == argc) {
        complain("Name a command after %s", argv[1]);
        fprintf(stderr, "Try: holdfast --help\n");
        return CTL_USAGE;
    }
    const struct ctl_command *command = find_command(argc - leading, argv + leading, &words);
    if (!command) {
        return unknown_command(argc - leading, argv + leading);
    }
    move_leading_options(leading, words, argv);
    struct ctl_args *args = NULL;
    int status = args_parse(command, argc - 1 - words, argv + 1 + words, &args);
    if (status != CTL_OK) {
        return status;
    }
    if (args_switch(args, "help")) {
        help_command(command, stdout);
    } else if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        complain("The HTTP library can't start");
        status = CTL_FAILED;
    } else {
        status = run_command(command, args);
        curl_global_cleanup();
    }
    args_free(args);
    return status;
}
