#include "agent/session/shipper.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/clock_watch.h"
#include "agent/session/effort.h"
#include "agent/session/flight.h"
#include "agent/session/pack.h"
#include "agent/session/renewal.h"
#include "common/clock.h"
#include "common/log.h"

/* Below this, asking first costs more than sending. */
#define ASK_FROM_BYTES (256u * 1024u)
/* What may wait for answers: enough to hide the round trip. */
#define FLIGHTS_MAX       16u
#define FLIGHTS_MAX_BYTES (8u * 1024u * 1024u)
#define FLIGHTS_MIN_BYTES (1024u * 1024u)
/* And on top, what is small and precious: it doesn't wait behind the rest. */
#define URGENT_FLIGHTS       4u
#define URGENT_FLIGHTS_BYTES (4u * 1024u * 1024u)
/* A unit that takes less memory may well be one small block. */
#define DICTIONARY_UNIT_BYTES (2u * HF_DICTIONARY_CONTENT_MAX_BYTES)
#define ASKED_MAX_BYTES       (192u * 1024u)
/* A host at rest wakes up no more often than its marks demand; one at work tells of it sooner. */
#define TICK_MAX_NS       (15 * HF_NS_PER_SECOND)
#define TICK_WORK_NS      HF_NS_PER_SECOND
#define MARK_HEARTBEAT_NS (15 * HF_NS_PER_SECOND)

struct stream {
    bool open; /* SOURCE_STATE came and agreed, or was made to */
    bool listing;
    size_t listed;           /* versions in all LISTINGs so far */
    struct hf_buf listed_to; /* the last of their paths */
    uint64_t sent_seq, acked_seq;
    bool has_dictionary;
    uint8_t dictionary[HF_HASH_BYTES]; /* the one of its class, if it has one */
    struct hf_mark_state marked;       /* the last MARK sent */
    int64_t marked_at_ns;
};

struct hf_shipper {
    struct hf_shipper_options options;
    pthread_t thread;
    atomic_bool wake_posted;
    atomic_llong drain_until_ns; /* 0: not stopping; monotonic */

    /* The thread's own. */
    uint64_t connection; /* 0: none */
    struct stream *streams;
    size_t stream_count;
    struct hf_flights flights;
    struct hf_packer *packer;
    struct hf_effort effort;
    struct hf_dictionaries dictionaries;
    bool launched;     /* a unit, since the last tick */
    bool packer_tired; /* since it last gave its memory back */
    bool urgent;       /* what is sent at this moment */
    bool refused;      /* a send failed: nothing more until the next connection */
    int64_t next_tick_ns;
    struct hf_renewal renewal;
    struct hf_clock_watch clock;
};

static int send_frame(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    int (*queue)(struct hf_link *, uint64_t, const struct hf_frame *) =
        shipper->urgent ? link_send_urgent : link_send;
    int result = queue(shipper->options.link, shipper->connection, frame);
    if (result && !shipper->refused) {
        shipper->refused = true;
        if (result != HF_ERR_CLOSED)
            link_drop(shipper->options.link, shipper->connection,
                      result == HF_ERR_LIMIT ? "a frame became too large" : "out of memory");
    }
    return result;
}

static unsigned rank_of(const struct hf_shipper *shipper, size_t source)
{
    return config_class_rank(shipper->options.config->sources[source].class_name);
}

static int send_packed(void *context, const struct hf_frame *frame)
{
    return send_frame(context, frame);
}

static struct hf_bytes text_bytes(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static void open_source(struct hf_shipper *shipper, size_t index)
{
    const struct hf_config_source *source = &shipper->options.config->sources[index];
    struct hf_bytes roots[64];
    size_t count = 0;
    for (; count < source->path_count && count < 64; count++)
        roots[count] = text_bytes(source->paths[count]);
    struct hf_frame frame = {
        .type = HF_FRAME_SOURCE,
        .source = {.stream = (uint32_t)index + 1,
                   .name = text_bytes(source->name),
                   .kind = text_bytes(source->kind),
                   .class_name = text_bytes(source->class_name),
                   .roots = roots,
                   .root_count = count},
    };
    send_frame(shipper, &frame);
}

static void forget_streams(struct hf_shipper *shipper)
{
    for (size_t i = 0; i < shipper->stream_count; i++) {
        hf_buf_free(&shipper->streams[i].listed_to);
        shipper->streams[i] = (struct stream){0};
    }
}

static void on_opened(struct hf_shipper *shipper, const struct hf_link_event *event)
{
    shipper->connection = event->connection;
    /* Before any source is open: what waits for it is looked for then. */
    capture_set_chunking(shipper->options.capture, event->chunking);
    shipper->refused = false;
    forget_streams(shipper);
    for (size_t i = 0; i < shipper->stream_count; i++)
        open_source(shipper, i);
}

static void on_closed(struct hf_shipper *shipper)
{
    if (!shipper->connection)
        return;
    shipper->connection = 0;
    if (shipper->renewal.asked_at_ns)
        renewal_failed(&shipper->renewal, hf_clock_monotonic_ns());
    flights_clear(&shipper->flights);
    packer_use_dictionary(shipper->packer, NULL);
    dictionaries_clear(&shipper->dictionaries);
    outbox_offline(shipper->options.outbox);
}

/* NULL for a stream that was never opened. */
static struct stream *stream_of(struct hf_shipper *shipper, uint32_t number)
{
    return number >= 1 && number <= shipper->stream_count ? &shipper->streams[number - 1] : NULL;
}

static void ask_listing(struct hf_shipper *shipper, uint32_t stream, struct hf_bytes after)
{
    struct hf_frame frame = {.type = HF_FRAME_LIST, .list = {stream, after}};
    send_frame(shipper, &frame);
}

static void on_source_state(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    const struct hf_source_committed *committed = &frame->source_state;
    struct stream *stream = stream_of(shipper, committed->stream);
    if (!stream)
        return;
    stream->has_dictionary = committed->dictionary.size == sizeof(stream->dictionary);
    if (stream->has_dictionary)
        memcpy(stream->dictionary, committed->dictionary.data, sizeof(stream->dictionary));
    if (stream->open || stream->listing)
        return; /* it tells of a dictionary that is new */
    size_t source = committed->stream - 1;
    stream->sent_seq = stream->acked_seq = committed->version_seq;
    if (outbox_online(shipper->options.outbox, source, committed->version_seq,
                      committed->file_count) == HF_OUTBOX_RESYNC) {
        hf_log_info("source %s: this host's records and the collector's differ; comparing them",
                    shipper->options.config->sources[source].name);
        stream->listing = true;
        stream->listed = 0;
        hf_buf_clear(&stream->listed_to);
        ask_listing(shipper, committed->stream, (struct hf_bytes){0});
    } else {
        stream->open = true;
    }
}

/* A list that goes on and on, or round in circles, would fill state.db. */
static bool goes_on(const struct stream *stream, const struct hf_versions *rows)
{
    if (rows->count == 0)
        return rows->last;
    struct hf_bytes first = rows->versions[0].path;
    size_t common = first.size < stream->listed_to.size ? first.size : stream->listed_to.size;
    int order = common > 0 ? memcmp(first.data, stream->listed_to.data, common) : 0;
    return rows->count <= HF_FILES_MAX - stream->listed &&
           (order > 0 || (order == 0 && first.size > stream->listed_to.size));
}

static void on_listing(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    const struct hf_versions *rows = &frame->versions;
    struct stream *stream = stream_of(shipper, rows->stream);
    if (!stream || !stream->listing)
        return;
    if (!goes_on(stream, rows)) {
        link_drop(shipper->options.link, shipper->connection,
                  "the collector's list of what it has does not go on, or has no end (LISTING)");
        return;
    }
    for (size_t i = 0; i < rows->count; i++)
        outbox_resync_add(shipper->options.outbox, rows->stream - 1, &rows->versions[i]);
    stream->listed += rows->count;
    if (!rows->last) {
        struct hf_bytes path = rows->versions[rows->count - 1].path;
        hf_buf_clear(&stream->listed_to);
        if (hf_buf_append(&stream->listed_to, path.data, path.size))
            link_drop(shipper->options.link, shipper->connection, "out of memory");
        else
            ask_listing(shipper, rows->stream, path);
        return;
    }
    outbox_resync_done(shipper->options.outbox, rows->stream - 1);
    hf_buf_free(&stream->listed_to);
    stream->listing = false;
    stream->open = true;
}

static void on_dictionary(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    struct hf_error error;
    if (dictionaries_take(&shipper->dictionaries, frame->dictionary.id, frame->dictionary.bytes,
                          &error))
        link_drop(shipper->options.link, shipper->connection, error.message);
}

static void on_need(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    if (!flights_answer(&shipper->flights, frame->need.request, frame->need.bitmap.data,
                        frame->need.bitmap.size))
        link_drop(shipper->options.link, shipper->connection,
                  "the collector answered what was not asked (NEED)");
}

static void on_ack(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    for (size_t i = 0; i < frame->ack.count; i++) {
        const struct hf_ack *ack = &frame->ack.acks[i];
        struct stream *stream = stream_of(shipper, ack->stream);
        if (!stream || ack->version_seq <= stream->acked_seq)
            continue;
        if (ack->version_seq > stream->sent_seq) {
            link_drop(shipper->options.link, shipper->connection,
                      "the collector acknowledged what was not sent");
            return;
        }
        stream->acked_seq = ack->version_seq;
        hf_log_debug("source %s: versions up to %llu are durable",
                     shipper->options.config->sources[ack->stream - 1].name,
                     (unsigned long long)ack->version_seq);
        outbox_acked(shipper->options.outbox, ack->stream - 1, ack->version_seq);
    }
}

static void renewal_pause(struct hf_shipper *shipper, const char *why)
{
    char pause[HF_TIME_TEXT_BYTES];
    hf_duration_text(renewal_failed(&shipper->renewal, hf_clock_monotonic_ns()), pause);
    hf_log_warning("this host's certificate is not renewed yet: %s; trying again in %s", why,
                   pause);
}

/* After a try to install what came. */
static void renewal_installed(struct hf_shipper *shipper, int result, const struct hf_error *error)
{
    if (result) {
        renewal_pause(shipper, error->message);
        return;
    }
    renewal_begin(&shipper->renewal, identity_life_ns(shipper->options.identity));
    hf_log_info("this host's certificate was renewed");
    link_renew(shipper->options.link);
}

/* Also one that comes late: the key that it is for is the one that will be asked for again. */
static void on_renewed(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    struct hf_error error;
    int result = identity_install(shipper->options.identity, frame->blob.data, &error);
    if (result == HF_ERR_CONFLICT)
        hf_log_debug("a certificate came that was not asked for, or a second time");
    else
        renewal_installed(shipper, result, &error);
}

static void ask_renewal(struct hf_shipper *shipper)
{
    struct hf_buf request = {0};
    struct hf_error error;
    if (identity_make_request(shipper->options.identity, &request, &error)) {
        renewal_pause(shipper, error.message);
    } else {
        struct hf_frame frame = {.type = HF_FRAME_RENEW,
                                 .blob = {.data = {request.data, request.size}}};
        renewal_asked(&shipper->renewal, hf_clock_monotonic_ns());
        send_frame(shipper, &frame);
    }
    hf_buf_free(&request);
}

static void renew_if_due(struct hf_shipper *shipper)
{
    struct hf_identity *identity = shipper->options.identity;
    int64_t monotonic_ns = hf_clock_monotonic_ns();
    if (renewal_overdue(&shipper->renewal, monotonic_ns))
        renewal_pause(shipper, "the collector does not answer");
    bool due = identity_renewal_due(identity, hf_clock_now_ns());
    struct hf_error error;
    switch (renewal_next(&shipper->renewal, due, identity_install_waits(identity), monotonic_ns)) {
    case HF_RENEWAL_ASK:
        ask_renewal(shipper);
        break;
    case HF_RENEWAL_INSTALL:
        renewal_installed(shipper, identity_install_again(identity, &error), &error);
        break;
    case HF_RENEWAL_NOTHING:
        break;
    }
}

static void on_error(struct hf_shipper *shipper, const struct hf_frame *frame)
{
    const struct hf_refusal *refusal = &frame->refusal;
    struct stream *stream = stream_of(shipper, refusal->stream);
    if (!stream && !refusal->stream && shipper->renewal.asked_at_ns)
        renewal_pause(shipper, "the collector refused"); /* the link logged its words */
    if (!stream)
        return;
    if (refusal->code == HF_WIRE_MISSING_CHUNKS &&
        (refusal->version_seq <= stream->acked_seq || refusal->version_seq > stream->sent_seq)) {
        link_drop(shipper->options.link, shipper->connection,
                  "the collector misses chunks of what it acknowledged or was never sent");
    } else if (refusal->code == HF_WIRE_MISSING_CHUNKS) {
        /* Everything of the source from there on is dropped over there until it comes again. */
        flights_drop_source(&shipper->flights, refusal->stream - 1);
        packer_forget(shipper->packer, refusal->stream - 1);
        stream->sent_seq = refusal->version_seq - 1;
        outbox_missing(shipper->options.outbox, refusal->stream - 1, refusal->version_seq);
    } else if (refusal->code == HF_WIRE_GAP && refusal->version_seq <= stream->sent_seq) {
        link_drop(shipper->options.link, shipper->connection,
                  "the collector expects other version numbers");
    }
}

static void send_mark(struct hf_shipper *shipper, size_t source)
{
    struct stream *stream = &shipper->streams[source];
    struct hf_mark_state now;
    if (!stream->open || !capture_mark(shipper->options.capture, source, &now))
        return;
    int64_t since_ns = hf_clock_monotonic_ns() - stream->marked_at_ns;
    bool changed = now.version_seq != stream->marked.version_seq ||
                   now.until_ns != stream->marked.until_ns || now.state != stream->marked.state ||
                   now.pending_files != stream->marked.pending_files ||
                   strcmp(now.note, stream->marked.note) != 0;
    if (stream->marked_at_ns && !changed && since_ns < MARK_HEARTBEAT_NS)
        return;
    struct hf_frame frame = {
        .type = HF_FRAME_MARK,
        .mark = {.stream = (uint32_t)source + 1,
                 .version_seq = now.version_seq,
                 .until_ns = now.until_ns,
                 .state = now.state,
                 .pending_files = now.pending_files,
                 .note = text_bytes(now.note)},
    };
    if (send_frame(shipper, &frame))
        return;
    stream->marked = now;
    stream->marked_at_ns = hf_clock_monotonic_ns();
}

/* The collector corrects this host's times by what its clock was when the connection was made. Once
 * it is set, nothing more may go out on that one. */
static void look_at_clock(struct hf_shipper *shipper)
{
    struct hf_clock_reading now = clock_watch_read();
    struct hf_clock_change change = {0};
    clock_watch_look(&shipper->clock, &now, &change);
    if (change.notable && shipper->connection && !shipper->refused) {
        shipper->refused = true;
        link_drop(shipper->options.link, shipper->connection,
                  change.slept_ns ? "this host slept" : "this host's clock was set");
    }
}

/* Something happened that the next marks will tell of. */
static void hasten_tick(struct hf_shipper *shipper)
{
    int64_t tick_ns = shipper->options.config->mark_interval_ns;
    int64_t soon_ns = hf_clock_monotonic_ns() + (tick_ns < TICK_WORK_NS ? tick_ns : TICK_WORK_NS);
    if (soon_ns < shipper->next_tick_ns)
        shipper->next_tick_ns = soon_ns;
}

static void tick_if_due(struct hf_shipper *shipper)
{
    int64_t now_ns = hf_clock_monotonic_ns();
    if (now_ns < shipper->next_tick_ns)
        return;
    int64_t tick_ns = shipper->options.config->mark_interval_ns;
    shipper->next_tick_ns = now_ns + (tick_ns < TICK_MAX_NS ? tick_ns : TICK_MAX_NS);
    if (shipper->packer_tired && !shipper->launched)
        packer_rest(shipper->packer);
    shipper->packer_tired = shipper->launched;
    shipper->launched = false;
    if (!shipper->connection || shipper->refused)
        return;
    for (size_t i = 0; i < shipper->stream_count; i++)
        send_mark(shipper, i);
    renew_if_due(shipper);
}

static void ask(struct hf_shipper *shipper, const struct hf_flight *flight)
{
    const struct hf_unit *unit = flight->unit;
    struct hf_buf ids = {0};
    int result = hf_buf_reserve(&ids, unit->chunk_count * HF_HASH_BYTES);
    for (size_t i = 0; !result && i < unit->chunk_count; i++)
        result = hf_buf_append(&ids, unit->chunks[i].id, HF_HASH_BYTES);
    struct hf_frame frame = {.type = HF_FRAME_HAVE, .ids = {flight->request, {ids.data, ids.size}}};
    if (!result)
        send_frame(shipper, &frame);
    else
        link_drop(shipper->options.link, shipper->connection, "out of memory");
    hf_buf_free(&ids);
}

/* The one for the unit's class, if it is here; else it is asked for when the unit is small. */
static const struct hf_known_dictionary *dictionary_of(struct hf_shipper *shipper,
                                                       const struct hf_unit *unit)
{
    const struct stream *stream = &shipper->streams[unit->source];
    bool ask = false;
    if (!stream->has_dictionary || unit->chunk_count == 0 || unit->bytes > DICTIONARY_UNIT_BYTES)
        return NULL;
    const struct hf_known_dictionary *known =
        dictionaries_find(&shipper->dictionaries, stream->dictionary, &ask);
    struct hf_frame frame = {
        .type = HF_FRAME_DICTIONARY_GET,
        .dictionary = {.id = {stream->dictionary, sizeof(stream->dictionary)}}};
    if (ask)
        send_frame(shipper, &frame);
    return known;
}

/* The chunks and versions of a unit, which go out in this order. */
static int send_unit(struct hf_shipper *shipper, const struct hf_flight *flight)
{
    const struct hf_unit *unit = flight->unit;
    uint64_t acked_seq = shipper->streams[unit->source].acked_seq;
    shipper->launched = true;
    packer_use_dictionary(shipper->packer, dictionary_of(shipper, unit));
    shipper->urgent = flight->rank <= HF_URGENT_RANK;
    packer_set_level(shipper->packer, effort_level(&shipper->effort));
    int result = packer_send_chunks(shipper->packer, unit, flight->needed, acked_seq);
    if (!result)
        result = packer_send_versions(shipper->packer, unit, (uint32_t)unit->source + 1);
    shipper->urgent = false;
    return result;
}

static void launch(struct hf_shipper *shipper, struct hf_flight *flight)
{
    const struct hf_unit *unit = flight->unit;
    struct stream *stream = &shipper->streams[unit->source];
    int result = send_unit(shipper, flight);
    if (!result && unit->version_count > 0)
        stream->sent_seq = unit->versions[unit->version_count - 1].seq;
    if (!result)
        outbox_sent(shipper->options.outbox, unit);
    flight_free(flight);
}

/* With a limit no more is taken than goes out in a while: what comes later may have to go first. */
static size_t flights_max_bytes(const struct hf_shipper *shipper)
{
    uint64_t limit = shipper->options.config->upload_limit;
    if (limit == 0 || limit * 2 > FLIGHTS_MAX_BYTES)
        return FLIGHTS_MAX_BYTES;
    return limit * 2 < FLIGHTS_MIN_BYTES ? FLIGHTS_MIN_BYTES : (size_t)limit * 2;
}

static bool flights_full(const struct hf_shipper *shipper, size_t extra_count, size_t extra_bytes)
{
    const struct hf_flights *flights = &shipper->flights;
    return flights->count >= FLIGHTS_MAX + extra_count ||
           flights->bytes >= flights_max_bytes(shipper) + extra_bytes ||
           flights->asked_bytes >= ASKED_MAX_BYTES;
}

/* The next unit to send; what is small and precious also when the rest has to wait. */
static const struct hf_unit *take_unit(struct hf_shipper *shipper, bool bulk_waits)
{
    if (!bulk_waits && !flights_full(shipper, 0, 0))
        return outbox_take(shipper->options.outbox);
    if (!flights_full(shipper, URGENT_FLIGHTS, URGENT_FLIGHTS_BYTES))
        return outbox_take_urgent(shipper->options.outbox);
    return NULL;
}

/* Send what can be sent now. True when there is more to do at once. */
static bool pump(struct hf_shipper *shipper)
{
    struct hf_link *link = shipper->options.link;
    if (!shipper->connection || shipper->refused || link_bulk_full(link, HF_LINK_URGENT))
        return false;
    bool bulk_waits = link_bulk_full(link, HF_LINK_BULK);
    effort_note(&shipper->effort, bulk_waits, hf_clock_monotonic_ns());
    struct hf_flight *flight =
        flights_take_ready(&shipper->flights, bulk_waits ? HF_URGENT_RANK : UINT_MAX);
    if (flight) {
        launch(shipper, flight);
        return true;
    }
    const struct hf_unit *unit = take_unit(shipper, bulk_waits);
    if (!unit)
        return false;
    bool asks = unit->bytes > ASK_FROM_BYTES && unit->chunk_count > 0 &&
                unit->chunk_count <= HF_FRAME_IDS_MAX;
    flight = flights_add(&shipper->flights, unit, rank_of(shipper, unit->source), asks);
    if (!flight)
        link_drop(link, shipper->connection, "out of memory");
    else if (asks)
        ask(shipper, flight);
    return true;
}

static const struct {
    enum hf_frame_type type;
    void (*handle)(struct hf_shipper *shipper, const struct hf_frame *frame);
} handlers[] = {
    {HF_FRAME_SOURCE_STATE, on_source_state},
    {HF_FRAME_NEED, on_need},
    {HF_FRAME_ACK, on_ack},
    {HF_FRAME_LISTING, on_listing},
    {HF_FRAME_ERROR, on_error},
    {HF_FRAME_RENEWED, on_renewed},
    {HF_FRAME_DICTIONARY, on_dictionary},
};

static void handle_event(struct hf_shipper *shipper, struct hf_link_event *event)
{
    switch (event->kind) {
    case HF_LINK_OPENED:
        on_closed(shipper);
        on_opened(shipper, event);
        break;
    case HF_LINK_CLOSED:
        if (event->connection == shipper->connection)
            on_closed(shipper);
        break;
    case HF_LINK_WAKE:
        atomic_store(&shipper->wake_posted, false);
        break;
    case HF_LINK_FRAME:
        if (event->connection != shipper->connection)
            break;
        for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
            if (handlers[i].type == event->frame.type)
                handlers[i].handle(shipper, &event->frame);
        break;
    case HF_LINK_ROOM:
    case HF_LINK_STOP:
        break;
    }
    link_event_free(event);
}

static bool all_acknowledged(const struct hf_shipper *shipper)
{
    for (size_t i = 0; i < shipper->stream_count; i++)
        if (shipper->streams[i].acked_seq < shipper->streams[i].sent_seq)
            return false;
    return shipper->flights.count == 0;
}

static bool finished(const struct hf_shipper *shipper)
{
    int64_t until_ns = atomic_load(&shipper->drain_until_ns);
    return until_ns && (!shipper->connection || all_acknowledged(shipper) ||
                        hf_clock_monotonic_ns() >= until_ns);
}

static void *shipper_main(void *context)
{
    struct hf_shipper *shipper = context;
    struct hf_priority_switch priority;
    bool busy = false;
    pthread_setname_np(pthread_self(), "shipper");
    hf_priority_begin(&priority, &shipper->options.config->priority);
    while (busy || !finished(shipper)) {
        int64_t wait_ns = shipper->next_tick_ns - hf_clock_monotonic_ns();
        int wait_ms = busy || wait_ns < 0 ? 0 : (int)(wait_ns / HF_NS_PER_MS) + 1;
        if (atomic_load(&shipper->drain_until_ns) && wait_ms > 50)
            wait_ms = 50;
        struct hf_queue_item *item = hf_queue_pop_all(shipper->options.inbox, wait_ms);
        while (item) {
            struct hf_queue_item *next = item->next;
            handle_event(shipper, (struct hf_link_event *)(void *)item);
            item = next;
            hasten_tick(shipper);
        }
        hf_priority_hurry(&priority, capture_hurries(shipper->options.capture));
        look_at_clock(shipper);
        tick_if_due(shipper);
        busy = pump(shipper);
        if (busy && atomic_load(&shipper->drain_until_ns) &&
            hf_clock_monotonic_ns() >= atomic_load(&shipper->drain_until_ns))
            busy = false;
    }
    on_closed(shipper);
    return NULL;
}

/* From capture's threads. */
static void wake(void *context)
{
    struct hf_shipper *shipper = context;
    if (atomic_exchange(&shipper->wake_posted, true))
        return;
    struct hf_link_event *event = link_event_new(HF_LINK_WAKE, 0);
    if (!event || !hf_queue_push(shipper->options.inbox, &event->item)) {
        atomic_store(&shipper->wake_posted, false); /* the next tick looks anyway */
        link_event_free(event);
    }
}

/* While there is a limit, frames are short enough not to hold up others for long. */
static struct hf_packer *make_packer(struct hf_shipper *shipper)
{
    uint64_t limit = shipper->options.config->upload_limit;
    struct hf_packer *packer = packer_new(send_packed, shipper);
    if (packer && limit > 0 && limit / 4 < HF_PACK_FRAME_BYTES)
        packer_set_frame_bytes(packer, (size_t)limit / 4);
    return packer;
}

static void shipper_free(struct hf_shipper *shipper)
{
    packer_free(shipper->packer);
    dictionaries_clear(&shipper->dictionaries);
    flights_clear(&shipper->flights);
    if (shipper->streams)
        forget_streams(shipper);
    free(shipper->streams);
    free(shipper);
}

int shipper_start(const struct hf_shipper_options *options, struct hf_shipper **out,
                  struct hf_error *error)
{
    struct hf_shipper *shipper = calloc(1, sizeof(*shipper));
    if (!shipper)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the session");
    shipper->options = *options;
    flights_init(&shipper->flights);
    effort_init(&shipper->effort, effort_read_idle, hf_clock_monotonic_ns());
    renewal_begin(&shipper->renewal, identity_life_ns(options->identity));
    shipper->stream_count = options->config->source_count;
    shipper->streams = calloc(shipper->stream_count + 1, sizeof(*shipper->streams));
    shipper->packer = make_packer(shipper);
    if (!shipper->streams || !shipper->packer) {
        shipper_free(shipper);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the session");
    }
    outbox_set_wake(options->outbox, wake, shipper);
    int failure = pthread_create(&shipper->thread, NULL, shipper_main, shipper);
    if (failure) {
        outbox_set_wake(options->outbox, NULL, NULL);
        shipper_free(shipper);
        return hf_error_set(error, HF_ERR_IO, failure, "can't start the session's thread");
    }
    *out = shipper;
    return 0;
}

void shipper_stop(struct hf_shipper *shipper, int64_t drain_ns)
{
    if (!shipper)
        return;
    atomic_store(&shipper->drain_until_ns, hf_clock_monotonic_ns() + drain_ns);
    wake(shipper);
    pthread_join(shipper->thread, NULL);
    outbox_set_wake(shipper->options.outbox, NULL, NULL);
    shipper_free(shipper);
}
