#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/error.h"
#include "common/log.h"

enum stream { STREAM_PLAIN, STREAM_JOURNAL, STREAM_OTHER_JOURNAL };

static void name_journal(int fd, enum stream stream)
{
    struct stat status;
    char text[64];
    unsetenv("JOURNAL_STREAM");
    if (stream == STREAM_PLAIN || fstat(fd, &status) != 0) {
        return;
    }
    snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino + (stream == STREAM_OTHER_JOURNAL));
    setenv("JOURNAL_STREAM", text, 1);
}

/* What fn logs, in a process of its own: where stderr leads is looked at once a process. */
static char *logged(void (*fn)(void), enum stream stream)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fileno(file), STDERR_FILENO);
        name_journal(STDERR_FILENO, stream);
        hf_log_set_program("test");
        fn();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    long size = (fseek(file, 0, SEEK_END), ftell(file));
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    return text;
}

static void log_each_level(void)
{
    hf_log_error("e%d", 1);
    hf_log_warning("w");
    hf_log_info("i");
    hf_log_debug("d");
}

static void assert_count(const char *text, char wanted, unsigned count)
{
    unsigned found = 0;
    for (; *text; text++) {
        found += *text == wanted;
    }
    assert_int_equal(found, count);
}

static void lines_for_people_have_a_time_the_program_and_the_level(void **state)
{
    (void)state;
    char *text = logged(log_each_level, STREAM_PLAIN);
    const size_t length = 23;
    assert_true(strlen(text) > length && strtol(text, NULL, 10) >= 2024);
    for (size_t i = 0; i < length; i++) { /* as in this, with digits for the zeros */
        char shape = "0000-00-00 00:00:00.000"[i];
        assert_true(shape == '0' ? text[i] >= '0' && text[i] <= '9' : text[i] == shape);
    }
    assert_memory_equal(text + length, " test: error: e1\n", 17);
    assert_non_null(strstr(text, " test: warning: w\n"));
    assert_non_null(strstr(text, " test: i\n"));
    assert_null(strstr(text, "debug"));
    assert_count(text, '\n', 3);
    free(text);
}

static void the_journal_gets_its_level_prefixes_and_nothing_it_knows(void **state)
{
    (void)state;
    char *text = logged(log_each_level, STREAM_JOURNAL);
    assert_string_equal(text, "<3>e1\n<4>w\n<6>i\n");
    free(text);
    /* Redirected after all: the variable still names the journal's stream, not this one. */
    text = logged(log_each_level, STREAM_OTHER_JOURNAL);
    assert_null(strstr(text, "<3>"));
    free(text);
}

static void log_at_error_level(void)
{
    hf_log_set_level(HF_LOG_ERROR);
    log_each_level();
    hf_log_set_level(HF_LOG_DEBUG);
    hf_log_debug("now");
}

static void the_level_decides_what_is_written(void **state)
{
    (void)state;
    char *text = logged(log_at_error_level, STREAM_JOURNAL);
    assert_string_equal(text, "<3>e1\n<7>now\n");
    free(text);
}

static void log_hostile_names(void)
{
    hf_log_info("file '%s'", "a\n<3>forged\r\x1b[2J\t\x7f");
    hf_log_info("%s", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa4\x96");           /* good UTF-8 */
    hf_log_info("%s", "\xff \xc3 \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80"); /* bad */
    hf_log_info("%s", "\xe0\x9f\xbf \xf0\x8f\xbf\xbf \xe2\x82");           /* overlong, cut */
    hf_log_info("%s", "\xc2\x9b"
                      "31m"); /* CSI as one C1 control */
}

static void hostile_names_cannot_forge_a_line_or_command_a_terminal(void **state)
{
    (void)state;
    char *text = logged(log_hostile_names, STREAM_JOURNAL);
    assert_string_equal(text, "<6>file 'a\\x0a<3>forged\\x0d\\x1b[2J\\x09\\x7f'\n"
                              "<6>\xc3\xa9 \xe2\x82\xac \xf0\x9f\xa4\x96\n"
                              "<6>\\xff \\xc3 \\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80\n"
                              "<6>\\xe0\\x9f\\xbf \\xf0\\x8f\\xbf\\xbf \\xe2\\x82\n"
                              "<6>\\xc2\\x9b31m\n");
    free(text);
}

static void log_long_lines(void)
{
    char text[10000];
    static const char *const fillers[] = {"x", "\x01", "\xc3\xa9", "\xff"};
    for (size_t i = 0; i < 4; i++) {
        size_t step = strlen(fillers[i]);
        for (size_t at = 0; at < sizeof text; at += step) {
            memcpy(text + at, fillers[i], step);
        }
        text[sizeof text - 1] = '\0';
        hf_log_info("%s", text);
    }
    hf_log_info("after");
}

static void a_line_that_is_too_long_is_cut_but_ends(void **state)
{
    (void)state;
    char *text = logged(log_long_lines, STREAM_PLAIN);
    assert_count(text, '\n', 5);
    assert_memory_equal(text + strlen(text) - 7, " after\n", 7);
    assert_true(strlen(text) < (size_t)4 * 2400);
    free(text);
}

static void set_odd_program(void)
{
    static char name[5000];
    memset(name, 'p', sizeof name - 1);
    hf_log_set_program(name);
    hf_log_info("x");
    hf_log_set_program(NULL);
    hf_log_info("y");
}

static void any_programs_name_does(void **state)
{
    (void)state;
    char *text = logged(set_odd_program, STREAM_PLAIN);
    assert_count(text, '\n', 2);
    assert_memory_equal(text + strlen(text) - 3, " y\n", 3);
    free(text);
}

static void *log_many(void *letter)
{
    for (int i = 0; i < 200; i++) {
        hf_log_info("%.*s", 60, (const char *)letter);
    }
    return NULL;
}

static void log_from_threads(void)
{
    static char letters[4][61];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        memset(letters[i], 'a' + i, 60);
        if (pthread_create(&threads[i], NULL, log_many, letters[i]) != 0) {
            _exit(1);
        }
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    char *text = logged(log_from_threads, STREAM_JOURNAL);
    unsigned lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        assert_int_equal(strlen(line), 63);
        assert_int_equal(strspn(line + 3, (char[]){line[3], '\0'}), 60);
        lines++;
    }
    assert_int_equal(lines, 800);
    free(text);
}

static void log_to_a_closed_stream(void)
{
    close(STDERR_FILENO);
    errno = ENOENT;
    hf_log_error("nobody hears this");
    _exit(errno == ENOENT ? 0 : 1);
}

static void a_log_that_fails_stops_nothing_and_keeps_errno(void **state)
{
    (void)state;
    free(logged(log_to_a_closed_stream, STREAM_PLAIN));
}

static void levels_are_known_by_name(void **state)
{
    (void)state;
    enum hf_log_level level = HF_LOG_INFO;
    assert_int_equal(hf_log_level_parse("error", &level), 0);
    assert_int_equal(level, HF_LOG_ERROR);
    assert_int_equal(hf_log_level_parse("warning", &level), 0);
    assert_int_equal(level, HF_LOG_WARNING);
    assert_int_equal(hf_log_level_parse("info", &level), 0);
    assert_int_equal(level, HF_LOG_INFO);
    assert_int_equal(hf_log_level_parse("debug", &level), 0);
    assert_int_equal(level, HF_LOG_DEBUG);
    assert_int_equal(hf_log_level_parse("", &level), HF_ERR_INVALID);
    assert_int_equal(hf_log_level_parse("Error", &level), HF_ERR_INVALID);
    assert_int_equal(hf_log_level_parse("errors", &level), HF_ERR_INVALID);
    assert_int_equal(level, HF_LOG_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_for_people_have_a_time_the_program_and_the_level),
        cmocka_unit_test(the_journal_gets_its_level_prefixes_and_nothing_it_knows),
        cmocka_unit_test(the_level_decides_what_is_written),
        cmocka_unit_test(hostile_names_cannot_forge_a_line_or_command_a_terminal),
        cmocka_unit_test(a_line_that_is_too_long_is_cut_but_ends),
        cmocka_unit_test(any_programs_name_does),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(a_log_that_fails_stops_nothing_and_keeps_errno),
        cmocka_unit_test(levels_are_known_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
