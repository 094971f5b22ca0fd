/* The workers, and the three lines of what they have to do: content to verify, which comes by the
 * thousand; of sessions that hurry; and whatever somebody waits for: admissions, questions,
 * restores. They take turns, so that none waits for more than a batch of the others. */
#include <stdlib.h>

#include "collector/ingest/pipeline.h"
#include "common/log.h"

#define INGEST_LEVEL    3 /* of zstd, for what is compressed anew here */
#define BATCH_MAX       16u
#define UNANNOUNCED_MAX 32u /* tasks that may lie there before somebody is woken all the same */

static struct task_line *line_of(struct hf_ingest *ingest, const struct ingest_task *task)
{
    unsigned line = task->kind != TASK_VERIFY      ? LINE_ASKED
                    : task->item->session->hurries ? LINE_HURRIED
                                                   : LINE_VERIFY;
    return &ingest->lines[line];
}

/* With the lock held. */
static void announce(struct hf_ingest *ingest)
{
    ingest->unannounced = 0;
    if (ingest->idle_workers > 1) {
        pthread_cond_broadcast(&ingest->task_came);
    } else if (ingest->idle_workers > 0) {
        pthread_cond_signal(&ingest->task_came);
    }
}

bool task_push(struct hf_ingest *ingest, struct ingest_task *task, enum ingest_wake wake)
{
    pthread_mutex_lock(&ingest->task_lock);
    bool open = !ingest->tasks_closed;
    if (open) {
        struct task_line *line = line_of(ingest, task);
        task->next = NULL;
        *(line->last ? &line->last->next : &line->first) = task;
        line->last = task;
        line->count++;
        if (wake == INGEST_WAKE_LATER && ++ingest->unannounced >= UNANNOUNCED_MAX) {
            announce(ingest);
        } else if (wake == INGEST_WAKE_NOW && ingest->idle_workers > 0) {
            pthread_cond_signal(&ingest->task_came);
        }
    }
    pthread_mutex_unlock(&ingest->task_lock);
    return open;
}

void tasks_wake(struct hf_ingest *ingest)
{
    pthread_mutex_lock(&ingest->task_lock);
    if (ingest->unannounced > 0) {
        announce(ingest);
    }
    pthread_mutex_unlock(&ingest->task_lock);
}

void tasks_close(struct hf_ingest *ingest)
{
    pthread_mutex_lock(&ingest->task_lock);
    ingest->tasks_closed = true;
    pthread_cond_broadcast(&ingest->task_came);
    pthread_mutex_unlock(&ingest->task_lock);
}

static struct ingest_task *take_first(struct task_line *line)
{
    struct ingest_task *task = line->first;
    line->first = task->next;
    line->last = line->first ? line->last : NULL;
    line->count--;
    return task;
}

/* With the lock held: the line whose turn it is of those that have something; TASK_LINES for none.
 */
static unsigned next_line(const struct hf_ingest *ingest)
{
    for (unsigned i = 1; i <= TASK_LINES; i++) {
        unsigned line = (ingest->last_line + i) % TASK_LINES;
        if (ingest->lines[line].first) {
            return line;
        }
    }
    return TASK_LINES;
}

/* One task; or some to verify, a share of what there is, so that large ones are worked on in
 * parallel. 0 at the end. */
static size_t take_tasks(struct hf_ingest *ingest, struct ingest_task *tasks[BATCH_MAX])
{
    size_t taken = 0;
    unsigned line;
    pthread_mutex_lock(&ingest->task_lock);
    while ((line = next_line(ingest)) == TASK_LINES && !ingest->tasks_closed) {
        ingest->idle_workers++;
        pthread_cond_wait(&ingest->task_came, &ingest->task_lock);
        ingest->idle_workers--;
    }
    if (line != TASK_LINES) {
        struct task_line *from = &ingest->lines[line];
        size_t share = line == LINE_VERIFY ? from->count / ingest->worker_count : 1;
        ingest->last_line = line;
        do {
            tasks[taken++] = take_first(from);
        } while (taken < share && taken < BATCH_MAX);
    }
    pthread_mutex_unlock(&ingest->task_lock);
    return taken;
}

static int worker_open(struct ingest_worker *worker, const struct hf_ingest *ingest,
                       struct hf_error *error)
{
    worker->decompressor = hf_decompressor_new();
    worker->compressor = hf_compressor_new(INGEST_LEVEL);
    if (!worker->decompressor || !worker->compressor) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "out of memory");
    }
    return ingest_readers_open(ingest, &worker->catalog, &worker->store, error);
}

static void worker_close(struct ingest_worker *worker)
{
    hf_buf_free(&worker->plain);
    hf_buf_free(&worker->aid);
    hf_block_builder_free(&worker->builder);
    hf_decompressor_free(worker->decompressor);
    hf_compressor_free(worker->compressor);
    store_reader_free(worker->store);
    catalog_reader_close(worker->catalog);
}

static void run_asked(struct ingest_worker *worker, struct ingest_task *task)
{
    struct ingest_item *item = task->item;
    if (task->kind == TASK_RUN) {
        task->fn(task->arg, worker->catalog, worker->store);
        free(task);
        return;
    }
    if (task->kind == TASK_HAVE) {
        answer_have(item, worker->catalog);
    } else if (task->kind == TASK_DICTIONARY) {
        answer_dictionary(item, worker->store);
    } else {
        answer_list(item, worker->catalog);
    }
    session_release(item);
    item_free(item); /* and the task with it */
}

void *worker_main(void *arg)
{
    struct hf_ingest *ingest = arg;
    struct ingest_worker worker = {0};
    struct hf_error error = {0};
    struct ingest_task *tasks[BATCH_MAX];
    struct ingest_item *verified[BATCH_MAX];
    pthread_setname_np(pthread_self(), "hf-worker");
    if (worker_open(&worker, ingest, &error) != HF_OK) {
        hf_log_error("A worker can't start: %s", error.message);
        abort(); /* half the workers would be worse: the supervisor starts us again */
    }
    for (size_t count; (count = take_tasks(ingest, tasks)) > 0;) {
        if (tasks[0]->kind != TASK_VERIFY) {
            run_asked(&worker, tasks[0]);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            verified[i] = tasks[i]->item;
            verify_chunks(&worker, verified[i]);
        }
        ring_make_ready(ingest, verified, count);
    }
    worker_close(&worker);
    return NULL;
}
