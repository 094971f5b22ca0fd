#include "common/ini.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <ini.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/fs.h"

#define KEYS_MAX       64u
#define FILE_BYTES_MAX ((size_t)1024 * 1024)
/* libinih as distributed keeps lines of up to 199 bytes and names of up to 49, and cuts longer ones
 * without a word; so they are refused here before it sees them. */
#define LINE_BYTES_MAX 198u
#define NAME_BYTES_MAX 49u

struct section {
    char *name;
    int *lines; /* of its headings, rising; none for keys before the first heading */
    size_t line_count;
};

struct hf_ini {
    char *name;
    struct hf_ini_entry *entries;
    size_t count, capacity;
    struct section *sections; /* each name once, in file order */
    size_t section_count;
};

struct parse {
    struct hf_ini *ini;
    const char *rest; /* text not read yet */
    int line;
    bool below_key; /* an indented line is another value of the key above */
    int rc;
    struct hf_error *error;
};

static struct section *find_section(const struct hf_ini *ini, const char *name)
{
    for (size_t i = 0; i < ini->section_count; i++) {
        if (strcmp(ini->sections[i].name, name) == 0) {
            return &ini->sections[i];
        }
    }
    return NULL;
}

/* The section of that name, made when it isn't there; NULL when out of memory. */
static struct section *add_section(struct hf_ini *ini, const char *name)
{
    struct section *section = find_section(ini, name);
    if (section) {
        return section;
    }
    struct section *grown = reallocarray(ini->sections, ini->section_count + 1, sizeof *grown);
    if (!grown) {
        return NULL;
    }
    ini->sections = grown;
    section = &grown[ini->section_count];
    *section = (struct section){.name = strdup(name)};
    if (!section->name) {
        return NULL;
    }
    ini->section_count++;
    return section;
}

static int add_heading(struct hf_ini *ini, const char *name, int line)
{
    struct section *section = add_section(ini, name);
    int *grown =
        section ? reallocarray(section->lines, section->line_count + 1, sizeof *grown) : NULL;
    if (!grown) {
        return HF_ERR_NO_MEMORY;
    }
    section->lines = grown;
    section->lines[section->line_count++] = line;
    return HF_OK;
}

/* libinih's handler: 1 to go on, 0 to stop. */
static int add_entry(void *context, const char *section, const char *key, const char *value)
{
    struct parse *parse = context;
    struct hf_ini *ini = parse->ini;
    if (ini->count == ini->capacity) {
        size_t capacity = ini->capacity ? ini->capacity * 2 : 32;
        struct hf_ini_entry *grown = reallocarray(ini->entries, capacity, sizeof *grown);
        if (!grown) {
            parse->rc = HF_ERR_NO_MEMORY;
            return 0;
        }
        ini->entries = grown;
        ini->capacity = capacity;
    }
    struct hf_ini_entry *entry = &ini->entries[ini->count];
    *entry = (struct hf_ini_entry){.section = strdup(section),
                                   .key = strdup(key),
                                   .value = strdup(value ? value : ""),
                                   .line = parse->line};
    ini->count++;
    if (!entry->section || !entry->key || !entry->value || !add_section(ini, section)) {
        parse->rc = HF_ERR_NO_MEMORY;
        return 0;
    }
    return 1;
}

/* A section's line beyond its leading blanks. libinih would cut a long name and drop what follows
 * the ']'. */
static int check_section(struct parse *parse, const char *text, size_t length)
{
    const char *end = memchr(text, ']', length);
    size_t name_length = end ? (size_t)(end - text) - 1 : 0;
    if (!end || name_length == 0 || name_length > NAME_BYTES_MAX) {
        return hf_error_set(parse->error, HF_ERR_INVALID, 0,
                            "%s:%d: a section is written [name], with a name of 1 to %u bytes",
                            parse->ini->name, parse->line, NAME_BYTES_MAX);
    }
    const char *rest = end + 1;
    while (rest < text + length && isspace((unsigned char)*rest)) {
        rest++;
    }
    if (rest < text + length && *rest != ';' && *rest != '#') {
        return hf_error_set(parse->error, HF_ERR_INVALID, 0,
                            "%s:%d: there is text after [%.*s]; put it on a line of its own",
                            parse->ini->name, parse->line, (int)name_length, text + 1);
    }
    char section[NAME_BYTES_MAX + 1];
    memcpy(section, text + 1, name_length);
    section[name_length] = '\0';
    return add_heading(parse->ini, section, parse->line);
}

/* The first '=' or ':', which end a key; NULL for none. */
static const char *find_separator(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '=' || text[i] == ':') {
            return text + i;
        }
    }
    return NULL;
}

/* What libinih would cut or misread is refused here. */
static int check_line(struct parse *parse, const char *line, size_t length)
{
    const char *name = parse->ini->name;
    if (length > LINE_BYTES_MAX) {
        return hf_error_set(parse->error, HF_ERR_LIMIT, 0,
                            "%s:%d: the line is longer than %u bytes; break a list over several "
                            "lines, each value indented on its own",
                            name, parse->line, LINE_BYTES_MAX);
    }
    if (memchr(line, '\0', length)) {
        return hf_error_set(parse->error, HF_ERR_INVALID, 0, "%s:%d: the line has a NUL byte", name,
                            parse->line);
    }
    const char *text = line;
    size_t text_length = length;
    while (text_length > 0 && isspace((unsigned char)*text)) {
        text++;
        text_length--;
    }
    /* Indented below a key it is one of that key's values, as in "[a-z]*.json". */
    if (text_length > 0 && *text == '[' && (text == line || !parse->below_key)) {
        parse->below_key = false;
        return check_section(parse, text, text_length);
    }
    const char *end = text_length > 0 ? find_separator(text, text_length) : NULL;
    if (text_length == 0 || *text == ';' || *text == '#' || (text != line && parse->below_key)) {
        return HF_OK;
    }
    parse->below_key = true;
    if (end && (size_t)(end - text) > NAME_BYTES_MAX) {
        return hf_error_set(parse->error, HF_ERR_INVALID, 0, "%s:%d: a key is longer than %u bytes",
                            name, parse->line, NAME_BYTES_MAX);
    }
    return HF_OK;
}

/* libinih's reader, like fgets: one line a call. It is what knows the line's number. */
static char *read_line(char *out, int size, void *context)
{
    struct parse *parse = context;
    if (!*parse->rest || parse->rc != HF_OK) {
        return NULL;
    }
    size_t length = strcspn(parse->rest, "\n");
    parse->line++;
    parse->rc = check_line(parse, parse->rest, length);
    if (parse->rc == HF_OK && length + 2 > (size_t)size) { /* a libinih built with shorter lines */
        parse->rc = hf_error_set(parse->error, HF_ERR_LIMIT, 0,
                                 "%s:%d: this system's libinih reads lines of at most %d bytes",
                                 parse->ini->name, parse->line, size - 2);
    }
    if (parse->rc != HF_OK) {
        return NULL;
    }
    memcpy(out, parse->rest, length);
    out[length] = '\n';
    out[length + 1] = '\0';
    parse->rest += length;
    parse->rest += *parse->rest == '\n';
    return out;
}

int hf_ini_parse(const char *name_for_errors, const char *text, struct hf_ini **out,
                 struct hf_error *error)
{
    struct hf_ini *ini = calloc(1, sizeof *ini);
    /* libinih skips a byte order mark too, but the checks before it must see the same line. */
    const char *rest = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
    struct parse parse = {.ini = ini, .rest = rest, .error = error};
    if (!ini || !(ini->name = strdup(name_for_errors))) {
        hf_ini_free(ini);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to read %s", name_for_errors);
    }
    int line = ini_parse_stream(read_line, &parse, add_entry, &parse);
    int rc = parse.rc;
    if (rc == HF_ERR_NO_MEMORY) {
        hf_error_set(error, rc, 0, "No memory to read %s", name_for_errors);
    } else if (rc == HF_OK && line != 0) {
        rc = hf_error_set(error, HF_ERR_INVALID, 0,
                          "%s:%d: expected [section], key = value, or a comment starting with #",
                          name_for_errors, line);
    }
    if (rc != HF_OK) {
        hf_ini_free(ini);
        return rc;
    }
    *out = ini;
    return HF_OK;
}

int hf_ini_load(const char *path, struct hf_ini **out, struct hf_error *error)
{
    struct hf_buf text = {0};
    int rc = hf_read_file(path, FILE_BYTES_MAX, &text, error);
    if (rc == HF_OK && text.size > 0 && memchr(text.data, '\0', text.size)) {
        rc = hf_error_set(error, HF_ERR_INVALID, 0, "%s has a NUL byte; is it a text file?", path);
    }
    if (rc == HF_OK && (rc = hf_buf_terminate(&text)) == HF_OK) {
        rc = hf_ini_parse(path, (const char *)text.data, out, error);
    }
    hf_buf_wipe_free(&text);
    return rc;
}

void hf_ini_free(struct hf_ini *ini)
{
    if (!ini) {
        return;
    }
    for (size_t i = 0; i < ini->count; i++) {
        free((char *)ini->entries[i].section);
        free((char *)ini->entries[i].key);
        free((char *)ini->entries[i].value);
    }
    for (size_t i = 0; i < ini->section_count; i++) {
        free(ini->sections[i].name);
        free(ini->sections[i].lines);
    }
    free(ini->entries);
    free(ini->sections);
    free(ini->name);
    free(ini);
}

const char *hf_ini_section(const struct hf_ini *ini, size_t index)
{
    return index < ini->section_count ? ini->sections[index].name : NULL;
}

bool hf_ini_has_section(const struct hf_ini *ini, const char *section)
{
    return find_section(ini, section) != NULL;
}

int hf_ini_section_line(const struct hf_ini *ini, const char *section, size_t n)
{
    const struct section *found = find_section(ini, section);
    return found && n < found->line_count ? found->lines[n] : 0;
}

const struct hf_ini_entry *hf_ini_get(struct hf_ini *ini, const char *section, const char *key,
                                      size_t n)
{
    for (size_t i = 0; i < ini->count; i++) {
        struct hf_ini_entry *entry = &ini->entries[i];
        if (strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0 && n-- == 0) {
            entry->used = true;
            return entry;
        }
    }
    return NULL;
}

int hf_ini_complain(const struct hf_ini *ini, const struct hf_ini_entry *entry,
                    struct hf_error *error, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!*entry->section) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "%s:%d: %s: %s", ini->name, entry->line,
                            entry->key, text);
    }
    return hf_error_set(error, HF_ERR_INVALID, 0, "%s:%d: [%s] %s: %s", ini->name, entry->line,
                        entry->section, entry->key, text);
}

int hf_ini_complain_of_section(const struct hf_ini *ini, const char *section, size_t n,
                               struct hf_error *error, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return hf_error_set(error, HF_ERR_INVALID, 0, "%s:%d: [%s]: %s", ini->name,
                        hf_ini_section_line(ini, section, n), section, text);
}

const struct hf_ini_entry *hf_ini_last(struct hf_ini *ini, const char *section, const char *key)
{
    const struct hf_ini_entry *found = NULL;
    const struct hf_ini_entry *entry;
    for (size_t n = 0; (entry = hf_ini_get(ini, section, key, n)); n++) {
        found = entry;
    }
    return found;
}

int hf_ini_get_string(struct hf_ini *ini, const char *section, const char *key,
                      const char *fallback, const char **out, struct hf_error *error)
{
    const struct hf_ini_entry *entry = hf_ini_last(ini, section, key);
    *out = entry ? entry->value : fallback;
    if (entry && !*entry->value) {
        return hf_ini_complain(ini, entry, error, "the value is missing");
    }
    return HF_OK;
}

int hf_ini_read_bool(const struct hf_ini *ini, const struct hf_ini_entry *entry, bool *out,
                     struct hf_error *error)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(entry->value, yes[i]) == 0 || strcasecmp(entry->value, no[i]) == 0) {
            *out = strcasecmp(entry->value, yes[i]) == 0;
            return HF_OK;
        }
    }
    return hf_ini_complain(ini, entry, error, "'%s' is neither yes nor no", entry->value);
}

int hf_ini_get_bool(struct hf_ini *ini, const char *section, const char *key, bool fallback,
                    bool *out, struct hf_error *error)
{
    const struct hf_ini_entry *entry = hf_ini_last(ini, section, key);
    *out = fallback;
    return entry ? hf_ini_read_bool(ini, entry, out, error) : HF_OK;
}

int hf_ini_get_u64(struct hf_ini *ini, const char *section, const char *key, uint64_t fallback,
                   uint64_t min, uint64_t max, uint64_t *out, struct hf_error *error)
{
    const struct hf_ini_entry *entry = hf_ini_last(ini, section, key);
    *out = fallback;
    if (!entry) {
        return HF_OK;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(entry->value, &end, 10);
    if (errno != 0 || !isdigit((unsigned char)entry->value[0]) || *end || value < min ||
        value > max) {
        return hf_ini_complain(ini, entry, error, "'%s' is not a whole number from %llu to %llu",
                               entry->value, (unsigned long long)min, (unsigned long long)max);
    }
    *out = value;
    return HF_OK;
}

int hf_ini_get_duration(struct hf_ini *ini, const char *section, const char *key,
                        int64_t fallback_ns, int64_t *out_ns, struct hf_error *error)
{
    const struct hf_ini_entry *entry = hf_ini_last(ini, section, key);
    struct hf_error reason = {0};
    *out_ns = fallback_ns;
    if (entry && hf_duration_parse(entry->value, out_ns, &reason) != HF_OK) {
        return hf_ini_complain(ini, entry, error, "%s", reason.message);
    }
    return HF_OK;
}

int hf_ini_get_size(struct hf_ini *ini, const char *section, const char *key, uint64_t fallback,
                    uint64_t *out_bytes, struct hf_error *error)
{
    const struct hf_ini_entry *entry = hf_ini_last(ini, section, key);
    struct hf_error reason = {0};
    *out_bytes = fallback;
    if (entry && hf_size_parse(entry->value, out_bytes, &reason) != HF_OK) {
        return hf_ini_complain(ini, entry, error, "%s", reason.message);
    }
    return HF_OK;
}

/* Levenshtein's distance, for names of at most NAME_BYTES_MAX bytes. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES_MAX + 2];
    size_t b_length = strnlen(b, NAME_BYTES_MAX);
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] && i < NAME_BYTES_MAX; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_length; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            size_t shorter = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = change < shorter ? change : shorter;
        }
    }
    return row[b_length];
}

static const char *nearest(const char *key, const char *const *known)
{
    const char *best = NULL;
    size_t best_distance = strlen(key) / 3 + 2; /* further away isn't a slip of the finger */
    for (; known && *known; known++) {
        size_t distance = edit_distance(key, *known);
        if (distance < best_distance) {
            best_distance = distance;
            best = *known;
        }
    }
    return best;
}

int hf_ini_check_all_used(const struct hf_ini *ini, const char *const *known_keys,
                          struct hf_error *error)
{
    for (size_t i = 0; i < ini->count; i++) {
        const struct hf_ini_entry *entry = &ini->entries[i];
        if (entry->used) {
            continue;
        }
        if (!*entry->section) {
            return hf_ini_complain(ini, entry, error,
                                   "this key stands before the first [section] and so belongs to "
                                   "none; put it below the one that it is meant for");
        }
        const char *guess = nearest(entry->key, known_keys);
        if (guess && strcmp(guess, entry->key) != 0) {
            return hf_ini_complain(ini, entry, error,
                                   "this key is not known here; did you mean '%s'?", guess);
        }
        return hf_ini_complain(ini, entry, error, "this key is not known in this section");
    }
    return HF_OK;
}

int hf_ini_check_keys(const struct hf_ini *ini, const struct hf_ini_key *keys,
                      struct hf_error *error)
{
    const char *names[KEYS_MAX + 1] = {NULL};
    for (size_t i = 0; keys[i].key && i < KEYS_MAX; i++) {
        names[i] = keys[i].key;
    }
    for (size_t i = 0; i < ini->count; i++) {
        size_t n = 0;
        while (names[n] && strcmp(names[n], ini->entries[i].key) != 0) {
            n++;
        }
        if (!names[n] && ini->entries[i].used) {
            return hf_ini_complain(ini, &ini->entries[i], error, "this key is not documented");
        }
    }
    return hf_ini_check_all_used(ini, names, error);
}
