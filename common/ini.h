/* ini files by libinih, read whole into memory with their line numbers, so that every
 * complaint can name file, line, section and key. Keys may repeat; continuation lines
 * (indented) add values to the key above. A line that begins with `#` or `;` is a comment, and so
 * is what follows ` ;` within a line; `#` within a line is part of the value. What libinih would
 * cut or drop without a word is refused: lines over 198 bytes, section names and keys over 49, text
 * after a section's `]`, NUL bytes. Files are at most 1 MiB. */
#ifndef HF_COMMON_INI_H
#define HF_COMMON_INI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct hf_ini;

struct hf_ini_entry {
    const char *section; /* "source checkpoints" */
    const char *key;
    const char *value;
    int line;
    bool used; /* set by the getters; hf_ini_check_all_used names what is left */
};

int hf_ini_load(const char *path, struct hf_ini **out, struct hf_error *error);
int hf_ini_parse(const char *name_for_errors, const char *text, struct hf_ini **out,
                 struct hf_error *error);
void hf_ini_free(struct hf_ini *ini);

/* Sections in file order, without repetition: index from 0, NULL past the end. */
const char *hf_ini_section(const struct hf_ini *ini, size_t index);
bool hf_ini_has_section(const struct hf_ini *ini, const char *section);
/* The line of the n-th [section] of that name, from 0: a section may be written several times, and
 * then has the keys of all. 0 past the last. Entries that stand beneath the n-th have a line
 * between it and that of the next. */
int hf_ini_section_line(const struct hf_ini *ini, const char *section, size_t n);
/* n-th value of a key, NULL past the end; marks it used. */
const struct hf_ini_entry *hf_ini_get(struct hf_ini *ini, const char *section, const char *key,
                                      size_t n);
/* The last value of a key, which wins where a key takes one, NULL for none; all count as used. */
const struct hf_ini_entry *hf_ini_last(struct hf_ini *ini, const char *section, const char *key);
/* Typed, with defaults; a bad value names file:line, section, key, value and what is expected. */
int hf_ini_get_string(struct hf_ini *ini, const char *section, const char *key,
                      const char *fallback, const char **out, struct hf_error *error);
int hf_ini_get_bool(struct hf_ini *ini, const char *section, const char *key, bool fallback,
                    bool *out, struct hf_error *error);
/* The same of one entry, for a caller that takes several. */
int hf_ini_read_bool(const struct hf_ini *ini, const struct hf_ini_entry *entry, bool *out,
                     struct hf_error *error);
int hf_ini_get_u64(struct hf_ini *ini, const char *section, const char *key, uint64_t fallback,
                   uint64_t min, uint64_t max, uint64_t *out, struct hf_error *error);
int hf_ini_get_duration(struct hf_ini *ini, const char *section, const char *key,
                        int64_t fallback_ns, int64_t *out_ns, struct hf_error *error);
int hf_ini_get_size(struct hf_ini *ini, const char *section, const char *key, uint64_t fallback,
                    uint64_t *out_bytes, struct hf_error *error);
/* A key that a program knows: tables of them, ending with a NULL key, say which ones are refused
 * and make the manual page. */
struct hf_ini_key {
    const char *section, *key;
    const char *value;    /* what to call it: "DIR" */
    const char *fallback; /* when it isn't given; NULL for nothing, or when it has to be */
    const char *help;     /* no full stop at its end */
};

/* HF_ERR_INVALID for the first entry nobody asked for, with the nearest known key if
 * the caller's list (NULL-terminated) has one close by. */
int hf_ini_check_all_used(const struct hf_ini *ini, const char *const *known_keys,
                          struct hf_error *error);
/* The same with a table's keys as the list; also refuses a key that was asked for and is not in the
 * table, so that none stays undocumented. */
int hf_ini_check_keys(const struct hf_ini *ini, const struct hf_ini_key *keys,
                      struct hf_error *error);
/* Error text "FILE:LINE: [section] key: " + message, for checks of the caller's own. */
int hf_ini_complain(const struct hf_ini *ini, const struct hf_ini_entry *entry,
                    struct hf_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same of the n-th [section] itself, for what is not there: "FILE:LINE: [section]: ". */
int hf_ini_complain_of_section(const struct hf_ini *ini, const char *section, size_t n,
                               struct hf_error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
