#include "collector/dictionary/trainer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collector/dictionary/collect.h"
#include "collector/dictionary/shared.h"
#include "collector/dictionary/train.h"
#include "common/clock.h"
#include "common/dictionary.h"
#include "common/log.h"
#include "common/priority.h"

#define CLASSES_MAX 64u

/* How much there was of a class when it was last looked at. */
struct learned {
    char class_name[HF_NAME_MAX_BYTES + 1];
    uint64_t versions;
};

struct hf_trainer {
    struct hf_ingest *ingest;
    int64_t interval_ns;
    pthread_t thread;
    pthread_mutex_t lock; /* protects stopping */
    pthread_cond_t wake;
    bool stopping;

    /* The thread's own. */
    struct hf_catalog_reader *catalog;
    struct hf_store_reader *store;
    struct learned learned[CLASSES_MAX];
    size_t learned_count;
};

/* True when it is time to stop. */
static bool wait_ns(struct hf_trainer *trainer, int64_t interval_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + interval_ns % HF_NS_PER_SECOND;
    until.tv_sec += interval_ns / HF_NS_PER_SECOND + nanoseconds / HF_NS_PER_SECOND;
    until.tv_nsec = nanoseconds % HF_NS_PER_SECOND;
    pthread_mutex_lock(&trainer->lock);
    int rc = interval_ns == 0 ? ETIMEDOUT : 0;
    while (!trainer->stopping && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&trainer->wake, &trainer->lock, &until);
    }
    bool stopping = trainer->stopping;
    pthread_mutex_unlock(&trainer->lock);
    return stopping;
}

/* NULL when there are too many classes. */
static struct learned *learned_of(struct hf_trainer *trainer, const char *class_name)
{
    for (size_t i = 0; i < trainer->learned_count; i++) {
        if (strcmp(trainer->learned[i].class_name, class_name) == 0) {
            return &trainer->learned[i];
        }
    }
    if (trainer->learned_count == CLASSES_MAX) {
        return NULL;
    }
    struct learned *learned = &trainer->learned[trainer->learned_count++];
    memcpy(learned->class_name, class_name, strlen(class_name) + 1);
    return learned;
}

/* Enough hosts, and something since the last time? */
static bool is_due(struct hf_trainer *trainer, const struct hf_collect_source *sources,
                   size_t count)
{
    uint64_t hosts[HF_SHARED_HOSTS];
    size_t host_count = 0;
    uint64_t versions = 0;
    for (size_t i = 0; i < count; i++) {
        size_t known = 0;
        while (known < host_count && hosts[known] != sources[i].host_row) {
            known++;
        }
        if (known == host_count && host_count < HF_SHARED_HOSTS) {
            hosts[host_count++] = sources[i].host_row;
        }
        versions += sources[i].versions;
    }
    struct learned *learned = learned_of(trainer, sources[0].class_name);
    if (!learned || host_count < HF_SHARED_HOSTS || learned->versions == versions) {
        return false;
    }
    learned->versions = versions;
    return true;
}

static int read_present(struct hf_trainer *trainer, const char *class_name, struct hf_buf *present,
                        struct hf_error *error)
{
    uint8_t id[HF_HASH_BYTES];
    int rc = catalog_dictionary_newest(trainer->catalog, class_name, id, error);
    if (rc == HF_ERR_NOT_FOUND) {
        *error = (struct hf_error){0};
        return HF_OK;
    }
    return rc == HF_OK ? catalog_dictionary_get(trainer->catalog, id, present, error) : rc;
}

static int adopt(struct hf_trainer *trainer, const char *class_name, const struct hf_buf *bytes,
                 const struct hf_training *training, struct hf_error *error)
{
    struct hf_event event = {
        .type = HF_EVENT_DICTIONARY_TRAINED,
        .actor = event_text("collector"),
        .dictionary_trained = {.class_name = event_text(class_name),
                               .bytes = {bytes->data, bytes->size}},
    };
    hf_sha256(bytes->data, bytes->size, event.dictionary_trained.id);
    int rc = ingest_commit(trainer->ingest, &event, 1, error);
    if (rc == HF_OK) {
        ingest_note_trained(trainer->ingest);
        hf_log_info("Trained a dictionary of %zu bytes for class %s on %zu contents: small content "
                    "takes %llu %% of what it took",
                    bytes->size, class_name, training->samples,
                    (unsigned long long)(training->trained_bytes * 100 / training->present_bytes));
    }
    return rc;
}

/* These sources are all of one class. */
static int train_class(struct hf_trainer *trainer, const struct hf_collect_source *sources,
                       size_t count, struct hf_error *error)
{
    const char *class_name = sources[0].class_name;
    struct hf_samples samples = {0};
    struct hf_training training = {0};
    struct hf_buf present = {0};
    struct hf_buf trained = {0};
    int rc = read_present(trainer, class_name, &present, error);
    rc = rc == HF_OK
             ? collect_samples(trainer->catalog, trainer->store, sources, count, &samples, error)
             : rc;
    rc = rc == HF_OK ? train_dictionary(&samples, (struct hf_bytes){present.data, present.size},
                                        &trained, &training, error)
                     : rc;
    samples_free(&samples);
    if (rc == HF_OK && trained.size > 0) {
        rc = adopt(trainer, class_name, &trained, &training, error);
    } else if (rc == HF_OK) {
        hf_log_debug("Class %s keeps %s dictionary: %zu contents gave %llu bytes for %llu",
                     class_name, present.size > 0 ? "its" : "having no", training.samples,
                     (unsigned long long)training.trained_bytes,
                     (unsigned long long)training.present_bytes);
    }
    hf_buf_free(&trained);
    hf_buf_free(&present);
    return rc;
}

static void train_all(struct hf_trainer *trainer)
{
    struct hf_collect_source *sources = NULL;
    struct hf_error error = {0};
    size_t count = 0;
    int rc = collect_sources(trainer->catalog, &sources, &count, &error);
    for (size_t first = 0; rc == HF_OK && first < count;) {
        size_t next = first + 1;
        while (next < count && strcmp(sources[next].class_name, sources[first].class_name) == 0) {
            next++;
        }
        if (is_due(trainer, sources + first, next - first)) {
            rc = train_class(trainer, sources + first, next - first, &error);
        }
        first = next;
        if (wait_ns(trainer, 0)) {
            break;
        }
    }
    free(sources);
    if (rc != HF_OK) {
        hf_log_warning("No dictionary is trained now: %s", error.message);
    }
}

static void *trainer_main(void *arg)
{
    static const struct hf_priority low = {
        .nice = 19, .io_class = HF_IO_BEST_EFFORT, .io_priority = HF_IO_PRIORITY_MAX};
    struct hf_trainer *trainer = arg;
    struct hf_priority_switch priority;
    pthread_setname_np(pthread_self(), "trainer");
    hf_priority_begin(&priority, &low);
    while (!wait_ns(trainer, trainer->interval_ns)) {
        train_all(trainer);
    }
    return NULL;
}

static void trainer_free(struct hf_trainer *trainer)
{
    store_reader_free(trainer->store);
    catalog_reader_close(trainer->catalog);
    pthread_mutex_destroy(&trainer->lock);
    pthread_cond_destroy(&trainer->wake);
    free(trainer);
}

int trainer_start(struct hf_ingest *ingest, int64_t interval_ns, struct hf_trainer **out,
                  struct hf_error *error)
{
    pthread_condattr_t attributes;
    *out = NULL;
    if (interval_ns == 0) {
        return HF_OK;
    }
    struct hf_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to start the trainer");
    }
    trainer->ingest = ingest;
    trainer->interval_ns = interval_ns;
    pthread_mutex_init(&trainer->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&trainer->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = ingest_readers_open(ingest, &trainer->catalog, &trainer->store, error);
    if (rc == HF_OK) {
        int failed = pthread_create(&trainer->thread, NULL, trainer_main, trainer);
        rc = failed ? hf_error_set(error, HF_ERR_NO_MEMORY, failed, "Can't start the trainer") : rc;
    }
    if (rc != HF_OK) {
        trainer_free(trainer);
        return rc;
    }
    *out = trainer;
    return HF_OK;
}

void trainer_stop(struct hf_trainer *trainer)
{
    if (!trainer) {
        return;
    }
    pthread_mutex_lock(&trainer->lock);
    trainer->stopping = true;
    pthread_cond_signal(&trainer->wake);
    pthread_mutex_unlock(&trainer->lock);
    pthread_join(trainer->thread, NULL);
    trainer_free(trainer);
}
