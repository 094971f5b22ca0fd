/* One path: what it is now, against what was captured of it. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/device.h"
#include "common/fs.h"
#include "common/glob.h"
#include "common/log.h"
#include "common/xattr.h"

#define RACE_TRIES        3
#define RACE_DELAY_NS     (50 * HF_NS_PER_MS)
#define RACE_DELAY_MAX_NS (60 * HF_NS_PER_SECOND)
#define RACE_SHARE        9 /* what changes while it is read has peace for so many times as long */
/* A database in use changes all the time, is whole nevertheless, and its backup waits for others.
 */
#define DATABASE_SHARE 2
#define RACE_LIMIT_NS  (2 * HF_NS_PER_SECOND) /* what grew for so long is taken as it was */
#define PARSE_DELAY_NS (200 * HF_NS_PER_MS)
#define PARSE_LIMIT_NS (30 * HF_NS_PER_SECOND)
#define SAME_TICK_NS   (20 * HF_NS_PER_MS) /* a file system's clock can stand still for so long */

/* --- names of owners, remembered --- */

#define NAMES_KEPT_NS HF_NS_PER_SECOND /* users come, and numbers get other names */
/* Where somebody far away is asked, an answer is kept for so many times as long as it took: else
 * one that doesn't come would be waited for with each file. */
#define NAMES_SHARE 100

struct name_slot {
    int64_t good_until_ns; /* monotonic; 0: it holds nothing */
    uint32_t id;
    char name[65];
};

static bool is_good(const struct name_slot *slot, uint32_t id)
{
    return slot->good_until_ns != 0 && slot->id == id &&
           hf_clock_monotonic_ns() < slot->good_until_ns;
}

/* Name NULL: there is none. One that is known stays where nobody could be asked. */
static void keep_name(struct name_slot *slot, uint32_t id, bool answered, const char *name,
                      int64_t began_ns)
{
    int64_t now = hf_clock_monotonic_ns();
    int64_t kept_ns = (now - began_ns) * NAMES_SHARE;
    if (answered || slot->good_until_ns == 0 || slot->id != id) {
        bool fits = name && strlen(name) < sizeof slot->name;
        snprintf(slot->name, sizeof slot->name, "%s", fits ? name : "");
    }
    slot->id = id;
    slot->good_until_ns = now + (kept_ns > NAMES_KEPT_NS ? kept_ns : NAMES_KEPT_NS);
}

static const char *owner_name(uint32_t uid)
{
    static _Thread_local struct name_slot slots[16];
    struct name_slot *slot = &slots[uid % 16];
    if (!is_good(slot, uid)) {
        struct passwd entry;
        struct passwd *found = NULL;
        char memory[2048];
        int64_t began_ns = hf_clock_monotonic_ns();
        int failure = getpwuid_r(uid, &entry, memory, sizeof memory, &found);
        keep_name(slot, uid, failure == 0, found ? found->pw_name : NULL, began_ns);
    }
    return slot->name;
}

static const char *group_name(uint32_t gid)
{
    static _Thread_local struct name_slot slots[16];
    struct name_slot *slot = &slots[gid % 16];
    if (!is_good(slot, gid)) {
        struct group entry;
        struct group *found = NULL;
        char memory[8192];
        int64_t began_ns = hf_clock_monotonic_ns();
        int failure = getgrgid_r(gid, &entry, memory, sizeof memory, &found);
        keep_name(slot, gid, failure == 0, found ? found->gr_name : NULL, began_ns);
    }
    return slot->name;
}

static struct hf_bytes text_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

/* --- selection --- */

/* The part of path beneath the source's root that holds it; "" for the root itself, NULL for none.
 */
static const char *beneath_root(const struct hf_config_source *source, const char *path)
{
    for (size_t i = 0; i < source->path_count; i++) {
        const char *root = source->paths[i] + 1;
        size_t length = strlen(root);
        if (strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0')) {
            return path[length] == '/' ? path + length + 1 : path + length;
        }
        if (length == 0) {
            return path; /* the root directory itself */
        }
    }
    return NULL;
}

/* A restore's working directory; path is without leading '/'. */
static bool is_staging(const char *path)
{
    static const char prefix[] = "/.holdfast-restore-";
    return strstr(path, prefix) || strncmp(path, prefix + 1, sizeof prefix - 2) == 0;
}

bool selected(const struct hf_config_source *source, const char *path, bool directory)
{
    const char *relative = beneath_root(source, path);
    if (!relative || is_staging(path) || (!directory && database_is_sibling(source, path))) {
        return false;
    }
    if (*relative == '\0') {
        return true;
    }
    for (size_t i = 0; i < source->exclude_count; i++) {
        if (hf_glob_match(source->excludes[i], relative)) {
            return false;
        }
    }
    bool included = source->include_count == 0;
    for (size_t i = 0; i < source->include_count && !included; i++) {
        included = hf_glob_match(source->includes[i], relative) ||
                   (directory && hf_glob_may_match_beneath(source->includes[i], relative));
    }
    return included;
}

static bool has_databases(const struct hf_capture *capture, size_t source)
{
    return config_is_sqlite(&capture->config->sources[source]);
}

/* --- recording --- */

void join(const char *parent, const char *name, char out[HF_PATH_MAX_BYTES + 300])
{
    snprintf(out, HF_PATH_MAX_BYTES + 300, "%s%s%s", parent, *parent ? "/" : "", name);
}

/* The unit and the state copy the path; nobody looks at version->path after this.
 * NOLINTBEGIN(clang-analyzer-core.StackAddressEscape) */
void record_version(struct hf_capture *capture, size_t source, const char *parent, const char *name,
                    const struct state_print *print, struct hf_version *version)
{
    struct source_work *work = &capture->work[source];
    struct hf_unit *unit = unit_of(capture, source);
    char path[HF_PATH_MAX_BYTES + 300];
    join(parent, name, path);
    version->path = text_of(path);
    version->captured_ns = hf_clock_now_ns();
    version->seq = work->last_seq + 1;
    if (version->path.size > HF_PATH_MAX_BYTES || !unit) {
        work->unreadable++;
        snprintf(work->note, sizeof work->note, "A path is longer than %u bytes: /%.180s",
                 HF_PATH_MAX_BYTES, path);
        return;
    }
    state_begin(capture->state);
    if (unit_add_version(unit, version) != HF_OK ||
        state_put(capture->state, source, parent, name, print, version) != HF_OK) {
        mark_dirty(capture, source, path, HF_NS_PER_SECOND, 0);
        return;
    }
    work->last_seq = version->seq;
    if (unit->version_count >= UNIT_VERSIONS_MAX || unit->bytes >= UNIT_BYTES_MAX) {
        flush_unit(capture, source);
    }
}
/* NOLINTEND(clang-analyzer-core.StackAddressEscape) */

/* A row in doubt (dev 0) says nothing about what the collector has. */
static void record_if_changed(struct hf_capture *capture, size_t source, const char *parent,
                              const char *name, const struct state_print *print,
                              const struct state_row *row, struct hf_version *version)
{
    bool database = version->type == HF_FILE_REGULAR && has_databases(capture, source);
    if (row && row->print.dev != 0 &&
        (database ? database_says(row, version) : state_row_says(row, version))) {
        struct state_print seen = *print;
        seen.mtime_ns = database ? row->print.mtime_ns : seen.mtime_ns;
        state_begin(capture->state);
        state_touch(capture->state, source, parent, name, &seen);
        return;
    }
    record_version(capture, source, parent, name, print, version);
}

void complain(struct hf_capture *capture, size_t source, const char *path, const char *reason)
{
    struct source_work *work = &capture->work[source];
    work->unreadable++;
    snprintf(work->note, sizeof work->note, "/%.180s: %s", path, reason);
    scan_by(capture, source, hf_clock_monotonic_ns() + capture->config->sources[source].rescan_ns);
}

static int open_file(int parent_fd, const char *name)
{
    return hf_open_quietly(parent_fd, name,
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

int open_directory(int parent_fd, const char *name)
{
    return hf_open_quietly(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What can't be read is said, and the rest is recorded. */
static void explain_xattrs(struct hf_capture *capture, size_t source, const char *parent,
                           const char *name, const struct hf_error *error)
{
    char path[HF_PATH_MAX_BYTES + 300];
    join(parent, name, path);
    complain(capture, source, path, error->message);
}

/* One try: the content of what is there now. */
static int read_once(struct hf_capture *capture, size_t source, int parent_fd, const char *parent,
                     const char *name, struct stat *status, struct file_content *content,
                     struct hf_error *error)
{
    struct hf_error why = {0};
    *content = (struct file_content){.may_grow = content->may_grow, .may_wait = content->may_wait};
    int fd = open_file(parent_fd, name);
    if (fd < 0) {
        int saved = errno;
        return hf_error_set(error, saved == ENOENT ? HF_ERR_NOT_FOUND : HF_ERR_IO, saved,
                            "Can't be opened");
    }
    int rc = fstat(fd, status) == 0 && S_ISREG(status->st_mode) ? HF_OK : HF_ERR_RACED;
    int unread = rc == HF_OK ? hf_xattrs_read(fd, &content->xattrs, &why) : HF_OK;
    if (rc == HF_OK && has_databases(capture, source)) {
        rc = database_read(capture, source, parent_fd, parent, name, fd, status, content, error);
    } else if (rc == HF_OK) {
        rc = read_content(capture, source, fd, status, content, error);
    }
    close(fd);
    if (rc == HF_OK && unread != HF_OK) {
        explain_xattrs(capture, source, parent, name, &why);
    }
    return rc;
}

/* Look again later: the longer what changes takes to read, the later. What it was when this look
 * began is on record then, or it isn't. */
static void look_again(struct hf_capture *capture, size_t source, const char *path,
                       int64_t spent_ns, int64_t unsettled_ns, bool recorded)
{
    int64_t since_ns = capture->since_ns;
    int64_t delay_ns = (has_databases(capture, source) ? DATABASE_SHARE : RACE_SHARE) * spent_ns;
    delay_ns = delay_ns > RACE_DELAY_MAX_NS ? RACE_DELAY_MAX_NS : delay_ns;
    delay_ns = delay_ns < RACE_DELAY_NS ? RACE_DELAY_NS : delay_ns;
    if (recorded) {
        capture->since_ns = hf_clock_now_ns() - spent_ns;
    }
    mark_unsettled(capture, source, path, delay_ns, unsettled_ns);
    capture->since_ns = since_ns;
}

/* How a file looked that has this content, and when that last changed. */
static struct state_print print_of_content(bool database, const struct stat *status,
                                           const struct file_content *content, int64_t *changed_ns)
{
    struct state_print print = state_print_of(status);
    *changed_ns = print.mtime_ns > print.ctime_ns ? print.mtime_ns : print.ctime_ns;
    if (database) {
        *changed_ns = content->look.changed_ns;
        print.size = content->size;
        print.mtime_ns = content->look.mtime_ns;
        print.ctime_ns = content->look.print;
    }
    return print;
}

static void examine_file(struct hf_capture *capture, size_t source, int parent_fd,
                         const char *parent, const char *name, const struct state_row *row,
                         int64_t unsettled_ns)
{
    char path[HF_PATH_MAX_BYTES + 300];
    struct file_content content = {0};
    struct hf_error error = {0};
    struct stat status;
    int rc = HF_ERR_RACED;
    int64_t now = hf_clock_monotonic_ns();
    uint64_t give_ups = capture->work[source].give_ups;
    bool database = has_databases(capture, source);
    join(parent, name, path);
    /* What a restore is about to replace is recorded as it is. */
    bool pressed = capture->work[source].flushes > 0;
    content.may_wait = !pressed && (unsettled_ns == 0 || now - unsettled_ns < PARSE_LIMIT_NS);
    content.may_grow = pressed || (unsettled_ns != 0 && now - unsettled_ns >= RACE_LIMIT_NS);
    const struct unit_mark mark = mark_unit(capture, source);
    for (int i = 0; rc == HF_ERR_RACED && i < RACE_TRIES; i++) {
        content_free(&content);
        rewind_unit(capture, source, &mark);
        rc = read_once(capture, source, parent_fd, parent, name, &status, &content, &error);
    }
    if (rc == HF_ERR_RACED && capture->work[source].give_ups != give_ups) {
        mark_dirty(capture, source, path, RACE_DELAY_NS, unsettled_ns);
    } else if (rc == HF_ERR_RACED || (rc == HF_OK && content.grew)) {
        look_again(capture, source, path, hf_clock_monotonic_ns() - now,
                   unsettled_ns ? unsettled_ns : now, content.grew);
    } else if (rc == HF_ERR_AGAIN) {
        mark_dirty(capture, source, path, 0, unsettled_ns); /* when they are over */
    } else if (rc == HF_ERR_CLOSED || rc == HF_ERR_NO_SPACE) {
        content_free(&content); /* it can't be sent or kept now: a scan will find it again */
        return;
    } else if (rc != HF_OK && rc != HF_ERR_NOT_FOUND) {
        complain(capture, source, path, error.message[0] ? error.message : hf_error_name(rc));
    }
    if (rc == HF_ERR_TIMEOUT ||
        (rc == HF_OK && database && content.unparsable && content.may_wait)) {
        look_again(capture, source, path, hf_clock_monotonic_ns() - now,
                   unsettled_ns ? unsettled_ns : now, false);
    } else if (rc == HF_OK && content.unparsable && content.may_wait) {
        mark_dirty(capture, source, path, PARSE_DELAY_NS, unsettled_ns ? unsettled_ns : now);
    } else if (rc == HF_OK) {
        int64_t changed_ns;
        struct state_print print = print_of_content(database, &status, &content, &changed_ns);
        struct hf_version version = {
            .type = HF_FILE_REGULAR,
            .flags = (content.unparsable ? HF_VERSION_UNPARSABLE : 0u) |
                     (content.sparse ? HF_VERSION_SPARSE : 0u) |
                     (content.database ? HF_VERSION_DATABASE : 0u),
            .mode = print.mode,
            .uid = print.uid,
            .gid = print.gid,
            .owner = text_of(owner_name(print.uid)),
            .group = text_of(group_name(print.gid)),
            .mtime_ns = print.mtime_ns,
            .size = print.size,
            .depth = content.depth,
            .refs = {content.refs.data, content.refs.size},
            .link = link_of(&status),
            .xattrs = {content.xattrs.data, content.xattrs.size},
        };
        int64_t age_ns = hf_clock_now_ns() - changed_ns;
        if (content.grew || may_repeat(capture, print.ctime_ns)) {
            print.ctime_ns = 0;
        } else if (age_ns >= 0 && age_ns < SAME_TICK_NS) {
            /* Another write may still get the same time: the next look reads again. */
            print.ctime_ns = 0;
            mark_again(capture, source, path, 2 * SAME_TICK_NS);
        } else if (database) {
            database_look_again(capture, source, path, &content.look);
        }
        record_if_changed(capture, source, parent, name, &print, row, &version);
    }
    rewind_unit(capture, source, &mark); /* nothing, if a version was recorded */
    content_free(&content);
}

/* Of what isn't read: a directory, a symbolic link, a device. */
static struct hf_buf xattrs_of(struct hf_capture *capture, size_t source, int parent_fd,
                               const char *parent, const char *name)
{
    struct hf_buf xattrs = {0};
    struct hf_error error = {0};
    if (*name && hf_xattrs_read_at(parent_fd, name, &xattrs, &error) != HF_OK &&
        !means_gone(error.sys_errno)) {
        explain_xattrs(capture, source, parent, name, &error);
    }
    return xattrs;
}

/* The same; target as a version has it. */
static void record_unread(struct hf_capture *capture, size_t source, int parent_fd,
                          const char *parent, const char *name, const struct stat *status,
                          const struct state_row *row, enum hf_file_type type,
                          struct hf_bytes target)
{
    struct hf_buf xattrs = xattrs_of(capture, source, parent_fd, parent, name);
    struct state_print print = state_print_of(status);
    struct hf_version version = {
        .type = type,
        .mode = print.mode,
        .uid = print.uid,
        .gid = print.gid,
        .owner = text_of(owner_name(print.uid)),
        .group = text_of(group_name(print.gid)),
        .mtime_ns = print.mtime_ns,
        .target = target,
        .link = type == HF_FILE_DIRECTORY ? 0 : link_of(status),
        .xattrs = {xattrs.data, xattrs.size},
    };
    record_if_changed(capture, source, parent, name, &print, row, &version);
    hf_buf_free(&xattrs);
}

static void examine_link(struct hf_capture *capture, size_t source, int parent_fd,
                         const char *parent, const char *name, const struct stat *status,
                         const struct state_row *row)
{
    char target[HF_PATH_MAX_BYTES + 1];
    ssize_t length = readlinkat(parent_fd, name, target, sizeof target);
    if (length <= 0 || length > (ssize_t)HF_PATH_MAX_BYTES) {
        return; /* gone meanwhile */
    }
    record_unread(capture, source, parent_fd, parent, name, status, row, HF_FILE_SYMLINK,
                  (struct hf_bytes){(const uint8_t *)target, (size_t)length});
}

/* Never opened: that may start what it stands for. */
static void examine_device(struct hf_capture *capture, size_t source, int parent_fd,
                           const char *parent, const char *name, const struct stat *status,
                           const struct state_row *row, enum hf_file_type type)
{
    char numbers[HF_DEVICE_TEXT_BYTES];
    hf_device_format(status->st_rdev, numbers);
    record_unread(capture, source, parent_fd, parent, name, status, row, type, text_of(numbers));
}

/* Whether a database is as it was when it was captured. */
static bool is_database_on_record(struct hf_capture *capture, size_t source, int parent_fd,
                                  const char *parent, const char *name, const struct stat *status,
                                  const struct state_row *row)
{
    char path[HF_PATH_MAX_BYTES + 300];
    struct database_look look = database_look(parent_fd, name, status);
    struct state_print print = database_print(&look, status, row);
    if (!state_print_equal(&row->print, &print)) {
        return false;
    }
    join(parent, name, path);
    database_look_again(capture, source, path, &look);
    database_note(capture, source, path, row);
    return true;
}

void examine_entry(struct hf_capture *capture, size_t source, int parent_fd, const char *parent,
                   const char *name, const struct stat *status, const struct state_row *row,
                   int64_t unsettled_ns)
{
    struct state_print print = state_print_of(status);
    enum hf_file_type type = S_ISREG(status->st_mode)   ? HF_FILE_REGULAR
                             : S_ISDIR(status->st_mode) ? HF_FILE_DIRECTORY
                             : S_ISLNK(status->st_mode) ? HF_FILE_SYMLINK
                             : S_ISCHR(status->st_mode) ? HF_FILE_CHAR_DEVICE
                             : S_ISBLK(status->st_mode) ? HF_FILE_BLOCK_DEVICE
                                                        : HF_FILE_ABSENT;
    if (type == HF_FILE_ABSENT) {
        char path[HF_PATH_MAX_BYTES + 300];
        join(parent, name, path);
        snprintf(capture->work[source].note, HF_MARK_NOTE_BYTES,
                 "/%.180s is a socket or pipe and is left out", path);
        if (row) {
            examine_gone(capture, source, parent, row);
        }
        return;
    }
    if (row && row->type == HF_FILE_DIRECTORY && type != HF_FILE_DIRECTORY) {
        examine_gone(capture, source, parent, row); /* with all that was beneath */
        row = NULL;
    }
    bool database = type == HF_FILE_REGULAR && has_databases(capture, source);
    if (row && row->type == type &&
        (database ? is_database_on_record(capture, source, parent_fd, parent, name, status, row)
                  : state_print_equal(&row->print, &print))) {
        return;
    }
    if (type != HF_FILE_DIRECTORY && (status->st_nlink > 1 || (row && row->link))) {
        look_at_links(capture, source, parent, name, status, row);
    }
    if (type == HF_FILE_REGULAR) {
        examine_file(capture, source, parent_fd, parent, name, row, unsettled_ns);
    } else if (type == HF_FILE_SYMLINK) {
        examine_link(capture, source, parent_fd, parent, name, status, row);
    } else if (hf_file_is_device(type)) {
        examine_device(capture, source, parent_fd, parent, name, status, row, type);
    } else {
        record_unread(capture, source, parent_fd, parent, name, status, row, type,
                      (struct hf_bytes){0});
    }
}

int children_gone(struct hf_capture *capture, size_t source, const char *path)
{
    char after[NAME_MAX + 1] = "";
    size_t count = HF_STATE_PAGE_ROWS;
    int rc = HF_OK;
    while (rc == HF_OK && count == HF_STATE_PAGE_ROWS) {
        struct state_row *children = NULL;
        rc = state_children(capture->state, source, path, after, &children, &count);
        for (size_t i = 0; rc == HF_OK && i < count; i++) {
            examine_gone(capture, source, path, &children[i]);
        }
        if (rc == HF_OK && count > 0) {
            snprintf(after, sizeof after, "%s", children[count - 1].name);
        }
        state_rows_free(children, count);
    }
    return rc;
}

/* All that was in a directory that is gone. No buffer on the stack: they may lie as deep in each
 * other as paths can be long. */
static int beneath_gone(struct hf_capture *capture, size_t source, const char *parent,
                        const char *name)
{
    size_t size = strlen(parent) + strlen(name) + 2;
    char *path = malloc(size);
    if (!path) {
        complain(capture, source, parent, "No memory to record what was in it as gone");
        return HF_ERR_NO_MEMORY;
    }
    snprintf(path, size, "%s%s%s", parent, *parent ? "/" : "", name);
    int rc = children_gone(capture, source, path);
    if (rc != HF_OK) {
        complain(capture, source, path, "What was in this directory can't be read in state.db");
    }
    free(path);
    return rc;
}

void examine_gone(struct hf_capture *capture, size_t source, const char *parent,
                  const struct state_row *row)
{
    if (row->type == HF_FILE_DIRECTORY &&
        beneath_gone(capture, source, parent, row->name) != HF_OK) {
        return; /* without that the directory stays on record, and is found gone again */
    }
    if (row->link) {
        look_at_links(capture, source, parent, row->name, NULL, row);
    }
    struct hf_version version = {.type = HF_FILE_ABSENT};
    record_version(capture, source, parent, row->name, &(struct state_print){0}, &version);
}

const char *root_of(const struct hf_config_source *source, const char *path, const char **rest)
{
    const char *found = NULL;
    for (size_t i = 0; i < source->path_count; i++) {
        const char *root = source->paths[i] + 1;
        size_t length = strlen(root);
        bool beneath =
            strncmp(path, root, length) == 0 && (length == 0 || path[length] == '/') && *path;
        if (beneath && (!found || length > strlen(found))) {
            found = root;
            *rest = path + length + (length > 0);
        }
    }
    return found;
}

int open_parent(const struct hf_config_source *source, const char *path, const char *parent)
{
    char absolute[HF_PATH_MAX_BYTES + 300];
    const char *rest = NULL;
    const char *name = NULL;
    const char *root = root_of(source, path, &rest);
    int fd = -1;
    snprintf(absolute, sizeof absolute, "/%s", root ? root : parent);
    int top_fd = open(absolute, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (root ? O_NOFOLLOW : 0));
    if (!root || top_fd < 0) {
        return top_fd;
    }
    struct hf_error error = {0};
    bool opened = hf_open_parent_beneath(top_fd, rest, &fd, &name, &error) == HF_OK;
    close(top_fd);
    errno = error.sys_errno;
    return opened ? fd : -1;
}

bool means_gone(int failure)
{
    return failure == ENOENT || failure == ENOTDIR || failure == ELOOP;
}

/* Where the last part of a path begins; what is before goes to parent. */
static const char *split(const char *path, char parent[HF_PATH_MAX_BYTES + 300])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    memcpy(parent, path, length);
    parent[length] = '\0';
    return slash ? slash + 1 : path;
}

bool on_record(struct hf_capture *capture, size_t source, const char *path, struct state_row *out)
{
    char parent[HF_PATH_MAX_BYTES + 300];
    const char *name = split(path, parent);
    bool known = state_get(capture->state, source, parent, name, out);
    if (known && out->type == HF_FILE_ABSENT) {
        state_row_free(out);
        *out = (struct state_row){0};
        known = false;
    }
    return known;
}

/* Whether the directory that holds path is on record, or needs not be: path is a root. */
static bool parent_on_record(struct hf_capture *capture, size_t source, const char *path,
                             const char *parent)
{
    const char *rest = NULL;
    struct state_row row = {0};
    bool known = !root_of(&capture->config->sources[source], path, &rest) ||
                 (on_record(capture, source, parent, &row) && row.type == HF_FILE_DIRECTORY);
    state_row_free(&row);
    return known;
}

/* A directory is watched; what is in it is looked at if asked for, or if it wasn't watched. */
static void look_into(struct hf_capture *capture, size_t source, int parent_fd, const char *name,
                      const char *path, bool beneath)
{
    bool unwatched = false;
    int fd = open_directory(parent_fd, name);
    if (fd < 0) {
        if (!means_gone(errno)) {
            complain(capture, source, path, strerror(errno));
        }
        return;
    }
    if (is_mounted_away(capture, source, fd, path)) {
        children_gone(capture, source, path);
        close(fd);
        return;
    }
    watch_directory(capture, source, fd, path, WATCH_CONTENT, &unwatched);
    if (beneath || unwatched) {
        scan_directory(capture, source, fd, path, 0); /* closes fd */
    } else {
        close(fd);
    }
}

/* What is there now, and beneath it if asked for or if it isn't the directory that was looked at:
 * another, or one that took the place and even the inode number of one that is gone. */
static void examine_there(struct hf_capture *capture, size_t source, int parent_fd,
                          const char *parent, const char *name, const struct stat *status,
                          const struct state_row *row, enum examine_depth depth,
                          int64_t unsettled_ns)
{
    char path[HF_PATH_MAX_BYTES + 300];
    bool other = !row || row->print.dev != status->st_dev || row->print.ino != status->st_ino;
    join(parent, name, path);
    examine_entry(capture, source, parent_fd, parent, name, status, row, unsettled_ns);
    if (S_ISDIR(status->st_mode)) {
        look_into(capture, source, parent_fd, name, path, depth == EXAMINE_BENEATH || other);
    }
}

void examine_path(struct hf_capture *capture, size_t source, const char *path,
                  enum examine_depth depth, int64_t unsettled_ns)
{
    const struct hf_config_source *config = &capture->config->sources[source];
    char parent[HF_PATH_MAX_BYTES + 300];
    const char *name = split(path, parent);
    struct state_row row = {0};
    struct stat status;
    bool known = on_record(capture, source, path, &row);
    int parent_fd = open_parent(config, path, parent);
    bool there = parent_fd >= 0 && fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    int failure = there ? 0 : errno;
    if (failure && !means_gone(failure)) {
        complain(capture, source, path, strerror(failure)); /* whether it is there isn't known */
    } else if (!there || !selected(config, path, S_ISDIR(status.st_mode)) ||
               is_beyond_mount(capture, source, parent_fd, parent)) {
        if (known) {
            examine_gone(capture, source, parent, &row);
        }
    } else if (!parent_on_record(capture, source, path, parent)) {
        /* Its directory came anew: looking at that finds it. On record alone it would stay there
         * if that is gone again before anybody looked. */
        mark_dirty(capture, source, parent, 0, 0);
    } else {
        examine_there(capture, source, parent_fd, parent, name, &status, known ? &row : NULL, depth,
                      unsettled_ns);
    }
    if (parent_fd >= 0) {
        close(parent_fd);
    }
    state_row_free(&row);
}

bool examine_beneath(struct hf_capture *capture, size_t source, const char *path)
{
    const struct hf_config_source *config = &capture->config->sources[source];
    struct source_work *work = &capture->work[source];
    char at[HF_PATH_MAX_BYTES + 300];
    char parent[HF_PATH_MAX_BYTES + 300];
    if (!beneath_root(config, path)) {
        return !is_on_way(config, path);
    }
    snprintf(at, sizeof at, "%s", path);
    split(at, parent);
    while (!parent_on_record(capture, source, at, parent)) {
        memcpy(at, parent, sizeof at);
        split(at, parent);
    }
    capture->since_ns = work->complete_until_ns;
    capture->rested = false;
    work->looks++;
    examine_path(capture, source, at, EXAMINE_BENEATH, 0);
    return !interrupted(capture, source);
}
