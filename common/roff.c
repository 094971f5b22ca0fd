#include "common/roff.h"

#include <stdlib.h>
#include <string.h>

#include "common/ini.h"

void hf_roff_text(FILE *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\\') {
            fputs("\\e", out);
        } else if (*p == '-') {
            fputs("\\-", out);
        } else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n')) {
            fprintf(out, "\\&%c", *p);
        } else {
            fputc(*p, out);
        }
    }
}

void hf_roff_title(FILE *out, const char *page, int section, const char *summary)
{
    fputs(".TH \"", out);
    for (const char *p = page; *p; p++) {
        fputc(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p, out);
    }
    fprintf(out,
            "\" %d \"" HF_VERSION_DATE "\" \"Holdfast " HF_VERSION "\" \"Holdfast\"\n.SH NAME\n",
            section);
    hf_roff_text(out, page);
    fputs(" \\- ", out);
    hf_roff_text(out, summary);
    fputc('\n', out);
}

void hf_roff_section(FILE *out, const char *heading, const char *text)
{
    fprintf(out, ".SH %s\n", heading);
    while (*text) {
        size_t length = strcspn(text, "\n");
        char *paragraph = strndup(text, length);
        hf_roff_text(out, paragraph ? paragraph : "");
        free(paragraph);
        text += length;
        fputs(*text ? "\n.PP\n" : "\n", out);
        text += *text == '\n';
    }
}

void hf_roff_commands(FILE *out, const char *program, const struct hf_roff_command *commands)
{
    fputs(".SH SYNOPSIS\n.B ", out);
    hf_roff_text(out, program);
    fputs("\n.I COMMAND\n[\\fIOPTION\\fR...]\n.SH COMMANDS\n", out);
    for (; commands->name; commands++) {
        fprintf(out, ".TP\n\\fB%s\\fR%s", commands->name, *commands->arguments ? " " : "");
        hf_roff_text(out, commands->arguments);
        fputc('\n', out);
        hf_roff_text(out, commands->summary);
        fputc('\n', out);
    }
}

void hf_roff_keys(FILE *out, const struct hf_ini_key *keys)
{
    const char *section = "";
    for (; keys->key; keys++) {
        if (strcmp(section, keys->section) != 0) {
            section = keys->section;
            fputs(".SS [", out);
            hf_roff_text(out, section);
            fputs("]\n", out);
        }
        fprintf(out, ".TP\n\\fB%s\\fR = \\fI", keys->key);
        hf_roff_text(out, keys->value);
        fputs("\\fR\n", out);
        hf_roff_text(out, keys->help);
        if (keys->fallback) {
            fputs("; ", out);
            hf_roff_text(out, keys->fallback);
            fputs(" unless given", out);
        }
        fputc('\n', out);
    }
}
