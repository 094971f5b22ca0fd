#include "agent/capture/capture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "agent/capture/sqlite_backup.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"

#define SERVICE_NS   (10 * HF_NS_PER_MS)
#define FULL_WAIT_US 2000
#define POLL_MAX_NS  (15 * HF_NS_PER_SECOND)
#define REST_MS      2000 /* of nothing to do: what is under way comes back by then */
#define RETRY_NS     (5 * HF_NS_PER_SECOND)
#define COMPLAIN_NS  (60 * HF_NS_PER_SECOND)
/* Who writes to a file all the time does not wake us with each write. */
#define WRITES_MAX     32u
#define WRITES_WAIT_US 5000
#define LOST_RETRY_NS  HF_NS_PER_SECOND
/* As the acknowledged number: above any that a collector commits, so that it asks for a resync. */
#define RESYNC_UNFINISHED (UINT64_C(1) << 62)

bool stopping(struct hf_capture *capture)
{
    return __atomic_load_n(&capture->stopping, __ATOMIC_ACQUIRE);
}

void capture_wake(void *context)
{
    struct hf_capture *capture = context;
    uint64_t one = 1;
    ssize_t ignored = write(capture->wake_fd, &one, sizeof one);
    (void)ignored; /* it only fails when it is awake already */
}

/* --- units --- */

struct hf_unit *unit_of(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    if (!work->unit) {
        work->unit = unit_new(source);
        work->unit_number++;
    }
    return work->unit;
}

struct unit_mark mark_unit(struct hf_capture *capture, size_t source)
{
    const struct hf_unit *unit = unit_of(capture, source);
    return (struct unit_mark){.number = capture->work[source].unit_number,
                              .chunk_count = unit ? unit->chunk_count : 0,
                              .version_count = unit ? unit->version_count : 0};
}

void rewind_unit(struct hf_capture *capture, size_t source, const struct unit_mark *mark)
{
    const struct source_work *work = &capture->work[source];
    if (work->unit && work->unit_number == mark->number &&
        work->unit->version_count == mark->version_count) {
        work->unit->chunk_count = mark->chunk_count;
    }
}

/* Returns its first number, 0 for none. */
static uint64_t drop_unit(struct source_work *work)
{
    uint64_t first = work->unit ? unit_first_seq(work->unit) : 0;
    unit_free(work->unit);
    work->unit = NULL;
    work->give_ups++;
    return first;
}

/* Versions from seq on will not go out: forget that they were captured. */
static void give_up_from(struct hf_capture *capture, size_t source, uint64_t seq)
{
    struct source_work *work = &capture->work[source];
    uint64_t first = drop_unit(work);
    if (first != 0 && first < seq) {
        seq = first;
    }
    state_begin(capture->state);
    state_doubt_from(capture->state, source, seq);
    if (work->last_seq >= seq) {
        work->last_seq = seq - 1;
    }
    mark_give_up_from(work, seq);
}

/* Some versions could neither be sent nor kept. Their files are found by a scan: soon, or when the
 * collector is back, or there may be room again. */
void lose(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    bool online = outbox_is_online(capture->outbox, source);
    work->lost = true;
    work->scan_wanted = true;
    scan_by(capture, source,
            hf_clock_monotonic_ns() +
                (online ? LOST_RETRY_NS : capture->config->sources[source].rescan_ns));
}

/* Until it is over: an agent that ends before begins with it. */
static void expect_resync(struct hf_capture *capture, size_t source)
{
    state_begin(capture->state);
    state_set_acked(capture->state, source, RESYNC_UNFINISHED);
    state_set_last(capture->state, source, capture->work[source].last_seq);
}

static void apply_row(struct hf_capture *capture, const struct hf_outbox_notice *notice)
{
    const struct hf_version *version = &notice->row->versions[0];
    char path[4200];
    size_t size = version->path.size < sizeof path - 1 ? version->path.size : sizeof path - 1;
    memcpy(path, version->path.data, size);
    path[size] = '\0';
    char *slash = strrchr(path, '/');
    if (slash) {
        *slash = '\0';
    }
    state_begin(capture->state);
    state_confirm(capture->state, notice->source, slash ? path : "", slash ? slash + 1 : path,
                  version, capture->work[notice->source].acked_seq);
}

static void apply_notice(struct hf_capture *capture, const struct hf_outbox_notice *notice)
{
    struct source_work *work = &capture->work[notice->source];
    int64_t now = hf_clock_monotonic_ns();
    switch (notice->kind) {
    case HF_NOTICE_ACKED:
        if (notice->seq > work->acked_seq) {
            work->acked_seq = notice->seq;
            state_begin(capture->state);
            state_set_acked(capture->state, notice->source, notice->seq);
        }
        break;
    case HF_NOTICE_FORGOTTEN:
        flushes_restart(capture);
        give_up_from(capture, notice->source, notice->seq);
        work->last_seq = notice->seq - 1;
        if (notice->unsure) {
            expect_resync(capture, notice->source);
        }
        work->scan_wanted = true;
        work->scan_due_ns =
            now + (outbox_is_online(capture->outbox, notice->source) ? 0 : RETRY_NS);
        break;
    case HF_NOTICE_RESYNC:
        flushes_restart(capture);
        /* What the collector has as well needs no second reading: the rows that follow tell. */
        drop_unit(work);
        mark_give_up_from(work, 1);
        work->last_seq = notice->seq;
        work->acked_seq = notice->seq;
        work->marked_until_ns = work->complete_until_ns = 0;
        work->scanned = false;
        state_begin(capture->state);
        state_unconfirm(capture->state, notice->source);
        expect_resync(capture, notice->source);
        break;
    case HF_NOTICE_ROW:
        apply_row(capture, notice);
        break;
    case HF_NOTICE_RESYNCED:
        state_begin(capture->state);
        state_forget_unconfirmed(capture->state, notice->source);
        state_set_acked(capture->state, notice->source, work->acked_seq);
        scan_now(capture, notice->source);
        break;
    case HF_NOTICE_CONNECTED:
        if (work->lost) {
            scan_now(capture, notice->source);
        }
        break;
    }
}

static void read_notices(struct hf_capture *capture)
{
    struct hf_outbox_notice *notice = outbox_notices(capture->outbox);
    capture->rested = capture->rested && !notice;
    while (notice) {
        struct hf_outbox_notice *next = notice->next;
        apply_notice(capture, notice);
        outbox_notice_free(notice);
        notice = next;
    }
}

static void wait_for_room(struct hf_capture *capture, size_t source)
{
    size_t busy = capture->busy;
    capture->busy = busy == NOT_BUSY ? source : busy;
    usleep(FULL_WAIT_US);
    read_notices(capture);
    service(capture);
    capture->busy = busy;
}

/* Says what is wrong with the disk, but not with every try. */
static int commit_state(struct hf_capture *capture, struct hf_error *error)
{
    int rc = state_commit(capture->state, error);
    int64_t now = hf_clock_monotonic_ns();
    if (rc != HF_OK &&
        (capture->complained_ns == 0 || now - capture->complained_ns > COMPLAIN_NS)) {
        hf_log_error("%s", error->message);
        capture->complained_ns = now;
    }
    return rc;
}

int flush_unit(struct hf_capture *capture, size_t source)
{
    struct source_work *work = &capture->work[source];
    struct hf_unit *unit = work->unit;
    struct hf_error error = {0};
    if (!unit || (unit->version_count == 0 && unit->chunk_count == 0)) {
        return HF_OK;
    }
    /* The rows first: what the collector acknowledges is never newer than what state.db has. */
    state_begin(capture->state);
    if (unit->version_count > 0) {
        state_set_last(capture->state, source, unit_last_seq(unit));
    }
    int rc = commit_state(capture, &error);
    while (rc == HF_OK && work->unit == unit &&
           (rc = outbox_push(capture->outbox, unit, &error)) == HF_ERR_AGAIN) {
        if (stopping(capture)) {
            break;
        }
        wait_for_room(capture, source);
        rc = work->unit == unit ? HF_OK : HF_ERR_RACED;
    }
    if (rc == HF_OK) {
        work->unit = NULL;
        return rc;
    }
    if (rc == HF_ERR_NO_SPACE || rc == HF_ERR_IO) {
        snprintf(work->note, sizeof work->note, "%.200s", error.message);
    }
    if (work->unit) {
        uint64_t first = unit_first_seq(work->unit);
        give_up_from(capture, source, first ? first : work->last_seq + 1);
    }
    lose(capture, source);
    read_notices(capture);
    return rc;
}

/* --- what has to be looked at --- */

static void examine_due(struct hf_capture *capture)
{
    int64_t now = hf_clock_monotonic_ns();
    struct dirty *entry;
    while (!stopping(capture) && (entry = dirty_take_due(capture, now))) {
        uint64_t key = 0;
        struct recent *recent = recent_of(capture, entry->source, entry->path, &key);
        *recent = (struct recent){.key = key, .seen_ns = now};
        capture->since_ns = entry->since_ns;
        capture->work[entry->source].looks++;
        capture->rested = false;
        examine_path(capture, entry->source, entry->path, EXAMINE_ONE, entry->unsettled_ns);
        free(entry);
    }
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (may_look_at(capture, i)) {
            flush_unit(capture, i);
        }
    }
}

bool may_look_at(const struct hf_capture *capture, size_t source)
{
    return !capture->work[source].held && !is_quiet(capture, source) &&
           (capture->busy == NOT_BUSY ||
            (source != capture->busy &&
             config_class_rank(capture->config->sources[source].class_name) <= HF_URGENT_RANK));
}

void service(struct hf_capture *capture)
{
    int64_t now = hf_clock_monotonic_ns();
    if (capture->in_service || now - capture->serviced_ns < SERVICE_NS) {
        return;
    }
    int64_t since_ns = capture->since_ns;
    uint8_t *buffer = capture->buffer;
    capture->buffer = capture->spare;
    capture->in_service = true;
    capture->serviced_ns = now;
    look_at_clocks(capture);
    look_at_quiet_hours(capture);
    read_notices(capture);
    read_events(capture);
    if (capture->dirty && capture->dirty->due_ns <= now) {
        examine_due(capture);
    }
    capture->in_service = false;
    capture->since_ns = since_ns;
    capture->buffer = buffer;
}

int capture_find_content(struct hf_capture *capture, const struct hf_version *version,
                         struct hf_buf *path)
{
    if (!capture->finder_made) {
        capture->finder = finder_new(capture->config);
        capture->finder_made = true;
    }
    return capture->finder ? finder_find(capture->finder, version, path) : HF_ERR_NOT_FOUND;
}

void capture_find_end(struct hf_capture *capture)
{
    finder_free(capture->finder);
    capture->finder = NULL;
    capture->finder_made = false;
}

/* --- the thread --- */

static int next_timeout_ms(const struct hf_capture *capture)
{
    int64_t now = hf_clock_monotonic_ns();
    int64_t due_ns = now + POLL_MAX_NS;
    if (capture->config->mark_interval_ns < POLL_MAX_NS) {
        due_ns = now + capture->config->mark_interval_ns;
    }
    if (dirty_due_ns(capture) < due_ns) {
        due_ns = dirty_due_ns(capture);
    }
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (may_look_at(capture, i) && capture->work[i].scan_due_ns < due_ns) {
            due_ns = capture->work[i].scan_due_ns;
        }
    }
    return due_ns <= now ? 0 : (int)((due_ns - now) / HF_NS_PER_MS) + 1;
}

/* Mounting and unmounting are told by no watch. */
static void read_mounts(struct hf_capture *capture)
{
    mount_watch_read(capture->mounts);
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (mount_watch_changed(capture->mounts, i)) {
            scan_now(capture, i);
        }
    }
}

static void wait_for_work(struct hf_capture *capture)
{
    struct pollfd fds[3] = {{.fd = capture->wake_fd, .events = POLLIN},
                            {.fd = watch_fd(capture->watch), .events = POLLIN},
                            {.fd = mount_watch_fd(capture->mounts), .events = POLLPRI}};
    uint64_t count;
    if (capture->only_written >= WRITES_MAX) {
        usleep(WRITES_WAIT_US);
    }
    int timeout_ms = next_timeout_ms(capture);
    bool long_enough = !capture->rested && timeout_ms > REST_MS;
    if (poll(fds, 3, long_enough ? REST_MS : timeout_ms) == 0 && long_enough) {
        give_memory_back(capture);
    }
    if (fds[0].revents) {
        ssize_t ignored = read(capture->wake_fd, &count, sizeof count);
        (void)ignored;
    }
    if (fds[2].revents) {
        read_mounts(capture);
    }
}

static void scan_due(struct hf_capture *capture)
{
    for (unsigned rank = 0; rank <= 3; rank++) {
        for (size_t i = 0; i < capture->config->source_count && !stopping(capture); i++) {
            if (config_class_rank(capture->config->sources[i].class_name) == rank &&
                may_look_at(capture, i) &&
                capture->work[i].scan_due_ns <= hf_clock_monotonic_ns()) {
                capture->rested = false;
                scan_source(capture, i);
                update_mark(capture, i);
            }
        }
    }
}

static void *run(void *arg)
{
    struct hf_capture *capture = arg;
    pthread_setname_np(pthread_self(), "capture");
    hf_priority_begin(&capture->priority, &capture->config->priority);
    while (!stopping(capture)) {
        look_at_clocks(capture);
        deal_with_clocks(capture);
        look_at_quiet_hours(capture);
        read_orders(capture);
        hurry_if_pressed(capture);
        read_notices(capture);
        read_events(capture);
        examine_due(capture);
        scan_due(capture);
        for (size_t i = 0; i < capture->config->source_count; i++) {
            flush_unit(capture, i);
            update_mark(capture, i);
        }
        struct hf_error error = {0};
        commit_state(capture, &error);
        flushes_check(capture);
        hurry_if_pressed(capture);
        if (!stopping(capture)) {
            wait_for_work(capture);
        }
    }
    read_notices(capture);
    state_commit(capture->state, NULL);
    return NULL;
}

static void load_numbers(struct hf_capture *capture)
{
    forget_quiet_hours(capture);
    for (size_t i = 0; i < capture->config->source_count; i++) {
        struct source_work *work = &capture->work[i];
        uint64_t last = 0;
        uint64_t spooled = 0;
        state_numbers(capture->state, i, &work->acked_seq, &last);
        outbox_set_numbers(capture->outbox, i, work->acked_seq, last, &spooled);
        work->last_seq = spooled > work->acked_seq ? spooled : work->acked_seq;
        work->scan_wanted = true;
        if (last > work->last_seq) {
            state_begin(capture->state);
            state_doubt_from(capture->state, i, work->last_seq + 1);
            expect_resync(capture, i);
        }
    }
    state_commit(capture->state, NULL);
    look_at_quiet_hours(capture); /* before the session asks what there is to send */
}

int capture_start(const struct hf_config *config, struct hf_outbox *outbox, struct hf_capture **out,
                  struct hf_error *error)
{
    struct hf_capture *capture = calloc(1, sizeof *capture);
    if (!capture) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for capture");
    }
    capture->config = config;
    capture->outbox = outbox;
    capture->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    capture->work = calloc(config->source_count, sizeof *capture->work);
    capture->marks = calloc(config->source_count, sizeof *capture->marks);
    capture->mark_known = calloc(config->source_count, sizeof *capture->mark_known);
    capture->recent = calloc(RECENT_SLOTS, sizeof *capture->recent);
    capture->busy = NOT_BUSY;
    capture->buffer = malloc(CAPTURE_BUFFER_BYTES);
    capture->spare = malloc(CAPTURE_BUFFER_BYTES);
    pthread_mutex_init(&capture->mark_lock, NULL);
    pthread_mutex_init(&capture->chunking_lock, NULL);
    int rc = HF_OK;
    capture->mounts = mount_watch_new(config);
    if (capture->wake_fd < 0 || !capture->mounts || orders_init(capture) != HF_OK ||
        !capture->work || !capture->marks || !capture->mark_known || !capture->recent ||
        !capture->buffer || !capture->spare || watch_new(&capture->watch) != HF_OK) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for capture");
    }
    sqlite_backup_sweep(config->state);
    rc = rc == HF_OK ? state_open(config, &capture->state, error) : rc;
    if (rc == HF_OK) {
        load_numbers(capture);
        chunking_load(capture);
        outbox_set_notify(outbox, capture_wake, capture);
        int failed = pthread_create(&capture->thread, NULL, run, capture);
        capture->running = !failed;
        rc = failed ? hf_error_set(error, HF_ERR_NO_MEMORY, failed, "Can't start capture") : rc;
    }
    if (rc != HF_OK) {
        capture_free(capture);
        return rc;
    }
    *out = capture;
    return HF_OK;
}

void capture_stop(struct hf_capture *capture)
{
    if (!capture->running) {
        return;
    }
    __atomic_store_n(&capture->stopping, true, __ATOMIC_RELEASE);
    capture_wake(capture);
    pthread_join(capture->thread, NULL);
    capture->running = false;
    orders_close(capture);
}

void capture_free(struct hf_capture *capture)
{
    if (!capture) {
        return;
    }
    capture_stop(capture);
    outbox_set_notify(capture->outbox, NULL, NULL);
    /* Acks that came while stopping spare the next start a comparison. */
    if (capture->state) {
        read_notices(capture);
        state_commit(capture->state, NULL);
    }
    finder_free(capture->finder);
    state_close(capture->state);
    watch_free(capture->watch);
    mount_watch_free(capture->mounts);
    for (size_t i = 0; capture->work && i < capture->config->source_count; i++) {
        unit_free(capture->work[i].unit);
    }
    dirty_clear(capture);
    flushes_end(capture);
    if (capture->wake_fd >= 0) {
        close(capture->wake_fd);
    }
    pthread_mutex_destroy(&capture->mark_lock);
    pthread_mutex_destroy(&capture->chunking_lock);
    chunking_free(capture);
    orders_free(capture);
    free(capture->work);
    free(capture->marks);
    free(capture->mark_known);
    free(capture->recent);
    free(capture->buffer);
    free(capture->spare);
    free(capture);
}
