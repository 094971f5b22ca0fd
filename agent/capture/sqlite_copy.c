#include "agent/capture/sqlite_copy.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

#define STEP_PAGES   256
#define STEP_WAIT_US 500 /* between two steps, for who wants to write */
#define BUSY_MIN_US  1000u
#define BUSY_MAX_US  25000u

/* What takes no longer than a commit does is copied without letting go. What takes longer is only
 * once somebody has written between two steps so often, and no longer than others have patience; or
 * in any case after so long. */
#define BRIEF_NS     (20 * HF_NS_PER_MS)
#define RESTARTS_MAX 3u
#define HOLD_MAX_NS  (HF_NS_PER_SECOND / 2)
#define STARVED_NS   (30 * HF_NS_PER_SECOND)

#define CHECK_OPERATIONS 10000 /* of SQLite's machine, between two looks at the clock */

enum copy_end copy_end_of(sqlite3 *db, int code, char message[COPY_MESSAGE_BYTES])
{
    snprintf(message, COPY_MESSAGE_BYTES, "%s", db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
    if (code == SQLITE_READONLY_ROLLBACK) {
        return COPY_HOT;
    }
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return COPY_DONE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_READONLY: /* the index of a -wal is being made anew */
    case SQLITE_CANTOPEN: /* a -wal or -shm that was there a moment ago */
        return COPY_AGAIN;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_NOMEM: /* of the little that it may take */
        return COPY_UNUSABLE;
    case SQLITE_FULL:
        return COPY_NO_ROOM;
    default:
        return COPY_FAILED;
    }
}

int copy_restrain(sqlite3 *db)
{
    static const struct {
        int what, value;
    } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},   {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    };
    int code = sqlite3_extended_result_codes(db, 1);
    for (size_t i = 0; code == SQLITE_OK && i < sizeof settings / sizeof settings[0]; i++) {
        code = sqlite3_db_config(db, settings[i].what, settings[i].value, NULL);
    }
    return code;
}

/* Reads the header alone: what the tables look like is no concern of a copy. */
static int begin_reading(sqlite3 *db)
{
    int code = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    return code == SQLITE_OK ? sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL) : code;
}

/* How the copying goes, seen from outside. */
struct course {
    int64_t began_ns, stepped_ns; /* stepped_ns: time spent in steps alone */
    int64_t pages;                /* copied in them */
    int done;                     /* pages of the present pass */
    unsigned restarts;
    bool held; /* the database is locked until the end */
};

static int step(sqlite3_backup *backup, struct course *course)
{
    int64_t began_ns = hf_clock_monotonic_ns();
    int code = sqlite3_backup_step(backup, STEP_PAGES);
    int done = sqlite3_backup_pagecount(backup) - sqlite3_backup_remaining(backup);
    if (code == SQLITE_OK || code == SQLITE_DONE) {
        course->restarts += done <= course->done && code == SQLITE_OK;
        course->stepped_ns += hf_clock_monotonic_ns() - began_ns;
        course->pages += STEP_PAGES;
        course->done = done;
    }
    return code;
}

/* Writers go on between steps as long as that lasts and the copying has a chance against them. */
static bool is_to_be_held(sqlite3_backup *backup, const struct course *course)
{
    int64_t page_ns = course->stepped_ns / (course->pages > 0 ? course->pages : 1);
    int64_t whole_ns = page_ns * sqlite3_backup_pagecount(backup);
    if (course->held) {
        return false;
    }
    return whole_ns < BRIEF_NS || hf_clock_monotonic_ns() - course->began_ns > STARVED_NS ||
           (course->restarts >= RESTARTS_MAX && whole_ns < HOLD_MAX_NS);
}

static int copy_steps(struct copy *copy, sqlite3_backup *backup, struct course *course)
{
    useconds_t wait_us = BUSY_MIN_US;
    int64_t moved_ns = course->began_ns;
    for (;;) {
        int code = step(backup, course);
        copy->progress();
        if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
            if (hf_clock_monotonic_ns() - moved_ns > copy->patience_ns) {
                return code;
            }
            usleep(wait_us);
            wait_us = wait_us < BUSY_MAX_US ? wait_us * 2 : BUSY_MAX_US;
            continue;
        }
        if (code != SQLITE_OK) {
            return code;
        }
        wait_us = BUSY_MIN_US;
        moved_ns = hf_clock_monotonic_ns();
        if (is_to_be_held(backup, course)) {
            code = begin_reading(copy->from);
            course->held = code == SQLITE_OK;
            if (code != SQLITE_OK) {
                sqlite3_exec(copy->from, "ROLLBACK", NULL, NULL, NULL);
            }
        } else if (!course->held) {
            usleep(STEP_WAIT_US);
        }
    }
}

enum copy_end copy_database(struct copy *copy)
{
    struct course course = {.began_ns = hf_clock_monotonic_ns(), .held = copy->snapshot};
    int code = copy->snapshot ? begin_reading(copy->from) : SQLITE_OK;
    if (code != SQLITE_OK) {
        return copy_end_of(copy->from, code, copy->message);
    }
    sqlite3_backup *backup = sqlite3_backup_init(copy->to, "main", copy->from, "main");
    if (!backup) {
        return copy_end_of(copy->to, sqlite3_extended_errcode(copy->to), copy->message);
    }
    code = copy_steps(copy, backup, &course);
    int finished = sqlite3_backup_finish(backup);
    if (code == SQLITE_DONE && finished == SQLITE_OK) {
        return COPY_DONE;
    }
    return copy_end_of(NULL, code == SQLITE_DONE ? finished : code, copy->message);
}

struct check {
    int64_t end_ns;
    void (*progress)(void);
};

static int look_at_clock(void *context)
{
    const struct check *check = context;
    check->progress();
    return hf_clock_monotonic_ns() > check->end_ns;
}

enum copy_end copy_check(sqlite3 *db, int64_t limit_ns, void (*progress)(void),
                         char message[COPY_MESSAGE_BYTES])
{
    struct check check = {.end_ns = hf_clock_monotonic_ns() + limit_ns, .progress = progress};
    sqlite3_stmt *statement = NULL;
    enum copy_end end = COPY_DONE;
    sqlite3_progress_handler(db, CHECK_OPERATIONS, look_at_clock, &check);
    /* CHECK constraints are the program's business: it may have switched them off. */
    sqlite3_exec(db, "PRAGMA temp_store = MEMORY; PRAGMA ignore_check_constraints = ON", NULL, NULL,
                 NULL);
    int code = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (text && strcmp(text, "ok") != 0) {
            const char *line = strrchr(text, '\n'); /* after one that names the database */
            snprintf(message, COPY_MESSAGE_BYTES, "%s", line ? line + 1 : text);
            end = COPY_UNUSABLE;
        }
    } else if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB) {
        end = copy_end_of(db, code, message);
    }
    sqlite3_finalize(statement);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return end;
}
