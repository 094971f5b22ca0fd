#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "collector/ctl/ctl.h"
#include "common/clock.h"

void show_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    putchar('\n');
}

const char *show_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int64_t show_integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* HF_ERR_NOT_FOUND when the key is absent. */
static int moment_of(const json_t *object, const char *key, int64_t *out_ns)
{
    const char *text = show_string(object, key);
    if (!*text) {
        return HF_ERR_NOT_FOUND;
    }
    return hf_moment_parse(text, hf_clock_now_ns(), out_ns, NULL);
}

void show_time_text(const json_t *object, const char *key, char out[64])
{
    int64_t ns = 0;
    out[0] = '\0';
    if (moment_of(object, key, &ns) == HF_OK) {
        hf_time_local(ns, out);
    }
}

void show_time_cell(struct ctl_table *table, const json_t *object, const char *key)
{
    char text[HF_TIME_TEXT_BYTES];
    show_time_text(object, key, text);
    table_cell(table, *text ? text : "-");
}

void show_size_cell(struct ctl_table *table, const json_t *object, const char *key)
{
    char text[HF_TIME_TEXT_BYTES];
    hf_size_text((uint64_t)show_integer(object, key), text);
    table_cell(table, text);
}

void show_age_cell(struct ctl_table *table, const json_t *object, const char *key)
{
    int64_t ns = 0;
    if (moment_of(object, key, &ns) != HF_OK) {
        table_cell(table, "never");
        return;
    }
    int64_t age = hf_clock_now_ns() - ns;
    char text[HF_TIME_TEXT_BYTES];
    hf_duration_text(age > 0 ? age : 0, text);
    table_cell_format(table, "%s ago", text);
}

int show_moment_option(const struct ctl_args *args, const char *name, char out[64])
{
    const char *text = args_value(args, name);
    struct hf_error error = {0};
    int64_t ns = 0;
    out[0] = '\0';
    if (!text) {
        return CTL_OK;
    }
    if (hf_moment_parse(text, hf_clock_now_ns(), &ns, &error) != HF_OK) {
        complain("--%s: %s", name, error.message);
        return CTL_USAGE;
    }
    hf_time_rfc3339(ns, out);
    return CTL_OK;
}

__attribute__((format(printf, 3, 0))) static void print_line(FILE *out, const char *before,
                                                             const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0) {
        fputs("holdfast: out of memory\n", stderr);
        exit(CTL_FAILED);
    }
    char *harmless = show_harmless(text);
    fprintf(out, "%s%s\n", before, harmless);
    free(harmless);
    free(text);
}

void show_line(FILE *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(out, "", format, arguments);
    va_end(arguments);
}

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(stderr, "holdfast: ", format, arguments);
    va_end(arguments);
}
