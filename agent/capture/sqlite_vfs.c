#include "agent/capture/sqlite_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/fs.h"

#define SECTOR_BYTES 4096

/* --- shared: SQLite's own VFS, which is let do less --- */

int sqlite_vfs_open(const char *name)
{
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat status;
    if (strchr(name, '/')) {
        errno = ENOENT;
        return -1;
    }
    int fd = hf_open_quietly(AT_FDCWD, name, flags);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    return fd;
}

/* Who wants to write is told that he may not, and then asks for reading. */
static int open_to_read(const char *path, int flags, int mode)
{
    (void)mode;
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0) {
        errno = EACCES;
        return -1;
    }
    return sqlite_vfs_open(path);
}

static int refuse(void)
{
    errno = EROFS;
    return -1;
}

static int refuse_fd_size(int fd, off_t size)
{
    (void)fd, (void)size;
    return refuse();
}

static int refuse_fd_range(int fd, off_t offset, off_t size)
{
    (void)fd, (void)offset, (void)size;
    return refuse();
}

static ssize_t refuse_write(int fd, const void *data, size_t size)
{
    (void)fd, (void)data, (void)size;
    return refuse();
}

static ssize_t refuse_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    (void)fd, (void)data, (void)size, (void)offset;
    return refuse();
}

static int refuse_path(const char *path)
{
    (void)path;
    return refuse();
}

static int refuse_path_mode(const char *path, mode_t mode)
{
    (void)path, (void)mode;
    return refuse();
}

static int refuse_fd_mode(int fd, mode_t mode)
{
    (void)fd, (void)mode;
    return refuse();
}

/* As root SQLite gives a -shm to the database's owner, whosever it is. */
static int keep_owner(int fd, uid_t uid, gid_t gid)
{
    (void)fd, (void)uid, (void)gid;
    return 0;
}

static int restrict_calls(sqlite3_vfs *vfs)
{
    /* SQLite casts each to what it knows it to be. */
    const struct {
        const char *name;
        sqlite3_syscall_ptr call;
    } calls[] = {
        {"open", (sqlite3_syscall_ptr)open_to_read},
        {"ftruncate", (sqlite3_syscall_ptr)refuse_fd_size},
        {"fallocate", (sqlite3_syscall_ptr)refuse_fd_range},
        {"write", (sqlite3_syscall_ptr)refuse_write},
        {"pwrite", (sqlite3_syscall_ptr)refuse_pwrite},
        {"pwrite64", (sqlite3_syscall_ptr)refuse_pwrite},
        {"unlink", (sqlite3_syscall_ptr)refuse_path},
        {"mkdir", (sqlite3_syscall_ptr)refuse_path_mode},
        {"rmdir", (sqlite3_syscall_ptr)refuse_path},
        {"fchmod", (sqlite3_syscall_ptr)refuse_fd_mode},
        {"fchown", (sqlite3_syscall_ptr)keep_owner},
    };
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof calls / sizeof calls[0]; i++) {
        code = vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call);
    }
    return code;
}

static sqlite3_vfs *unix_vfs;
static sqlite3_io_methods shared_methods;
static int (*unix_shm_map)(sqlite3_file *, int, int, int, void volatile **);

/* Where nobody else has the database open any more, SQLite would make do with an index of its own
 * and without locks, and believe that nobody comes. That is for the caller to judge. (Told
 * SQLITE_BUSY, it would try for seconds.) */
static int shared_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    int code = unix_shm_map(file, page, size, extend, out);
    return code == SQLITE_READONLY_CANTINIT ? SQLITE_CANTOPEN : code;
}

static int shared_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                       int *out_flags)
{
    (void)vfs;
    int code = unix_vfs->xOpen(unix_vfs, name, file, flags, out_flags);
    if (code == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB)) {
        shared_methods = *file->pMethods;
        unix_shm_map = shared_methods.xShmMap;
        shared_methods.xShmMap = shared_shm_map;
        file->pMethods = &shared_methods;
    }
    return code;
}

/* SQLite's own would make an absolute path of it, through whatever links lead there now. */
static int keep_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    size_t length = strlen(name);
    if (length >= (size_t)size) {
        return SQLITE_CANTOPEN;
    }
    memcpy(out, name, length + 1);
    return SQLITE_OK;
}

static int refuse_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs, (void)name, (void)sync;
    return SQLITE_IOERR_DELETE;
}

/* --- files: what is open already --- */

struct open_file {
    sqlite3_file base;
    struct sqlite_vfs_file *file;
};

static struct sqlite_vfs_file *files;
static size_t file_count;

void sqlite_vfs_set_files(struct sqlite_vfs_file *list, size_t count)
{
    files = list;
    file_count = count;
}

static struct sqlite_vfs_file *find(const char *name)
{
    for (size_t i = 0; name && i < file_count; i++) {
        if (strcmp(files[i].name, name) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

static int files_close(sqlite3_file *base)
{
    (void)base;
    return SQLITE_OK;
}

static int files_read(sqlite3_file *base, void *out, int size, sqlite3_int64 offset)
{
    const struct open_file *open = (const struct open_file *)base;
    uint8_t *data = out;
    size_t got = 0;
    while (open->file->fd >= 0 && got < (size_t)size) {
        ssize_t n = pread(open->file->fd, data + got, (size_t)size - got, offset + (off_t)got);
        if (n < 0 && errno != EINTR) {
            return SQLITE_IOERR_READ;
        }
        if (n == 0) {
            break;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    memset(data + got, 0, (size_t)size - got);
    return got == (size_t)size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int files_write(sqlite3_file *base, const void *in, int size, sqlite3_int64 offset)
{
    const struct open_file *open = (const struct open_file *)base;
    const uint8_t *data = in;
    size_t put = 0;
    if (!open->file->writable) {
        return SQLITE_READONLY;
    }
    while (put < (size_t)size) {
        ssize_t n = pwrite(open->file->fd, data + put, (size_t)size - put, offset + (off_t)put);
        if (n < 0 && errno != EINTR) {
            bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
            return full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        }
        put += n > 0 ? (size_t)n : 0;
    }
    return SQLITE_OK;
}

static int files_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    const struct open_file *open = (const struct open_file *)base;
    bool done = open->file->writable && ftruncate(open->file->fd, size) == 0;
    return done ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

/* What is written is read again by this process's parent; no power cut is survived. */
static int files_sync(sqlite3_file *base, int flags)
{
    (void)base, (void)flags;
    return SQLITE_OK;
}

static int files_size(sqlite3_file *base, sqlite3_int64 *out)
{
    const struct open_file *open = (const struct open_file *)base;
    struct stat status = {0};
    if (open->file->fd >= 0 && fstat(open->file->fd, &status) != 0) {
        return SQLITE_IOERR_FSTAT;
    }
    *out = status.st_size;
    return SQLITE_OK;
}

static int files_lock(sqlite3_file *base, int lock)
{
    (void)base, (void)lock;
    return SQLITE_OK;
}

static int files_check_lock(sqlite3_file *base, int *out)
{
    (void)base;
    *out = 0;
    return SQLITE_OK;
}

static int files_control(sqlite3_file *base, int operation, void *argument)
{
    (void)base, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int files_sector(sqlite3_file *base)
{
    (void)base;
    return SECTOR_BYTES;
}

static int files_traits(sqlite3_file *base)
{
    (void)base;
    return 0;
}

/* Version 1: no shared memory, so that a -wal is read with an index in this process's own. */
static const sqlite3_io_methods files_methods = {
    .iVersion = 1,
    .xClose = files_close,
    .xRead = files_read,
    .xWrite = files_write,
    .xTruncate = files_truncate,
    .xSync = files_sync,
    .xFileSize = files_size,
    .xLock = files_lock,
    .xUnlock = files_lock,
    .xCheckReservedLock = files_check_lock,
    .xFileControl = files_control,
    .xSectorSize = files_sector,
    .xDeviceCharacteristics = files_traits,
};

static int files_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                      int *out_flags)
{
    (void)vfs;
    struct open_file *open = (struct open_file *)base;
    *open = (struct open_file){.file = find(name)};
    if (!open->file || open->file->removed) {
        return SQLITE_CANTOPEN;
    }
    open->base.pMethods = &files_methods;
    if (out_flags) {
        *out_flags =
            open->file->writable
                ? flags
                : (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
    }
    return SQLITE_OK;
}

static int files_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs, (void)sync;
    struct sqlite_vfs_file *file = find(name);
    if (file) {
        file->removed = true;
    }
    return SQLITE_OK;
}

/* Other names, from / on, are those of journals over several databases: whether one is still there
 * decides whether the journal of one of them counts. */
static int files_access(sqlite3_vfs *vfs, const char *name, int what, int *out)
{
    (void)vfs, (void)what;
    const struct sqlite_vfs_file *file = find(name);
    struct stat status = {0};
    if (file) {
        *out =
            !file->removed && file->fd >= 0 && fstat(file->fd, &status) == 0 && status.st_size > 0;
    } else {
        *out = *name == '/' && lstat(name, &status) == 0 && S_ISREG(status.st_mode);
    }
    return SQLITE_OK;
}

int sqlite_vfs_register(void)
{
    static sqlite3_vfs shared, of_files;
    unix_vfs = sqlite3_vfs_find("unix");
    if (!unix_vfs || unix_vfs->iVersion < 3) {
        return SQLITE_MISUSE;
    }
    int code = restrict_calls(unix_vfs);
    shared = of_files = *unix_vfs;
    shared.zName = SQLITE_VFS_SHARED;
    shared.xOpen = shared_open;
    shared.xDelete = of_files.xDelete = refuse_delete;
    shared.xFullPathname = of_files.xFullPathname = keep_name;
    of_files.zName = SQLITE_VFS_FILES;
    of_files.szOsFile = sizeof(struct open_file);
    of_files.xOpen = files_open;
    of_files.xDelete = files_delete;
    of_files.xAccess = files_access;
    code = code == SQLITE_OK ? sqlite3_vfs_register(&shared, 0) : code;
    return code == SQLITE_OK ? sqlite3_vfs_register(&of_files, 0) : code;
}
