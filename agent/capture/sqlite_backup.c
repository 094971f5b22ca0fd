#include "agent/capture/sqlite_backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture/sqlite_reader.h"
#include "common/clock.h"
#include "common/fs.h"

#define PROGRAM      "/proc/self/exe"
#define TEMPORARY    "sqlite-backup."
#define WAIT_MS      5
#define MAGIC        "SQLite format 3" /* with its NUL */
#define HEADER_BYTES 100u

extern char **environ;

/* --- before --- */

static int unsupported(struct sqlite_backup *out, struct hf_error *error, const char *note)
{
    snprintf(out->note, sizeof out->note, "%s", note);
    return hf_error_set(error, HF_ERR_UNSUPPORTED, 0, "%s", note);
}

static int check_header(const struct sqlite_backup_options *options, struct sqlite_backup *out,
                        struct hf_error *error)
{
    uint8_t header[HEADER_BYTES];
    if (options->status.st_size == 0) {
        return unsupported(out, error, "is empty, and no SQLite database yet");
    }
    if (options->status.st_size < (off_t)sizeof header ||
        hf_pread_all(options->fd, header, sizeof header, 0, NULL) != HF_OK ||
        memcmp(header, MAGIC, sizeof MAGIC) != 0) {
        return unsupported(out, error, "is no SQLite database, or an encrypted one");
    }
    return HF_OK;
}

/* The database, and what of its -wal is not in it yet. */
static uint64_t bytes_at_most(const struct sqlite_backup_options *options)
{
    struct stat wal;
    char name[300];
    snprintf(name, sizeof name, "%s-wal", options->name);
    bool there = fstatat(options->dir_fd, name, &wal, AT_SYMLINK_NOFOLLOW) == 0;
    return (uint64_t)options->status.st_size + (there ? (uint64_t)wal.st_size : 0);
}

static int check_room(const struct sqlite_backup_options *options, struct sqlite_backup *out,
                      struct hf_error *error)
{
    struct statvfs disk;
    uint64_t most = bytes_at_most(options);
    uint64_t room = 0;
    uint64_t wanted = 0;
    char note[sizeof out->note];
    char size[HF_TIME_TEXT_BYTES];
    if (statvfs(options->state, &disk) != 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "Can't ask how much room there is in %s",
                            options->state);
    }
    if (__builtin_mul_overflow((uint64_t)disk.f_bavail, (uint64_t)disk.f_frsize, &room)) {
        room = UINT64_MAX;
    }
    if (__builtin_add_overflow(most, options->keep_free_bytes, &wanted) || wanted > room) {
        hf_size_text(most, size);
        snprintf(note, sizeof note,
                 "is too long for a backup: there is no room for %s in the agent's state directory",
                 size);
        return unsupported(out, error, note);
    }
    return HF_OK;
}

static int make_temporary(const char *state, struct hf_error *error)
{
    char path[4200];
    int fd = open(state, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        snprintf(path, sizeof path, "%s/" TEMPORARY "XXXXXX", state);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            unlink(path);
        }
    }
    if (fd < 0) {
        hf_error_set(error, HF_ERR_IO, errno, "Can't make a file for a backup in %s", state);
    }
    return fd;
}

void sqlite_backup_sweep(const char *state)
{
    DIR *dir = opendir(state);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strncmp(entry->d_name, TEMPORARY, sizeof TEMPORARY - 1) == 0) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* --- the reader --- */

struct reading {
    int files[3]; /* backup and scratch */
    int output;   /* the reader's, to read from */
    pid_t pid;    /* 0: there is none */
    int64_t alive_ns;
    char answer[256]; /* the last of what it said, without signs of life */
    size_t answer_size;
};

static void format(char out[24], uint64_t number)
{
    snprintf(out, 24, "%llu", (unsigned long long)number);
}

static int spawn(const struct sqlite_backup_options *options, const struct reading *reading,
                 int output, pid_t *pid)
{
    char numbers[READER_ARGUMENTS][24];
    char name[NAME_MAX + 1];
    char *argv[READER_ARGUMENTS + 3] = {"holdfast-agent", SQLITE_READER_COMMAND, name};
    const int inherited[] = {options->dir_fd, reading->files[0], reading->files[1],
                             reading->files[2]};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    snprintf(name, sizeof name, "%s", options->name);
    format(numbers[READER_DIRECTORY], (uint64_t)options->dir_fd);
    format(numbers[READER_BACKUP], (uint64_t)reading->files[0]);
    format(numbers[READER_SCRATCH], (uint64_t)reading->files[1]);
    format(numbers[READER_SCRATCH_2], (uint64_t)reading->files[2]);
    format(numbers[READER_UID], options->status.st_uid);
    format(numbers[READER_GID], options->status.st_gid);
    format(numbers[READER_LIMIT], bytes_at_most(options) + options->keep_free_bytes / 2);
    format(numbers[READER_PARENT], (uint64_t)getpid());
    for (size_t i = READER_DIRECTORY; i < READER_ARGUMENTS; i++) {
        argv[2 + i] = numbers[i];
    }
    int failure = posix_spawn_file_actions_init(&actions);
    if (failure) {
        return failure;
    }
    failure = posix_spawnattr_init(&attributes);
    if (failure) {
        posix_spawn_file_actions_destroy(&actions);
        return failure;
    }
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    sigemptyset(&none);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    for (size_t i = 0; i < sizeof inherited / sizeof inherited[0]; i++) {
        posix_spawn_file_actions_adddup2(&actions, inherited[i], inherited[i]);
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    failure = posix_spawn(pid, PROGRAM, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

static int start(const struct sqlite_backup_options *options, struct reading *reading,
                 struct hf_error *error)
{
    int ends[2];
    for (size_t i = 0; i < sizeof reading->files / sizeof reading->files[0]; i++) {
        reading->files[i] = make_temporary(options->state, error);
        if (reading->files[i] < 0) {
            return HF_ERR_IO;
        }
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "Can't make a pipe");
    }
    reading->output = ends[0];
    reading->alive_ns = hf_clock_monotonic_ns();
    int failure = spawn(options, reading, ends[1], &reading->pid);
    close(ends[1]);
    if (failure) {
        reading->pid = 0;
        return hf_error_set(error, HF_ERR_IO, failure, "Can't start " PROGRAM " to read it");
    }
    return HF_OK;
}

static void stop(struct reading *reading)
{
    int status;
    if (reading->pid > 0) {
        kill(reading->pid, SIGKILL);
        while (waitpid(reading->pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    reading->pid = 0;
}

static void hear(struct reading *reading, const char *said, size_t size)
{
    reading->alive_ns = hf_clock_monotonic_ns();
    for (size_t i = 0; i < size; i++) {
        bool room = reading->answer_size < sizeof reading->answer - 1;
        if (room && (reading->answer_size > 0 || said[i] != READER_ALIVE)) {
            reading->answer[reading->answer_size++] = said[i];
        }
    }
}

/* Until the reader has nothing more to say. */
static int wait_for_answer(const struct sqlite_backup_options *options, struct reading *reading,
                           struct hf_error *error)
{
    for (;;) {
        char said[256];
        struct pollfd ready = {.fd = reading->output, .events = POLLIN};
        if (poll(&ready, 1, WAIT_MS) > 0) {
            ssize_t got = read(reading->output, said, sizeof said);
            if (got == 0) {
                return HF_OK;
            }
            hear(reading, said, got > 0 ? (size_t)got : 0);
        }
        if (options->idle && !options->idle(options->context)) {
            return hf_error_set(error, HF_ERR_CLOSED, 0, "It was left off");
        }
        if (hf_clock_monotonic_ns() - reading->alive_ns > options->stall_ns) {
            return hf_error_set(error, HF_ERR_IO, 0, "The backup does not get on, and was ended");
        }
    }
}

/* Signals by which a process is ended for what it did itself. */
static bool is_crash(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGABRT || signal == SIGFPE ||
           signal == SIGILL || signal == SIGSYS || signal == SIGTRAP;
}

static int judge_end(struct reading *reading, struct sqlite_backup *out, struct hf_error *error)
{
    int status = 0;
    pid_t ended;
    char note[sizeof out->note];
    while ((ended = waitpid(reading->pid, &status, 0)) < 0 && errno == EINTR) {
    }
    reading->pid = 0;
    if (ended > 0 && WIFSIGNALED(status) && is_crash(WTERMSIG(status))) {
        snprintf(note, sizeof note,
                 "is damaged, or was cut short while it was read: SQLite ended "
                 "with signal %d",
                 WTERMSIG(status));
        return unsupported(out, error, note);
    }
    if (ended <= 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return hf_error_set(error, HF_ERR_IO, 0, "The process that backs it up was ended (%d)%s%s",
                            status, reading->answer_size > 1 ? ": " : "",
                            reading->answer_size > 1 ? reading->answer + 1 : "");
    }
    return HF_OK;
}

static int judge_answer(const struct reading *reading, struct sqlite_backup *out,
                        struct hf_error *error)
{
    const char *why = reading->answer_size > 0 ? reading->answer + 1 : "";
    char note[sizeof out->note];
    switch (reading->answer[0]) {
    case READER_DONE:
        return HF_OK;
    case READER_UNSOUND:
        out->unsound = true;
        snprintf(out->note, sizeof out->note, "is damaged, says SQLite: %s", why);
        return HF_OK;
    case READER_UNUSABLE:
        snprintf(note, sizeof note, "is a database that SQLite can't read: %s", why);
        return unsupported(out, error, note);
    case READER_NO_ROOM:
        return unsupported(out, error,
                           "is too long for a backup: the agent's state directory "
                           "has no room for it");
    case READER_BUSY:
        return hf_error_set(error, HF_ERR_TIMEOUT, 0,
                            "is kept locked by who uses it, and waits: %s", why);
    case READER_GONE:
        return hf_error_set(error, HF_ERR_RACED, 0, "%s", why);
    default:
        return hf_error_set(error, HF_ERR_IO, 0, "Can't be backed up: %s", why);
    }
}

int sqlite_backup_make(const struct sqlite_backup_options *options, struct sqlite_backup *out,
                       struct hf_error *error)
{
    struct reading reading = {.files = {-1, -1, -1}, .output = -1};
    *out = (struct sqlite_backup){.fd = -1};
    int rc = check_header(options, out, error);
    rc = rc == HF_OK ? check_room(options, out, error) : rc;
    rc = rc == HF_OK ? start(options, &reading, error) : rc;
    rc = rc == HF_OK ? wait_for_answer(options, &reading, error) : rc;
    rc = rc == HF_OK ? judge_end(&reading, out, error) : rc;
    rc = rc == HF_OK ? judge_answer(&reading, out, error) : rc;
    stop(&reading);
    if (rc == HF_OK) {
        out->fd = reading.files[0];
        reading.files[0] = -1;
    }
    for (size_t i = 0; i < sizeof reading.files / sizeof reading.files[0]; i++) {
        if (reading.files[i] >= 0) {
            close(reading.files[i]);
        }
    }
    if (reading.output >= 0) {
        close(reading.output);
    }
    return rc;
}
