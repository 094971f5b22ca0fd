/* Moments as people write them. A small recursive-descent reader over one line of text. */
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"

struct civil {
    int year, month, day, hour, minute, second;
    int64_t fraction_ns;
};

static bool digits(const char **p, size_t count, int *out)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isdigit((unsigned char)(*p)[i])) {
            return false;
        }
        value = value * 10 + ((*p)[i] - '0');
    }
    *p += count;
    *out = value;
    return true;
}

static bool literal(const char **p, char expected)
{
    if (**p != expected) {
        return false;
    }
    (*p)++;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool parse_date(const char **p, struct civil *out)
{
    return digits(p, 4, &out->year) && literal(p, '-') && digits(p, 2, &out->month) &&
           literal(p, '-') && digits(p, 2, &out->day) && out->year >= 1970 && out->year < 2200 &&
           out->month >= 1 && out->month <= 12 && out->day >= 1 &&
           out->day <= days_in_month(out->year, out->month);
}

/* "10:31", "10:31:05", "10:31:05.123" */
static bool parse_time(const char **p, struct civil *out)
{
    if (!digits(p, 2, &out->hour) || !literal(p, ':') || !digits(p, 2, &out->minute)) {
        return false;
    }
    if (**p == ':') {
        (*p)++;
        if (!digits(p, 2, &out->second)) {
            return false;
        }
        if (**p == '.' || **p == ',') {
            (*p)++;
            int64_t scale = HF_NS_PER_SECOND / 10;
            if (!isdigit((unsigned char)**p)) {
                return false;
            }
            for (; isdigit((unsigned char)**p); (*p)++, scale /= 10) {
                out->fraction_ns += (**p - '0') * scale;
            }
        }
    }
    return out->hour <= 23 && out->minute <= 59 && out->second <= 60;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t days = 0;
    for (int y = 1970; y < year; y++) {
        days += 337 + days_in_month(y, 2);
    }
    for (int m = 1; m < month; m++) {
        days += days_in_month(year, m);
    }
    return days + day - 1;
}

static int64_t civil_utc(const struct civil *civil)
{
    int64_t seconds = days_from_civil(civil->year, civil->month, civil->day) * 86400 +
                      civil->hour * INT64_C(3600) + civil->minute * INT64_C(60) + civil->second;
    return seconds * HF_NS_PER_SECOND + civil->fraction_ns;
}

static int64_t civil_local(const struct civil *civil)
{
    struct tm local = {.tm_year = civil->year - 1900,
                       .tm_mon = civil->month - 1,
                       .tm_mday = civil->day,
                       .tm_hour = civil->hour,
                       .tm_min = civil->minute,
                       .tm_sec = civil->second,
                       .tm_isdst = -1};
    return (int64_t)mktime(&local) * HF_NS_PER_SECOND + civil->fraction_ns;
}

/* "Z", "+01:00", "-0530" or " UTC" after a time; *has says whether there was one. */
static bool parse_zone(const char **p, int64_t *offset_s, bool *has)
{
    const char *q = *p + strspn(*p, " ");
    *has = true;
    *offset_s = 0;
    if (*q == 'Z' || *q == 'z') {
        *p = q + 1;
        return true;
    }
    if (strncasecmp(q, "UTC", 3) == 0) {
        *p = q + 3;
        return true;
    }
    if (*q == '+' || *q == '-') {
        int sign = *q == '-' ? -1 : 1;
        int hours;
        int minutes;
        q++;
        if (!digits(&q, 2, &hours)) {
            return false;
        }
        q += *q == ':';
        if (!digits(&q, 2, &minutes) || hours > 14 || minutes > 59) {
            return false;
        }
        *offset_s = sign * (hours * INT64_C(3600) + minutes * INT64_C(60));
        *p = q;
        return true;
    }
    *has = false;
    return true;
}

static bool parse_absolute(const char *text, int64_t *out_ns)
{
    struct civil civil = {0};
    const char *p = text;
    bool zoned = false;
    int64_t offset_s = 0;
    if (!parse_date(&p, &civil)) {
        return false;
    }
    if (*p == 'T' || *p == 't' || *p == ' ') {
        p++;
        p += strspn(p, " ");
        if (!parse_time(&p, &civil) || !parse_zone(&p, &offset_s, &zoned)) {
            return false;
        }
    }
    if (*p) {
        return false;
    }
    *out_ns = zoned ? civil_utc(&civil) - offset_s * HF_NS_PER_SECOND : civil_local(&civil);
    return true;
}

/* "today", "yesterday", either with a time after it, or a time alone. */
static bool parse_day(const char *text, int64_t now_ns, int64_t *out_ns)
{
    time_t seconds = (time_t)(now_ns / HF_NS_PER_SECOND);
    struct tm local;
    struct civil civil = {0};
    const char *p = text;
    int back = 0;
    bool named = true;
    if (strncasecmp(p, "today", 5) == 0) {
        p += 5;
    } else if (strncasecmp(p, "yesterday", 9) == 0) {
        p += 9;
        back = 1;
    } else {
        named = false;
    }
    if (named && *p && !isspace((unsigned char)*p)) {
        return false;
    }
    p += strspn(p, " ");
    if ((!named || *p) && !parse_time(&p, &civil)) {
        return false;
    }
    if (*p) {
        return false;
    }
    localtime_r(&seconds, &local);
    local.tm_mday -= back;
    local.tm_hour = civil.hour;
    local.tm_min = civil.minute;
    local.tm_sec = civil.second;
    local.tm_isdst = -1;
    *out_ns = (int64_t)mktime(&local) * HF_NS_PER_SECOND + civil.fraction_ns;
    return true;
}

static bool parse_ago(const char *text, int64_t now_ns, int64_t *out_ns)
{
    char copy[64];
    size_t length = strlen(text);
    int64_t duration_ns;
    if (length < 5 || length >= sizeof copy || strcasecmp(text + length - 3, "ago") != 0) {
        return false;
    }
    length -= 3;
    while (length > 0 && text[length - 1] == ' ') {
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        copy[i] = (char)tolower((unsigned char)text[i]);
    }
    copy[length] = '\0';
    if (length == 0 || isdigit((unsigned char)copy[length - 1]) ||
        hf_duration_parse(copy, &duration_ns, NULL) != HF_OK) {
        return false;
    }
    return !__builtin_sub_overflow(now_ns, duration_ns, out_ns);
}

static bool parse_epoch(const char *text, int64_t *out_ns)
{
    char *end;
    if (*text != '@' || !isdigit((unsigned char)text[1])) {
        return false;
    }
    long long seconds = strtoll(text + 1, &end, 10);
    return !*end && !__builtin_mul_overflow((int64_t)seconds, HF_NS_PER_SECOND, out_ns);
}

int hf_moment_parse(const char *text, int64_t now_ns, int64_t *out_ns, struct hf_error *error)
{
    const char *p = text + strspn(text, " ");
    if (strcasecmp(p, "now") == 0) {
        *out_ns = now_ns;
        return HF_OK;
    }
    if (parse_absolute(p, out_ns) || parse_day(p, now_ns, out_ns) || parse_ago(p, now_ns, out_ns) ||
        parse_epoch(p, out_ns)) {
        return HF_OK;
    }
    return hf_error_set(error, HF_ERR_INVALID, 0,
                        "'%.64s' is not a time; write for example \"2026-11-22 10:31\", \"10:31\", "
                        "\"yesterday 18:00\", \"10 minutes ago\" or 2026-11-22T10:31:00Z",
                        text);
}
