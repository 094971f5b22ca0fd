#include "collector/catalog/log_vfs.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The largest page and its head fit in; what SQLite's file of the system takes at a time is less
 * than 128 KiB. */
#define GATHER_BYTES ((size_t)96 * 1024)

/* A log that is open; the system's file lies behind it. */
struct log_file {
    sqlite3_file base;
    uint8_t *gathered; /* what comes at `start`, and is not written yet */
    size_t size;
    sqlite3_int64 start;
    sqlite3_file *system;
};

static sqlite3_vfs *system_vfs;

static struct log_file *as_log(sqlite3_file *file)
{
    return (struct log_file *)(void *)file;
}

/* What could not be written was part of a transaction that fails for it: SQLite writes all of it
 * again, and this must not get in between. */
static int hand_over(struct log_file *log)
{
    if (log->size == 0) {
        return SQLITE_OK;
    }
    int size = (int)log->size;
    log->size = 0;
    return log->system->pMethods->xWrite(log->system, log->gathered, size, log->start);
}

static int log_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct log_file *log = as_log(file);
    bool follows = log->size > 0 && offset == log->start + (sqlite3_int64)log->size;
    if (!follows || log->size + (size_t)size > GATHER_BYTES) {
        int rc = hand_over(log);
        if (rc != SQLITE_OK) {
            return rc;
        }
        log->start = offset;
    }
    if ((size_t)size > GATHER_BYTES) {
        return log->system->pMethods->xWrite(log->system, data, size, offset);
    }
    memcpy(log->gathered + log->size, data, (size_t)size);
    log->size += (size_t)size;
    return SQLITE_OK;
}

static int log_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    int rc = hand_over(as_log(file));
    sqlite3_file *system = as_log(file)->system;
    return rc == SQLITE_OK ? system->pMethods->xRead(system, out, size, offset) : rc;
}

static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = hand_over(as_log(file));
    sqlite3_file *system = as_log(file)->system;
    return rc == SQLITE_OK ? system->pMethods->xTruncate(system, size) : rc;
}

static int log_sync(sqlite3_file *file, int flags)
{
    int rc = hand_over(as_log(file));
    sqlite3_file *system = as_log(file)->system;
    bool commit = (flags & (SQLITE_SYNC_NORMAL | SQLITE_SYNC_FULL)) == SQLITE_SYNC_NORMAL;
    return rc == SQLITE_OK && !commit ? system->pMethods->xSync(system, flags) : rc;
}

static int log_size(sqlite3_file *file, sqlite3_int64 *size)
{
    int rc = hand_over(as_log(file));
    sqlite3_file *system = as_log(file)->system;
    return rc == SQLITE_OK ? system->pMethods->xFileSize(system, size) : rc;
}

/* What is still gathered is of a transaction that was never committed. */
static int log_close(sqlite3_file *file)
{
    struct log_file *log = as_log(file);
    free(log->gathered);
    log->gathered = NULL;
    return log->system->pMethods->xClose(log->system);
}

static int log_lock(sqlite3_file *file, int level)
{
    sqlite3_file *system = as_log(file)->system;
    return system->pMethods->xLock(system, level);
}

static int log_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *system = as_log(file)->system;
    return system->pMethods->xUnlock(system, level);
}

static int log_check_lock(sqlite3_file *file, int *out)
{
    sqlite3_file *system = as_log(file)->system;
    return system->pMethods->xCheckReservedLock(system, out);
}

static int log_control(sqlite3_file *file, int operation, void *arg)
{
    sqlite3_file *system = as_log(file)->system;
    return system->pMethods->xFileControl(system, operation, arg);
}

static int log_sector_size(sqlite3_file *file)
{
    sqlite3_file *system = as_log(file)->system;
    return system->pMethods->xSectorSize(system);
}

static int log_characteristics(sqlite3_file *file)
{
    sqlite3_file *system = as_log(file)->system;
    /* Else SQLite fills up sectors behind a commit's last page, and syncs in the midst of that. */
    return system->pMethods->xDeviceCharacteristics(system) | SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* Version 1: logs are neither shared memory nor mapped. */
static const sqlite3_io_methods log_methods = {
    .iVersion = 1,
    .xClose = log_close,
    .xRead = log_read,
    .xWrite = log_write,
    .xTruncate = log_truncate,
    .xSync = log_sync,
    .xFileSize = log_size,
    .xLock = log_lock,
    .xUnlock = log_unlock,
    .xCheckReservedLock = log_check_lock,
    .xFileControl = log_control,
    .xSectorSize = log_sector_size,
    .xDeviceCharacteristics = log_characteristics,
};

/* Of a length that keeps what lies behind it aligned. */
#define LOG_FILE_BYTES ((sizeof(struct log_file) + 15) & ~(size_t)15)

/* Everything but a log is the system's file itself. */
static int open_file(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                     int *out_flags)
{
    (void)vfs;
    if ((flags & SQLITE_OPEN_WAL) == 0) {
        return system_vfs->xOpen(system_vfs, name, file, flags, out_flags);
    }
    struct log_file *log = as_log(file);
    *log = (struct log_file){.gathered = malloc(GATHER_BYTES),
                             .system = (sqlite3_file *)(void *)((char *)file + LOG_FILE_BYTES)};
    if (!log->gathered) {
        return SQLITE_NOMEM;
    }
    int rc = system_vfs->xOpen(system_vfs, name, log->system, flags, out_flags);
    if (rc != SQLITE_OK) {
        free(log->gathered);
        *log = (struct log_file){0}; /* no methods: there is nothing for SQLite to close */
        return rc;
    }
    log->base.pMethods = &log_methods;
    return SQLITE_OK;
}

int log_vfs_register(void)
{
    static sqlite3_vfs log_vfs;
    system_vfs = sqlite3_vfs_find(NULL);
    if (!system_vfs) {
        return SQLITE_ERROR;
    }
    log_vfs = *system_vfs; /* its other functions look at no VFS */
    log_vfs.zName = LOG_VFS;
    log_vfs.pNext = NULL;
    log_vfs.szOsFile = system_vfs->szOsFile + (int)LOG_FILE_BYTES;
    log_vfs.xOpen = open_file;
    return sqlite3_vfs_register(&log_vfs, 0);
}
