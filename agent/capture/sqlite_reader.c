#include "agent/capture/sqlite_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/capture/sqlite_copy.h"
#include "agent/capture/sqlite_vfs.h"
#include "common/clock.h"
#include "common/fs.h"

/* What SQLite may take: the index of a long -wal is the most of it. */
#define HEAP_MAX_BYTES  (INT64_C(128) * 1024 * 1024)
#define PATIENCE_NS     (10 * HF_NS_PER_SECOND)
#define CHECK_LIMIT_NS  (60 * HF_NS_PER_SECOND)
#define PROGRESS_NS     (100 * HF_NS_PER_MS)
#define STILL_NS        (25 * HF_NS_PER_MS) /* a file system's clock can stand still for so long */
#define RETRY_MIN_US    1000u
#define RETRY_MAX_US    25000u
#define PIECE_BYTES     65536u
#define HEADER_BYTES    100u
#define READ_VERSION_AT 19 /* in the header: 2 for WAL mode */
/* In a -shm, the byte that everybody locks who has the database open (SQLite's "WAL-index format").
 */
#define DEAD_MAN_SWITCH 128

enum { FILE_BACKUP, FILE_SOURCE, FILE_WAL, FILE_JOURNAL, FILES };

struct reader {
    const char *name;
    char wal[300], shm[300], journal[300];
    int backup_fd, scratch_fd, scratch2_fd;
    struct sqlite_vfs_file files[FILES]; /* of SQLITE_VFS_FILES */
    char message[COPY_MESSAGE_BYTES];
};

/* --- telling the parent --- */

static void tell(enum sqlite_reader_answer answer, const char *message)
{
    char text[COPY_MESSAGE_BYTES + 2];
    int length = snprintf(text, sizeof text, "%c%s", (char)answer, message);
    size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    if (write(STDOUT_FILENO, text, size) < 0) {
        _exit(1); /* nobody listens any more */
    }
}

static void progress(void)
{
    static int64_t told_ns;
    int64_t now = hf_clock_monotonic_ns();
    if (now - told_ns >= PROGRESS_NS) {
        told_ns = now;
        tell(READER_ALIVE, "");
    }
}

/* --- what lies there --- */

/* All zero for a file that isn't there, is none, or is empty. */
static struct stat look_at(const char *name)
{
    struct stat look;
    bool there = fstatat(AT_FDCWD, name, &look, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISREG(look.st_mode) && look.st_size > 0;
    return there ? look : (struct stat){0};
}

static int64_t ns_of(struct timespec time)
{
    return time.tv_sec * HF_NS_PER_SECOND + time.tv_nsec;
}

static bool looks_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           ns_of(a->st_mtim) == ns_of(b->st_mtim) && ns_of(a->st_ctim) == ns_of(b->st_ctim);
}

/* Whether a change since would show: not within the same tick of the file system's clock. */
static bool is_still(const struct stat *look)
{
    int64_t age_ns = hf_clock_now_ns() - ns_of(look->st_ctim);
    return age_ns < 0 || age_ns > STILL_NS;
}

/* Whether a process has the database open in WAL mode. */
static bool is_shared(const struct reader *reader)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = DEAD_MAN_SWITCH, .l_len = 1};
    int fd = sqlite_vfs_open(reader->shm);
    bool shared = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0) {
        close(fd);
    }
    return shared;
}

/* --- reading it --- */

static enum copy_end open_backup(struct reader *reader, sqlite3 **db)
{
    static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY;"
                                   " PRAGMA synchronous = OFF";
    if (ftruncate(reader->backup_fd, 0) != 0) {
        snprintf(reader->message, sizeof reader->message, "can't empty its backup: %s",
                 strerror(errno));
        return COPY_FAILED;
    }
    int code = sqlite3_open_v2(reader->files[FILE_BACKUP].name, db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                               SQLITE_VFS_FILES);
    code = code == SQLITE_OK ? copy_restrain(*db) : code;
    code = code == SQLITE_OK ? sqlite3_exec(*db, settings, NULL, NULL, NULL) : code;
    return copy_end_of(*db, code, reader->message);
}

static enum copy_end copy_from(struct reader *reader, sqlite3 *from, bool snapshot)
{
    struct copy copy = {
        .from = from, .snapshot = snapshot, .patience_ns = PATIENCE_NS, .progress = progress};
    enum copy_end end = open_backup(reader, &copy.to);
    if (end == COPY_DONE) {
        end = copy_database(&copy);
        memcpy(reader->message, copy.message, sizeof reader->message);
    }
    sqlite3_close(copy.to);
    return end;
}

/* As one of those who use it, with the locks that keep them from hurting each other. */
static enum copy_end read_shared(struct reader *reader, bool wal_mode)
{
    char uri[3 * NAME_MAX + 64] = "file:";
    sqlite3 *from = NULL;
    size_t length = strlen(uri);
    for (const char *at = reader->name; *at; at++) {
        length += (size_t)snprintf(uri + length, sizeof uri - length, "%%%02x", (uint8_t)*at);
    }
    snprintf(uri + length, sizeof uri - length, "?readonly_shm=1");
    int code = sqlite3_open_v2(uri, &from,
                               SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_PRIVATECACHE,
                               SQLITE_VFS_SHARED);
    code = code == SQLITE_OK ? copy_restrain(from) : code;
    enum copy_end end = copy_end_of(from, code, reader->message);
    end = end == COPY_DONE ? copy_from(reader, from, wal_mode) : end;
    sqlite3_close(from);
    return end;
}

static int copy_file(int from_fd, int to_fd)
{
    uint8_t piece[PIECE_BYTES];
    ssize_t got = ftruncate(to_fd, 0) == 0 && lseek(to_fd, 0, SEEK_SET) == 0 ? 1 : -1;
    while (got > 0) {
        got = read(from_fd, piece, sizeof piece);
        if (got > 0 && hf_write_all(to_fd, piece, (size_t)got, NULL) != HF_OK) {
            got = -1;
        }
        progress();
    }
    return got < 0 ? errno : 0;
}

static struct sqlite_vfs_file no_file(const char *name)
{
    return (struct sqlite_vfs_file){.name = name, .fd = -1, .removed = true};
}

/* A -wal is read where it lies. A journal is played back, so that has to be done to copies. */
static enum copy_end set_files(struct reader *reader, int fd, int side_fd, bool hot)
{
    int failure = hot ? copy_file(fd, reader->scratch_fd) : 0;
    failure = hot && !failure ? copy_file(side_fd, reader->scratch2_fd) : failure;
    reader->files[FILE_SOURCE] = (struct sqlite_vfs_file){
        .name = "source", .fd = hot ? reader->scratch_fd : fd, .writable = hot};
    reader->files[FILE_WAL] = no_file("source-wal");
    reader->files[FILE_JOURNAL] = no_file("source-journal");
    struct sqlite_vfs_file *side = &reader->files[hot ? FILE_JOURNAL : FILE_WAL];
    side->fd = hot ? reader->scratch2_fd : side_fd;
    side->writable = hot;
    side->removed = false;
    if (failure) {
        snprintf(reader->message, sizeof reader->message, "can't be copied: %s", strerror(failure));
    }
    bool full = failure == ENOSPC || failure == EDQUOT || failure == EFBIG;
    return full ? COPY_NO_ROOM : failure ? COPY_FAILED : COPY_DONE;
}

static enum copy_end read_files(struct reader *reader, bool hot)
{
    sqlite3 *from = NULL;
    int code =
        sqlite3_open_v2(reader->files[FILE_SOURCE].name, &from,
                        (hot ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX,
                        SQLITE_VFS_FILES);
    code = code == SQLITE_OK ? copy_restrain(from) : code;
    code = code == SQLITE_OK
               ? sqlite3_exec(from, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL)
               : code;
    enum copy_end end = copy_end_of(from, code, reader->message);
    end = end == COPY_DONE ? copy_from(reader, from, true) : end;
    sqlite3_close(from);
    return end;
}

/* Nobody has it open, so there is nobody to share locks with: what is read counts if neither the
 * database nor what lies beside it changed meanwhile. */
static enum copy_end read_still(struct reader *reader, bool hot)
{
    const char *side_name = hot ? reader->journal : reader->wal;
    struct stat db = look_at(reader->name);
    struct stat side = look_at(side_name);
    snprintf(reader->message, sizeof reader->message, "changes all the time");
    if (!is_still(&db) || !is_still(&side) || (hot && side.st_size == 0)) {
        return COPY_AGAIN;
    }
    int fd = sqlite_vfs_open(reader->name);
    int side_fd = side.st_size > 0 ? sqlite_vfs_open(side_name) : -1;
    bool opened = fd >= 0 && (side_fd >= 0 || side.st_size == 0);
    enum copy_end end = opened ? set_files(reader, fd, side_fd, hot) : COPY_AGAIN;
    end = end == COPY_DONE ? read_files(reader, hot) : end;
    struct stat db_after = look_at(reader->name);
    struct stat side_after = look_at(side_name);
    if (!looks_same(&db, &db_after) || !looks_same(&side, &side_after)) {
        end = COPY_AGAIN;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (side_fd >= 0) {
        close(side_fd);
    }
    return end;
}

static bool is_wal_mode(const struct reader *reader)
{
    uint8_t header[HEADER_BYTES] = {0};
    struct stat wal = look_at(reader->wal);
    int fd = sqlite_vfs_open(reader->name);
    bool got = fd >= 0 && hf_pread_all(fd, header, sizeof header, 0, NULL) == HF_OK;
    if (fd >= 0) {
        close(fd); /* before there are locks, which would go with it */
    }
    return (got && header[READ_VERSION_AT] == 2) || wal.st_size > 0;
}

static enum copy_end read_once(struct reader *reader)
{
    bool wal_mode = is_wal_mode(reader);
    if (wal_mode && !is_shared(reader)) {
        return read_still(reader, false);
    }
    enum copy_end end = read_shared(reader, wal_mode);
    return end == COPY_HOT ? read_still(reader, true) : end;
}

static enum copy_end read_database(struct reader *reader)
{
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    useconds_t wait_us = RETRY_MIN_US;
    enum copy_end end;
    while ((end = read_once(reader)) == COPY_AGAIN && hf_clock_monotonic_ns() < end_ns) {
        progress();
        usleep(wait_us);
        wait_us = wait_us < RETRY_MAX_US ? 2 * wait_us : RETRY_MAX_US;
    }
    return end;
}

static enum copy_end check_backup(struct reader *reader)
{
    sqlite3 *db = NULL;
    reader->files[FILE_SOURCE] =
        (struct sqlite_vfs_file){.name = "source", .fd = reader->backup_fd};
    reader->files[FILE_WAL] = (struct sqlite_vfs_file){.name = "source-wal", .fd = -1};
    reader->files[FILE_JOURNAL] = no_file("source-journal");
    int code = sqlite3_open_v2(reader->files[FILE_SOURCE].name, &db,
                               SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, SQLITE_VFS_FILES);
    code = code == SQLITE_OK ? copy_restrain(db) : code;
    code = code == SQLITE_OK ? sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL)
                             : code;
    enum copy_end end = copy_end_of(db, code, reader->message);
    end = end == COPY_DONE ? copy_check(db, CHECK_LIMIT_NS, progress, reader->message) : end;
    sqlite3_close(db);
    return end;
}

static enum sqlite_reader_answer make_backup(struct reader *reader)
{
    int fd = sqlite_vfs_open(reader->name);
    if (fd < 0 && errno == EACCES) {
        snprintf(reader->message, sizeof reader->message, "its own user may not read it");
        return READER_UNUSABLE;
    }
    if (fd < 0) {
        snprintf(reader->message, sizeof reader->message, "can't be opened: %s", strerror(errno));
        return READER_GONE;
    }
    close(fd);
    switch (read_database(reader)) {
    case COPY_DONE:
        return check_backup(reader) == COPY_UNUSABLE ? READER_UNSOUND : READER_DONE;
    case COPY_AGAIN:
    case COPY_HOT:
        return READER_BUSY;
    case COPY_UNUSABLE:
        return READER_UNUSABLE;
    case COPY_NO_ROOM:
        return READER_NO_ROOM;
    case COPY_FAILED:
        break;
    }
    return READER_FAILED;
}

/* --- the process --- */

/* Who may change a database is not let at more than he could read himself. Where that right was
 * taken from the agent, what the files are opened with still is for reading them alone. */
static int become(uid_t uid, gid_t gid)
{
    if (geteuid() != 0 || uid == 0) {
        return 0;
    }
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) {
        return errno == EPERM || errno == EINVAL ? 0 : errno;
    }
    return 0;
}

static void settle_in(rlim_t limit, pid_t parent)
{
    struct rlimit size = {limit, limit};
    struct rlimit none = {0, 0};
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &size);
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after become, which resets it */
    if (getppid() != parent) {
        _exit(1);
    }
}

static bool read_numbers(char **argv, long long numbers[READER_ARGUMENTS])
{
    for (int i = READER_DIRECTORY; i < READER_ARGUMENTS; i++) {
        char *end;
        errno = 0;
        numbers[i] = strtoll(argv[i], &end, 10);
        if (errno != 0 || end == argv[i] || *end != '\0' || numbers[i] < 0) {
            return false;
        }
    }
    return true;
}

int sqlite_reader_main(int argc, char **argv)
{
    long long numbers[READER_ARGUMENTS];
    struct reader reader = {0};
    if (argc != READER_ARGUMENTS + 2 || strlen(argv[2]) > NAME_MAX ||
        !read_numbers(argv + 2, numbers)) {
        fprintf(stderr, "The agent starts this by itself, to read an SQLite database\n");
        return 2;
    }
    reader.name = argv[2 + READER_NAME];
    reader.backup_fd = (int)numbers[READER_BACKUP];
    reader.scratch_fd = (int)numbers[READER_SCRATCH];
    reader.scratch2_fd = (int)numbers[READER_SCRATCH_2];
    reader.files[FILE_BACKUP] =
        (struct sqlite_vfs_file){.name = "backup", .fd = reader.backup_fd, .writable = true};
    reader.files[FILE_SOURCE] = no_file("source");
    reader.files[FILE_WAL] = no_file("source-wal");
    reader.files[FILE_JOURNAL] = no_file("source-journal");
    snprintf(reader.wal, sizeof reader.wal, "%s-wal", reader.name);
    snprintf(reader.shm, sizeof reader.shm, "%s-shm", reader.name);
    snprintf(reader.journal, sizeof reader.journal, "%s-journal", reader.name);
    int failure = fchdir((int)numbers[READER_DIRECTORY]) == 0 ? 0 : errno;
    failure = failure ? failure : become((uid_t)numbers[READER_UID], (gid_t)numbers[READER_GID]);
    settle_in((rlim_t)numbers[READER_LIMIT], (pid_t)numbers[READER_PARENT]);
    sqlite3_hard_heap_limit64(HEAP_MAX_BYTES);
    if (failure || sqlite_vfs_register() != SQLITE_OK) {
        tell(READER_FAILED, failure ? strerror(failure) : "SQLite does not let itself be set up");
        return 1;
    }
    sqlite_vfs_set_files(reader.files, FILES);
    enum sqlite_reader_answer answer = make_backup(&reader);
    tell(answer, answer == READER_DONE ? "" : reader.message);
    return 0;
}
