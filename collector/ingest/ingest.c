/* Start, stop, events, and what others ask of the workers. */
#include "collector/ingest/ingest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/ingest/pipeline.h"
#include "common/clock.h"

#define MARK_INTERVAL_NS (60 * HF_NS_PER_SECOND)

static void free_ingest(struct hf_ingest *ingest)
{
    store_reader_free(ingest->committer_reader);
    catalog_close(ingest->catalog);
    store_close(ingest->store);
    free(ingest->worker_threads);
    marks_free(ingest);
    pthread_mutex_destroy(&ingest->ring_lock);
    pthread_cond_destroy(&ingest->ring_ready);
    pthread_mutex_destroy(&ingest->task_lock);
    pthread_cond_destroy(&ingest->task_came);
    pthread_mutex_destroy(&ingest->mark_lock);
    pthread_mutex_destroy(&ingest->state_lock);
    free(ingest);
}

static int start_threads(struct hf_ingest *ingest, struct hf_error *error)
{
    int failed = pthread_create(&ingest->committer_thread, NULL, committer_main, ingest);
    if (failed) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, failed, "Can't start the committer");
    }
    for (unsigned i = 0; i < ingest->worker_count; i++) {
        failed = pthread_create(&ingest->worker_threads[i], NULL, worker_main, ingest);
        ingest->workers_started += !failed;
        if (failed) {
            ingest_stop(ingest);
            return hf_error_set(error, HF_ERR_NO_MEMORY, failed, "Can't start a worker");
        }
    }
    return HF_OK;
}

/* For the committer's reader: as of the running transaction. */
static int find_chunk(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                      struct hf_error *error)
{
    struct hf_ingest *ingest = context;
    struct hf_chunk_place found;
    int rc = catalog_chunk_find(ingest->catalog, id, &found, error);
    *out = found.place;
    return rc;
}

static int find_dictionary(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_buf *out,
                           struct hf_error *error)
{
    struct hf_ingest *ingest = context;
    return catalog_dictionary_find(ingest->catalog, id, out, error);
}

int ingest_start(const struct hf_ingest_options *options, struct hf_ingest **out,
                 struct hf_error *error)
{
    struct hf_ingest *ingest = calloc(1, sizeof *ingest);
    if (!ingest) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to start");
    }
    pthread_mutex_init(&ingest->ring_lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&ingest->ring_ready, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&ingest->task_lock, NULL);
    pthread_cond_init(&ingest->task_came, NULL);
    pthread_mutex_init(&ingest->mark_lock, NULL);
    pthread_mutex_init(&ingest->state_lock, NULL);
    ingest->storage_ok = true;
    ingest->mark_interval_ns =
        options->mark_interval_ns ? options->mark_interval_ns : MARK_INTERVAL_NS;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    ingest->worker_count = options->workers ? options->workers
                           : processors > 2 ? (unsigned)processors
                                            : 2;
    ingest->worker_threads = calloc(ingest->worker_count, sizeof *ingest->worker_threads);
    int rc = HF_OK;
    if (!ingest->worker_threads) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to start");
    }
    struct hf_store_options store = options->store;
    struct hf_store_resolver resolver = {find_chunk, find_dictionary, ingest};
    struct hf_location applied = {0};
    rc = rc == HF_OK ? catalog_open(options->catalog_path, &ingest->catalog, error) : rc;
    rc = rc == HF_OK ? catalog_applied(ingest->catalog, &applied, error) : rc;
    store.durable_pack = applied.pack;
    store.durable_offset = applied.offset;
    rc = rc == HF_OK ? store_open(&store, &ingest->store, error) : rc;
    rc = rc == HF_OK ? replay_journal(ingest, error) : rc;
    rc = rc == HF_OK ? store_reader_new(ingest->store, resolver, &ingest->committer_reader, error)
                     : rc;
    if (rc != HF_OK) {
        free_ingest(ingest);
        return rc;
    }
    rc = start_threads(ingest, error);
    if (rc == HF_OK) {
        *out = ingest;
    }
    return rc;
}

void ingest_stop(struct hf_ingest *ingest)
{
    if (!ingest) {
        return;
    }
    struct ingest_item *stop = calloc(1, sizeof *stop);
    if (!stop) {
        abort();
    }
    stop->kind = ITEM_STOP;
    stop->ready = true;
    pthread_mutex_lock(&ingest->ring_lock);
    ingest->stopping = true;
    pthread_mutex_unlock(&ingest->ring_lock);
    ring_push(ingest, stop, INGEST_WAKE_NOW);
    /* Workers first finish what the ring still waits for. */
    tasks_close(ingest);
    for (unsigned i = 0; i < ingest->workers_started; i++) {
        pthread_join(ingest->worker_threads[i], NULL);
    }
    pthread_join(ingest->committer_thread, NULL);
    free_ingest(ingest);
}

static struct ingest_item *events_item(void)
{
    struct ingest_item *item = calloc(1, sizeof *item);
    if (item && !(item->events = calloc(1, sizeof *item->events))) {
        free(item);
        return NULL;
    }
    if (item) {
        item->kind = ITEM_EVENTS;
        item->ready = true;
    }
    return item;
}

int ingest_commit(struct hf_ingest *ingest, struct hf_event *events, size_t count,
                  struct hf_error *error)
{
    struct ingest_waiter waiter = {.is_over = false};
    struct ingest_item *item = events_item();
    if (!item) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for a change");
    }
    pthread_mutex_init(&waiter.lock, NULL);
    pthread_cond_init(&waiter.over, NULL);
    item->events->events = events;
    item->events->count = count;
    item->events->waiter = &waiter;
    int rc = ring_push(ingest, item, INGEST_WAKE_NOW);
    if (rc == HF_OK) {
        pthread_mutex_lock(&waiter.lock);
        while (!waiter.is_over) {
            pthread_cond_wait(&waiter.over, &waiter.lock);
        }
        pthread_mutex_unlock(&waiter.lock);
        rc = item->events->result.code;
        if (error && rc != HF_OK) {
            *error = item->events->result;
        }
    } else {
        hf_error_set(error, rc, 0, "The collector is stopping");
    }
    item_free(item);
    pthread_cond_destroy(&waiter.over);
    pthread_mutex_destroy(&waiter.lock);
    return rc;
}

int ingest_commit_async(struct hf_ingest *ingest, const struct hf_event *event,
                        void (*done)(void *context, const struct hf_event *event,
                                     const struct hf_error *error),
                        void *context)
{
    struct ingest_item *item = events_item();
    if (!item) {
        return HF_ERR_NO_MEMORY;
    }
    struct item_events *events = item->events;
    struct hf_event stamped = *event;
    if (stamped.time_ns == 0) {
        stamped.time_ns = hf_clock_now_ns();
    }
    int rc = event_encode(&stamped, &events->copy_memory, NULL);
    rc = rc == HF_OK
             ? event_decode(events->copy_memory.data, events->copy_memory.size, &events->copy, NULL)
             : rc;
    if (rc == HF_OK) {
        events->events = &events->copy;
        events->count = 1;
        events->done = done;
        events->done_context = context;
        rc = ring_push(ingest, item, INGEST_WAKE_NOW);
    }
    if (rc != HF_OK) {
        item_free(item);
    }
    return rc;
}

int ingest_run(struct hf_ingest *ingest,
               void (*fn)(void *arg, struct hf_catalog_reader *catalog,
                          struct hf_store_reader *store),
               void *arg)
{
    struct ingest_task *task = calloc(1, sizeof *task);
    if (!task) {
        return HF_ERR_NO_MEMORY;
    }
    task->kind = TASK_RUN;
    task->fn = fn;
    task->arg = arg;
    if (!task_push(ingest, task, INGEST_WAKE_NOW)) {
        free(task);
        return HF_ERR_CLOSED;
    }
    return HF_OK;
}

void ingest_note_trained(struct hf_ingest *ingest)
{
    atomic_fetch_add(&ingest->trained, 1);
}

uint64_t ingest_queue_bytes(const struct hf_ingest *ingest)
{
    return atomic_load(&ingest->queue_bytes);
}

void ingest_chunking_seed(const struct hf_ingest *ingest, uint8_t out[HF_CHUNK_SEED_BYTES])
{
    store_chunking_seed(ingest->store, out);
}

void ingest_stats(struct hf_ingest *ingest, struct hf_ingest_stats *out)
{
    *out = (struct hf_ingest_stats){
        .bytes = atomic_load(&ingest->bytes),
        .chunks = atomic_load(&ingest->chunks),
        .chunks_stored = atomic_load(&ingest->chunks_stored),
        .versions = atomic_load(&ingest->versions),
        .commits = atomic_load(&ingest->commits),
        .refused = atomic_load(&ingest->refused),
        .queue_bytes = atomic_load(&ingest->queue_bytes),
        .commit_ns_sum = atomic_load(&ingest->commit_ns_sum),
        .last_commit_ns = atomic_load(&ingest->last_commit_ns),
    };
    for (size_t i = 0; i < HF_INGEST_LATENCY_BUCKETS; i++) {
        out->commit_buckets[i] = atomic_load(&ingest->commit_buckets[i]);
    }
    store_stats(ingest->store, &out->store);
    pthread_mutex_lock(&ingest->state_lock);
    out->storage_ok = ingest->storage_ok;
    memcpy(out->message, ingest->message, sizeof out->message);
    pthread_mutex_unlock(&ingest->state_lock);
}
