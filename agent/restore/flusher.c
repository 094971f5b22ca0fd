#include "agent/restore/flusher.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* Enough for long stretches on the disk, and little beside what a host's page cache holds. */
#define FLUSH_BYTES (64u * 1024u * 1024u)

struct hf_flusher {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd; /* what is to be flushed, -1 for nothing; under the lock */
    bool stopping;
    int failure;    /* errno of the first flush that failed; the thread's until it has ended */
    uint64_t noted; /* bytes since the last flush was asked for; the noting thread's */
};

static void *flusher_main(void *context)
{
    struct hf_flusher *flusher = context;
    pthread_mutex_lock(&flusher->lock);
    while (!flusher->stopping) {
        int fd = flusher->fd;
        if (fd < 0) {
            pthread_cond_wait(&flusher->changed, &flusher->lock);
            continue;
        }
        pthread_mutex_unlock(&flusher->lock);
        if (syncfs(fd) && !flusher->failure)
            flusher->failure = errno;
        pthread_mutex_lock(&flusher->lock);
        flusher->fd = -1;
    }
    pthread_mutex_unlock(&flusher->lock);
    return NULL;
}

int flusher_start(struct hf_flusher **out, struct hf_error *error)
{
    struct hf_flusher *flusher = calloc(1, sizeof(*flusher));
    if (!flusher)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    flusher->fd = -1;
    pthread_mutex_init(&flusher->lock, NULL);
    pthread_cond_init(&flusher->changed, NULL);
    int failure = pthread_create(&flusher->thread, NULL, flusher_main, flusher);
    if (failure) {
        pthread_cond_destroy(&flusher->changed);
        pthread_mutex_destroy(&flusher->lock);
        free(flusher);
        return hf_error_set(error, HF_ERR_IO, failure, "can't start the restore's threads");
    }
    *out = flusher;
    return 0;
}

int flusher_stop(struct hf_flusher *flusher)
{
    if (!flusher)
        return 0;
    pthread_mutex_lock(&flusher->lock);
    flusher->stopping = true;
    pthread_cond_signal(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
    pthread_join(flusher->thread, NULL);
    pthread_cond_destroy(&flusher->changed);
    pthread_mutex_destroy(&flusher->lock);
    int failure = flusher->failure;
    free(flusher);
    return failure;
}

void flusher_note(struct hf_flusher *flusher, int fd, uint64_t bytes)
{
    flusher->noted += bytes;
    if (flusher->noted < FLUSH_BYTES)
        return;
    pthread_mutex_lock(&flusher->lock);
    if (flusher->fd < 0) { /* else the flush that is under way hasn't ended yet */
        flusher->fd = fd;
        flusher->noted = 0;
        pthread_cond_signal(&flusher->changed);
    }
    pthread_mutex_unlock(&flusher->lock);
}
