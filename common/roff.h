/* Manual pages in roff (man macros), from the tables that also make --help and parse
 * configurations. Everything is written to out; nothing fails but the stream. */
#ifndef HF_COMMON_ROFF_H
#define HF_COMMON_ROFF_H

#include <stdio.h>

struct hf_ini_key;

/* A command of a daemon; tables of them end with a NULL name. */
struct hf_roff_command {
    const char *name, *arguments, *summary;
};

/* Plain text: what roff would take for its own is escaped. */
void hf_roff_text(FILE *out, const char *text);
/* .TH and NAME; page is "holdfast-agent". */
void hf_roff_title(FILE *out, const char *page, int section, const char *summary);
/* A section of one paragraph a line of text. */
void hf_roff_section(FILE *out, const char *heading, const char *text);
void hf_roff_commands(FILE *out, const char *program, const struct hf_roff_command *commands);
/* One subsection for each section of the file, its keys in the table's order. */
void hf_roff_keys(FILE *out, const struct hf_ini_key *keys);

#endif
