/* Path globs: '*' and '?' stay within a component, '**' spans components, [a-z] and
 * [!a-z] classes, '\' escapes. Matches whole relative paths; a pattern without '/'
 * matches the last component at any depth, as in .gitignore. Bytes, not characters. */
#ifndef HF_COMMON_GLOB_H
#define HF_COMMON_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* HF_ERR_INVALID with the reason for a pattern that can never match as meant
 * (unclosed class, trailing backslash, a '/' at either end, "//", empty, over 1024 bytes).
 * The functions below take such a pattern to match nothing. */
int hf_glob_check(const char *pattern, struct hf_error *error);
/* Linear in pattern times path; never exponential. */
bool hf_glob_match(const char *pattern, const char *path);
/* Whether something beneath directory path could match, so that a walk may skip the rest. */
bool hf_glob_may_match_beneath(const char *pattern, const char *path);

#endif
