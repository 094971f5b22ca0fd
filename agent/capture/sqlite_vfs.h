/* How the reader of databases (sqlite_reader.h) lets SQLite at files: two of SQLite's "VFS",
 * neither of which can change, make or remove anything on the disk but what it was handed as
 * writable.
 *
 * SQLITE_VFS_SHARED  files of the working directory, with SQLite's own locks and the shared index
 * of the -wal, so that others may write meanwhile. Whatever SQLite asks for, a file is opened for
 * reading only, never through a link, and only if it is a regular file of that directory; nothing
 * is made, cut, removed or given to another owner. SQLITE_VFS_FILES   files that are open already,
 * by names of ours, without locks: nobody else writes to them, or the caller finds out who did.
 *
 * For a process that does nothing else: the first changes what SQLite's own VFS may do. One thread.
 */
#ifndef HF_AGENT_CAPTURE_SQLITE_VFS_H
#define HF_AGENT_CAPTURE_SQLITE_VFS_H

#include <stdbool.h>
#include <stddef.h>

#define SQLITE_VFS_SHARED "holdfast-shared"
#define SQLITE_VFS_FILES  "holdfast-files"

/* Registers both. A code of SQLite's. */
int sqlite_vfs_register(void);

struct sqlite_vfs_file {
    const char *name;
    int fd; /* the caller's; -1: an empty file */
    bool writable;
    bool removed; /* by SQLite, as far as it can tell */
};
/* What SQLITE_VFS_FILES has, until the next call; the array is the caller's. */
void sqlite_vfs_set_files(struct sqlite_vfs_file *files, size_t count);

/* A regular file of the working directory, to be read; -1 with errno. */
int sqlite_vfs_open(const char *name);

#endif
