#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/bytes.h"

#define PATH_BYTES_MAX 4095
/* openat2 says EAGAIN when a rename raced with it, and open when another process holds a lease. */
#define OPEN_TRIES_MAX 64

static enum hf_err code_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOENT:
    case ENOTDIR:
        return HF_ERR_NOT_FOUND;
    case EEXIST:
        return HF_ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EXDEV:
    case ELOOP:
        return HF_ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return HF_ERR_NO_SPACE;
    case ENOMEM:
        return HF_ERR_NO_MEMORY;
    default:
        return HF_ERR_IO;
    }
}

/* EXDEV and ELOOP are openat2's words for leaving the root and for a link in the way; their own
 * texts would mislead. Callers still find the number. */
static int open_fails(const char *path, struct hf_error *error)
{
    int saved = errno;
    if (saved == EXDEV || saved == ELOOP) {
        hf_error_set(error, HF_ERR_DENIED, 0,
                     saved == EXDEV ? "'%s' leads out of its root"
                                    : "'%s' goes through a symbolic link",
                     path);
        if (error) {
            error->sys_errno = saved;
        }
        return HF_ERR_DENIED;
    }
    if (saved == EAGAIN) {
        return hf_error_set(error, HF_ERR_AGAIN, saved, "Can't open '%s' just now", path);
    }
    return hf_error_set(error, code_of_errno(saved), saved, "Can't open '%s'", path);
}

int hf_path_check_relative(const char *path, size_t length, struct hf_error *error)
{
    const char *reason = NULL;
    if (length == 0) {
        reason = "is empty";
    } else if (length > PATH_BYTES_MAX) {
        reason = "is longer than 4095 bytes";
    } else if (path[0] == '/') {
        reason = "is absolute";
    } else if (path[length - 1] == '/') {
        reason = "ends with '/'";
    } else if (memchr(path, '\0', length)) {
        reason = "has a NUL byte";
    }
    for (size_t start = 0; !reason && start < length;) {
        const char *slash = memchr(path + start, '/', length - start);
        size_t component = slash ? (size_t)(slash - path) - start : length - start;
        if (component == 0) {
            reason = "has an empty component";
        } else if (component == 1 && path[start] == '.') {
            reason = "has a '.' component";
        } else if (component == 2 && path[start] == '.' && path[start + 1] == '.') {
            reason = "has a '..' component";
        } else if (component > NAME_MAX) {
            reason = "has a component over 255 bytes";
        }
        start += component + 1;
    }
    if (reason) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "Path '%.*s' %s",
                            (int)(length < 200 ? length : 200), path, reason);
    }
    return HF_OK;
}

int hf_open_quietly(int dir_fd, const char *name, int flags)
{
    int fd = openat(dir_fd, name, flags | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(dir_fd, name, flags) : fd;
}

int hf_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, int *out_fd,
                    struct hf_error *error)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
        /* The kernel refuses a mode where nothing is made. */
        .mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int tries = 0;
    long fd;
    do {
        fd = syscall(SYS_openat2, dir_fd, *path ? path : ".", &how, sizeof how);
    } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < OPEN_TRIES_MAX)));
    if (fd < 0) {
        return open_fails(path, error);
    }
    *out_fd = (int)fd;
    return HF_OK;
}

int hf_open_parent_beneath(int dir_fd, const char *path, int *out_fd, const char **name,
                           struct hf_error *error)
{
    /* *name goes into calls like unlinkat, where ".." or "" would act on another directory. */
    int rc = hf_path_check_relative(path, strlen(path), error);
    if (rc != HF_OK) {
        return rc;
    }
    const char *slash = strrchr(path, '/');
    if (!slash) {
        *name = path;
        return hf_open_beneath(dir_fd, "", O_RDONLY | O_DIRECTORY, 0, out_fd, error);
    }
    char parent[PATH_BYTES_MAX + 1];
    size_t length = (size_t)(slash - path);
    memcpy(parent, path, length);
    parent[length] = '\0';
    *name = slash + 1;
    return hf_open_beneath(dir_fd, parent, O_RDONLY | O_DIRECTORY, 0, out_fd, error);
}

/* One component: make it if it isn't there and open it as the next directory. */
static int descend(int *fd, const char *name, mode_t mode, struct hf_error *error)
{
    int next = -1;
    if (mkdirat(*fd, name, mode) != 0 && errno != EEXIST) {
        int saved = errno;
        return hf_error_set(error, code_of_errno(saved), saved, "Can't make directory '%s'", name);
    }
    struct hf_error reason = {0};
    int rc = hf_open_beneath(*fd, name, O_RDONLY | O_DIRECTORY, 0, &next, &reason);
    if (reason.sys_errno == ENOTDIR) {
        return hf_error_set(error, HF_ERR_DENIED, ENOTDIR,
                            "Can't make a directory below '%s', a file or symbolic link", name);
    }
    if (rc != HF_OK && error) {
        *error = reason;
    }
    if (rc == HF_OK) {
        close(*fd);
        *fd = next;
    }
    return rc;
}

int hf_mkdirs_beneath(int dir_fd, const char *path, mode_t mode, struct hf_error *error)
{
    int rc = hf_path_check_relative(path, strlen(path), error);
    int fd = -1;
    char *copy = rc == HF_OK ? strdup(path) : NULL;
    if (rc == HF_OK && !copy) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to make directory '%s'", path);
    }
    if (rc == HF_OK) {
        rc = hf_open_beneath(dir_fd, "", O_RDONLY | O_DIRECTORY, 0, &fd, error);
    }
    char *rest = copy;
    for (char *name; rc == HF_OK && (name = strsep(&rest, "/"));) {
        rc = descend(&fd, name, mode, error);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(copy);
    return rc;
}

static int read_fd(int fd, const char *name, size_t max_bytes, struct hf_buf *out,
                   struct hf_error *error)
{
    size_t start = out->size;
    struct stat status;
    size_t step = 16384;
    if (fstat(fd, &status) == 0 && status.st_size > 0 && (uint64_t)status.st_size < max_bytes) {
        step = (size_t)status.st_size + 1; /* one read, and one that finds the end */
    }
    for (;;) {
        int rc = hf_buf_reserve(out, step);
        if (rc != HF_OK) {
            return hf_error_set(error, rc, 0, "No memory to read '%s'", name);
        }
        ssize_t got = read(fd, out->data + out->size, out->capacity - out->size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            int saved = errno;
            return hf_error_set(error, code_of_errno(saved), saved, "Can't read '%s'", name);
        }
        if (got == 0) {
            return HF_OK;
        }
        out->size += (size_t)got;
        if (out->size - start > max_bytes) {
            return hf_error_set(error, HF_ERR_LIMIT, 0, "'%s' is longer than %zu bytes", name,
                                max_bytes);
        }
    }
}

int hf_read_file_at(int dir_fd, const char *name, size_t max_bytes, struct hf_buf *out,
                    struct hf_error *error)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        int saved = errno;
        return hf_error_set(error, code_of_errno(saved), saved, "Can't open '%s'", name);
    }
    int rc = read_fd(fd, name, max_bytes, out, error);
    close(fd);
    return rc;
}

int hf_read_file(const char *path, size_t max_bytes, struct hf_buf *out, struct hf_error *error)
{
    return hf_read_file_at(AT_FDCWD, path, max_bytes, out, error);
}

int hf_write_all(int fd, const void *data, size_t size, struct hf_error *error)
{
    const uint8_t *p = data;
    while (size > 0) {
        ssize_t written = write(fd, p, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            int saved = errno;
            return hf_error_set(error, code_of_errno(saved), saved, "Can't write %zu bytes", size);
        }
        p += written;
        size -= (size_t)written;
    }
    return HF_OK;
}

int hf_pread_all(int fd, void *out, size_t size, uint64_t offset, struct hf_error *error)
{
    uint8_t *p = out;
    while (size > 0) {
        ssize_t got = pread(fd, p, size, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            int saved = errno;
            return hf_error_set(error, code_of_errno(saved), saved,
                                "Can't read %zu bytes at offset %llu", size,
                                (unsigned long long)offset);
        }
        if (got == 0) {
            return hf_error_set(error, HF_ERR_CORRUPT, 0,
                                "The file ends %zu bytes early, at offset %llu", size,
                                (unsigned long long)offset);
        }
        p += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return HF_OK;
}

int hf_write_file_atomic(const char *path, const void *data, size_t size, mode_t mode,
                         struct hf_error *error)
{
    char temporary[PATH_BYTES_MAX + 1];
    uint8_t random[8];
    char suffix[2 * sizeof random + 1];
    hf_random(random, sizeof random);
    hf_hex_encode(random, sizeof random, suffix);
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.tmp-%s", path, suffix) >=
        sizeof temporary) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "Path '%.200s...' is too long", path);
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        int saved = errno;
        return hf_error_set(error, code_of_errno(saved), saved, "Can't make '%s'", temporary);
    }
    int rc = hf_write_all(fd, data, size, error);
    if (rc == HF_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0)) {
        int saved = errno;
        rc =
            hf_error_set(error, code_of_errno(saved), saved, "Can't write '%s' to disk", temporary);
    } else if (rc != HF_OK) {
        hf_error_prefix(error, "%s", temporary);
    }
    close(fd);
    if (rc == HF_OK && rename(temporary, path) != 0) {
        int saved = errno;
        rc = hf_error_set(error, code_of_errno(saved), saved, "Can't replace '%s'", path);
    }
    if (rc != HF_OK) {
        unlink(temporary);
        return rc;
    }
    return hf_sync_dir_of(path, error);
}

int hf_sync_dir_of(const char *path, struct hf_error *error)
{
    char directory[PATH_BYTES_MAX + 1];
    struct stat status;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 1;
    const char *start = slash ? path : ".";
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        start = path;
        length = strlen(path);
    } else if (slash == path) {
        length = 1;
    }
    if (length >= sizeof directory) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "Path '%.200s...' is too long", path);
    }
    memcpy(directory, start, length);
    directory[length] = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0;
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (failed) {
        return hf_error_set(error, code_of_errno(saved), saved,
                            "Can't write directory '%s' to disk", directory);
    }
    return HF_OK;
}

int hf_mkdirs(const char *path, mode_t mode, struct hf_error *error)
{
    char *copy = strdup(path);
    if (!copy || !*copy) {
        free(copy);
        return hf_error_set(error, HF_ERR_INVALID, 0, "Can't make directory '%s'", path);
    }
    int rc = HF_OK;
    for (char *slash = copy; rc == HF_OK && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash) {
            *slash = '\0';
        }
        struct stat status;
        if (mkdir(copy, mode) != 0 &&
            !(errno == EEXIST && stat(copy, &status) == 0 && S_ISDIR(status.st_mode))) {
            int saved = errno;
            rc =
                hf_error_set(error, code_of_errno(saved), saved, "Can't make directory '%s'", copy);
        }
        if (slash) {
            *slash = '/';
        }
    }
    free(copy);
    return rc;
}
