/* Scans: a directory's entries against its rows, some of each in memory at a time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/log.h"

/* Of directories in each other that many are open at a time: how deep a tree is, up to the longest
 * path, is for its maker to say, and how many descriptors the agent may have is not. */
#define OPEN_MAX 256

/* A directory whose entries are being compared. */
struct level {
    DIR *dir; /* NULL: closed for what is beneath it, and not there any more afterwards */
    const char *path;
    dev_t dev;
    ino_t ino;
    unsigned depth;
};

/* Of a directory's names that many at a time, by their order, however many there are. */
#define NAMES_MAX 65536u

struct names {
    char **names;
    size_t count, capacity;
    bool more; /* there are others behind the last */
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void drop_names(struct names *names, size_t from)
{
    for (size_t i = from; i < names->count; i++) {
        free(names->names[i]);
    }
    names->count = names->count < from ? names->count : from;
}

/* Sort, and keep the first NAMES_MAX. */
static void settle_names(struct names *names)
{
    if (names->count > 0) {
        qsort(names->names, names->count, sizeof *names->names, compare_names);
    }
    names->more = names->more || names->count > NAMES_MAX;
    drop_names(names, NAMES_MAX);
}

static int add_name(struct names *names, const char *name)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? names->capacity * 2 : 64;
        char **grown = reallocarray(names->names, capacity, sizeof *grown);
        if (!grown) {
            return HF_ERR_NO_MEMORY;
        }
        names->names = grown;
        names->capacity = capacity;
    }
    names->names[names->count] = strdup(name);
    if (!names->names[names->count]) {
        return HF_ERR_NO_MEMORY;
    }
    names->count++;
    if (names->count == (size_t)2 * NAMES_MAX) {
        settle_names(names);
    }
    return HF_OK;
}

/* The first names after that one. *failure is errno where the disk can't list them. */
static int read_names(DIR *dir, const char *after, struct names *names, int *failure)
{
    int rc = HF_OK;
    drop_names(names, 0);
    names->more = false;
    rewinddir(dir);
    while (rc == HF_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            *failure = errno;
            rc = *failure == 0 ? HF_OK : HF_ERR_IO;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, after) > 0) {
            rc = add_name(names, entry->d_name);
        }
    }
    settle_names(names);
    return rc;
}

/* --- the rows of a directory, a page at a time --- */

struct rows {
    struct state_row *rows;
    size_t count, at;
    bool over;                /* what is in hand is the last page */
    char after[NAME_MAX + 1]; /* up to here names and rows are compared */
    uint64_t looks;           /* when the page was read */
};

/* The row at hand; NULL when there is none any more, or *rc says why not. A page that is older than
 * what was looked at meanwhile is read again. */
static const struct state_row *row_at_hand(struct hf_capture *capture, size_t source,
                                           const char *path, struct rows *rows, int *rc)
{
    uint64_t looks = capture->work[source].looks;
    if ((rows->at == rows->count && !rows->over) || rows->looks != looks) {
        state_rows_free(rows->rows, rows->count);
        *rc = state_children(capture->state, source, path, rows->after, &rows->rows, &rows->count);
        rows->at = 0;
        rows->over = *rc != HF_OK || rows->count < HF_STATE_PAGE_ROWS;
        rows->looks = looks;
    }
    return *rc == HF_OK && rows->at < rows->count ? &rows->rows[rows->at] : NULL;
}

static void compared_until(struct rows *rows, const char *name)
{
    snprintf(rows->after, sizeof rows->after, "%s", name);
}

/* Compare one entry; of a directory whose own entries are to be compared too *fd becomes open on
 * it. A function of its own, for its buffer is no part of what is taken for each level then. */
__attribute__((noinline)) static void look_at_entry(struct hf_capture *capture, size_t source,
                                                    int dir_fd, const char *path, const char *name,
                                                    const struct state_row *row, int *fd)
{
    char child[HF_PATH_MAX_BYTES + 300];
    struct stat status;
    int length = snprintf(child, sizeof child, "%s%s%s", path, *path ? "/" : "", name);
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
    if (!S_ISDIR(status.st_mode) || length > (int)HF_PATH_MAX_BYTES) {
        return; /* too long a path was said, and what is beneath has a longer one */
    }
    *fd = open_directory(dir_fd, name);
    if (*fd >= 0 && is_mounted_away(capture, source, *fd, child)) {
        children_gone(capture, source, child);
        close(*fd);
        *fd = -1;
    } else if (*fd < 0 && !means_gone(errno)) {
        complain(capture, source, child, strerror(errno));
    }
}

/* Open a directory again that was closed for what is beneath it, if it still is the one there. */
static void open_again(struct hf_capture *capture, size_t source, struct level *level,
                       const char *child)
{
    struct stat status;
    int parent_fd = open_parent(&capture->config->sources[source], child, level->path);
    int fd = parent_fd >= 0 ? open_directory(parent_fd, ".") : -1;
    if (fd < 0 && !means_gone(errno)) {
        complain(capture, source, level->path, strerror(errno));
    }
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == level->dev &&
        status.st_ino == level->ino) {
        level->dir = fdopendir(fd);
        fd = level->dir ? -1 : fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (parent_fd >= 0) {
        close(parent_fd);
    }
}

static void scan_entry(struct hf_capture *capture, size_t source, struct level *level,
                       const char *name, const struct state_row *row)
{
    int fd = -1;
    look_at_entry(capture, source, dirfd(level->dir), level->path, name, row, &fd);
    if (fd < 0) {
        return;
    }
    size_t size = strlen(level->path) + strlen(name) + 2;
    char *child = malloc(size);
    if (!child) {
        complain(capture, source, level->path, "No memory to look into what is in it");
        close(fd);
        return;
    }
    snprintf(child, size, "%s%s%s", level->path, *level->path ? "/" : "", name);
    bool deep = level->depth >= OPEN_MAX;
    if (deep) {
        closedir(level->dir);
        level->dir = NULL;
    }
    scan_directory(capture, source, fd, child, level->depth + 1);
    if (deep) {
        open_again(capture, source, level, child);
    }
    free(child);
}

/* Rows without a name, up to that name (NULL: all): they are gone, unless they came after the names
 * were read. */
static int scan_rows(struct hf_capture *capture, size_t source, struct level *level,
                     const char *until, struct rows *rows)
{
    const struct state_row *row;
    int rc = HF_OK;
    while (level->dir && !interrupted(capture, source) &&
           (row = row_at_hand(capture, source, level->path, rows, &rc)) &&
           (!until || strcmp(row->name, until) < 0)) {
        compared_until(rows, row->name);
        rows->at++;
        scan_entry(capture, source, level, row->name, row);
    }
    return rc;
}

/* A name against the rows, which are in the same order. */
static int scan_name(struct hf_capture *capture, size_t source, struct level *level,
                     const char *name, struct rows *rows)
{
    int rc = scan_rows(capture, source, level, name, rows);
    const struct state_row *row =
        rc == HF_OK ? row_at_hand(capture, source, level->path, rows, &rc) : NULL;
    if (rc == HF_OK && level->dir) {
        bool known = row && strcmp(row->name, name) == 0;
        compared_until(rows, name);
        rows->at += known;
        scan_entry(capture, source, level, name, known ? row : NULL);
    }
    return rc;
}

/* Whether the directory is on record as the one that lies there. What was looked at meanwhile may
 * have found it moved away, or another in its place: what is in it now belongs elsewhere. */
static bool is_on_record(struct hf_capture *capture, size_t source, int dir_fd, const char *path)
{
    struct state_row row = {0};
    struct stat status;
    bool known =
        on_record(capture, source, path, &row) && row.type == HF_FILE_DIRECTORY &&
        fstat(dir_fd, &status) == 0 &&
        (row.print.dev == 0 || (row.print.dev == status.st_dev && row.print.ino == status.st_ino));
    state_row_free(&row);
    return known;
}

static int scan_names(struct hf_capture *capture, size_t source, struct level *level, int *failure)
{
    const uint64_t *looks = &capture->work[source].looks;
    struct names names = {.more = true};
    struct rows rows = {.looks = *looks};
    uint64_t seen = *looks;
    bool here = true;
    int rc = HF_OK;
    while (rc == HF_OK && names.more && here && !interrupted(capture, source)) {
        rc = read_names(level->dir, rows.after, &names, failure);
        for (size_t i = 0; rc == HF_OK && i < names.count && here && !interrupted(capture, source);
             i++) {
            rc = scan_name(capture, source, level, names.names[i], &rows);
            service(capture);
            here = level->dir && (seen == *looks ||
                                  is_on_record(capture, source, dirfd(level->dir), level->path));
            seen = *looks;
        }
    }
    if (rc == HF_OK && here) {
        rc = scan_rows(capture, source, level, NULL, &rows);
    }
    drop_names(&names, 0);
    free(names.names);
    state_rows_free(rows.rows, rows.count);
    return rc;
}

void scan_directory(struct hf_capture *capture, size_t source, int fd, const char *path,
                    unsigned depth)
{
    /* Watched first, then read: what happens in between is seen twice rather than never. */
    watch_directory(capture, source, fd, path, WATCH_CONTENT, NULL);
    struct stat status;
    struct level level = {.path = path, .depth = depth};
    level.dir = fstat(fd, &status) == 0 ? fdopendir(fd) : NULL;
    if (!level.dir) {
        complain(capture, source, path, strerror(errno));
        close(fd);
        return;
    }
    level.dev = status.st_dev;
    level.ino = status.st_ino;
    int failure = 0;
    if (scan_names(capture, source, &level, &failure) != HF_OK) {
        char reason[160];
        snprintf(reason, sizeof reason, "The directory can't be read whole%s%s",
                 failure ? ": " : "", failure ? strerror(failure) : "");
        complain(capture, source, path, reason);
    }
    if (level.dir) {
        closedir(level.dir);
    }
}

/* A root's own entry, and everything beneath. */
static void scan_root(struct hf_capture *capture, size_t source, const char *root)
{
    watch_way_to(capture, source, root);
    examine_path(capture, source, root + 1, EXAMINE_BENEATH, 0);
}

void scan_source(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    const struct hf_config_source *config = &capture->config->sources[source];
    int64_t started_ns = hf_clock_now_ns();
    work->scan_wanted = false;
    work->scan_due_ns = hf_clock_monotonic_ns() + config->rescan_ns; /* unless something is lost */
    begin_finding(work);
    work->lost = false;
    work->unreadable = 0;
    capture->since_ns = work->complete_until_ns;
    work->note[0] = '\0';
    for (size_t i = 0; i < config->path_count && !interrupted(capture, source); i++) {
        scan_root(capture, source, config->paths[i]);
    }
    flush_unit(capture, source);
    if (interrupted(capture, source)) {
        scan_now(capture, source); /* from the beginning, for nobody knows how long that will be */
        return;
    }
    if (!work->scan_wanted) {
        work->scan_due_ns = next_scan_ns(capture, source);
        mark_scanned(capture, source, started_ns);
    }
}
