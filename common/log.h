/* Logging to stderr, one line an event: for people on a terminal, with journald's
 * "<n>" level prefixes when $JOURNAL_STREAM names stderr. Thread-safe; a line is
 * written with one system call. Control characters and bytes that are not UTF-8
 * in arguments come out escaped, so that a hostile name can't forge a line.
 * The only process-wide state is the level, set once by main. */
#ifndef HF_COMMON_LOG_H
#define HF_COMMON_LOG_H

enum hf_log_level { HF_LOG_ERROR = 3, HF_LOG_WARNING = 4, HF_LOG_INFO = 6, HF_LOG_DEBUG = 7 };

void hf_log_set_level(enum hf_log_level level);
/* program is shown in each line; the string must live as long as the process. */
void hf_log_set_program(const char *program);
/* Returns 0 and the level for "error", "warning", "info", "debug"; else HF_ERR_INVALID. */
int hf_log_level_parse(const char *text, enum hf_log_level *level);

void hf_log(enum hf_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define hf_log_error(...)   hf_log(HF_LOG_ERROR, __VA_ARGS__)
#define hf_log_warning(...) hf_log(HF_LOG_WARNING, __VA_ARGS__)
#define hf_log_info(...)    hf_log(HF_LOG_INFO, __VA_ARGS__)
#define hf_log_debug(...)   hf_log(HF_LOG_DEBUG, __VA_ARGS__)

#endif
