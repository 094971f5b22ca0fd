#include "collector/catalog/checkpoint.h"

#include <pthread.h>
#include <stdlib.h>

struct checkpoint {
    struct db *writer;
    struct checkpoint_limits limits;
    /* The writer's: frames in the log after the last commit, the one before it, and from how many
     * on it pays to try again after something (a long read) stood in the way. */
    int log_frames, frames_before, retry_frames;
    struct db db; /* the thread's connection */
    pthread_t thread;
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t changed;
    bool wanted, stopping;
    int copied_frames; /* of the log as it is */
    bool hindered;     /* the last copying got nowhere */
};

/* Copy as much as can be without waiting for anybody; how many frames of the log are copied now. A
 * failure shows as no progress: the data is safe in the log, and a disk that takes nothing more
 * fails the next commit. */
static int copy_frames(struct db *db)
{
    int in_log = -1;
    int copied = -1;
    sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
    return copied > 0 ? copied : 0;
}

/* Under the lock. */
static void note_copied(struct checkpoint *checkpoint, int copied)
{
    checkpoint->hindered = copied <= checkpoint->copied_frames;
    checkpoint->copied_frames = copied;
}

static void *copy_when_wanted(void *context)
{
    struct checkpoint *checkpoint = context;
    pthread_mutex_lock(&checkpoint->lock);
    while (!checkpoint->stopping) {
        if (!checkpoint->wanted) {
            pthread_cond_wait(&checkpoint->changed, &checkpoint->lock);
            continue;
        }
        pthread_mutex_unlock(&checkpoint->lock);
        int copied = copy_frames(&checkpoint->db);
        pthread_mutex_lock(&checkpoint->lock);
        note_copied(checkpoint, copied);
        checkpoint->wanted = false;
        pthread_cond_broadcast(&checkpoint->changed);
    }
    pthread_mutex_unlock(&checkpoint->lock);
    return NULL;
}

static int note_frames(void *context, sqlite3 *handle, const char *name, int frames)
{
    struct checkpoint *checkpoint = context;
    (void)handle;
    (void)name;
    checkpoint->log_frames = frames;
    return SQLITE_OK;
}

int checkpoint_start(struct db *writer, const struct checkpoint_limits *limits,
                     struct checkpoint **out, struct hf_error *error)
{
    struct checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    *out = NULL;
    if (!checkpoint) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the catalog %s",
                            writer->path);
    }
    checkpoint->writer = writer;
    checkpoint->limits = *limits;
    int rc = db_open(&checkpoint->db, writer->path, DB_WRITE, error);
    if (rc != HF_OK) {
        db_close(&checkpoint->db);
        free(checkpoint);
        return rc;
    }
    pthread_mutex_init(&checkpoint->lock, NULL);
    pthread_cond_init(&checkpoint->changed, NULL);
    int failed = pthread_create(&checkpoint->thread, NULL, copy_when_wanted, checkpoint);
    if (failed) {
        db_close(&checkpoint->db);
        pthread_cond_destroy(&checkpoint->changed);
        pthread_mutex_destroy(&checkpoint->lock);
        free(checkpoint);
        return hf_error_set(error, HF_ERR_IO, failed, "Can't start a thread for the catalog %s",
                            writer->path);
    }
    sqlite3_wal_hook(writer->handle, note_frames, checkpoint);
    *out = checkpoint;
    return HF_OK;
}

/* Has the thread work to do, or is the rest for the writer? */
static bool decide(struct checkpoint *checkpoint)
{
    const struct checkpoint_limits *limits = &checkpoint->limits;
    pthread_mutex_lock(&checkpoint->lock);
    while (checkpoint->wanted && checkpoint->log_frames >= limits->log_frames_max) {
        pthread_cond_wait(&checkpoint->changed, &checkpoint->lock);
    }
    if (!checkpoint->wanted && checkpoint->hindered) {
        checkpoint->hindered = false;
        checkpoint->retry_frames = checkpoint->log_frames + limits->log_frames / 4;
    }
    bool idle = !checkpoint->wanted && checkpoint->log_frames >= checkpoint->retry_frames;
    bool finish =
        idle && (checkpoint->log_frames - checkpoint->copied_frames <= limits->rest_frames ||
                 checkpoint->log_frames >= limits->log_frames_max);
    if (idle && !finish) {
        checkpoint->wanted = true;
        pthread_cond_broadcast(&checkpoint->changed);
    }
    pthread_mutex_unlock(&checkpoint->lock);
    return finish;
}

void checkpoint_after_commit(struct checkpoint *checkpoint)
{
    if (checkpoint->log_frames < checkpoint->frames_before) { /* the log began anew */
        pthread_mutex_lock(&checkpoint->lock);
        checkpoint->copied_frames = 0;
        checkpoint->hindered = false;
        pthread_mutex_unlock(&checkpoint->lock);
        checkpoint->retry_frames = 0;
    }
    checkpoint->frames_before = checkpoint->log_frames;
    if (checkpoint->log_frames >= checkpoint->limits.log_frames && decide(checkpoint)) {
        int copied = copy_frames(checkpoint->writer);
        pthread_mutex_lock(&checkpoint->lock);
        note_copied(checkpoint, copied);
        pthread_mutex_unlock(&checkpoint->lock);
    }
}

void checkpoint_stop(struct checkpoint *checkpoint)
{
    if (!checkpoint) {
        return;
    }
    sqlite3_wal_hook(checkpoint->writer->handle, NULL, NULL);
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->stopping = true;
    pthread_cond_broadcast(&checkpoint->changed);
    pthread_mutex_unlock(&checkpoint->lock);
    pthread_join(checkpoint->thread, NULL);
    db_close(&checkpoint->db);
    pthread_cond_destroy(&checkpoint->changed);
    pthread_mutex_destroy(&checkpoint->lock);
    free(checkpoint);
}
