#include "agent/restore/job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/job_codec.h"
#include "common/bytes.h"
#include "common/fs.h"

#define OFFER_MAX_BYTES   HF_FRAME_MAX_BYTES
#define ANCHORS_MAX_BYTES (1024u * 1024u)
/* `decided` of ten million files with a message for each hundredth. */
#define DECIDED_MAX_BYTES (256u * 1024u * 1024u)
/* Past this many, a failure's reason is in the agent's log only. */
#define REMARKS_KEPT_MAX 20000u

static void job_file(const struct hf_job *job, const char *name, char out[4096 + 32])
{
    snprintf(out, 4096 + 32, "%s/%s", job->directory, name);
}

static int job_read(const struct hf_job *job, const char *name, size_t max_bytes,
                    struct hf_buf *out)
{
    char path[4096 + 32];
    job_file(job, name, path);
    return hf_read_file(path, max_bytes, out, NULL);
}

static int job_write(const struct hf_job *job, const char *name, const struct hf_buf *content,
                     struct hf_error *error)
{
    char path[4096 + 32];
    job_file(job, name, path);
    return hf_write_file_atomic(path, content->data, content->size, 0600, error);
}

static void directory_remove(const char *directory)
{
    DIR *dir = opendir(directory);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(directory);
}

/* What an earlier run left; anything unreadable makes it a run that never got past staging. */
static void job_resume(struct hf_job *job)
{
    struct hf_buf phase = {0}, decided = {0};
    if (job_read(job, "phase", 4096, &phase) || job_phase_decode(job, &phase) ||
        job_read(job, "decided", DECIDED_MAX_BYTES, &decided) || job_decided_decode(job, &decided))
        job_forget_run(job);
    job->applied_before = job->phase == HF_JOB_APPLYING;
    hf_buf_free(&phase);
    hf_buf_free(&decided);
}

static int plan_open(struct hf_job *job, struct hf_error *error)
{
    char path[4096 + 32];
    job_file(job, "plan", path);
    int fd = open(path,
                  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
                      (job->phase == HF_JOB_STAGING ? O_TRUNC : 0),
                  0600);
    job->plan = fd >= 0 ? fdopen(fd, "r+") : NULL;
    if (job->plan)
        return 0;
    int failure = errno;
    if (fd >= 0)
        close(fd);
    return hf_error_set(error, failure == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, failure,
                        "can't open %s", path);
}

/* Counts may have been taken again, and paths are younger than some jobs; what the job is lies in
 * the rest. */
static int encode_identity(const struct hf_restore_offer *offer, struct hf_buf *out)
{
    struct hf_frame frame = {.type = HF_FRAME_RESTORE_OFFER, .seq = 1, .offer = *offer};
    frame.offer.file_count = frame.offer.byte_count = 0;
    frame.offer.paths = NULL;
    frame.offer.path_count = 0;
    return proto_encode(&frame, out);
}

/* An agent of another version may have written it. */
static bool is_identity(const struct hf_buf *before, const struct hf_buf *identity)
{
    struct hf_frame frame = {0};
    struct hf_buf again = {0};
    bool same = !proto_decode(before->data, before->size, &frame, NULL) &&
                frame.type == HF_FRAME_RESTORE_OFFER && !encode_identity(&frame.offer, &again) &&
                again.size == identity->size && !memcmp(again.data, identity->data, again.size);
    proto_frame_free(&frame);
    hf_buf_free(&again);
    return same;
}

int job_open(const char *state_directory, const struct hf_restore_offer *offer, struct hf_job **out,
             struct hf_error *error)
{
    struct hf_buf before = {0}, stored = {0};
    struct hf_frame frame = {.type = HF_FRAME_RESTORE_OFFER, .seq = 1, .offer = *offer};
    struct hf_job *job = calloc(1, sizeof(*job));
    if (!job)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    job->id = offer->job;
    int result = HF_ERR_INVALID;
    int length = snprintf(job->directory, sizeof(job->directory), "%s/restore/%llu",
                          state_directory, (unsigned long long)offer->job);
    if (length < 0 || (size_t)length >= sizeof(job->directory)) {
        hf_error_set(error, HF_ERR_INVALID, 0, "the state directory's path is too long");
        goto fail;
    }
    if (proto_encode(&frame, &job->offer_message) || encode_identity(offer, &stored)) {
        result = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
        goto fail;
    }
    result =
        proto_decode(job->offer_message.data, job->offer_message.size, &job->offer_frame, error);
    if (result) {
        job->offer_frame = (struct hf_frame){0};
        goto fail;
    }
    job->offer = job->offer_frame.offer;

    if (!job_read(job, "offer", OFFER_MAX_BYTES, &before)) {
        if (is_identity(&before, &stored)) {
            job->interrupted = true;
            job_resume(job);
        } else {
            directory_remove(job->directory);
        }
    }
    result = hf_mkdirs(job->directory, 0700, error);
    if (!result && !job->interrupted)
        result = job_write(job, "offer", &stored, error);
    if (!result)
        result = plan_open(job, error);
    if (result)
        goto fail;
    hf_buf_free(&before);
    hf_buf_free(&stored);
    *out = job;
    return 0;
fail:
    hf_buf_free(&before);
    hf_buf_free(&stored);
    job_close(job);
    return result;
}

void job_close(struct hf_job *job)
{
    if (!job)
        return;
    job_forget_run(job);
    if (job->plan)
        fclose(job->plan);
    if (job->offer_frame.type)
        proto_frame_free(&job->offer_frame);
    hf_buf_free(&job->offer_message);
    free(job);
}

int job_plan_append(struct hf_job *job, const struct hf_version *version, enum hf_action action,
                    struct hf_error *error)
{
    if (job->count == job->capacity) {
        size_t capacity = job->capacity > 0 ? 2 * job->capacity : 4096;
        uint8_t *grown = realloc(job->actions, capacity);
        if (!grown)
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the restore's plan");
        job->actions = grown;
        job->capacity = capacity;
    }
    struct hf_buf record = {0};
    int result = hf_buf_extend(&record, 4, NULL);
    if (!result)
        result = proto_version_encode(version, &record);
    if (result) {
        hf_buf_free(&record);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the restore's plan");
    }
    hf_put_le32(record.data, (uint32_t)(record.size - 4));
    size_t wrote = fwrite(record.data, 1, record.size, job->plan);
    int failure = errno;
    bool whole = wrote == record.size;
    hf_buf_free(&record);
    if (!whole)
        return hf_error_set(error, failure == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, failure,
                            "can't write the restore's plan to %s", job->directory);
    job->actions[job->count++] = (uint8_t)action;
    return 0;
}

int job_plan_rewind(struct hf_job *job, struct hf_error *error)
{
    if (fflush(job->plan) || fseek(job->plan, 0, SEEK_SET))
        return hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                            "can't write the restore's plan to %s", job->directory);
    return 0;
}

int job_plan_next(struct hf_job *job, struct hf_buf *buf, struct hf_version *version,
                  struct hf_error *error)
{
    uint8_t head[4];
    uint8_t *data;
    hf_buf_clear(buf);
    size_t got = fread(head, 1, sizeof(head), job->plan);
    if (got == 0 && feof(job->plan))
        return HF_ERR_NOT_FOUND;
    size_t size = got == sizeof(head) ? hf_get_le32(head) : HF_FRAME_MAX_BYTES + 1;
    if (size > HF_FRAME_MAX_BYTES)
        return hf_error_set(error, HF_ERR_CORRUPT, 0, "the restore's plan in %s is damaged",
                            job->directory);
    if (hf_buf_extend(buf, size, &data))
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for the restore's plan");
    if (fread(data, 1, size, job->plan) != size)
        return hf_error_set(error, HF_ERR_CORRUPT, 0, "the restore's plan in %s ends too soon",
                            job->directory);
    return proto_version_decode(data, size, version, error);
}

int job_plan_walk(struct hf_job *job, uint64_t end,
                  void (*visit)(void *context, const struct hf_version *version, uint64_t index),
                  void *context, struct hf_error *error)
{
    struct hf_buf buf = {0};
    struct hf_version version;
    int result = job_plan_rewind(job, error);
    for (uint64_t i = 0; !result && i < end; i++) {
        result = job_plan_next(job, &buf, &version, error);
        if (!result)
            visit(context, &version, i);
        else if (result == HF_ERR_NOT_FOUND)
            result = hf_error_set(error, HF_ERR_CORRUPT, 0, "the restore's plan ends too soon");
    }
    hf_buf_free(&buf);
    return result;
}

void job_remark(struct hf_job *job, uint64_t index, const char *message)
{
    job->remarks_sorted = false;
    if (job->remark_count == REMARKS_KEPT_MAX)
        return;
    if (job->remark_count == job->remark_capacity) {
        size_t capacity = job->remark_capacity > 0 ? 2 * job->remark_capacity : 64;
        struct hf_job_remark *grown = realloc(job->remarks, capacity * sizeof(*job->remarks));
        if (!grown)
            return;
        job->remarks = grown;
        job->remark_capacity = capacity;
    }
    char *copy = strdup(message);
    if (copy) {
        job->remarks[job->remark_count] = (struct hf_job_remark){index, job->remark_count, copy};
        job->remark_count++;
    }
}

void job_fail(struct hf_job *job, uint64_t index, const char *message)
{
    job->actions[index] = HF_ACTION_FAILED;
    job_remark(job, index, message);
}

static int compare_remarks(const void *a, const void *b)
{
    const struct hf_job_remark *left = a, *right = b;
    if (left->index != right->index)
        return left->index > right->index ? 1 : -1;
    return (left->order > right->order) - (left->order < right->order);
}

const char *job_remark_of(struct hf_job *job, uint64_t index)
{
    if (!job->remarks_sorted && job->remark_count > 0)
        qsort(job->remarks, job->remark_count, sizeof(*job->remarks), compare_remarks);
    job->remarks_sorted = true;
    size_t low = 0, high = job->remark_count; /* the first behind those of index */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (job->remarks[middle].index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && job->remarks[low - 1].index == index ? job->remarks[low - 1].message : NULL;
}

int job_save_anchors(struct hf_job *job, const char *text, struct hf_error *error)
{
    struct hf_buf content = {0};
    int result = hf_buf_append_str(&content, text);
    if (result)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    result = job_write(job, "anchors", &content, error);
    hf_buf_free(&content);
    return result;
}

int job_save_phase(struct hf_job *job, enum hf_job_phase phase, struct hf_error *error)
{
    struct hf_buf decided = {0}, text = {0};
    int result = job_decided_encode(job, &decided);
    if (!result)
        result = job_phase_encode(job, phase, &text);
    if (result)
        hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    else if (fflush(job->plan) || fsync(fileno(job->plan)))
        result = hf_error_set(error, errno == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, errno,
                              "can't write the restore's plan to %s", job->directory);
    if (!result)
        result = job_write(job, "decided", &decided, error);
    if (!result)
        result = job_write(job, "phase", &text, error);
    if (!result)
        job->phase = phase;
    hf_buf_free(&decided);
    hf_buf_free(&text);
    return result;
}

void job_remove(struct hf_job *job)
{
    directory_remove(job->directory);
}

static bool sweep_one(struct hf_job *job,
                      bool (*visit)(void *context, uint64_t job,
                                    const struct hf_restore_offer *offer, enum hf_job_phase phase,
                                    const char *anchors),
                      void *context)
{
    struct hf_buf offer = {0}, anchors = {0}, phase = {0};
    struct hf_frame frame = {0};
    bool readable = !job_read(job, "offer", OFFER_MAX_BYTES, &offer) &&
                    !proto_decode(offer.data, offer.size, &frame, NULL);
    bool usable = readable && frame.type == HF_FRAME_RESTORE_OFFER && frame.offer.job == job->id;
    if (job_read(job, "anchors", ANCHORS_MAX_BYTES, &anchors) || hf_buf_terminate(&anchors))
        hf_buf_free(&anchors);
    if (!job_read(job, "phase", 4096, &phase))
        (void)job_phase_decode(job, &phase);
    bool remove = visit(context, job->id, usable ? &frame.offer : NULL, job->phase,
                        anchors.data ? (const char *)anchors.data : "");
    if (readable)
        proto_frame_free(&frame);
    hf_buf_free(&offer);
    hf_buf_free(&anchors);
    hf_buf_free(&phase);
    hf_buf_free(&job->message);
    return remove;
}

void job_sweep(const char *state_directory,
               bool (*visit)(void *context, uint64_t job, const struct hf_restore_offer *offer,
                             enum hf_job_phase phase, const char *anchors),
               void *context)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/restore", state_directory);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *end;
        unsigned long long id = strtoull(entry->d_name, &end, 10);
        if (entry->d_name[0] == '.' || *end)
            continue;
        struct hf_job job = {.id = id};
        int length = snprintf(job.directory, sizeof(job.directory), "%s/%llu", path, id);
        if (length >= 0 && (size_t)length < sizeof(job.directory) &&
            sweep_one(&job, visit, context))
            directory_remove(job.directory);
    }
    closedir(dir);
}
