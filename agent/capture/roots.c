/* That a root comes, goes or is replaced, or a directory above it does, is noticed by watches on
 * the way to it. They ask for as little as that takes: what else happens in /tmp or a home
 * directory is nobody's business, and would wake us. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/capture/capture_private.h"

#define TRIES 8 /* of a step, while what is there comes and goes */

static bool is_directory(const char *path)
{
    char absolute[HF_PATH_MAX_BYTES + 300];
    struct stat status;
    snprintf(absolute, sizeof absolute, "/%s", path);
    return lstat(absolute, &status) == 0 && S_ISDIR(status.st_mode);
}

/* From a directory on the way (without leading '/') to next, which lies in it. A directory tells by
 * itself when it goes; of all else, and of nothing, the one above has to tell what becomes of it.
 * Whether the way goes on. */
static bool step(struct hf_capture *capture, size_t source, const char *at, const char *next,
                 bool is_root)
{
    enum watch_kind above = is_root ? WATCH_CONTENT : WATCH_NAMES;
    for (int i = 0; i < TRIES; i++) {
        bool directory = is_directory(next);
        if (!directory) {
            watch_directory(capture, source, -1, at, above, NULL);
            if (is_directory(next)) {
                continue; /* it came before that was watched for */
            }
        }
        /* Through a link too. */
        if (watch_directory(capture, source, -1, next, WATCH_SELF, NULL) != HF_ERR_NOT_FOUND) {
            return true;
        }
        if (!directory) {
            return false;
        }
    }
    scan_now(capture, source); /* it comes and goes all the time */
    return false;
}

void watch_way_to(struct hf_capture *capture, size_t source, const char *root)
{
    char at[HF_PATH_MAX_BYTES + 300] = "";
    char next[HF_PATH_MAX_BYTES + 300];
    const char *path = root + 1;
    bool goes_on = true;
    watch_directory(capture, source, -1, "", WATCH_SELF, NULL);
    for (const char *end = path; goes_on && *end;) {
        end = strchr(end + (end > path), '/');
        end = end ? end : path + strlen(path);
        snprintf(next, sizeof next, "%.*s", (int)(end - path), path);
        goes_on = step(capture, source, at, next, *end == '\0');
        memcpy(at, next, sizeof at);
    }
}

bool is_on_way(const struct hf_config_source *source, const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < source->path_count; i++) {
        const char *root = source->paths[i] + 1;
        if (length == 0 ||
            (strncmp(root, path, length) == 0 && (root[length] == '/' || root[length] == '\0'))) {
            return true;
        }
    }
    return false;
}
