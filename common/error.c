#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int hf_error_set(struct hf_error *error, enum hf_err code, int sys_errno, const char *format, ...)
{
    if (!error) {
        return code;
    }
    error->code = code;
    error->sys_errno = sys_errno;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = length < 0 ? 0 : (size_t)length;
    if (sys_errno != 0 && used < sizeof error->message) {
        char text[128];
        /* GNU strerror_r: thread-safe, and it may return a static string. */
        snprintf(error->message + used, sizeof error->message - used, ": %s",
                 strerror_r(sys_errno, text, sizeof text));
    }
    return code;
}

int hf_error_prefix(struct hf_error *error, const char *format, ...)
{
    if (!error) {
        return HF_ERR_INVALID;
    }
    char old[HF_ERROR_MESSAGE_BYTES];
    memcpy(old, error->message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = length < 0 ? 0 : (size_t)length;
    if (used < sizeof error->message) {
        snprintf(error->message + used, sizeof error->message - used, ": %s", old);
    }
    return error->code;
}

const char *hf_error_name(enum hf_err code)
{
    static const char *const names[] = {
        "ok",        "no memory", "input/output", "invalid",     "limit",    "corrupt",
        "not found", "exists",    "denied",       "again",       "protocol", "crypto",
        "no space",  "timeout",   "closed",       "unsupported", "conflict", "raced",
    };
    int index = -(int)code;
    if (index < 0 || (size_t)index >= sizeof names / sizeof names[0]) {
        return "unknown";
    }
    return names[index];
}
