#include "agent/restore/restore.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/restore/apply.h"
#include "agent/restore/run.h"
#include "common/clock.h"
#include "common/log.h"

/* ---- mail ---- */

static void drop_offers(struct hf_restorer *restorer)
{
    for (size_t i = 0; i < restorer->offer_count; i++)
        link_event_free(restorer->offers[i]);
    restorer->offer_count = 0;
}

/* Takes over event: an offer waits for its turn, once. */
static void keep_offer(struct hf_restorer *restorer, struct hf_link_event *event)
{
    uint64_t job = event->frame.offer.job;
    bool known = job == restorer->running_job || restorer->offer_count == HF_RESTORER_OFFERS_MAX;
    for (size_t i = 0; i < restorer->offer_count; i++)
        known = known || restorer->offers[i]->frame.offer.job == job;
    if (known)
        link_event_free(event); /* the collector offers again on the next connection */
    else
        restorer->offers[restorer->offer_count++] = event;
}

/* The next frame that is no offer, or NULL after the timeout or when something else happened. */
static struct hf_link_event *next_event(struct hf_restorer *restorer, int timeout_ms)
{
    struct hf_link_event *event =
        (struct hf_link_event *)(void *)hf_queue_pop(restorer->options.inbox, timeout_ms);
    if (!event)
        return NULL;
    switch (event->kind) {
    case HF_LINK_OPENED:
        restorer->connection = event->connection;
        /* Whichever thread is first: an offer may come right behind. */
        capture_set_chunking(restorer->options.capture, event->chunking);
        drop_offers(restorer);
        break;
    case HF_LINK_CLOSED:
        if (restorer->connection == event->connection)
            restorer->connection = 0;
        drop_offers(restorer);
        break;
    case HF_LINK_STOP:
        restorer->stopping = true;
        break;
    case HF_LINK_FRAME:
        if (event->connection != restorer->connection)
            break;
        if (event->frame.type != HF_FRAME_RESTORE_OFFER)
            return event;
        keep_offer(restorer, event);
        return NULL;
    default:
        break;
    }
    link_event_free(event);
    return NULL;
}

int run_next_event(struct hf_run *run, int timeout_ms, struct hf_link_event **out)
{
    struct hf_restorer *restorer = run->restorer;
    *out = NULL;
    if (restorer->stopping || restorer->connection != run->connection)
        return HF_ERR_CLOSED;
    struct hf_link_event *event = next_event(restorer, timeout_ms);
    if (restorer->stopping || restorer->connection != run->connection) {
        link_event_free(event);
        return HF_ERR_CLOSED;
    }
    if (event && event->frame.type == HF_FRAME_RESTORE_CANCEL) {
        run->cancelled = run->cancelled || event->frame.cancel.job == run->job->id;
        link_event_free(event);
        return 0;
    }
    *out = event;
    return 0;
}

int run_send(struct hf_run *run, const struct hf_frame *frame)
{
    return link_send(run->restorer->options.link, run->connection, frame);
}

/* ---- steps ---- */

static void send_answer(struct hf_restorer *restorer, uint64_t job, bool accepted,
                        const char *message)
{
    struct hf_frame frame = {
        .type = HF_FRAME_RESTORE_ANSWER,
        .answer = {.job = job,
                   .accepted = accepted,
                   .message = {(const uint8_t *)message, strlen(message)}},
    };
    link_send(restorer->options.link, restorer->connection, &frame);
}

void restorer_wake(struct hf_restorer *restorer)
{
    link_post(restorer->options.inbox, link_event_new(HF_LINK_WAKE, 0));
}

struct hf_metadata_rules run_rules(const struct hf_run *run)
{
    const struct hf_config_source *source = run->terms.source;
    return (struct hf_metadata_rules){.owners = run->owners,
                                      .privileged = source && source->restore_privileged};
}

struct hf_cutting run_cutting(const struct hf_run *run)
{
    const struct hf_config_source *source = run->terms.source;
    return (struct hf_cutting){run->chunker, source ? source->class_name : NULL};
}

static struct hf_apply_options apply_options(const struct hf_run *run)
{
    return (struct hf_apply_options){.job = run->job,
                                     .targets = run->targets,
                                     .rules = run_rules(run),
                                     .cutting = run_cutting(run)};
}

/* After an interruption the service may run again, started by whoever started the host. */
static int run_apply(struct hf_run *run, struct hf_error *error)
{
    const struct hf_config_source *source = run->terms.source;
    struct hf_apply_options options = apply_options(run);
    int result =
        source && run->job->applied_before ? run_hook(run, source->before_restore, error) : 0;
    if (result)
        return hf_error_prefix(error, "some of the files may be in place, the others aren't");
    capture_hold(run->restorer->options.capture, &run->area);
    run->holds = true;
    result = apply_job(&options, error);
    targets_remove_staging(run->targets);
    struct hf_error after;
    int failed = source ? run_hook(run, source->after_restore, &after) : 0;
    if (failed && !result) {
        *error = after;
        return hf_error_prefix(error, "the files are in place, but");
    }
    return result;
}

static void adopt(void *context, const char *path, const struct hf_version *version)
{
    struct hf_run *run = context;
    capture_adopt(run->restorer->options.capture, run->terms.source_index, path, version,
                  run->job->id);
}

/* What the restore wrote is recorded as that. Only after the report, for whoever waits for the
 * files to be back doesn't wait for that; before capture looks at anything there again; and without
 * waiting for anybody, for until then it doesn't. */
static void run_adopt(struct hf_run *run)
{
    struct hf_apply_options options = apply_options(run);
    struct hf_error error = {0};
    if (!run->holds)
        return;
    if (run->terms.source && run->job->offer.destination.size == 0 &&
        apply_tell(&options, adopt, run, &error))
        hf_log_warning("restore job %llu: some restored files are recorded as changed by others: "
                       "%s",
                       (unsigned long long)run->job->id, error.message);
    capture_release(run->restorer->options.capture, &run->area);
    run->holds = false;
}

static int run_stage(struct hf_run *run, struct hf_error *error)
{
    struct hf_job *job = run->job;
    int result = job->offer.dry_run ? 0 : run_flush(run, &run->area, 0, error);
    if (result)
        return result;
    send_answer(run->restorer, job->id, true, "");
    result = run_fetch(run, error);
    if (result || job->offer.dry_run)
        return result;
    /* All that is staged is durable before the first rename. */
    result = targets_sync(run->targets, error);
    if (result)
        return result;
    result = run_quiesce(run, error);
    return result && result != HF_ERR_CLOSED && !run->cancelled
               ? hf_error_prefix(error, "nothing was changed")
               : result;
}

static void set_outcome(struct hf_run *run, int result, const struct hf_error *error)
{
    struct hf_job *job = run->job;
    size_t failed = 0;
    for (size_t i = 0; i < job->count; i++)
        failed += job->actions[i] == HF_ACTION_FAILED;
    hf_buf_clear(&job->message);
    job->outcome = run->cancelled && result ? HF_JOB_CANCELLED
                   : result || failed > 0   ? HF_JOB_FAILED
                                            : HF_JOB_SUCCEEDED;
    if (result)
        hf_buf_append_str(&job->message, error->message);
    else if (failed > 0)
        hf_buf_append_format(&job->message,
                             "%zu of %zu files could not be restored; the rest is in place", failed,
                             job->count);
    if (job->message.size > HF_TEXT_MAX_BYTES)
        job->message.size = HF_TEXT_MAX_BYTES;
}

/* HF_ERR_CLOSED: interrupted. 0: the outcome is known and written down. */
static int run_steps(struct hf_run *run)
{
    struct hf_job *job = run->job;
    struct hf_error error = {0};
    int result = 0;
    if (job->phase == HF_JOB_STAGING)
        result = run_stage(run, &error);
    else
        send_answer(run->restorer, job->id, true, "going on after an interruption");
    if (result == HF_ERR_CLOSED)
        return result;
    if (!result && job->phase == HF_JOB_APPLYING)
        result = run_apply(run, &error);
    if (job->phase == HF_JOB_DONE)
        return 0;
    set_outcome(run, result, &error);
    targets_remove_staging(run->targets);
    if (job_save_phase(job, HF_JOB_DONE, &error))
        hf_log_warning("restore job %llu: %s", (unsigned long long)job->id, error.message);
    return 0;
}

static void log_outcome(const struct hf_run *run, int64_t started_ns)
{
    static const char *const outcomes[] = {"", "succeeded", "failed", "was cancelled"};
    char time[HF_TIME_TEXT_BYTES], fetched[HF_TIME_TEXT_BYTES], reused[HF_TIME_TEXT_BYTES];
    const struct hf_job *job = run->job;
    hf_duration_text(hf_clock_monotonic_ns() - started_ns, time);
    hf_size_text(job->fetched_bytes, fetched);
    hf_size_text(job->reused_bytes, reused);
    hf_log_info("restore job %llu %s after %s: %zu files, %s fetched, %s found here%s%.*s",
                (unsigned long long)job->id, outcomes[job->outcome], time, job->count, fetched,
                reused, job->message.size > 0 ? "; " : "", (int)job->message.size,
                (const char *)job->message.data);
}

static char *bytes_text(struct hf_bytes bytes)
{
    return strndup(bytes.data ? (const char *)bytes.data : "", bytes.size);
}

/* Two sources' roots can lie within each other: one's restore must not lead the other's astray. */
static int keep_all_roots(struct hf_targets *targets, const struct hf_config *config,
                          struct hf_error *error)
{
    int result = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        const struct hf_config_source *source = &config->sources[i];
        for (size_t j = 0; !result && j < source->path_count; j++)
            result = targets_keep(targets, source->paths[j], error);
        for (size_t j = 0; !result && j < source->restore_root_count; j++)
            result = targets_keep(targets, source->restore_roots[j], error);
    }
    return result;
}

/* Whether no link leads from there to elsewhere, as far as there is something. */
static bool is_where_it_says(const char *path)
{
    char *there = strdup(path), *real = NULL, *slash;
    while (there && !(real = realpath(there, NULL)) && errno == ENOENT &&
           (slash = strrchr(there, '/')) && slash != there)
        *slash = '\0';
    bool same = real && !strcmp(real, there);
    free(real);
    free(there);
    return same;
}

static bool all_are_where_they_say(const struct hf_config *config, const char *destination)
{
    bool same = is_where_it_says(destination);
    for (size_t i = 0; i < config->source_count; i++)
        for (size_t j = 0; same && j < config->sources[i].path_count; j++)
            same = is_where_it_says(config->sources[i].paths[j]);
    return same;
}

/* Where a file of that path is put, absolute without the leading '/'; of an empty path, all. The
 * caller frees. */
static char *place_of(const char *destination, struct hf_bytes path)
{
    char *place = NULL;
    size_t length = strlen(destination);
    while (length > 0 && destination[length - 1] == '/')
        length--;
    bool slash = length > 0 && path.size > 0;
    int size = asprintf(&place, "%.*s%s%.*s", length > 0 ? (int)length - 1 : 0,
                        length > 0 ? destination + 1 : "", slash ? "/" : "", (int)path.size,
                        path.data ? (const char *)path.data : "");
    return size < 0 ? NULL : place;
}

/* Into a place of its own nothing is written but there. */
static int find_area(struct hf_run *run, const struct hf_restore_offer *offer,
                     const char *destination, struct hf_error *error)
{
    static const struct hf_bytes all = {0};
    const struct hf_config *config = run->restorer->options.config;
    bool elsewhere = strspn(destination, "/") < strlen(destination);
    size_t count = offer->path_count > 0 ? offer->path_count : elsewhere ? 1 : 0;
    run->area.roots = run->terms.roots;
    run->area.root_count = run->terms.root_count;
    if (count == 0 || (elsewhere && !all_are_where_they_say(config, destination)))
        return 0;
    run->paths = calloc(count, sizeof(*run->paths));
    bool failed = !run->paths;
    for (size_t i = 0; !failed && i < count; i++) {
        run->paths[i] = place_of(destination, offer->path_count > 0 ? offer->paths[i] : all);
        failed = !run->paths[i];
        run->area.path_count++;
    }
    run->area.paths = (const char *const *)run->paths;
    return failed ? hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore") : 0;
}

static void run_job(struct hf_restorer *restorer, const struct hf_restore_offer *offer)
{
    struct hf_run run = {.restorer = restorer, .connection = restorer->connection};
    struct hf_error error = {0};
    int64_t started_ns = hf_clock_monotonic_ns();
    char *destination = bytes_text(offer->destination);
    restorer->running_job = offer->job;
    hf_log_info("restore job %llu: source %.*s, %llu files%s", (unsigned long long)offer->job,
                (int)offer->source.size, (const char *)offer->source.data,
                (unsigned long long)offer->file_count, offer->dry_run ? " (dry run)" : "");
    int result = offer_check(restorer->options.config, offer, &run.terms, &error);
    if (!result && destination)
        result = find_area(&run, offer, destination, &error);
    if (!result)
        result = targets_new(run.terms.roots, run.terms.root_count, destination ? destination : "",
                             offer->job, &run.targets, &error);
    if (!result)
        result = keep_all_roots(run.targets, restorer->options.config, &error);
    if (!result)
        result = job_open(restorer->state_directory, offer, &run.job, &error);
    if (!result && run.job->interrupted)
        targets_expect(run.targets,
                       run.job->phase == HF_JOB_STAGING ? HF_LEFTOVER_TAKE_UP : HF_LEFTOVER_KEEP);
    run.owners = owners_new();
    capture_chunker(restorer->options.capture, &run.chunker);
    if (!result && (!run.owners || !destination))
        result = hf_error_set(&error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    if (result) {
        hf_log_warning("restore job %llu refused: %s", (unsigned long long)offer->job,
                       error.message);
        send_answer(restorer, offer->job, false, error.message);
    } else if (!run_steps(&run)) {
        log_outcome(&run, started_ns);
        bool reported = !run_report(&run, &error);
        run_adopt(&run);
        if (reported && !run_await_recorded(&run))
            job_remove(run.job);
    } else {
        hf_log_info("restore job %llu: interrupted; it goes on when the collector offers it again",
                    (unsigned long long)offer->job);
    }
    job_close(run.job);
    owners_free(run.owners);
    hf_chunker_free(run.chunker);
    targets_free(run.targets);
    for (size_t i = 0; i < run.area.path_count; i++)
        free(run.paths[i]);
    free(run.paths);
    offer_terms_free(&run.terms);
    free(destination);
    restorer->running_job = 0;
}

/* ---- the thread ---- */

/* Long enough that a wrong clock of this host costs nothing but some room on the disk. */
#define LEFTOVER_NS (INT64_C(24) * 3600 * HF_NS_PER_SECOND)

static bool sweep_job(void *context, uint64_t job, const struct hf_restore_offer *offer,
                      enum hf_job_phase phase, const char *anchors)
{
    if (offer && phase == HF_JOB_APPLYING) {
        /* Half of it is in place and a service may be stopped: don't wait for the collector. */
        run_job(context, offer);
        return false;
    }
    if (offer && (offer->expires_ns == 0 || offer->expires_ns > hf_clock_now_ns() - LEFTOVER_NS))
        return false;
    char *copy = strdup(anchors), *rest = copy;
    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (*line)
            targets_remove_staging_at(line, job);
    free(copy);
    hf_log_info("restore job %llu expired unfinished; what was staged is removed",
                (unsigned long long)job);
    return true;
}

static void *restorer_main(void *context)
{
    struct hf_restorer *restorer = context;
    pthread_setname_np(pthread_self(), "restorer");
    job_sweep(restorer->state_directory, sweep_job, restorer);
    while (!restorer->stopping) {
        if (restorer->offer_count == 0 || !restorer->connection) {
            link_event_free(next_event(restorer, -1));
            continue;
        }
        struct hf_link_event *offer = restorer->offers[0];
        restorer->offer_count--;
        memmove(restorer->offers, restorer->offers + 1,
                restorer->offer_count * sizeof(restorer->offers[0]));
        run_job(restorer, &offer->frame.offer);
        link_event_free(offer);
    }
    drop_offers(restorer);
    return NULL;
}

int restorer_start(const struct hf_restorer_options *options, struct hf_restorer **out,
                   struct hf_error *error)
{
    struct hf_restorer *restorer = calloc(1, sizeof(*restorer));
    if (!restorer)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for restores");
    restorer->options = *options;
    restorer->state_directory = options->config->state;
    restorer->stop_event = link_event_new(HF_LINK_STOP, 0);
    if (!restorer->stop_event) {
        free(restorer);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for restores");
    }
    int failure = pthread_create(&restorer->thread, NULL, restorer_main, restorer);
    if (failure) {
        link_event_free(restorer->stop_event);
        free(restorer);
        return hf_error_set(error, HF_ERR_IO, failure, "can't start the restorer's thread");
    }
    *out = restorer;
    return 0;
}

static void post_stop(struct hf_restorer *restorer)
{
    if (!hf_queue_push(restorer->options.inbox, &restorer->stop_event->item))
        link_event_free(restorer->stop_event);
    restorer->stop_event = NULL;
}

void restorer_stop(struct hf_restorer *restorer)
{
    if (!restorer)
        return;
    post_stop(restorer);
    pthread_join(restorer->thread, NULL);
    free(restorer);
}
