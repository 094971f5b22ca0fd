#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/error.h"

#define LINE_BYTES 2048

static _Atomic int current_level = HF_LOG_INFO;
static const char *program_name;
static _Atomic int journal = -1; /* whether stderr is journald's stream; -1: not looked yet */

void hf_log_set_level(enum hf_log_level level)
{
    atomic_store(&current_level, (int)level);
}

void hf_log_set_program(const char *program)
{
    program_name = program;
}

int hf_log_level_parse(const char *text, enum hf_log_level *level)
{
    static const struct {
        const char *name;
        enum hf_log_level level;
    } levels[] = {{"error", HF_LOG_ERROR},
                  {"warning", HF_LOG_WARNING},
                  {"info", HF_LOG_INFO},
                  {"debug", HF_LOG_DEBUG}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *level = levels[i].level;
            return HF_OK;
        }
    }
    return HF_ERR_INVALID;
}

/* systemd.exec(5): $JOURNAL_STREAM holds "device:inode" of the stream. */
static int stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char expected[64];
    if (!stream || fstat(STDERR_FILENO, &status) != 0) {
        return 0;
    }
    snprintf(expected, sizeof expected, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    return strcmp(stream, expected) == 0;
}

/* Length of the well-formed UTF-8 sequence at p (Unicode 15, table 3-7), 0 for none. */
static size_t utf8_length(const unsigned char *p)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                    : (p[0] & 0xf0) == 0xe0        ? 3
                    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                   : 0;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return length;
}

/* Copy text with what is not printable escaped as \xNN; returns the length written. */
static size_t escape(const char *text, char *out, size_t size)
{
    size_t used = 0;
    const unsigned char *p = (const unsigned char *)text;
    while (*p && used + 5 < size) {
        size_t length = utf8_length(p);
        bool control = *p < 0x20 || *p == 0x7f || (length == 2 && p[0] == 0xc2 && p[1] < 0xa0);
        if (length == 0 || control) {
            used += (size_t)snprintf(out + used, size - used, "\\x%02x", *p);
            p++;
            continue;
        }
        memcpy(out + used, p, length);
        used += length;
        p += length;
    }
    return used;
}

static size_t prefix(enum hf_log_level level, char *out, size_t size)
{
    int known = atomic_load(&journal);
    if (known < 0) {
        known = stderr_is_journal();
        atomic_store(&journal, known);
    }
    if (known) {
        return (size_t)snprintf(out, size, "<%d>", (int)level);
    }
    const char *name = level == HF_LOG_ERROR     ? "error: "
                       : level == HF_LOG_WARNING ? "warning: "
                       : level == HF_LOG_DEBUG   ? "debug: "
                                                 : "";
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    char time_text[32];
    strftime(time_text, sizeof time_text, "%Y-%m-%d %H:%M:%S", &local);
    return (size_t)snprintf(out, size, "%s.%03ld %.100s%s%s", time_text, now.tv_nsec / 1000000,
                            program_name ? program_name : "", program_name ? ": " : "", name);
}

void hf_log(enum hf_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load(&current_level)) {
        return;
    }
    int saved = errno; /* callers log first and then look at it */
    char text[LINE_BYTES];
    char line[LINE_BYTES + 256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t used = prefix(level, line, sizeof line);
    used += escape(text, line + used, sizeof line - used - 1);
    line[used++] = '\n';
    /* One call, so that lines of threads don't mix; a log that can't be written must not stop us.
     */
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
    errno = saved;
}
