/* Tables for people: columns as wide as their content, control characters made harmless. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ctl/ctl.h"
#include "common/buf.h"

#define COLUMN_MAX 12

struct ctl_table {
    const char *headings[COLUMN_MAX];
    bool right[COLUMN_MAX];
    size_t columns;
    char **cells; /* headings are not among them */
    size_t count, capacity;
};

static void out_of_memory(void)
{
    fputs("holdfast: out of memory\n", stderr);
    exit(CTL_FAILED);
}

struct ctl_table *table_new(const char *const *headings)
{
    struct ctl_table *table = calloc(1, sizeof *table);
    if (!table) {
        out_of_memory();
    }
    for (; headings[table->columns] && table->columns < COLUMN_MAX; table->columns++) {
        const char *heading = headings[table->columns];
        table->right[table->columns] = heading[0] == '>';
        table->headings[table->columns] = heading + (heading[0] == '>');
    }
    return table;
}

/* Marks that turn the direction of what follows (U+200E, U+200F, U+202A to U+202E, U+2066 to
 * U+2069): they would show "gpj.exe" as "exe.jpg". */
static bool turns_direction(const unsigned char *p)
{
    return p[0] == 0xe2 &&
           ((p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xaa && p[2] <= 0xae))) ||
            (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

char *show_harmless(const char *text)
{
    struct hf_buf buf = {0};
    int rc = hf_buf_reserve(&buf, strlen(text) + 1);
    for (const unsigned char *p = (const unsigned char *)text; *p && rc == HF_OK; p++) {
        bool c1_control = *p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
        if (*p < 0x20 || *p == 0x7f) {
            rc = hf_buf_append_format(&buf, "\\x%02x", *p);
        } else if (c1_control) {
            rc = hf_buf_append_format(&buf, "\\x%02x", p[1]);
            p++;
        } else if (turns_direction(p)) {
            rc = hf_buf_append_format(&buf, "\\u20%02x", ((p[1] & 1u) << 6) | (p[2] & 0x3fu));
            p += 2;
        } else {
            rc = hf_buf_append_byte(&buf, *p);
        }
    }
    if (rc != HF_OK || hf_buf_terminate(&buf) != HF_OK) {
        out_of_memory();
    }
    return (char *)buf.data;
}

void table_cell(struct ctl_table *table, const char *text)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        char **grown = reallocarray(table->cells, table->capacity, sizeof *grown);
        if (!grown) {
            out_of_memory();
        }
        table->cells = grown;
    }
    table->cells[table->count++] = show_harmless(text);
}

void table_cell_format(struct ctl_table *table, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) {
        out_of_memory();
    }
    va_end(arguments);
    table_cell(table, text);
    free(text);
}

size_t table_rows(const struct ctl_table *table)
{
    return table->count / table->columns;
}

/* Columns on a terminal: code points, which is right but for wide scripts. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static void print_row(const struct ctl_table *table, const char *const *cells, const size_t *widths,
                      FILE *out)
{
    for (size_t i = 0; i < table->columns; i++) {
        int padding = (int)(widths[i] - text_width(cells[i]));
        bool last = i + 1 == table->columns;
        fprintf(out, "%*s%s%*s%s", table->right[i] ? padding : 0, "", cells[i],
                table->right[i] || last ? 0 : padding, "", last ? "\n" : "  ");
    }
}

static bool has_headings(const struct ctl_table *table)
{
    for (size_t i = 0; i < table->columns; i++) {
        if (*table->headings[i]) {
            return true;
        }
    }
    return false;
}

void table_print_free(struct ctl_table *table, FILE *out)
{
    size_t widths[COLUMN_MAX] = {0};
    for (size_t i = 0; i < table->columns; i++) {
        widths[i] = text_width(table->headings[i]);
    }
    for (size_t i = 0; table->columns > 0 && i < table->count; i++) {
        size_t width = text_width(table->cells[i]);
        size_t column = i % table->columns;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    if (table->count > 0 && has_headings(table)) {
        print_row(table, table->headings, widths, out);
    }
    for (size_t row = 0; row + table->columns <= table->count; row += table->columns) {
        print_row(table, (const char *const *)table->cells + row, widths, out);
    }
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    free(table);
}
