/* What the CLI's parts print, caught. */
#ifndef HF_TESTS_CTL_FIXTURE_H
#define HF_TESTS_CTL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/ctl/ctl.h"

/* stderr goes into a file between these two. */
struct caught {
    FILE *file;
    int saved;
    char text[4096];
};

static inline struct caught catch_stderr(void)
{
    struct caught caught = {.file = tmpfile()};
    assert_non_null(caught.file);
    fflush(stderr);
    caught.saved = dup(STDERR_FILENO);
    dup2(fileno(caught.file), STDERR_FILENO);
    return caught;
}

static inline const char *caught_text(struct caught *caught)
{
    fflush(stderr);
    dup2(caught->saved, STDERR_FILENO);
    close(caught->saved);
    rewind(caught->file);
    size_t size = fread(caught->text, 1, sizeof caught->text - 1, caught->file);
    caught->text[size] = '\0';
    fclose(caught->file);
    return caught->text;
}

static inline const struct ctl_command *command_named(const char *name)
{
    for (const struct ctl_command *command = ctl_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    fail_msg("no command %s", name);
    return NULL;
}

static inline void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("'%s' is not in:\n%s", part, text);
    }
}

#endif
