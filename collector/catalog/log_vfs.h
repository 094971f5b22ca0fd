/* SQLite writes each page of a transaction into its log in two pieces, of 24 bytes and of a page:
 * two calls of the system each, which took a third of what a commit costs. This is the system's
 * file interface (a VFS in SQLite's terms) with one thing changed: what is written to a log is
 * gathered, and handed to the kernel before anybody else is told of it. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_LOG_VFS_H
#define HF_COLLECTOR_CATALOG_LOG_VFS_H

/* A connection of this name's must be set up by LOG_VFS_SETTINGS before it writes. SQLite then
 * syncs the log with SQLITE_SYNC_NORMAL at the end of each commit, before readers learn of it,
 * which here means: give what is gathered to the kernel, and wait for no disk. It syncs with
 * SQLITE_SYNC_FULL before pages are copied out of the log and when that begins anew, which here
 * means what it says. So a commit costs no sync and is as durable as with synchronous=NORMAL and
 * the system's interface.
 */
#define LOG_VFS          "holdfast-log"
#define LOG_VFS_SETTINGS "PRAGMA synchronous=FULL; PRAGMA checkpoint_fullfsync=ON;"

/* Make the name known to SQLite, once in a process. 0 or SQLite's result code. */
int log_vfs_register(void);

#endif
