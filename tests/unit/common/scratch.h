/* A directory of a test's own beneath /tmp, gone with all that is in it when the test is over. */
#ifndef HF_TESTS_COMMON_SCRATCH_H
#define HF_TESTS_COMMON_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    char path[64];
};

/* "path/name"; the text lives until the fourth call after this one. */
static inline const char *scratch_at(const struct scratch *scratch, const char *name)
{
    static char texts[4][512];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "%s/%s", scratch->path, name);
    return text;
}

static inline int scratch_make(void **state)
{
    struct scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) {
        return 1;
    }
    strcpy(scratch->path, "/tmp/holdfast-test-XXXXXX");
    *state = scratch;
    return mkdtemp(scratch->path) == NULL;
}

static inline int scratch_remove_one(const char *path, const struct stat *status, int type,
                                     struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

static inline int scratch_remove(void **state)
{
    struct scratch *scratch = *state;
    int rc = nftw(scratch->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(scratch);
    return rc;
}

#endif
