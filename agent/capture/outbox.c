#include "agent/capture/outbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/spool.h"
#include "common/log.h"

#define MEMORY_MAX_BYTES   (16u * 1024u * 1024u)
#define URGENT_EXTRA_BYTES (4u * 1024u * 1024u) /* for classes before bulk */
#define LAST_RANK          3u                   /* of config_class_rank */
#define REFUSALS_MAX       3

struct lane {                     /* of one source */
    struct hf_unit *first, *last; /* in memory, oldest first */
    uint64_t acked, pushed;       /* seq */
    uint64_t loaded; /* seq: in memory or acknowledged; what the spool has comes after */
    uint64_t sent;   /* seq: the collector may have it, but none beyond */
    bool online, resyncing;
    bool spool_held;
    /* Content of more than a unit goes ahead of its version, in units of chunks alone. */
    bool chunks_left;  /* some did, and their version is the lane's first, or yet to be pushed */
    bool in_the_midst; /* the last unit that was pushed was such a one */
    bool torn;         /* ... when the connection broke: what is pushed next lacks its beginning */
    bool unsure;       /* what the collector has isn't known: a resync was cut off, or a number that
                          was sent was given up and means something else by now */
    unsigned rank;
};

struct hf_outbox {
    const struct hf_config *config;
    pthread_mutex_t lock; /* protects everything below */
    struct lane *lanes;
    struct hf_spool *spool;
    size_t bytes;
    void (*wake)(void *context);
    void *wake_context;
    void (*notify)(void *context);
    void *notify_context;
    struct hf_outbox_notice *notices, *last_notice;
};

int outbox_open(const struct hf_config *config, struct hf_outbox **out, struct hf_error *error)
{
    struct hf_outbox *outbox = calloc(1, sizeof *outbox);
    if (!outbox || !(outbox->lanes = calloc(config->source_count, sizeof *outbox->lanes))) {
        free(outbox);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the outbox");
    }
    outbox->config = config;
    pthread_mutex_init(&outbox->lock, NULL);
    for (size_t i = 0; i < config->source_count; i++) {
        outbox->lanes[i].rank = config_class_rank(config->sources[i].class_name);
    }
    int rc = spool_open(config, &outbox->spool, error);
    if (rc != HF_OK) {
        outbox_free(outbox);
        return rc;
    }
    *out = outbox;
    return HF_OK;
}

/* --- notices --- */

static void add_notice(struct hf_outbox *outbox, enum hf_outbox_notice_kind kind, size_t source,
                       uint64_t seq, struct hf_unit *row)
{
    struct hf_outbox_notice *notice = calloc(1, sizeof *notice);
    if (!notice) {
        abort(); /* a lost notice would leave files unprotected without a word */
    }
    *notice = (struct hf_outbox_notice){.kind = kind,
                                        .source = source,
                                        .seq = seq,
                                        .row = row,
                                        .unsure = outbox->lanes[source].unsure};
    if (outbox->last_notice) {
        outbox->last_notice->next = notice;
    } else {
        outbox->notices = notice;
    }
    outbox->last_notice = notice;
}

void outbox_notice_free(struct hf_outbox_notice *notice)
{
    unit_free(notice->row);
    free(notice);
}

struct hf_outbox_notice *outbox_notices(struct hf_outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    struct hf_outbox_notice *notices = outbox->notices;
    outbox->notices = NULL;
    outbox->last_notice = NULL;
    pthread_mutex_unlock(&outbox->lock);
    return notices;
}

/* Unlock and tell capture. */
static void unlock_and_notify(struct hf_outbox *outbox)
{
    void (*notify)(void *) = outbox->notices ? outbox->notify : NULL;
    void *context = outbox->notify_context;
    pthread_mutex_unlock(&outbox->lock);
    if (notify) {
        notify(context);
    }
}

void outbox_set_notify(struct hf_outbox *outbox, void (*notify)(void *context), void *context)
{
    pthread_mutex_lock(&outbox->lock);
    outbox->notify = notify;
    outbox->notify_context = context;
    pthread_mutex_unlock(&outbox->lock);
}

void outbox_set_wake(struct hf_outbox *outbox, void (*fn)(void *context), void *context)
{
    pthread_mutex_lock(&outbox->lock);
    outbox->wake = fn;
    outbox->wake_context = context;
    pthread_mutex_unlock(&outbox->lock);
}

/* --- lanes --- */

static void append(struct hf_outbox *outbox, struct hf_unit *unit)
{
    struct lane *lane = &outbox->lanes[unit->source];
    unit->next = NULL;
    if (lane->last) {
        lane->last->next = unit;
    } else {
        lane->first = unit;
    }
    lane->last = unit;
    lane->loaded = unit->version_count > 0 ? unit_last_seq(unit) : lane->loaded;
    outbox->bytes += unit->bytes;
}

static void remove_first(struct hf_outbox *outbox, struct lane *lane)
{
    struct hf_unit *unit = lane->first;
    lane->first = unit->next;
    lane->last = lane->first ? lane->last : NULL;
    outbox->bytes -= unit->bytes;
    lane->chunks_left = unit->version_count == 0;
    unit_free(unit);
}

static void drop_from(struct hf_outbox *outbox, size_t source, uint64_t seq)
{
    struct lane *lane = &outbox->lanes[source];
    struct hf_unit **at = &lane->first;
    struct hf_unit *last = NULL;
    while (*at) {
        struct hf_unit *unit = *at;
        /* Chunks without versions belong to a version that comes after them. */
        if (unit->version_count == 0 || unit_last_seq(unit) >= seq) {
            *at = unit->next;
            outbox->bytes -= unit->bytes;
            unit_free(unit);
        } else {
            last = unit;
            at = &unit->next;
        }
    }
    lane->last = last;
    spool_drop_from(outbox->spool, source, seq);
    lane->pushed = seq - 1;
    lane->loaded = lane->loaded < seq ? lane->loaded : seq - 1;
}

/* Everything of a source from seq on is given up; capture will find it again, and number it anew:
 * what the collector has under these numbers is compared then, if it may have any. */
static void forget_from(struct hf_outbox *outbox, size_t source, uint64_t seq)
{
    struct lane *lane = &outbox->lanes[source];
    lane->unsure = lane->unsure || lane->sent >= seq;
    drop_from(outbox, source, seq);
    add_notice(outbox, HF_NOTICE_FORGOTTEN, source, seq, NULL);
}

/* Memory to disk, so that a crash while the collector is away loses no intermediate version. */
static void spool_lane(struct hf_outbox *outbox, size_t source)
{
    struct lane *lane = &outbox->lanes[source];
    while (lane->first) {
        struct hf_unit *unit = lane->first;
        if (unit->version_count > 0 && lane->chunks_left && !unit->taken) {
            /* Nobody knows how far the chunks came that went ahead. A version that may have come
             * as well is kept: the collector says whether it has it, or lacks chunks. */
            forget_from(outbox, source, unit_first_seq(unit));
            break;
        }
        if (unit->version_count > 0 && !unit->spooled &&
            spool_put(outbox->spool, unit, NULL) != HF_OK) { /* which says so */
            forget_from(outbox, source, unit_first_seq(unit));
            break;
        }
        remove_first(outbox, lane);
    }
    lane->loaded = lane->acked;
    lane->chunks_left = false;
    lane->torn = lane->in_the_midst;
}

void outbox_free(struct hf_outbox *outbox)
{
    if (!outbox) {
        return;
    }
    for (size_t i = 0; outbox->spool && i < outbox->config->source_count; i++) {
        spool_lane(outbox, i);
    }
    spool_close(outbox->spool);
    for (size_t i = 0; i < outbox->config->source_count; i++) {
        while (outbox->lanes[i].first) {
            remove_first(outbox, &outbox->lanes[i]);
        }
    }
    while (outbox->notices) {
        struct hf_outbox_notice *notice = outbox->notices;
        outbox->notices = notice->next;
        outbox_notice_free(notice);
    }
    pthread_mutex_destroy(&outbox->lock);
    free(outbox->lanes);
    free(outbox);
}

/* --- the session's side --- */

static void drop_acked(struct hf_outbox *outbox, size_t source, uint64_t seq)
{
    struct lane *lane = &outbox->lanes[source];
    while (lane->first && (lane->first->version_count == 0 ? lane->first->sent
                                                           : unit_last_seq(lane->first) <= seq)) {
        remove_first(outbox, lane);
    }
    spool_drop_through(outbox->spool, source, seq);
    lane->acked = seq;
    lane->loaded = lane->loaded > seq ? lane->loaded : seq;
    add_notice(outbox, HF_NOTICE_ACKED, source, seq, NULL);
}

enum hf_outbox_resume outbox_online(struct hf_outbox *outbox, size_t source, uint64_t committed_seq,
                                    uint64_t file_count)
{
    enum hf_outbox_resume resume = HF_OUTBOX_RESUME;
    (void)file_count;
    pthread_mutex_lock(&outbox->lock);
    struct lane *lane = &outbox->lanes[source];
    lane->online = true;
    if (committed_seq < lane->acked || committed_seq > lane->sent || lane->unsure) {
        lane->unsure = true;
        drop_from(outbox, source, 1);
        lane->acked = lane->loaded = lane->pushed = committed_seq;
        lane->resyncing = true;
        add_notice(outbox, HF_NOTICE_RESYNC, source, committed_seq, NULL);
        resume = HF_OUTBOX_RESYNC;
    } else {
        drop_acked(outbox, source, committed_seq);
        add_notice(outbox, HF_NOTICE_CONNECTED, source, committed_seq, NULL);
    }
    lane->sent = committed_seq; /* what else was sent did not come */
    unlock_and_notify(outbox);
    return resume;
}

void outbox_offline(struct hf_outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    for (size_t i = 0; i < outbox->config->source_count; i++) {
        struct lane *lane = &outbox->lanes[i];
        lane->online = false;
        lane->resyncing = false;
        spool_lane(outbox, i);
    }
    unlock_and_notify(outbox);
}

void outbox_resync_add(struct hf_outbox *outbox, size_t source, const struct hf_version *version)
{
    struct hf_unit *row = unit_new(source);
    if (!row || unit_add_version(row, version) != HF_OK) {
        unit_free(row); /* the file is read again then */
        return;
    }
    pthread_mutex_lock(&outbox->lock);
    add_notice(outbox, HF_NOTICE_ROW, source, 0, row);
    unlock_and_notify(outbox);
}

void outbox_resync_done(struct hf_outbox *outbox, size_t source)
{
    pthread_mutex_lock(&outbox->lock);
    outbox->lanes[source].resyncing = false;
    outbox->lanes[source].unsure = false;
    add_notice(outbox, HF_NOTICE_RESYNCED, source, 0, NULL);
    unlock_and_notify(outbox);
}

static bool spool_is_ahead(struct hf_outbox *outbox, size_t source)
{
    return spool_last_seq(outbox->spool, source) > outbox->lanes[source].loaded;
}

/* The spool's next unit enters memory; it stays in the spool until it is acknowledged. */
static struct hf_unit *load(struct hf_outbox *outbox, size_t source)
{
    struct lane *lane = &outbox->lanes[source];
    struct hf_unit *unit = spool_after(outbox->spool, source, lane->loaded);
    bool next = unit && unit->version_count > 0 && unit_first_seq(unit) <= lane->loaded + 1 &&
                unit_last_seq(unit) > lane->loaded;
    if (!next) {
        unit_free(unit);
        forget_from(outbox, source, lane->loaded + 1); /* damaged: the newest is captured again */
        return NULL;
    }
    unit->spooled = true;
    append(outbox, unit);
    return unit;
}

/* The first unit of a lane that was not taken. */
static struct hf_unit *next_of(struct hf_outbox *outbox, size_t source)
{
    struct lane *lane = &outbox->lanes[source];
    if (!lane->online || lane->resyncing) {
        return NULL;
    }
    for (struct hf_unit *unit = lane->first; unit; unit = unit->next) {
        if (!unit->taken) {
            return unit;
        }
    }
    bool room = !lane->spool_held && (!lane->first || outbox->bytes < MEMORY_MAX_BYTES / 2);
    return room && spool_is_ahead(outbox, source) ? load(outbox, source) : NULL;
}

static const struct hf_unit *take(struct hf_outbox *outbox, unsigned last_rank)
{
    struct hf_unit *found = NULL;
    pthread_mutex_lock(&outbox->lock);
    for (unsigned rank = 0; rank <= last_rank && !found; rank++) {
        for (size_t i = 0; i < outbox->config->source_count && !found; i++) {
            if (outbox->lanes[i].rank == rank) {
                found = next_of(outbox, i);
            }
        }
    }
    if (found) {
        struct lane *lane = &outbox->lanes[found->source];
        found->taken = true;
        lane->sent = found->version_count > 0 ? unit_last_seq(found) : lane->sent;
    }
    unlock_and_notify(outbox);
    return found;
}

const struct hf_unit *outbox_take(struct hf_outbox *outbox)
{
    return take(outbox, LAST_RANK);
}

const struct hf_unit *outbox_take_urgent(struct hf_outbox *outbox)
{
    return take(outbox, HF_URGENT_RANK);
}

void outbox_sent(struct hf_outbox *outbox, const struct hf_unit *unit)
{
    pthread_mutex_lock(&outbox->lock);
    struct lane *lane = &outbox->lanes[unit->source];
    ((struct hf_unit *)unit)->sent = true;
    while (lane->first && lane->first->version_count == 0 && lane->first->sent) {
        remove_first(outbox, lane);
    }
    unlock_and_notify(outbox);
}

void outbox_acked(struct hf_outbox *outbox, size_t source, uint64_t version_seq)
{
    pthread_mutex_lock(&outbox->lock);
    drop_acked(outbox, source, version_seq);
    bool more = spool_is_ahead(outbox, source);
    void (*wake)(void *) = more ? outbox->wake : NULL;
    void *context = outbox->wake_context;
    unlock_and_notify(outbox);
    if (wake) {
        wake(context);
    }
}

void outbox_missing(struct hf_outbox *outbox, size_t source, uint64_t version_seq)
{
    pthread_mutex_lock(&outbox->lock);
    struct lane *lane = &outbox->lanes[source];
    struct hf_unit *refused = lane->first;
    while (refused && (refused->version_count == 0 || unit_last_seq(refused) < version_seq)) {
        refused = refused->next;
    }
    if (refused && refused->chunk_count > 0 && ++refused->refusals < REFUSALS_MAX) {
        for (struct hf_unit *unit = refused; unit; unit = unit->next) {
            unit->taken = false;
            unit->sent = false;
        }
    } else if (version_seq <= lane->pushed) {
        lane->sent = version_seq - 1; /* and takes nothing behind it */
        forget_from(outbox, source, version_seq);
    }
    void (*wake)(void *) = outbox->wake;
    void *context = outbox->wake_context;
    unlock_and_notify(outbox);
    if (wake) {
        wake(context);
    }
}

/* --- capture's side --- */

void outbox_set_numbers(struct hf_outbox *outbox, size_t source, uint64_t acked, uint64_t last,
                        uint64_t *spooled)
{
    pthread_mutex_lock(&outbox->lock);
    struct lane *lane = &outbox->lanes[source];
    *spooled = spool_last_seq(outbox->spool, source);
    lane->acked = lane->loaded = acked;
    lane->pushed = lane->sent = *spooled > acked ? *spooled : acked;
    /* What was numbered beyond that was lost with the process, or came to the collector. */
    lane->unsure = last > lane->pushed;
    pthread_mutex_unlock(&outbox->lock);
}

void outbox_wake(struct hf_outbox *outbox)
{
    if (!outbox) {
        return;
    }
    pthread_mutex_lock(&outbox->lock);
    void (*wake)(void *) = outbox->wake;
    void *context = outbox->wake_context;
    pthread_mutex_unlock(&outbox->lock);
    if (wake) {
        wake(context);
    }
}

void outbox_hold_spool(struct hf_outbox *outbox, size_t source, bool held)
{
    pthread_mutex_lock(&outbox->lock);
    outbox->lanes[source].spool_held = held;
    pthread_mutex_unlock(&outbox->lock);
    if (!held) {
        outbox_wake(outbox);
    }
}

void outbox_rest(struct hf_outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    spool_rest(outbox->spool);
    pthread_mutex_unlock(&outbox->lock);
}

bool outbox_is_online(struct hf_outbox *outbox, size_t source)
{
    pthread_mutex_lock(&outbox->lock);
    bool online = outbox->lanes[source].online && !outbox->lanes[source].resyncing;
    pthread_mutex_unlock(&outbox->lock);
    return online;
}

bool outbox_is_settled(struct hf_outbox *outbox, size_t source)
{
    pthread_mutex_lock(&outbox->lock);
    const struct lane *lane = &outbox->lanes[source];
    bool settled = lane->online && !lane->resyncing && !outbox->notices;
    pthread_mutex_unlock(&outbox->lock);
    return settled;
}

int outbox_push(struct hf_outbox *outbox, struct hf_unit *unit, struct hf_error *error)
{
    pthread_mutex_lock(&outbox->lock);
    struct lane *lane = &outbox->lanes[unit->source];
    uint64_t first = unit_first_seq(unit);
    size_t limit = MEMORY_MAX_BYTES + (lane->rank <= HF_URGENT_RANK ? URGENT_EXTRA_BYTES : 0);
    int rc = HF_OK;
    bool wake = false;
    bool torn = lane->torn;
    lane->torn = false;
    if ((first != 0 && first != lane->pushed + 1) || lane->resyncing) {
        rc = HF_ERR_RACED;
    } else if (torn) {
        rc = HF_ERR_CLOSED;
    } else if (!lane->online || spool_is_ahead(outbox, unit->source)) {
        /* Behind what is in the spool already: versions go out in order. */
        rc = unit->version_count == 0 ? HF_ERR_CLOSED : spool_put(outbox->spool, unit, error);
        wake = lane->online;
        lane->in_the_midst = false;
        if (rc == HF_OK) {
            lane->pushed = unit_last_seq(unit);
            unit_free(unit);
        }
    } else if (outbox->bytes > 0 && outbox->bytes + unit->bytes > limit) {
        rc = HF_ERR_AGAIN;
    } else {
        lane->pushed = first ? unit_last_seq(unit) : lane->pushed;
        lane->in_the_midst = unit->version_count == 0;
        append(outbox, unit);
        wake = true;
    }
    void (*fn)(void *) = wake ? outbox->wake : NULL;
    void *context = outbox->wake_context;
    pthread_mutex_unlock(&outbox->lock);
    if (fn) {
        fn(context);
    }
    return rc;
}
