/* The capture thread's inside. */
#ifndef HF_AGENT_CAPTURE_CAPTURE_PRIVATE_H
#define HF_AGENT_CAPTURE_CAPTURE_PRIVATE_H

#include <pthread.h>
#include <semaphore.h>

#include "agent/capture/capture.h"
#include "agent/capture/clock_watch.h"
#include "agent/capture/filesystem.h"
#include "agent/capture/finder.h"
#include "agent/capture/mount_watch.h"
#include "agent/capture/page_cache.h"
#include "agent/capture/state.h"
#include "agent/capture/unit.h"
#include "common/chunker.h"
#include "common/queue.h"

#define UNIT_BYTES_MAX    (1024u * 1024u)
#define UNIT_VERSIONS_MAX 500u
#define DIRTY_BUCKETS     1024u

/* A path that has to be looked at, soon. */
struct dirty {
    struct dirty *previous, *next; /* by due_ns */
    struct dirty *in_bucket;
    uint64_t key; /* path_key */
    size_t source;
    int64_t due_ns;        /* monotonic */
    int64_t since_ns;      /* wall clock: it did not change before, or that was captured */
    int64_t not_before_ns; /* monotonic: it is expensive to look at, and still changes */
    int64_t unsettled_ns;  /* since when its content did not parse or stay the same while it was
                              read; 0: it did, or wasn't read */
    bool again;            /* nothing is known to have changed: what happens next decides when */
    char path[];           /* without leading '/' */
};

/* When a path was last looked at for an event. */
struct recent {
    uint64_t key;
    int64_t seen_ns;
};
#define RECENT_SLOTS 1024u

struct source_work {
    struct hf_unit *unit; /* being filled */
    uint64_t unit_number; /* how many there were */
    uint64_t last_seq, acked_seq;
    bool scan_wanted, scanned; /* scanned: once at least */
    int64_t scan_due_ns;       /* monotonic */
    int64_t complete_until_ns; /* wall clock: everything before is captured */
    uint64_t complete_seq;     /* with this version */
    int64_t marked_until_ns;   /* as above, and acknowledged */
    int64_t refreshed_ns;      /* monotonic: when marked_until_ns last moved while idle */
    uint64_t unreadable;
    uint64_t give_ups; /* how often units were thrown away: what is half read then is half lost */
    uint64_t looks;    /* how many paths were looked at for themselves, not by a scan */
    unsigned held;     /* restores that write into it now: it isn't looked at */
    bool lost;         /* something was given up: scan when the collector is back */
    /* What was found by the last scan, and since, that inotify does not tell of: directories that
     * can't be watched, whether the limit of watches is why, a file system (its name). */
    unsigned unwatched;
    bool limit_reached;
    bool quiet;              /* now; it is looked at all the same while `flushes` */
    bool spool_held;         /* the outbox was told so */
    unsigned flushes;        /* that wait and need it, quiet hours or not */
    int64_t quiet_change_ns; /* wall clock: until when `quiet` holds; INT64_MIN: it isn't known */
    char untold[HF_FILESYSTEM_NAME_BYTES];
    char note[HF_MARK_NOTE_BYTES];
};

struct hf_watch;
struct flush;

enum watch_kind {
    WATCH_SELF,   /* that it goes itself */
    WATCH_NAMES,  /* and what comes and goes in it */
    WATCH_CONTENT /* and what changes otherwise */
};

#define NOT_BUSY SIZE_MAX

#define CAPTURE_BUFFER_BYTES (2u * HF_CHUNK_MAX_BYTES)

struct hf_capture {
    const struct hf_config *config;
    struct hf_outbox *outbox;
    struct hf_state *state;
    int64_t complained_ns;    /* monotonic: when it was said that state.db can't be written */
    struct hf_finder *finder; /* the restorer's; made when it asks */
    bool finder_made;
    struct hf_watch *watch;
    struct hf_queue *orders;
    sem_t adopt_room; /* how many more ORDER_ADOPT may wait in orders */
    int wake_fd;
    pthread_t thread;
    bool running;

    pthread_mutex_t mark_lock; /* protects marks */
    struct hf_mark_state *marks;
    bool *mark_known;
    bool stopping; /* atomic */
    bool hurries;  /* atomic: somebody waits for a flush */

    struct source_work *work;                 /* one a source */
    struct dirty *dirty, *dirty_last;         /* by due time */
    struct dirty *dirty_index[DIRTY_BUCKETS]; /* by path_key */
    size_t dirty_count;
    struct hf_mount_watch *mounts;
    struct hf_clock_watch clock;
    struct hf_clock_change clock_change; /* since the thread dealt with the last */
    int64_t repeats_until_ns; /* wall clock: it was set back, and up to then it tells times once
                                 more; 0: it never was */
    int64_t drained_ns;       /* wall clock: all that inotify told of before was read */
    int64_t since_ns;         /* of what is being looked at, as in struct dirty */
    struct flush *flushes;
    int64_t serviced_ns;
    struct hf_priority_switch priority;
    bool rested;           /* nothing was done since memory was given back */
    unsigned only_written; /* how often in a row events told of nothing but struct watch_event's */
    bool in_service;
    struct recent *recent; /* when paths were last looked at for an event, by hash */
    size_t busy; /* the source of the file that is being read or waits for room, or NOT_BUSY */
    pthread_mutex_t chunking_lock; /* protects the next two */
    struct hf_chunker *chunker;    /* NULL until the collector said how */
    uint8_t chunking[HF_CHUNK_SEED_BYTES];
    bool said_that_it_waits; /* the capture thread's own again */
    uint8_t *buffer;         /* for reading */
    uint8_t *spare;          /* for what is read meanwhile */
};

/* How a database and its -wal look. */
struct database_look {
    int64_t print;      /* a hash of all that changes when either does; above 0 */
    int64_t mtime_ns;   /* of the one that was written to last */
    int64_t changed_ns; /* the last time of either */
    bool pending;       /* there is something in the -wal that does not count, yet or any more */
};

/* read.c: one file's content into the unit, as long as the file was when it was opened.
 * HF_ERR_RACED when it changed meanwhile; HF_ERR_CLOSED when it has to wait for the collector,
 * HF_ERR_AGAIN when quiet hours began. */
struct file_content {
    struct hf_buf refs;
    struct hf_buf lists;        /* while it is read: the references of lists of references */
    struct page_cache *cache;   /* likewise, of a long one */
    uint64_t warm;              /* likewise, of a short one: so much was in the page cache before */
    struct hf_hash *whole;      /* likewise, of all its bytes, if it may grow */
    struct hf_chunker *chunker; /* likewise, of content that is longer than one chunk */
    const struct hf_chunker_params *params; /* likewise */
    struct hf_buf xattrs;                   /* the caller's */
    uint8_t depth;
    bool may_grow; /* in: what a file that only grows had when it was opened will do */
    bool grew;     /* it did: there is more by now */
    bool unparsable;
    bool sparse; /* it has holes: zeros in its content */
    /* Of a source of databases: */
    bool may_wait; /* in: what isn't sound is looked at again before it is recorded: no refs then */
    bool database; /* the content is a backup */
    uint64_t size; /* of the content */
    struct database_look look; /* before it was read */
};
void content_free(struct file_content *content);
int read_content(struct hf_capture *capture, size_t source, int fd, const struct stat *before,
                 struct file_content *out, struct hf_error *error);

/* examine.c */
/* Compare a path with what was captured and record what changed. parent_fd is open on its
 * directory, or -1. unsettled_ns as in struct dirty. */
void examine_entry(struct hf_capture *capture, size_t source, int parent_fd, const char *parent,
                   const char *name, const struct stat *status, const struct state_row *row,
                   int64_t unsettled_ns);
enum examine_depth {
    EXAMINE_ONE,
    EXAMINE_BENEATH
}; /* BENEATH: everything beneath a directory too */
void examine_path(struct hf_capture *capture, size_t source, const char *path,
                  enum examine_depth depth, int64_t unsettled_ns);
/* Everything there and beneath, from the nearest directory on that is on record, as far as it is
 * this source's; not in the middle of other work. False: it takes a scan, for the path lies above a
 * root, or this was interrupted. */
bool examine_beneath(struct hf_capture *capture, size_t source, const char *path);
/* The row of a path that is not ABSENT, to be freed. */
bool on_record(struct hf_capture *capture, size_t source, const char *path, struct state_row *out);
/* The path, and everything beneath it, is gone. */
void examine_gone(struct hf_capture *capture, size_t source, const char *parent,
                  const struct state_row *row);
/* Everything in a directory is. */
int children_gone(struct hf_capture *capture, size_t source, const char *path);
/* Whether an errno says that something isn't there: any other says nothing about that, and what
 * can't be looked at now is not taken for deleted. */
bool means_gone(int failure);
/* For the source's state: a path that can't be read, and why. */
void complain(struct hf_capture *capture, size_t source, const char *path, const char *reason);
/* The directory that holds path, open, or -1 with errno. Beneath a root no link is followed:
 * whoever may write there could make the agent, which may read everything, read something else in
 * its place. */
int open_parent(const struct hf_config_source *source, const char *path, const char *parent);
/* The root of a source that path lies beneath, without its leading '/', and where path goes on;
 * NULL for a root itself and for what is above. */
const char *root_of(const struct hf_config_source *source, const char *path, const char **rest);
/* To read what is in it: -1 with errno for all but a directory. */
int open_directory(int parent_fd, const char *name);
bool selected(const struct hf_config_source *source, const char *path, bool directory);
void record_version(struct hf_capture *capture, size_t source, const char *parent, const char *name,
                    const struct state_print *print, struct hf_version *version);

/* parent/name. */
void join(const char *parent, const char *name, char out[HF_PATH_MAX_BYTES + 300]);

/* links.c: files with more than one name */
/* What struct hf_version's says of it. */
uint64_t link_of(const struct stat *status);
/* A name's file is not as it was (status NULL: the name is gone; row NULL: it came): its other
 * names are looked at soon, for inotify tells only of the one by which it was changed. */
void look_at_links(struct hf_capture *capture, size_t source, const char *parent, const char *name,
                   const struct stat *status, const struct state_row *row);

/* database.c: sources of kind sqlite. A row's print has there the size and time that the version
 * has, and a look's print for the time of change. */
/* Whether a path is of one of the files that SQLite keeps beside a database: no file of its own. */
bool database_is_sibling(const struct hf_config_source *source, const char *path);
/* The path of the database. */
void database_of_sibling(const char *path, char *out, size_t size);
struct database_look database_look(int parent_fd, const char *name, const struct stat *status);
/* Whether what is in the database's file is not all that it holds: its -wal or -journal has
 * something. */
bool database_has_log(int parent_fd, const char *name);
/* To be compared with row's (NULL: none). */
struct state_print database_print(const struct database_look *look, const struct stat *status,
                                  const struct state_row *row);
/* What was looked at is on record: it is looked at again, soon, if something of it is pending. */
void database_look_again(struct hf_capture *capture, size_t source, const char *path,
                         const struct database_look *look);
/* As state_row_says, but what is the same content is the same version, whenever it was written and
 * whoever put it there. */
bool database_says(const struct state_row *row, const struct hf_version *version);
/* A backup's content, or, of what there can be none of, the file's; as read_content. fd is the
 * database, status its. HF_ERR_TIMEOUT when it was locked for long. */
int database_read(struct hf_capture *capture, size_t source, int parent_fd, const char *parent,
                  const char *name, int fd, const struct stat *status, struct file_content *content,
                  struct hf_error *error);
/* Of one that is on record as unsound: the source's note says so. */
void database_note(struct hf_capture *capture, size_t source, const char *path,
                   const struct state_row *row);

/* mounts.c */
/* Whether an opened directory's own name belongs to the source, but not what is in it: another file
 * system is mounted there (with one_file_system), or a directory above it once more. Notes it. */
bool is_mounted_away(struct hf_capture *capture, size_t source, int fd, const char *path);
/* Whether a directory lies in another file system than its source, with one_file_system. */
bool is_beyond_mount(struct hf_capture *capture, size_t source, int parent_fd, const char *parent);

/* schedule.c: when a source is compared whole */
/* Not later than that (monotonic). */
void scan_by(struct hf_capture *capture, size_t source, int64_t due_ns);
/* As soon as it may be looked at, for what was noticed can't be told path by path. */
void scan_now(struct hf_capture *capture, size_t source);
/* Whether inotify tells of all that changes in it: what was not noticed did not happen. */
bool is_told(const struct source_work *work);
/* A scan begins: what is_told goes by is found anew. */
void begin_finding(struct source_work *work);
/* Watch a directory that fd is open on (-1: look at path), for what is in it or for the names
 * alone; what can't be watched, or is not told of, counts against is_told. As watch_add. */
int watch_directory(struct hf_capture *capture, size_t source, int fd, const char *path,
                    enum watch_kind kind, bool *is_new);
/* When the next comfortable scan after one that ends now is due: `rescan` from now, or `verify`
 * where inotify tells of everything. */
int64_t next_scan_ns(const struct hf_capture *capture, size_t source);
/* Why scans alone notice changes, for the source's note. */
void say_untold(const struct hf_capture *capture, size_t source, char out[HF_MARK_NOTE_BYTES]);

/* quiet_hours.c */
/* Whether it is quiet for a source now; any time, best often. */
void look_at_quiet_hours(struct hf_capture *capture);
/* The clock was set: what is known of them is void. */
void forget_quiet_hours(struct hf_capture *capture);
/* Whether a source isn't to be looked at for quiet hours, as of the last look_at_quiet_hours. */
bool is_quiet(const struct hf_capture *capture, size_t source);
/* Whether to stop working on a source, and come back to it later. */
bool interrupted(struct hf_capture *capture, size_t source);
/* Whether anything of it waits for that; pending: paths to look at. What the note says then. */
bool waits_for_quiet_end(const struct hf_capture *capture, size_t source, uint64_t pending);
void say_quiet(const struct hf_capture *capture, size_t source, char out[HF_MARK_NOTE_BYTES]);

/* roots.c */
/* Watch for a root (absolute), and every directory above it, to come, go or be replaced. */
void watch_way_to(struct hf_capture *capture, size_t source, const char *root);
/* Whether path is a root of the source or lies above one. */
bool is_on_way(const struct hf_config_source *source, const char *path);

/* clock_change.c: what times mean once the clock was set */
/* Remember what the clocks say; any time, best often. */
void look_at_clocks(struct hf_capture *capture);
/* Make up for what happened to them since the last call. */
void deal_with_clocks(struct hf_capture *capture);
/* Whether a time of change may be given once more, because the clock was set back behind it: it
 * can't vouch for a file's being the same. */
bool may_repeat(const struct hf_capture *capture, int64_t changed_ns);

/* scan.c */
void scan_directory(struct hf_capture *capture, size_t source, int fd, const char *path,
                    unsigned depth);
void scan_source(struct hf_capture *capture, size_t source);

/* dirty.c */
/* A hash of both. */
uint64_t path_key(size_t source, const char *path);
/* To be looked at in delay_ns; since capture->since_ns. */
void mark_dirty(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns,
                int64_t unsettled_ns);
/* To be looked at once more, unless it is anyway. */
void mark_again(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns);
/* As mark_dirty, and no event hastens it. */
void mark_unsettled(struct hf_capture *capture, size_t source, const char *path, int64_t delay_ns,
                    int64_t unsettled_ns);
/* When the first that may be looked at now is due (monotonic); INT64_MAX for none. */
int64_t dirty_due_ns(const struct hf_capture *capture);
/* The first that is due and may be looked at now, to be freed; NULL for none. */
struct dirty *dirty_take_due(struct hf_capture *capture, int64_t now_ns);
/* How many of a source; *since_ns becomes the earliest of theirs if that is earlier. */
size_t dirty_of(const struct hf_capture *capture, size_t source, int64_t *since_ns);
/* The wall clock was set back by that much: all happened so much earlier by what it says now. */
void dirty_shift(struct hf_capture *capture, int64_t back_ns);
void dirty_clear(struct hf_capture *capture);

/* order.c */
int orders_init(struct hf_capture *capture);
void orders_close(struct hf_capture *capture); /* no more are taken; flushes among them end */
void orders_free(struct hf_capture *capture);
void read_orders(struct hf_capture *capture);

/* flush.c */
/* done is called once all that was numbered by the end of the scans that are wanted now is
 * acknowledged, or with flushes_end; of the sources that needs (one a source) says, quiet hours or
 * not; NULL: of all that are not quiet. */
void flush_begin(struct hf_capture *capture, const bool *needs, void (*done)(void *context),
                 void *context);
/* What they waited for was numbered anew or is captured again: they wait for that. */
void flushes_restart(struct hf_capture *capture);
void flushes_check(struct hf_capture *capture);
void flushes_end(struct hf_capture *capture);

/* mark.c */
/* A scan that began then saw everything. */
void mark_scanned(struct hf_capture *capture, size_t source, int64_t started_ns);
/* Versions from seq on will not be acknowledged. */
void mark_give_up_from(struct source_work *work, uint64_t seq);
/* After all that can move it: see what can be said now. */
void update_mark(struct hf_capture *capture, size_t source);

/* events.c */
/* Read what inotify has told by now, and list what is to be looked at for it. */
void read_events(struct hf_capture *capture);
/* The slot of a path, which another may have now; *key is the path's. */
struct recent *recent_of(struct hf_capture *capture, size_t source, const char *path,
                         uint64_t *key);

/* rest.c */
/* Most of the time there is nothing to do: give back what doing it takes. */
void give_memory_back(struct hf_capture *capture);
/* While somebody waits for a flush, be at full priority. */
void hurry_if_pressed(struct hf_capture *capture);

/* capture.c */
/* Hand over the unit of a source; afterwards there is none. */
int flush_unit(struct hf_capture *capture, size_t source);
struct hf_unit *unit_of(struct hf_capture *capture, size_t source);
/* How much is in it. */
struct unit_mark {
    uint64_t number;
    size_t chunk_count, version_count;
};
struct unit_mark mark_unit(struct hf_capture *capture, size_t source);
/* Take chunks out of it again that were put in since, as far as it hasn't been handed over, and no
 * version that may need them has come: content that was read and proved to be on record, or torn.
 */
void rewind_unit(struct hf_capture *capture, size_t source, const struct unit_mark *mark);
/* In the middle of long work: see to what is more urgent. While a file of `busy` is read that is
 * what is small and precious, of other sources: a checkpoint does not wait for a disk image. */
void service(struct hf_capture *capture);
bool may_look_at(const struct hf_capture *capture, size_t source);
bool stopping(struct hf_capture *capture);
void capture_wake(void *context); /* from any thread */

/* Something could not be captured now: a scan finds it, soon or when the collector is back. */
void lose(struct hf_capture *capture, size_t source);

/* chunking.c */
void chunking_load(struct hf_capture *capture); /* at the start */
void chunking_free(struct hf_capture *capture);

/* watch.c */
int watch_new(struct hf_watch **out);
void watch_free(struct hf_watch *watch);
int watch_fd(const struct hf_watch *watch);
/* Watch a directory, or for more than before. HF_ERR_NO_SPACE when the system's limit is reached,
 * HF_ERR_NOT_FOUND when it isn't there (any more), HF_ERR_UNSUPPORTED without inotify, HF_ERR_IO
 * for all else. *is_new (NULL is fine): whether it was not watched as that path before. */
int watch_add(struct hf_watch *watch, size_t source, const char *path, enum watch_kind kind,
              bool *is_new);
struct watch_event {
    size_t source;
    bool overflow; /* everything has to be scanned */
    bool now;      /* the file was closed or moved here */
    bool written;  /* to a file that stays open */
    bool gone;     /* the directory that was watched as this path was deleted or moved away */
    bool lost;     /* what is there can't be told of any more: its file system was unmounted */
    char path[4200];
};
/* What was told by now is what watch_next gives: who changes files faster than they can be looked
 * at does not keep the thread from everything else. */
void watch_gather(struct hf_watch *watch);
/* Next event; false when there is none any more of what was gathered. */
bool watch_next(struct hf_watch *watch, struct watch_event *out);

#endif
