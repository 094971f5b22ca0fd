#include "agent/config/quiet.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"

#define DAY_MIN   1440u
#define WEEK_MIN  (7 * DAY_MIN)
#define EVERY_DAY 0x7fu
#define MINUTE_NS (60 * HF_NS_PER_SECOND)
/* A week, and what a clock that is set takes of it. */
#define AHEAD_MIN (WEEK_MIN + DAY_MIN)

static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static int complain(const char *text, struct hf_error *error)
{
    return hf_error_set(error, HF_ERR_INVALID, 0,
                        "'%s' is no span of time; write for example 09:00-17:30, mon-fri "
                        "09:00-17:30, sat,sun 00:00-24:00, or fri 22:00-06:00 for a night",
                        text);
}

/* --- days: names and ranges of names, by commas --- */

static bool parse_day(const char **text, unsigned *out)
{
    for (unsigned i = 0; i < 7; i++) {
        if (strncasecmp(*text, day_names[i], 3) == 0) {
            *text += 3;
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_days(const char **text, uint8_t *days)
{
    unsigned first;
    unsigned last;
    *days = 0;
    do {
        *text += **text == ',';
        if (!parse_day(text, &first)) {
            return false;
        }
        last = first;
        if (**text == '-') {
            (*text)++;
            if (!parse_day(text, &last)) {
                return false;
            }
        }
        for (unsigned day = first;; day = (day + 1) % 7) {
            *days = (uint8_t)(*days | 1u << day);
            if (day == last) {
                break;
            }
        }
    } while (**text == ',');
    return true;
}

/* --- times of day --- */

static bool parse_digits(const char **text, unsigned most, unsigned *out)
{
    const char *p = *text;
    if (!isdigit((unsigned char)p[0])) {
        return false;
    }
    *out = (unsigned)(p[0] - '0');
    p++;
    if (isdigit((unsigned char)*p)) {
        *out = *out * 10 + (unsigned)(*p - '0');
        p++;
    }
    *text = p;
    return *out <= most;
}

/* "9:00", "09:00", "24:00". */
static bool parse_time(const char **text, uint16_t *minute)
{
    unsigned hours;
    unsigned minutes;
    if (!parse_digits(text, 24, &hours) || *(*text)++ != ':' ||
        !isdigit((unsigned char)(*text)[0]) || !isdigit((unsigned char)(*text)[1]) ||
        !parse_digits(text, 59, &minutes)) {
        return false;
    }
    *minute = (uint16_t)(hours * 60 + minutes);
    return *minute <= DAY_MIN;
}

int quiet_parse(const char *text, struct hf_quiet_span *out, struct hf_error *error)
{
    const char *p = text + strspn(text, " \t");
    *out = (struct hf_quiet_span){.days = EVERY_DAY};
    if (isalpha((unsigned char)*p)) {
        if (!parse_days(&p, &out->days) || (*p != ' ' && *p != '\t')) {
            return complain(text, error);
        }
        p += strspn(p, " \t");
    }
    bool good = parse_time(&p, &out->from_min) && *p == '-';
    p += good;
    good = good && parse_time(&p, &out->to_min) && p[strspn(p, " \t")] == '\0';
    if (!good || out->from_min == DAY_MIN) {
        return complain(text, error);
    }
    if (out->from_min == out->to_min) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "'%s' ends when it begins; a whole day is 00:00-24:00", text);
    }
    return HF_OK;
}

void quiet_text(const struct hf_quiet_span *span, char out[HF_QUIET_TEXT_BYTES])
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 1; i <= 7 && span->days != EVERY_DAY; i++) {
        if (span->days & (1u << (i % 7))) {
            used += (size_t)snprintf(out + used, HF_QUIET_TEXT_BYTES - used, "%s%s",
                                     used ? "," : "", day_names[i % 7]);
        }
    }
    snprintf(out + used, HF_QUIET_TEXT_BYTES - used, "%s%02u:%02u-%02u:%02u", used ? " " : "",
             span->from_min / 60u, span->from_min % 60u, span->to_min / 60u, span->to_min % 60u);
}

/* --- what they mean --- */

/* minute: of the week, Sunday 00:00 is 0. */
static bool is_in(const struct hf_quiet_span *span, unsigned minute)
{
    unsigned length = (span->to_min + DAY_MIN - span->from_min) % DAY_MIN;
    length = length == 0 ? DAY_MIN : length;
    for (unsigned day = 0; day < 7; day++) {
        unsigned begin = day * DAY_MIN + span->from_min;
        if ((span->days & (1u << day)) && (minute + WEEK_MIN - begin) % WEEK_MIN < length) {
            return true;
        }
    }
    return false;
}

static bool is_in_any(const struct hf_quiet *quiet, unsigned minute)
{
    for (size_t i = 0; i < quiet->count; i++) {
        if (is_in(&quiet->spans[i], minute)) {
            return true;
        }
    }
    return false;
}

bool quiet_is_always(const struct hf_quiet *quiet)
{
    for (unsigned minute = 0; minute < WEEK_MIN; minute++) {
        if (!is_in_any(quiet, minute)) {
            return false;
        }
    }
    return true;
}

static void read_wall(int64_t now_ns, struct tm *out)
{
    time_t seconds = (time_t)(now_ns / HF_NS_PER_SECOND);
    localtime_r(&seconds, out);
}

static bool is_quiet_at(const struct hf_quiet *quiet, int64_t now_ns)
{
    struct tm wall;
    read_wall(now_ns, &wall);
    return is_in_any(quiet, (unsigned)wall.tm_wday * DAY_MIN +
                                (unsigned)(wall.tm_hour * 60 + wall.tm_min));
}

bool quiet_at(const struct hf_quiet *quiet, int64_t now_ns, int64_t *change_ns)
{
    bool now = quiet->count > 0 && is_quiet_at(quiet, now_ns);
    int64_t minute_ns = now_ns - now_ns % MINUTE_NS;
    *change_ns = INT64_MAX;
    for (unsigned i = 1; quiet->count > 0 && i <= AHEAD_MIN; i++) {
        minute_ns += MINUTE_NS;
        if (is_quiet_at(quiet, minute_ns) != now) {
            *change_ns = minute_ns;
            break;
        }
    }
    return now;
}

void quiet_end_text(int64_t now_ns, int64_t end_ns, char out[HF_QUIET_TEXT_BYTES])
{
    struct tm now;
    struct tm end;
    read_wall(now_ns, &now);
    read_wall(end_ns, &end);
    bool today = now.tm_year == end.tm_year && now.tm_yday == end.tm_yday;
    strftime(out, HF_QUIET_TEXT_BYTES, today ? "%H:%M" : "%a %H:%M", &end);
}
