/* Help, man pages and completion, all from the table in commands.c. */
#include <string.h>

#include "collector/ctl/ctl.h"
#include "common/roff.h"

static void print_wrapped(FILE *out, const char *text, size_t indent)
{
    const size_t width = 88;
    size_t column = indent;
    fprintf(out, "%*s", (int)indent, "");
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + word > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, word, out);
        column += word;
        text += word;
        text += *text == ' ';
    }
    fputc('\n', out);
}

static void print_options(const struct ctl_option *options, FILE *out)
{
    for (const struct ctl_option *option = options; option->name; option++) {
        fprintf(out, "  --%s%s%s\n", option->name, option->value ? " " : "",
                option->value ? option->value : "");
        print_wrapped(out, option->help, 6);
    }
}

void help_overview(FILE *out)
{
    fputs("holdfast: look after a fleet's backups and bring them back\n\n"
          "usage: holdfast COMMAND [ARGUMENT...] [OPTION...]\n"
          "       holdfast help COMMAND\n\nCommands\n",
          out);
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        fprintf(out, "  %-17s %s\n", command->name, command->summary);
    }
    fputs("\nOptions of every command\n", out);
    print_options(ctl_global_options, out);
    fputs("\nTimes: \"2026-11-22 10:31\", \"10:31\", \"yesterday 18:00\", \"10 minutes ago\", "
          "\"2026-11-22T10:31:00Z\".\n"
          "Details: holdfast COMMAND --help, or man holdfast-COMMAND.\n",
          out);
}

void help_command(const struct ctl_command *command, FILE *out)
{
    fprintf(out, "usage: holdfast %s%s%s%s\n\n", command->name, command->arguments ? " " : "",
            command->arguments ? command->arguments : "",
            command->options[0].name ? " [OPTION...]" : "");
    print_wrapped(out, command->summary, 2);
    if (command->details) {
        fputc('\n', out);
        print_wrapped(out, command->details, 2);
    }
    if (command->options[0].name) {
        fputs("\nOptions\n", out);
        print_options(command->options, out);
    }
    fputs("\nOptions of every command\n", out);
    print_options(ctl_global_options, out);
    fputs("\nExit status\n", out);
    for (const struct ctl_exit_text *row = ctl_exits; row->meaning; row++) {
        fprintf(out, "  %d  %s\n", row->status, row->meaning);
    }
}

/* --- roff --- */

static void roff_options(FILE *out, const struct ctl_option *options)
{
    for (const struct ctl_option *option = options; option->name; option++) {
        fputs(".TP\n\\fB\\-\\-", out);
        hf_roff_text(out, option->name);
        fputs("\\fR", out);
        if (option->value) {
            fputs(" \\fI", out);
            hf_roff_text(out, option->value);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        hf_roff_text(out, option->help);
        fputc('\n', out);
    }
}

static void roff_exits(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    for (const struct ctl_exit_text *row = ctl_exits; row->meaning; row++) {
        fprintf(out, ".TP\n.B %d\n", row->status);
        hf_roff_text(out, row->meaning);
        fputc('\n', out);
    }
}

static void roff_overview(FILE *out)
{
    hf_roff_title(out, "holdfast", 1, "look after a fleet's backups and bring them back");
    fputs(".SH SYNOPSIS\n.B holdfast\n.I COMMAND\n[\\fIARGUMENT\\fR...] [\\fIOPTION\\fR...]\n.SH "
          "COMMANDS\n",
          out);
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        fprintf(out, ".TP\n\\fB%s\\fR%s%s\n", command->name, command->arguments ? " " : "",
                command->arguments ? command->arguments : "");
        hf_roff_text(out, command->summary);
        fputc('\n', out);
    }
    fputs(".SH OPTIONS OF EVERY COMMAND\n", out);
    roff_options(out, ctl_global_options);
    fputs(".SH TIMES\nRFC 3339, or as people write them, in the local zone: 2026\\-11\\-22 10:31, "
          "10:31, yesterday 18:00, 10 minutes ago. Times are shown with their zone.\n"
          ".SH FILES\n.TP\n.I ~/.config/holdfast/config\n.TQ\n.I /etc/holdfast/cli.conf\n"
          "ini; section [collector] with url, ca_file and token_file. $HOLDFAST_CONFIG names "
          "another. Options go before the environment, and that before the file.\n",
          out);
    roff_exits(out);
}

static void roff_command(const struct ctl_command *command, FILE *out)
{
    char page[64] = "";
    snprintf(page, sizeof page, "holdfast-%s", command->name);
    for (char *blank = page; (blank = strchr(blank, ' '));) {
        *blank = '-'; /* as the page's file is called */
    }
    hf_roff_title(out, page, 1, command->summary);
    fprintf(out, ".SH SYNOPSIS\n\\fBholdfast %s\\fR ", command->name);
    hf_roff_text(out, command->arguments ? command->arguments : "");
    fprintf(out, "%s[\\fIOPTION\\fR...]\n", command->arguments ? " " : "");
    if (command->details) {
        fputs(".SH DESCRIPTION\n", out);
        hf_roff_text(out, command->details);
        fputc('\n', out);
    }
    if (command->options[0].name) {
        fputs(".SH OPTIONS\n", out);
        roff_options(out, command->options);
    }
    fputs(".SH OPTIONS OF EVERY COMMAND\n", out);
    roff_options(out, ctl_global_options);
    roff_exits(out);
    fputs(".SH SEE ALSO\n.BR holdfast (1)\n", out);
}

int help_man(const char *name, FILE *out)
{
    if (!*name) {
        roff_overview(out);
        return CTL_OK;
    }
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            roff_command(command, out);
            return CTL_OK;
        }
    }
    complain("There is no command '%s'; 'holdfast --help' lists them", name);
    return CTL_USAGE;
}

/* --- bash --- */

static void completion_words(FILE *out, const struct ctl_option *options)
{
    for (const struct ctl_option *option = options; option->name; option++) {
        fprintf(out, " --%s", option->name);
    }
}

/* After an option whose value is one of a few, those few. */
static void completion_choices(FILE *out, const struct ctl_option *options)
{
    for (const struct ctl_option *option = options; option->name; option++) {
        if (!option->value || !strchr(option->value, '|')) {
            continue;
        }
        fprintf(out, "        --%s) COMPREPLY=($(compgen -W '", option->name);
        for (const char *p = option->value; *p; p++) {
            fputc(*p == '|' ? ' ' : *p, out);
        }
        fputs("' -- \"$current\")); return ;;\n", out);
    }
}

void help_completion(FILE *out)
{
    fputs("# bash completion for holdfast; made by 'holdfast completion'\n"
          "_holdfast()\n{\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local first=${COMP_WORDS[1]} second=${COMP_WORDS[2]} words=\n"
          "    case $previous in\n"
          "        --ca-file|--token-file|--output) COMPREPLY=($(compgen -f -- \"$current\")); "
          "return ;;\n"
          "        --to) return ;; # a directory of the host, not of this machine\n",
          out);
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        completion_choices(out, command->options);
    }
    fputs("    esac\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='help ",
          out);
    const char *previous = "";
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        size_t length = strcspn(command->name, " ");
        if (strcspn(previous, " ") != length || strncmp(previous, command->name, length) != 0) {
            fprintf(out, "%s%.*s", *previous ? " " : "", (int)length, command->name);
        }
        previous = command->name;
    }
    fputs("'\n    else\n        case \"$first $second\" in\n", out);
    for (int two_words = 1; two_words >= 0; two_words--) {
        for (const struct ctl_command *command = ctl_commands; command->name; command++) {
            if ((strchr(command->name, ' ') != NULL) != (two_words == 1)) {
                continue;
            }
            fprintf(out, "            '%s'%s) words='", command->name, two_words ? "" : "\\ *");
            completion_words(out, command->options);
            completion_words(out, ctl_global_options);
            fputs("' ;;\n", out);
        }
    }
    fputs("        esac\n        if [ \"$COMP_CWORD\" -eq 2 ]; then\n            case $first in\n",
          out);
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        const char *space = strchr(command->name, ' ');
        if (space) {
            fprintf(out, "                %.*s) words=\"$words %s\" ;;&\n",
                    (int)(space - command->name), command->name, space + 1);
        }
    }
    fputs("                *) ;;\n            esac\n        fi\n    fi\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
          "complete -F _holdfast holdfast\n",
          out);
}
