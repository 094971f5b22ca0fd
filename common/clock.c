#include "common/clock.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * HF_NS_PER_SECOND + now.tv_nsec;
}

int64_t hf_clock_now_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t hf_clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* Split so that the fraction is never negative. */
static void split(int64_t ns, time_t *seconds, int64_t *fraction)
{
    *fraction = ns % HF_NS_PER_SECOND;
    *seconds = (time_t)(ns / HF_NS_PER_SECOND);
    if (*fraction < 0) {
        *fraction += HF_NS_PER_SECOND;
        *seconds -= 1;
    }
}

void hf_time_rfc3339(int64_t ns, char out[HF_TIME_TEXT_BYTES])
{
    time_t seconds;
    int64_t fraction;
    struct tm utc;
    split(ns, &seconds, &fraction);
    gmtime_r(&seconds, &utc);
    size_t used = strftime(out, HF_TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    if (fraction != 0) {
        used +=
            (size_t)snprintf(out + used, HF_TIME_TEXT_BYTES - used, ".%09lld", (long long)fraction);
    }
    snprintf(out + used, HF_TIME_TEXT_BYTES - used, "Z");
}

void hf_time_local(int64_t ns, char out[HF_TIME_TEXT_BYTES])
{
    time_t seconds;
    int64_t fraction;
    struct tm local;
    char zone[16];
    split(ns, &seconds, &fraction);
    localtime_r(&seconds, &local);
    size_t used = strftime(out, HF_TIME_TEXT_BYTES, "%Y-%m-%d %H:%M:%S", &local);
    if (strftime(zone, sizeof zone, "%Z", &local) == 0) {
        snprintf(zone, sizeof zone, "local"); /* a name that is missing or too long to show */
    }
    snprintf(out + used, HF_TIME_TEXT_BYTES - used, ".%03lld %s",
             (long long)(fraction / HF_NS_PER_MS), zone);
}

/* --- durations --- */

struct unit {
    const char *name;
    int64_t ns;
};

static const struct unit duration_units[] = {
    {"ms", HF_NS_PER_MS},
    {"milliseconds", HF_NS_PER_MS},
    {"s", HF_NS_PER_SECOND},
    {"sec", HF_NS_PER_SECOND},
    {"second", HF_NS_PER_SECOND},
    {"seconds", HF_NS_PER_SECOND},
    {"m", 60 * HF_NS_PER_SECOND},
    {"min", 60 * HF_NS_PER_SECOND},
    {"minute", 60 * HF_NS_PER_SECOND},
    {"minutes", 60 * HF_NS_PER_SECOND},
    {"h", 3600 * HF_NS_PER_SECOND},
    {"hour", 3600 * HF_NS_PER_SECOND},
    {"hours", 3600 * HF_NS_PER_SECOND},
    {"d", 86400 * HF_NS_PER_SECOND},
    {"day", 86400 * HF_NS_PER_SECOND},
    {"days", 86400 * HF_NS_PER_SECOND},
    {"w", 604800 * HF_NS_PER_SECOND},
    {"week", 604800 * HF_NS_PER_SECOND},
    {"weeks", 604800 * HF_NS_PER_SECOND},
};

static const struct unit *find_duration_unit(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
        if (strlen(duration_units[i].name) == length &&
            memcmp(duration_units[i].name, text, length) == 0) {
            return &duration_units[i];
        }
    }
    return NULL;
}

/* Digits at *text; moves it past them. */
static int parse_number(const char **text, uint64_t *out)
{
    uint64_t value = 0;
    const char *p = *text;
    if (!isdigit((unsigned char)*p)) {
        return HF_ERR_INVALID;
    }
    for (; isdigit((unsigned char)*p); p++) {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) {
            return HF_ERR_LIMIT;
        }
    }
    *text = p;
    *out = value;
    return HF_OK;
}

static int duration_fails(const char *text, struct hf_error *error)
{
    return hf_error_set(error, HF_ERR_INVALID, 0,
                        "'%s' is not a duration; write for example 250ms, 90s, 10m, 2h or 7d",
                        text);
}

int hf_duration_parse(const char *text, int64_t *out_ns, struct hf_error *error)
{
    const char *p = text;
    int64_t total = 0;
    bool first = true;
    do {
        uint64_t number;
        int64_t part;
        p += strspn(p, " ");
        if (parse_number(&p, &number) != HF_OK || number > INT64_MAX) {
            return duration_fails(text, error);
        }
        p += strspn(p, " ");
        size_t length = 0;
        while (isalpha((unsigned char)p[length])) {
            length++;
        }
        const struct unit *unit = find_duration_unit(p, length);
        int64_t unit_ns = length == 0 && first && !*p ? HF_NS_PER_SECOND : unit ? unit->ns : 0;
        if (unit_ns == 0 || __builtin_mul_overflow((int64_t)number, unit_ns, &part) ||
            __builtin_add_overflow(total, part, &total)) {
            return duration_fails(text, error);
        }
        p += length;
        first = false;
    } while (p[strspn(p, " ")]);
    *out_ns = total;
    return HF_OK;
}

void hf_duration_text(int64_t ns, char out[HF_TIME_TEXT_BYTES])
{
    static const struct unit units[] = {{"d", 86400 * HF_NS_PER_SECOND},
                                        {"h", 3600 * HF_NS_PER_SECOND},
                                        {"min", 60 * HF_NS_PER_SECOND},
                                        {"s", HF_NS_PER_SECOND}};
    if (ns < 0) {
        ns = 0;
    }
    if (ns < HF_NS_PER_SECOND) {
        snprintf(out, HF_TIME_TEXT_BYTES, "%lld ms", (long long)(ns / HF_NS_PER_MS));
        return;
    }
    if (ns < 10 * HF_NS_PER_SECOND) {
        snprintf(out, HF_TIME_TEXT_BYTES, "%.1f s", (double)ns / 1e9);
        return;
    }
    size_t i = 0;
    while (ns < units[i].ns) {
        i++;
    }
    int64_t whole = ns / units[i].ns;
    int64_t rest = i + 1 < sizeof units / sizeof units[0] ? ns % units[i].ns / units[i + 1].ns : 0;
    if (rest > 0) {
        snprintf(out, HF_TIME_TEXT_BYTES, "%lld %s %lld %s", (long long)whole, units[i].name,
                 (long long)rest, units[i + 1].name);
    } else {
        snprintf(out, HF_TIME_TEXT_BYTES, "%lld %s", (long long)whole, units[i].name);
    }
}

/* --- sizes --- */

int hf_size_parse(const char *text, uint64_t *out_bytes, struct hf_error *error)
{
    static const char letters[] = "kmgt";
    const char *p = text + strspn(text, " ");
    uint64_t value;
    int rc = parse_number(&p, &value);
    p += strspn(p, " ");
    unsigned shift = 0;
    const char *letter = *p ? strchr(letters, tolower((unsigned char)*p)) : NULL;
    if (letter) {
        shift = 10 * (unsigned)(letter - letters + 1);
        p++;
        p += *p == 'i';
    }
    p += *p == 'B' || *p == 'b';
    if (rc != HF_OK || *p || (shift > 0 && value > (UINT64_MAX >> shift))) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "'%s' is not a size; write for example 512k, 64MiB or 10GiB", text);
    }
    *out_bytes = value << shift;
    return HF_OK;
}

void hf_size_text(uint64_t bytes, char out[HF_TIME_TEXT_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(out, HF_TIME_TEXT_BYTES, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
}
