/* Where a source's tree ends because of what is mounted in it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/capture/capture_private.h"

/* How many directories path lies beneath its root; 0 for the root, and for what is above. */
static unsigned levels_beneath_root(const struct hf_config_source *source, const char *path)
{
    const char *rest = NULL;
    unsigned levels = 1;
    if (!root_of(source, path, &rest)) {
        return 0;
    }
    for (const char *p = rest; *p; p++) {
        levels += *p == '/';
    }
    return levels;
}

/* The directory that many levels above an opened one; by way of mounts, as a path goes. */
static bool stat_above(int fd, unsigned levels, struct stat *out)
{
    char path[3 * HF_PATH_MAX_BYTES / 2 + 8] = ".";
    size_t length = 1;
    for (unsigned i = 0; i < levels && length + 4 < sizeof path; i++) {
        memcpy(path + length, "/..", 4);
        length += 3;
    }
    return fstatat(fd, path, out, 0) == 0;
}

/* Bind mounts look like any directory, but that they are a mount's root (statx(2), Linux 5.8). */
static bool is_mount_root(int fd)
{
    struct statx status;
    return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &status) == 0 &&
           (status.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static void say(struct hf_capture *capture, size_t source, const char *path, const char *what)
{
    snprintf(capture->work[source].note, HF_MARK_NOTE_BYTES, "/%.180s is %s: left out", path, what);
}

bool is_mounted_away(struct hf_capture *capture, size_t source, int fd, const char *path)
{
    const struct hf_config_source *config = &capture->config->sources[source];
    unsigned levels = levels_beneath_root(config, path);
    struct stat status;
    struct stat above;
    if (levels == 0 || !is_mount_root(fd) || fstat(fd, &status) != 0) {
        return false;
    }
    if (config->one_file_system && stat_above(fd, levels, &above) &&
        above.st_dev != status.st_dev) {
        say(capture, source, path, "another file system (one_file_system)");
        return true;
    }
    for (unsigned i = 1; i <= levels; i++) {
        if (stat_above(fd, i, &above) && above.st_dev == status.st_dev &&
            above.st_ino == status.st_ino) {
            say(capture, source, path, "a directory above it, mounted there again");
            return true;
        }
    }
    return false;
}

bool is_beyond_mount(struct hf_capture *capture, size_t source, int parent_fd, const char *parent)
{
    const struct hf_config_source *config = &capture->config->sources[source];
    unsigned levels = levels_beneath_root(config, parent);
    struct stat status;
    struct stat root;
    return config->one_file_system && levels > 0 && fstat(parent_fd, &status) == 0 &&
           stat_above(parent_fd, levels, &root) && root.st_dev != status.st_dev;
}
