/* The reader: a process of its own that makes the backup of one database.
 *
 * Not in the agent's own process, because
 *  - what it reads can be anything, and SQLite maps a file into memory that others may cut short: a
 *    crash is the reader's, and told of like a damaged file;
 *  - the locks by which programs that share a database get along belong to a process, and end when
 *    any part of it closes the file;
 *  - an agent that runs as root reads a database as the user to whom it belongs.
 *
 * The program is the agent's: whoever makes backups starts /proc/self/exe with
 * SQLITE_READER_COMMAND as its first argument (sqlite_backup.h), and main hands that to
 * sqlite_reader_main. */
#ifndef HF_AGENT_CAPTURE_SQLITE_READER_H
#define HF_AGENT_CAPTURE_SQLITE_READER_H

#define SQLITE_READER_COMMAND "sqlite-reader"

/* Arguments after the command, all but the name numbers. Descriptors are inherited. */
enum sqlite_reader_argument {
    READER_NAME,      /* of the database in the directory */
    READER_DIRECTORY, /* descriptor: becomes the working directory */
    READER_BACKUP,    /* descriptor: an empty file, for the backup */
    READER_SCRATCH,   /* descriptor: an empty file */
    READER_SCRATCH_2, /* descriptor: an empty file */
    READER_UID,       /* to become, where the process is root's and that isn't */
    READER_GID,
    READER_LIMIT,  /* bytes that a file may get */
    READER_PARENT, /* process id */
    READER_ARGUMENTS
};

/* What it writes to its standard output: READER_ALIVE any number of times, then one of the others
 * and a sentence for people. */
enum sqlite_reader_answer {
    READER_ALIVE = '.',
    READER_DONE = 'd',
    READER_UNSOUND = 'u', /* there is a backup, but SQLite says that the database is damaged */
    READER_UNUSABLE = 'n',
    READER_NO_ROOM = 'r',
    READER_BUSY = 'b',
    READER_GONE = 'g', /* the file, or it isn't one any more */
    READER_FAILED = 'f'
};

/* The exit code. */
int sqlite_reader_main(int argc, char **argv);

#endif
