/* inotify: which directory changed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/log.h"

/* A directory that several sources watch, each for its own reason, is watched for all of these. */
#define SELF_EVENTS    (IN_DELETE_SELF | IN_MOVE_SELF)
#define NAME_EVENTS    (SELF_EVENTS | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE)
#define CONTENT_EVENTS (NAME_EVENTS | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)
#define HOW            (IN_ONLYDIR | IN_EXCL_UNLINK | IN_MASK_ADD)
#define BUFFER_BYTES   65536

struct watched {          /* a directory of a source */
    struct watched *next; /* same wd, another source */
    size_t source;
    bool deleted; /* it is gone, which was told: that its watch ends is no news */
    char path[];
};

struct hf_watch {
    int fd;
    bool limit_said;
    struct watched **by_wd;
    size_t capacity;
    char buffer[BUFFER_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
    size_t size, at;
    size_t
        gathered; /* bytes of events that the kernel still has for us, told before watch_gather */
    const struct watched
        *next_of_event; /* an event goes to each source that watches the directory */
    const struct inotify_event *event;
};

int watch_new(struct hf_watch **out)
{
    struct hf_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        return HF_ERR_NO_MEMORY;
    }
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0) {
        hf_log_warning("inotify can't be used (%s; see fs.inotify.max_user_instances): scans alone "
                       "notice changes",
                       strerror(errno));
    }
    *out = watch;
    return HF_OK;
}

static void forget(struct hf_watch *watch, size_t wd)
{
    while (wd < watch->capacity && watch->by_wd[wd]) {
        struct watched *entry = watch->by_wd[wd];
        watch->by_wd[wd] = entry->next;
        free(entry);
    }
}

void watch_free(struct hf_watch *watch)
{
    if (watch) {
        for (size_t i = 0; i < watch->capacity; i++) {
            forget(watch, i);
        }
        free(watch->by_wd);
        if (watch->fd >= 0) {
            close(watch->fd);
        }
        free(watch);
    }
}

int watch_fd(const struct hf_watch *watch)
{
    return watch->fd;
}

static int remember(struct hf_watch *watch, size_t wd, size_t source, const char *path,
                    bool *is_new)
{
    if (wd >= watch->capacity) {
        size_t capacity = watch->capacity ? watch->capacity : 256;
        while (capacity <= wd) {
            capacity *= 2;
        }
        struct watched **grown = reallocarray(watch->by_wd, capacity, sizeof *grown);
        if (!grown) {
            return HF_ERR_NO_MEMORY;
        }
        memset(grown + watch->capacity, 0, (capacity - watch->capacity) * sizeof *grown);
        watch->by_wd = grown;
        watch->capacity = capacity;
    }
    for (struct watched *entry = watch->by_wd[wd]; entry; entry = entry->next) {
        if (entry->source == source && strcmp(entry->path, path) == 0) {
            return HF_OK;
        }
    }
    size_t length = strlen(path);
    struct watched *entry = malloc(sizeof *entry + length + 1);
    if (!entry) {
        return HF_ERR_NO_MEMORY;
    }
    entry->source = source;
    entry->deleted = false;
    memcpy(entry->path, path, length + 1);
    entry->next = watch->by_wd[wd];
    watch->by_wd[wd] = entry;
    *is_new = true;
    return HF_OK;
}

/* What the kernel said when it would not watch a directory. */
static int refusal(struct hf_watch *watch, int failure)
{
    if (failure == ENOSPC && !watch->limit_said) {
        watch->limit_said = true;
        hf_log_warning("The system's limit of inotify watches is reached "
                       "(fs.inotify.max_user_watches): scans alone notice what changes in "
                       "directories beyond it");
    }
    return failure == ENOSPC ? HF_ERR_NO_SPACE : means_gone(failure) ? HF_ERR_NOT_FOUND : HF_ERR_IO;
}

int watch_add(struct hf_watch *watch, size_t source, const char *path, enum watch_kind kind,
              bool *is_new)
{
    char absolute[4300];
    bool ignored;
    is_new = is_new ? is_new : &ignored;
    *is_new = false;
    if (watch->fd < 0) {
        return HF_ERR_UNSUPPORTED;
    }
    snprintf(absolute, sizeof absolute, "/%s", path);
    static const uint32_t events[] = {
        [WATCH_SELF] = SELF_EVENTS, [WATCH_NAMES] = NAME_EVENTS, [WATCH_CONTENT] = CONTENT_EVENTS};
    int wd = inotify_add_watch(watch->fd, absolute, events[kind] | HOW);
    if (wd < 0) {
        return refusal(watch, errno);
    }
    return remember(watch, (size_t)wd, source, path, is_new);
}

static bool read_more(struct hf_watch *watch)
{
    if (watch->at < watch->size) {
        return true;
    }
    size_t most = watch->gathered < sizeof watch->buffer ? watch->gathered : sizeof watch->buffer;
    ssize_t got = most > 0 ? read(watch->fd, watch->buffer, most) : 0;
    watch->at = 0;
    watch->size = got > 0 ? (size_t)got : 0;
    watch->gathered -= watch->size;
    return got > 0;
}

void watch_gather(struct hf_watch *watch)
{
    int waiting = 0;
    if (watch->fd >= 0 && ioctl(watch->fd, FIONREAD, &waiting) == 0 && waiting > 0) {
        watch->gathered = (size_t)waiting;
    }
}

static void fill_event(const struct hf_watch *watch, struct watch_event *out)
{
    const struct watched *entry = watch->next_of_event;
    *out = (struct watch_event){
        .source = entry->source,
        .now = (watch->event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0,
        .written = (watch->event->mask & IN_MODIFY) != 0,
        .gone = (watch->event->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0,
        .lost = (watch->event->mask & (IN_UNMOUNT | IN_IGNORED)) != 0,
    };
    if (watch->event->len > 0) {
        snprintf(out->path, sizeof out->path, "%s%s%s", entry->path, *entry->path ? "/" : "",
                 watch->event->name);
    } else {
        snprintf(out->path, sizeof out->path, "%s", entry->path);
    }
}

/* Whether there is something to tell of an event: next_of_event is whom. */
static bool begin_event(struct hf_watch *watch, const struct inotify_event *event)
{
    size_t wd = (size_t)event->wd;
    if (event->wd < 0 || wd >= watch->capacity) {
        return false;
    }
    watch->event = event;
    watch->next_of_event = watch->by_wd[wd];
    for (struct watched *entry = watch->by_wd[wd]; entry; entry = entry->next) {
        entry->deleted = entry->deleted || (event->mask & IN_DELETE_SELF);
    }
    if ((event->mask & IN_IGNORED) && watch->next_of_event && watch->next_of_event->deleted) {
        watch->next_of_event = NULL;
        forget(watch, wd);
    }
    return watch->next_of_event;
}

static void tell_next(struct hf_watch *watch, struct watch_event *out)
{
    fill_event(watch, out);
    watch->next_of_event = watch->next_of_event->next;
    if (!watch->next_of_event && (watch->event->mask & IN_IGNORED)) {
        forget(watch, (size_t)watch->event->wd);
    }
}

bool watch_next(struct hf_watch *watch, struct watch_event *out)
{
    while (!watch->next_of_event) {
        if (!read_more(watch)) {
            return false;
        }
        const struct inotify_event *event =
            (const struct inotify_event *)(const void *)(watch->buffer + watch->at);
        watch->at += sizeof *event + event->len;
        if (event->mask & IN_Q_OVERFLOW) {
            *out = (struct watch_event){.overflow = true};
            return true;
        }
        begin_event(watch, event);
    }
    tell_next(watch, out);
    return true;
}
