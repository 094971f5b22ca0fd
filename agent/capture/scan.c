/* Scans: a directory's entries against its rows, one directory in memory at a time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/log.h"

#define DEPTH_MAX 512

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
}

static int read_names(DIR *dir, char ***out, size_t *count)
{
    size_t capacity = 0;
    *out = NULL;
    *count = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno != 0) {
            return HF_ERR_IO;
        }
        if (!entry) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (*count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            char **grown = reallocarray(*out, capacity, sizeof *grown);
            if (!grown) {
                return HF_ERR_NO_MEMORY;
            }
            *out = grown;
        }
        (*out)[*count] = strdup(entry->d_name);
        if (!(*out)[*count]) {
            return HF_ERR_NO_MEMORY;
        }
        (*count)++;
    }
    if (*count > 0) {
        qsort(*out, *count, sizeof **out, compare_names);
    }
    return HF_OK;
}

static void scan_entry(struct hf_capture *capture, size_t source, int dir_fd, const char *path,
                       const char *name, const struct state_row *row, unsigned depth)
{
    char child[HF_PATH_MAX_BYTES + 300];
    struct stat status;
    snprintf(child, sizeof child, "%s%s%s", path, *path ? "/" : "", name);
    if (fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (!means_gone(errno)) {
            complain(capture, source, child, strerror(errno));
        } else if (row) {
            examine_gone(capture, source, path, row);
        }
        return;
    }
    if (!selected(&capture->config->sources[source], child, S_ISDIR(status.st_mode))) {
        if (row) {
            examine_gone(capture, source, path, row);
        }
        return;
    }
    examine_entry(capture, source, dir_fd, path, name, &status, row, 0);
    if (S_ISDIR(status.st_mode) && depth < DEPTH_MAX) {
        int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            scan_directory(capture, source, fd, child, depth + 1);
        } else if (!means_gone(errno)) {
            complain(capture, source, child, strerror(errno));
        }
    }
}

void scan_directory(struct hf_capture *capture, size_t source, int fd, const char *path,
                    unsigned depth)
{
    /* Watched first, then read: what happens in between is seen twice rather than never. */
    watch_add(capture->watch, source, path);
    DIR *dir = fdopendir(fd);
    char **names = NULL;
    struct state_row *rows = NULL;
    size_t name_count = 0;
    size_t row_count = 0;
    if (!dir) {
        complain(capture, source, path, strerror(errno));
        close(fd);
        return;
    }
    int rc = read_names(dir, &names, &name_count);
    rc = rc == HF_OK ? state_children(capture->state, source, path, &rows, &row_count) : rc;
    size_t n = 0;
    size_t r = 0;
    if (rc != HF_OK) {
        complain(capture, source, path, "The directory can't be read whole");
    }
    while (rc == HF_OK && (n < name_count || r < row_count) && !stopping(capture)) {
        int order = n == name_count ? 1 : r == row_count ? -1 : strcmp(names[n], rows[r].name);
        if (order > 0) {
            examine_gone(capture, source, path, &rows[r++]);
            continue;
        }
        scan_entry(capture, source, dirfd(dir), path, names[n], order == 0 ? &rows[r] : NULL,
                   depth);
        r += order == 0;
        n++;
        service(capture);
    }
    free_names(names, name_count);
    for (size_t i = 0; i < row_count; i++) {
        state_row_free(&rows[i]);
    }
    free(rows);
    closedir(dir);
}

/* A root's own entry, and everything beneath; and the nearest directory above, so that a root that
 * comes or goes is noticed. */
static void scan_root(struct hf_capture *capture, size_t source, const char *root)
{
    char above[4200];
    snprintf(above, sizeof above, "%s", root);
    for (char *slash; (slash = strrchr(above, '/'));) {
        *slash = '\0';
        if (watch_add(capture->watch, source, *above ? above + 1 : "") == HF_OK || slash == above) {
            break;
        }
    }
    examine_path(capture, source, root + 1, EXAMINE_BENEATH, 0);
}

void scan_source(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    const struct hf_config_source *config = &capture->config->sources[source];
    int64_t started_ns = hf_clock_now_ns();
    work->scan_wanted = false;
    work->scan_due_ns = hf_clock_monotonic_ns() + config->rescan_ns; /* unless something is lost */
    work->lost = false;
    work->unreadable = 0;
    capture->since_ns = work->complete_until_ns;
    work->note[0] = '\0';
    for (size_t i = 0; i < config->path_count && !stopping(capture); i++) {
        scan_root(capture, source, config->paths[i]);
    }
    flush_unit(capture, source);
    if (stopping(capture)) {
        return;
    }
    if (!work->scan_wanted) {
        work->scan_due_ns = hf_clock_monotonic_ns() + config->rescan_ns;
        mark_scanned(capture, source, started_ns);
    }
}
