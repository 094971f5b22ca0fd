#include "agent/restore/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/restore/decide.h"
#include "agent/restore/special.h"
#include "agent/restore/stage_private.h"
#include "agent/restore/staged_file.h"
#include "agent/restore/tree.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/log.h"

/* Room that a restore leaves on a file system for everybody else. */
#define SPARE_BYTES (16u * 1024u * 1024u)
#define ANCHORS     (sizeof(((struct hf_stage *)NULL)->free_bytes) / sizeof(uint64_t))

void stage_name(uint64_t index, char out[HF_STAGED_NAME_BYTES])
{
    snprintf(out, HF_STAGED_NAME_BYTES, "%llx", (unsigned long long)index);
}

int stage_find(struct hf_targets *targets, const struct hf_target *target, uint64_t index,
               bool in_tree, struct hf_staged *out, struct hf_error *error)
{
    if (in_tree)
        return targets_open_staged(targets, target, HF_TARGETS_LEAVE, &out->dir_fd, &out->name,
                                   error);
    stage_name(index, out->text);
    out->name = out->text;
    return targets_staging(targets, target->anchor, index, &out->dir_fd, error);
}

int stage_new(const struct hf_stage_options *options, struct hf_stage **out, struct hf_error *error)
{
    struct hf_stage *stage = calloc(1, sizeof(*stage));
    if (stage) {
        stage->options = *options;
        stage->current_other = -1;
        stage->plain = calloc(1, HF_CHUNK_MAX_BYTES);
        stage->links = links_new();
    }
    if (!stage || !stage->plain || !stage->links) {
        stage_free(stage);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    }
    hf_sha256(stage->plain, HF_CHUNK_MAX_BYTES, stage->zero);
    int result = writers_start(options->wake, options->context, &stage->writers, error);
    if (!result)
        result = flusher_start(&stage->flusher, error);
    if (result) {
        stage_free(stage);
        return result;
    }
    *out = stage;
    return 0;
}

static void file_free(struct stage_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free((void *)file->metadata.xattrs.data);
    free(file);
}

static void leave_current(struct hf_stage *stage)
{
    local_free(stage->current_local);
    if (stage->current_other >= 0)
        close(stage->current_other);
    stage->current = NULL;
    stage->current_version = NULL;
    stage->current_local = NULL;
    stage->current_other = -1;
    stage->list_wanted = false;
}

/* A chunk will not come any more: files that waited for it last are freed. */
void stage_abandon(struct hf_stage *stage, struct hf_write_use *uses)
{
    for (struct hf_write_use *use = uses; use; use = use->next)
        if (use->file && --use->file->waiting == 0 && use->file != stage->current)
            file_free(use->file);
}

void stage_free(struct hf_stage *stage)
{
    if (!stage)
        return;
    for (struct hf_write_work *work;
         stage->writers && (work = writers_collect(stage->writers, -1));) {
        for (size_t i = 0; i < work->part_count; i++)
            stage_abandon(stage, work->parts[i].uses);
        write_work_free(work);
    }
    writers_stop(stage->writers);
    flusher_stop(stage->flusher);
    for (size_t i = 0; i < STAGE_BUCKETS; i++)
        while (stage->buckets[i]) {
            struct stage_wanted *wanted = stage->buckets[i];
            stage->buckets[i] = wanted->next;
            stage_abandon(stage, wanted->uses);
            stage_wanted_free(wanted);
        }
    if (stage->current)
        file_free(stage->current);
    leave_current(stage);
    hf_buf_free(&stage->request);
    hf_buf_free(&stage->list);
    links_free(stage->links);
    free(stage->plain);
    free(stage);
}

void stage_fail(struct hf_stage *stage, struct stage_file *file, const char *message)
{
    if (file->failed)
        return;
    file->failed = true;
    job_fail(stage->options.job, file->index, message);
}

static int no_room(int failure, const char *what, struct hf_error *error)
{
    if (failure == ENOSPC || failure == EDQUOT)
        return hf_error_set(error, HF_ERR_NO_SPACE, failure,
                            "the disk is full while %s; nothing was changed, make room and "
                            "restore again",
                            what);
    return hf_error_set(error, HF_ERR_IO, failure, "%s failed; nothing was changed", what);
}

int stage_open(struct hf_stage *stage, struct stage_file *file, struct hf_error *error)
{
    if (file->fd >= 0)
        return 0;
    /* The mode is set before anything is in it: nobody but us can enter the directory anyway. */
    bool keep = file == stage->current && stage->current_leftover;
    struct hf_error why = {0};
    int failed = staged_file_open(file->staging_fd, file->name, 0600, keep, &file->fd, &why);
    return failed ? no_room(why.sys_errno, "making a file for the restore", error) : 0;
}

int stage_write(struct hf_stage *stage, struct stage_file *file, const uint8_t *data, size_t size,
                uint64_t offset, struct hf_error *error)
{
    if (file->failed)
        return 0;
    int result = stage_open(stage, file, error);
    if (!result && write_content(file->fd, data, size, offset, file->sparse))
        result = no_room(errno, "writing restored content", error);
    return result;
}

static int file_finish(struct hf_stage *stage, struct stage_file *file, struct hf_error *error)
{
    struct stat status;
    int result = stage_open(stage, file, error);
    if (result)
        return result;
    if (fstat(file->fd, &status))
        return no_room(errno, "finishing a restored file", error);
    if ((uint64_t)status.st_size != file->size && ftruncate(file->fd, (off_t)file->size))
        return no_room(errno, "finishing a restored file", error);
    struct hf_error why, shortfall = {0};
    if (metadata_set(file->fd, &file->metadata, &status, &shortfall, &why))
        stage_fail(stage, file, why.message);
    else if (shortfall.code)
        job_remark(stage->options.job, file->index, shortfall.message);
    return 0;
}

int stage_settle(struct hf_stage *stage, struct stage_file *file, struct hf_error *error)
{
    if (file->waiting > 0 || !file->complete)
        return 0;
    int result = 0;
    if (!file->failed && !file->made)
        result = file_finish(stage, file, error);
    if (file->failed) /* or it would come into place with its tree */
        staged_file_remove(file->staging_fd, file->name);
    file_free(file);
    return result;
}

/* Content of the next reference from this host, into stage->plain. */
static bool find_here(struct hf_stage *stage, const uint8_t *id, uint32_t size)
{
    return (stage->current_local && local_read(stage->current_local, id, size, stage->plain)) ||
           (stage->current_other >= 0 &&
            local_read_at(stage->current_other, stage->offset, id, size, stage->plain));
}

/* Promise: what is not sure to fit is not begun. */
static int reserve(struct hf_stage *stage, size_t anchor, uint64_t size, struct hf_error *error)
{
    if (anchor >= ANCHORS)
        return 0;
    if (stage->free_bytes[anchor] == 0) {
        int result =
            targets_free_bytes(stage->options.targets, anchor, &stage->free_bytes[anchor], error);
        if (result)
            return result;
    }
    uint64_t wanted;
    if (__builtin_add_overflow(stage->reserved_bytes[anchor], size + 4096, &wanted) ||
        wanted > stage->free_bytes[anchor] || stage->free_bytes[anchor] - wanted < SPARE_BYTES) {
        char need[HF_ERROR_MESSAGE_BYTES];
        snprintf(need, sizeof(need), "%llu MiB", (unsigned long long)(wanted >> 20));
        return hf_error_set(error, HF_ERR_NO_SPACE, 0,
                            "the restore needs more than %s at %s and %llu MiB are free; nothing "
                            "was changed, make room or restore fewer files",
                            need, targets_anchor_path(stage->options.targets, anchor),
                            (unsigned long long)(stage->free_bytes[anchor] >> 20));
    }
    stage->reserved_bytes[anchor] = wanted;
    return 0;
}

static int place_reference(struct hf_stage *stage, const uint8_t *ref, struct hf_error *error)
{
    struct stage_file *file = stage->current;
    uint32_t size = hf_get_le32(ref + HF_HASH_BYTES);
    uint64_t end;
    if (size == 0 || size > HF_CHUNK_MAX_BYTES ||
        __builtin_add_overflow(stage->offset, (uint64_t)size, &end) || end > file->size) {
        stage_fail(stage, file, "the collector's chunk list does not fit the file's size");
        return 0;
    }
    int result = 0;
    if (file->sparse) {
        if (size == HF_CHUNK_MAX_BYTES && !memcmp(ref, stage->zero, HF_HASH_BYTES)) {
            stage->offset = end; /* it stays a hole */
            return 0;
        }
        result = reserve(stage, file->anchor, size, error);
        if (result)
            return result;
    }
    if (stage->current_leftover) {
        result = stage_open(stage, file, error);
        if (!result && local_read_at(file->fd, stage->offset, ref, size, stage->plain)) {
            stage->options.job->reused_bytes += size;
            stage->offset = end;
            return 0;
        }
    }
    if (!result && find_here(stage, ref, size)) {
        result = stage_write(stage, file, stage->plain, size, stage->offset, error);
        stage->options.job->reused_bytes += size;
    } else if (!result) {
        result = stage_want(stage, ref, size, file, stage->offset, error);
    }
    stage->offset = end;
    return result;
}

/* The list that comes next, of a file of depth 1. */
static int want_list(struct hf_stage *stage, struct hf_error *error)
{
    const uint8_t *ref = stage->current_version->refs.data + stage->list_at * HF_CHUNK_REF_BYTES;
    uint32_t size = hf_get_le32(ref + HF_HASH_BYTES);
    if (size == 0 || size > HF_CHUNK_MAX_BYTES || size % HF_CHUNK_REF_BYTES) {
        stage_fail(stage, stage->current, "the collector's list of chunks is damaged");
        return 0;
    }
    stage->list_wanted = true;
    return stage_want(stage, ref, size, NULL, 0, error);
}

static bool window_full(const struct hf_stage *stage)
{
    return stage->outstanding_bytes >= HF_STAGE_WINDOW_BYTES ||
           stage->outstanding_count >= HF_STAGE_WINDOW_CHUNKS;
}

int stage_advance(struct hf_stage *stage, struct hf_error *error)
{
    while (stage->current && !stage->list_wanted) {
        struct stage_file *file = stage->current;
        const struct hf_version *version = stage->current_version;
        int result = 0;
        size_t lists = version->depth > 0 ? version->refs.size / HF_CHUNK_REF_BYTES : 0;
        if (file->failed) {
            stage->offset = file->size; /* nothing more of it is needed */
        } else if (stage->ref_at < stage->refs.size / HF_CHUNK_REF_BYTES) {
            if (window_full(stage))
                return stage_flush(stage, error);
            result = place_reference(stage, stage->refs.data + stage->ref_at++ * HF_CHUNK_REF_BYTES,
                                     error);
            if (result)
                return result;
            continue;
        } else if (stage->list_at < lists) {
            result = want_list(stage, error);
            if (result)
                return result;
            continue;
        }
        if (stage->offset != file->size)
            stage_fail(stage, file, "the collector's chunk list does not fit the file's size");
        leave_current(stage);
        file->complete = true;
        result = stage_settle(stage, file, error);
        if (result)
            return result;
    }
    return 0;
}

/* Staging directories must be found again after a crash, so they are written down first. */
static int announce_staging(struct hf_stage *stage, size_t anchor, struct hf_error *error)
{
    struct hf_targets *targets = stage->options.targets;
    if (anchor >= ANCHORS || stage->free_bytes[anchor] > 0)
        return 0;
    struct hf_buf text = {0};
    int result = 0;
    for (size_t i = 0; !result && i < targets_anchor_count(targets); i++)
        result = hf_buf_append_format(&text, "%s\n", targets_anchor_path(targets, i));
    if (!result)
        result = hf_buf_terminate(&text);
    if (result)
        hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    else
        result = job_save_anchors(stage->options.job, (const char *)text.data, error);
    hf_buf_free(&text);
    return result;
}

static struct stage_file *file_new(struct hf_stage *stage, const struct hf_version *version,
                                   uint64_t index, const struct hf_metadata *metadata,
                                   size_t anchor, int staging_fd, const char *name)
{
    struct stage_file *file = calloc(1, sizeof(*file) + strlen(name) + 1);
    uint8_t *xattrs = metadata->xattrs.size > 0 ? malloc(metadata->xattrs.size) : NULL;
    if (!file || (metadata->xattrs.size > 0 && !xattrs)) {
        free(file);
        free(xattrs);
        return NULL;
    }
    *file = (struct stage_file){.index = index,
                                .size = version->size,
                                .metadata = *metadata,
                                .anchor = anchor,
                                .staging_fd = staging_fd,
                                .fd = -1};
    memcpy(file->name, name, strlen(name) + 1);
    if (xattrs)
        memcpy(xattrs, metadata->xattrs.data, metadata->xattrs.size);
    file->metadata.xattrs.data = xattrs;
    /* What an interrupted run left may hold anything where zeros shall be. */
    file->sparse = (version->flags & HF_VERSION_SPARSE) && !stage->options.job->interrupted;
    return file;
}

static int begin_file(struct hf_stage *stage, const struct hf_version *version, uint64_t index,
                      const struct hf_metadata *metadata, size_t anchor, int staging_fd,
                      const char *name, struct hf_local *local, struct hf_error *error)
{
    struct stage_file *file = file_new(stage, version, index, metadata, anchor, staging_fd, name);
    if (!file) {
        local_free(local);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    }
    stage->current = file;
    stage->current_version = version;
    stage->current_local = local;
    stage->current_leftover = stage->options.job->interrupted;
    file->whole =
        version->depth == 0 && version->refs.size == HF_CHUNK_REF_BYTES && !stage->current_leftover;
    stage->ref_at = stage->list_at = 0;
    stage->offset = 0;
    stage->list_wanted = false;
    stage->refs = version->depth > 0 ? (struct hf_bytes){NULL, 0} : version->refs;
    struct hf_buf path = {0};
    int result = 0;
    if (!local && version->size > 0 && stage->options.find_content &&
        !stage->options.find_content(stage->options.context, version, &path) &&
        !hf_buf_terminate(&path)) {
        const char *other = (const char *)path.data;
        if (file->whole) {
            result =
                stage_copy(stage, version->refs.data, (uint32_t)version->size, file, other, error);
            stage->ref_at = 1;
            stage->offset = version->size;
        } else {
            stage->current_other =
                hf_open_quietly(AT_FDCWD, other, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        }
    }
    hf_buf_free(&path);
    if (result)
        return result;
    return stage_advance(stage, error);
}

/* A directory that is missing is made now, so that what belongs in it finds it. What can't be made
 * so is made when the rest is put into place. */
static int add_tree(struct hf_stage *stage, const struct hf_target *target, uint64_t index,
                    struct hf_error *error)
{
    struct hf_error why = {0};
    int result = announce_staging(stage, target->anchor, error);
    if (!result)
        result = reserve(stage, target->anchor, 0, error);
    if (result)
        return result;
    if (!tree_add(stage->options.targets, target, &why))
        return 0;
    if (why.code == HF_ERR_NO_SPACE) {
        *error = why;
        return why.code;
    }
    stage->options.job->actions[index] = HF_ACTION_DIRECTORY;
    return 0;
}

/* Takes over local. */
static int add_file(struct hf_stage *stage, const struct hf_version *version, uint64_t index,
                    const struct hf_metadata *metadata, const struct hf_target *target,
                    struct hf_local *local, struct hf_error *error)
{
    struct hf_job *job = stage->options.job;
    struct hf_targets *targets = stage->options.targets;
    struct hf_error why = {0}, shortfall = {0};
    char flat[HF_STAGED_NAME_BYTES];
    bool sparse = version->flags & HF_VERSION_SPARSE; /* its holes need no room */
    int staging_fd = -1;
    int result = announce_staging(stage, target->anchor, error);
    bool in_tree = !result && job->actions[index] == HF_ACTION_FILE && tree_holds(targets, target);
    if (in_tree)
        job->actions[index] = HF_ACTION_TREE_FILE;
    if (in_tree && version->type == HF_FILE_REGULAR)
        tree_take_up(targets, target);
    if (!result)
        result = in_tree ? targets_tree(targets, target->anchor, &staging_fd, error)
                         : targets_staging(targets, target->anchor, index, &staging_fd, error);
    if (!result && links_add_made(stage->links, version, index, target, in_tree)) {
        local_free(local);
        return 0; /* another name of one that is being made */
    }
    if (!result)
        result = reserve(stage, target->anchor, sparse ? 0 : version->size, error);
    if (result) {
        local_free(local);
        return result;
    }
    stage_name(index, flat);
    if (version->type == HF_FILE_REGULAR)
        return begin_file(stage, version, index, metadata, target->anchor, staging_fd,
                          in_tree ? target->path : flat, local, error);
    local_free(local);
    result = special_stage(targets, version, index, metadata, target, in_tree, &shortfall, &why);
    if (result == HF_ERR_NO_SPACE) {
        *error = why;
        return result;
    }
    if (result)
        job_fail(job, index, why.message);
    else if (shortfall.code)
        job_remark(job, index, shortfall.message);
    return 0;
}

static bool is_change(enum hf_action action)
{
    return action == HF_ACTION_FILE || action == HF_ACTION_BESIDE || action == HF_ACTION_TREE ||
           action == HF_ACTION_DIRECTORY;
}

int stage_add(struct hf_stage *stage, const struct hf_version *version, struct hf_error *error)
{
    struct hf_job *job = stage->options.job;
    struct hf_targets *targets = stage->options.targets;
    enum hf_action action = HF_ACTION_NONE;
    struct hf_metadata metadata;
    struct hf_target target = {0};
    struct hf_local *local = NULL;
    struct hf_error why = {0};
    uint64_t index = job->count;

    metadata_of(&stage->options.rules, version, &metadata);
    int failed =
        version->type == HF_FILE_ABSENT ? 0 : targets_locate(targets, version, &target, &why);
    if (!failed)
        failed = decide_action(targets, version, &target, &metadata, &stage->options.cutting,
                               job->offer.conflict, &action, &local, &why);
    if (!failed && is_change(action))
        failed = special_allowed(&stage->options.rules, version, &why);
    if (!failed && job->offer.dry_run)
        action = is_change(action)                    ? HF_ACTION_WOULD
                 : action == HF_ACTION_DIRECTORY_KEPT ? HF_ACTION_IDENTICAL
                                                      : action;
    if (!failed && action == HF_ACTION_IDENTICAL)
        job->reused_bytes += version->size;
    int result = job_plan_append(job, version, failed ? HF_ACTION_FAILED : action, error);
    if (failed && !result)
        job_fail(job, index, why.message);
    if (!result && !failed && action == HF_ACTION_IDENTICAL &&
        job->offer.conflict == HF_CONFLICT_REPLACE)
        result = links_add_there(stage->links, targets, version, index, &target, error);
    if (!result && !failed && action == HF_ACTION_TREE)
        result = add_tree(stage, &target, index, error);
    if (!result && !failed && (action == HF_ACTION_FILE || action == HF_ACTION_BESIDE))
        return add_file(stage, version, index, &metadata, &target, local, error);
    local_free(local);
    return result;
}

int stage_end_flushing(struct hf_stage *stage, struct hf_error *error)
{
    int failure = flusher_stop(stage->flusher);
    stage->flusher = NULL;
    return failure ? hf_error_set(error, failure == ENOSPC ? HF_ERR_NO_SPACE : HF_ERR_IO, failure,
                                  "can't write out what was staged; nothing was changed")
                   : 0;
}

int stage_finish(struct hf_stage *stage, struct hf_error *error)
{
    struct hf_job *job = stage->options.job;
    struct hf_targets *targets = stage->options.targets;
    int result = links_make(stage->links, job, targets, error);
    return result ? result : tree_finish(job, targets, &stage->options.rules, error);
}

bool stage_wants_more(const struct hf_stage *stage)
{
    return !stage->current && !window_full(stage);
}

bool stage_idle(const struct hf_stage *stage)
{
    return !stage->current && stage->outstanding_count == 0;
}
