/* The copying itself, by SQLite's online backup: from a connection to a database that others may
 * write to meanwhile, into an empty file. In the reader's process (sqlite_reader.h), one thread. */
#ifndef HF_AGENT_CAPTURE_SQLITE_COPY_H
#define HF_AGENT_CAPTURE_SQLITE_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

enum copy_end {
    COPY_DONE,
    COPY_AGAIN,    /* somebody has it locked, or is just coming or going */
    COPY_HOT,      /* somebody died while he wrote: his journal has to be played back first */
    COPY_UNUSABLE, /* it is no database, or SQLite can't make one of it */
    COPY_NO_ROOM,  /* for the copy */
    COPY_FAILED
};

#define COPY_MESSAGE_BYTES 160

struct copy {
    sqlite3 *from, *to;
    /* In WAL mode a read transaction is a snapshot that keeps nobody from writing: all is copied in
     * one. Without, locks are held for a few pages at a time, and the copying begins anew when
     * somebody has written in between; only who does that for long has to wait for the end of it.
     */
    bool snapshot;
    int64_t patience_ns;    /* how long others' locks are waited for, each time */
    void (*progress)(void); /* called at least once in 100 ms while it goes on */
    char message[COPY_MESSAGE_BYTES];
};

enum copy_end copy_database(struct copy *copy);

/* What a code of SQLite's means for the copying; the connection's words for it go to message. */
enum copy_end copy_end_of(sqlite3 *db, int code, char message[COPY_MESSAGE_BYTES]);
/* So that a database can't make the reader do more than read it. */
int copy_restrain(sqlite3 *db);

/* Whether SQLite finds a copy sound: COPY_DONE, or COPY_UNUSABLE with what it says. What it can't
 * judge (collations of the program's own) passes, and so does what takes longer than limit_ns. */
enum copy_end copy_check(sqlite3 *db, int64_t limit_ns, void (*progress)(void),
                         char message[COPY_MESSAGE_BYTES]);

#endif
