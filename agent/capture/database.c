/* Sources of SQLite databases: what of a database is looked at, read and recorded in a file's
 * stead. The backup itself is sqlite_backup.c's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "agent/capture/sqlite_backup.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"

/* A -wal that goes on after what counts is looked at again: the transaction may be about to count,
 * or was given up. Later that is for scans. */
#define PENDING_MIN_NS (20 * HF_NS_PER_MS)
#define PENDING_MAX_NS (60 * HF_NS_PER_SECOND)

static const char *const siblings[] = {"-wal", "-shm", "-journal"};

/* How much of a path is the database's whose sibling it names; 0 for none. */
static size_t base_length(const char *path)
{
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof siblings / sizeof siblings[0]; i++) {
        size_t suffix = strlen(siblings[i]);
        if (length > suffix && strcmp(path + length - suffix, siblings[i]) == 0 &&
            path[length - suffix - 1] != '/') {
            return length - suffix;
        }
    }
    return 0;
}

bool database_is_sibling(const struct hf_config_source *source, const char *path)
{
    return config_is_sqlite(source) && base_length(path) > 0;
}

void database_of_sibling(const char *path, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)base_length(path), path);
}

/* --- what it looks like --- */

static int64_t ns_of(struct timespec time)
{
    return time.tv_sec * HF_NS_PER_SECOND + time.tv_nsec;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of SQLite's "WAL-index format" and "WAL file format": in the header of a -shm, which is in this
 * machine's byte order, the frames that count and the salts that theirs have; where a frame lies in
 * the -wal, and its salts in it. */
#define INDEX_BYTES     48u
#define INDEX_FRAMES_AT 16
#define INDEX_PAGE_AT   14
#define INDEX_SALTS_AT  32
#define WAL_HEADER      32u
#define FRAME_HEADER    24u
#define FRAME_SALTS_AT  8
#define SALTS_BYTES     8u

static int open_beside(int parent_fd, const char *name, const char *suffix, struct stat *status)
{
    char sibling[NAME_MAX + 16];
    snprintf(sibling, sizeof sibling, "%s%s", name, suffix);
    int fd = hf_open_quietly(parent_fd, sibling,
                             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, status) != 0 || !S_ISREG(status->st_mode) || status->st_size == 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Whether the -wal goes on after the frames that the index has. */
static bool has_more(int wal_fd, const uint8_t index[INDEX_BYTES])
{
    uint8_t header[FRAME_HEADER];
    uint32_t frames;
    uint16_t page;
    memcpy(&frames, index + INDEX_FRAMES_AT, sizeof frames);
    memcpy(&page, index + INDEX_PAGE_AT, sizeof page);
    uint64_t page_bytes = page == 1 ? 65536 : page;
    uint64_t at = WAL_HEADER + frames * (FRAME_HEADER + page_bytes);
    return hf_pread_all(wal_fd, header, sizeof header, at, NULL) == HF_OK &&
           memcmp(header + FRAME_SALTS_AT, index + INDEX_SALTS_AT, SALTS_BYTES) == 0;
}

/* A -wal, and up to where it counts: that is written to the -shm when all else is done, as late as
 * a disk takes to make the -wal durable, and shows in no time and to no inotify. */
static void look_at_wal(int parent_fd, const char *name, struct database_look *look, uint8_t *facts)
{
    struct stat wal;
    struct stat shm;
    uint8_t *index = facts + 5 * 8;
    int wal_fd = open_beside(parent_fd, name, "-wal", &wal);
    if (wal_fd < 0) {
        return;
    }
    hf_put_le64(facts, wal.st_dev);
    hf_put_le64(facts + 8, wal.st_ino);
    hf_put_le64(facts + 16, (uint64_t)wal.st_size);
    hf_put_le64(facts + 24, (uint64_t)ns_of(wal.st_mtim));
    hf_put_le64(facts + 32, (uint64_t)ns_of(wal.st_ctim));
    look->mtime_ns = later(look->mtime_ns, ns_of(wal.st_mtim));
    look->changed_ns = later(look->changed_ns, later(ns_of(wal.st_mtim), ns_of(wal.st_ctim)));
    int shm_fd = open_beside(parent_fd, name, "-shm", &shm);
    if (shm_fd >= 0) {
        if (hf_pread_all(shm_fd, index, INDEX_BYTES, 0, NULL) == HF_OK) {
            look->pending = has_more(wal_fd, index);
        } else {
            memset(index, 0, INDEX_BYTES);
        }
        close(shm_fd);
    }
    close(wal_fd);
}

bool database_has_log(int parent_fd, const char *name)
{
    static const char *const logs[] = {"-wal", "-journal"};
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        struct stat status;
        int fd = open_beside(parent_fd, name, logs[i], &status);
        if (fd >= 0) {
            close(fd);
            return true;
        }
    }
    return false;
}

/* A -journal holds what was there before: while it is being written nothing has changed, and when
 * that is done the database has. */
struct database_look database_look(int parent_fd, const char *name, const struct stat *status)
{
    uint8_t facts[8 * 8 + INDEX_BYTES] = {0};
    uint8_t hash[HF_HASH_BYTES];
    struct database_look look = {
        .mtime_ns = ns_of(status->st_mtim),
        .changed_ns = later(ns_of(status->st_mtim), ns_of(status->st_ctim)),
    };
    hf_put_le64(facts, (uint64_t)status->st_size);
    hf_put_le64(facts + 8, (uint64_t)ns_of(status->st_mtim));
    hf_put_le64(facts + 16, (uint64_t)ns_of(status->st_ctim));
    look_at_wal(parent_fd, name, &look, facts + 24);
    hf_sha256(facts, sizeof facts, hash);
    look.print = (int64_t)(hf_get_le64(hash) & INT64_MAX) | 1;
    return look;
}

void database_look_again(struct hf_capture *capture, size_t source, const char *path,
                         const struct database_look *look)
{
    int64_t now_ns = hf_clock_now_ns();
    int64_t age_ns = now_ns - look->changed_ns;
    int64_t since_ns = capture->since_ns;
    int64_t delay_ns = age_ns / 2 > PENDING_MIN_NS ? age_ns / 2 : PENDING_MIN_NS;
    if (look->pending && age_ns < PENDING_MAX_NS) {
        capture->since_ns = now_ns; /* what counted until now is on record */
        mark_again(capture, source, path, delay_ns);
        capture->since_ns = since_ns;
    }
}

struct state_print database_print(const struct database_look *look, const struct stat *status,
                                  const struct state_row *row)
{
    struct state_print print = state_print_of(status);
    print.ctime_ns = look->print;
    if (row) {
        print.size = row->print.size;
        print.mtime_ns = row->print.mtime_ns;
    }
    return print;
}

bool database_says(const struct state_row *row, const struct hf_version *version)
{
    struct hf_version same = *version;
    same.mtime_ns = row->print.mtime_ns;
    same.flags |= row->flags & (uint32_t)HF_VERSION_RESTORED;
    return state_row_says(row, &same);
}

/* --- what is in it --- */

static void note(struct hf_capture *capture, size_t source, const char *path, const char *why)
{
    snprintf(capture->work[source].note, HF_MARK_NOTE_BYTES, "/%.180s %.60s", path, why);
}

void database_note(struct hf_capture *capture, size_t source, const char *path,
                   const struct state_row *row)
{
    if (row->flags & HF_VERSION_UNPARSABLE) {
        note(capture, source, path,
             row->flags & HF_VERSION_DATABASE
                 ? "is a damaged database, captured as it is"
                 : "is captured as it is, not by SQLite: see the agent's log");
    }
}

struct wait {
    struct hf_capture *capture;
    size_t source;
};

static bool go_on(void *context)
{
    struct wait *wait = context;
    service(wait->capture);
    return !interrupted(wait->capture, wait->source);
}

static int make_backup(struct hf_capture *capture, size_t source, int parent_fd, const char *name,
                       int fd, const struct stat *status, struct sqlite_backup *out,
                       struct hf_error *error)
{
    struct wait wait = {capture, source};
    struct sqlite_backup_options options = {
        .state = capture->config->state,
        .dir_fd = parent_fd,
        .name = name,
        .fd = fd,
        .status = *status,
        .keep_free_bytes = SQLITE_BACKUP_KEEP_FREE_BYTES,
        .stall_ns = SQLITE_BACKUP_STALL_NS,
        .idle = go_on,
        .context = &wait,
    };
    size_t busy = capture->busy;
    capture->busy = busy == NOT_BUSY ? source : busy;
    int rc = sqlite_backup_make(&options, out, error);
    capture->busy = busy;
    return rc == HF_ERR_CLOSED && !stopping(capture) ? HF_ERR_AGAIN : rc; /* quiet hours began */
}

static int read_backup(struct hf_capture *capture, size_t source, int fd,
                       struct file_content *content, struct hf_error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || lseek(fd, 0, SEEK_SET) != 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "Its backup can't be read");
    }
    content->may_grow = false;
    content->database = true;
    content->size = (uint64_t)status.st_size;
    return read_content(capture, source, fd, &status, content, error);
}

int database_read(struct hf_capture *capture, size_t source, int parent_fd, const char *parent,
                  const char *name, int fd, const struct stat *status, struct file_content *content,
                  struct hf_error *error)
{
    struct sqlite_backup backup;
    struct stat after;
    char path[HF_PATH_MAX_BYTES + 300];
    content->look = database_look(parent_fd, name, status);
    content->size = (uint64_t)status->st_size;
    int rc = make_backup(capture, source, parent_fd, name, fd, status, &backup, error);
    bool plain = rc == HF_ERR_UNSUPPORTED;
    bool unsound = plain || (rc == HF_OK && backup.unsound);
    bool wait = unsound && content->may_wait;
    if (plain) {
        rc = wait ? HF_OK : read_content(capture, source, fd, status, content, error);
    } else if (rc == HF_OK && !wait) {
        rc = read_backup(capture, source, backup.fd, content, error);
    }
    if (backup.fd >= 0) {
        close(backup.fd);
    }
    content->unparsable = unsound;
    if (rc == HF_OK && unsound && !wait) {
        join(parent, name, path);
        note(capture, source, path, backup.note);
        hf_log_warning("/%s %s; it is captured as it is, and flagged", path, backup.note);
    }
    /* Whoever wrote meanwhile is in the next version. */
    if (rc == HF_OK && !plain &&
        (fstatat(parent_fd, name, &after, AT_SYMLINK_NOFOLLOW) != 0 ||
         after.st_dev != status->st_dev || after.st_ino != status->st_ino)) {
        return HF_ERR_RACED;
    }
    content->grew =
        content->grew || (rc == HF_OK && !plain &&
                          database_look(parent_fd, name, &after).print != content->look.print);
    return rc;
}
