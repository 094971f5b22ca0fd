#include "agent/restore/writers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/restore/staged_file.h"
#include "agent/restore/targets.h"
#include "common/chunker.h"
#include "common/fs.h"
#include "common/sparse.h"

struct writer {
    struct hf_writers *writers;
    struct hf_queue *queue;
    pthread_t thread;
    bool started;
};

struct hf_writers {
    struct writer writers[HF_STAGING_SHARDS];
    struct hf_queue *done;
    size_t under_way; /* pushed and not collected; the owner's */
};

static int use_failed(struct hf_write_use *use, bool of_file, const char *doing)
{
    use->sys_errno = errno;
    use->result = errno == ENOSPC || errno == EDQUOT ? HF_ERR_NO_SPACE : HF_ERR_IO;
    use->of_file = of_file && use->result != HF_ERR_NO_SPACE;
    use->doing = doing;
    return use->result;
}

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t wrote = pwrite(fd, data, size, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote == 0)
            errno = ENOSPC;
        if (wrote <= 0)
            return -1;
        data += wrote;
        size -= (size_t)wrote;
        offset += (uint64_t)wrote;
    }
    return 0;
}

/* How much of it is zero up to the end of a block, or isn't. */
static size_t stretch(const uint8_t *data, size_t size, uint64_t offset, bool *zero)
{
    size_t at = 0;
    while (at < size) {
        size_t block = HF_HOLE_BLOCK_BYTES - (size_t)((offset + at) % HF_HOLE_BLOCK_BYTES);
        block = block < size - at ? block : size - at;
        bool is_zero = hf_is_zero(data + at, block);
        if (at > 0 && is_zero != *zero)
            break;
        *zero = is_zero;
        at += block;
    }
    return at;
}

int write_content(int fd, const uint8_t *data, size_t size, uint64_t offset, bool sparse)
{
    if (!sparse)
        return write_at(fd, data, size, offset);
    while (size > 0) {
        bool zero = false;
        size_t part = stretch(data, size, offset, &zero);
        if (!zero && write_at(fd, data, part, offset))
            return -1;
        data += part;
        size -= part;
        offset += part;
    }
    return 0;
}

static int write_bytes(struct hf_write_use *use, int fd, const uint8_t *data, size_t size)
{
    return write_content(fd, data, size, use->offset, use->sparse)
               ? use_failed(use, false, "writing restored content")
               : 0;
}

/* Few system calls: this is what a restore of many small files consists of. */
static void write_whole(struct hf_write_use *use, const uint8_t *data, size_t size, bool own_umask)
{
    struct hf_error error, shortfall = {0};
    /* Set-id bits are for last: who writes to a file takes them off it. */
    mode_t mode = own_umask ? use->metadata.mode & 0777 : 0600;
    int fd;
    if (staged_file_open(use->staging_fd, use->name, mode, false, &fd, &error)) {
        errno = error.sys_errno;
        use_failed(use, false, "making a file for the restore");
        return;
    }
    if (write_bytes(use, fd, data, size)) {
        close(fd);
        return;
    }
    if (use->sparse && ftruncate(fd, (off_t)size)) {
        use_failed(use, false, "writing restored content");
    } else {
        /* Nobody but us can reach it, so it is as it was made. */
        struct stat status = {.st_uid = geteuid(), .st_gid = getegid(), .st_mode = mode};
        if (metadata_set(fd, &use->metadata, &status, &shortfall, &error)) {
            errno = error.sys_errno;
            use_failed(use, true, "setting owner, mode and time");
        }
        use->shortfall = shortfall.code ? strdup(shortfall.message) : NULL;
    }
    close(fd);
}

/* The whole of a file that had this content when it was captured. */
static int read_local(const char *path, uint8_t *plain, size_t size)
{
    int fd = hf_open_quietly(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return HF_ERR_IO;
    int result = hf_pread_all(fd, plain, size, 0, NULL);
    close(fd);
    return result;
}

static int plain_of(const struct hf_write_work *work, struct hf_decompressor *decompressor,
                    uint8_t *plain)
{
    if (work->local_path)
        return read_local(work->local_path, plain, work->plain_size);
    return hf_decompress(decompressor, work->codec, (struct hf_bytes){0}, work->stored.data,
                         work->stored.size, plain, work->plain_size);
}

static void do_part(struct hf_write_part *part, const uint8_t *plain, bool own_umask)
{
    uint8_t hash[HF_HASH_BYTES];
    if (part->mismatch)
        return;
    hf_sha256(plain, part->size, hash);
    part->mismatch = memcmp(hash, part->id, HF_HASH_BYTES) != 0 ||
                     (part->keep_plain && hf_buf_append(&part->plain, plain, part->size));
    for (struct hf_write_use *use = part->uses; use && !part->mismatch; use = use->next) {
        if (use->file && use->whole)
            write_whole(use, plain, part->size, own_umask);
        else if (use->file && use->fd >= 0)
            write_bytes(use, use->fd, plain, part->size);
    }
}

/* plain: HF_BLOCK_MAX_BYTES, NULL when there was no memory. */
static void do_work(struct hf_write_work *work, struct hf_decompressor *decompressor,
                    uint8_t *plain, bool own_umask)
{
    bool decoded = decompressor && plain && work->plain_size <= HF_BLOCK_MAX_BYTES &&
                   plain_of(work, decompressor, plain) == HF_OK;
    for (size_t i = 0; i < work->part_count; i++) {
        struct hf_write_part *part = &work->parts[i];
        part->mismatch = part->mismatch || !decoded;
        do_part(part, decoded ? plain + part->position : NULL, own_umask);
    }
    hf_buf_free(&work->stored);
}

static void *writer_main(void *context)
{
    struct writer *writer = context;
    struct hf_decompressor *decompressor = hf_decompressor_new();
    uint8_t *plain = malloc(HF_BLOCK_MAX_BYTES);
    /* A umask of this thread's own lets files be made with their mode, instead of with another
     * that has to be changed at once. */
    bool own_umask = !unshare(CLONE_FS);
    if (own_umask)
        umask(0);
    struct hf_write_work *work;
    while ((work = (struct hf_write_work *)(void *)hf_queue_pop(writer->queue, -1))) {
        do_work(work, decompressor, plain, own_umask);
        hf_queue_push(writer->writers->done, &work->item);
    }
    hf_decompressor_free(decompressor);
    free(plain);
    return NULL;
}

struct hf_write_work *write_work_new(size_t part_count)
{
    struct hf_write_work *work = calloc(1, sizeof(*work));
    if (work)
        work->parts = calloc(part_count, sizeof(*work->parts));
    if (!work || !work->parts) {
        free(work);
        return NULL;
    }
    work->part_count = part_count;
    return work;
}

static void part_free(struct hf_write_part *part)
{
    while (part->uses) {
        struct hf_write_use *use = part->uses;
        part->uses = use->next;
        free(use->shortfall);
        free(use);
    }
    hf_buf_free(&part->plain);
}

void write_work_free(struct hf_write_work *work)
{
    if (!work)
        return;
    for (size_t i = 0; i < work->part_count; i++)
        part_free(&work->parts[i]);
    hf_buf_free(&work->stored);
    free(work->parts);
    free(work->local_path);
    free(work);
}

int writers_start(void (*wake)(void *context), void *context, struct hf_writers **out,
                  struct hf_error *error)
{
    struct hf_writers *writers = calloc(1, sizeof(*writers));
    if (!writers)
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    writers->done = hf_queue_new();
    int failure = writers->done ? 0 : ENOMEM;
    if (writers->done)
        hf_queue_set_wake(writers->done, wake, context);
    for (size_t i = 0; !failure && i < HF_STAGING_SHARDS; i++) {
        struct writer *writer = &writers->writers[i];
        writer->writers = writers;
        writer->queue = hf_queue_new();
        failure =
            writer->queue ? pthread_create(&writer->thread, NULL, writer_main, writer) : ENOMEM;
        writer->started = !failure;
    }
    if (failure) {
        writers_stop(writers);
        return hf_error_set(error, HF_ERR_IO, failure, "can't start the restore's threads");
    }
    *out = writers;
    return 0;
}

static void release_item(struct hf_queue_item *item)
{
    write_work_free((struct hf_write_work *)(void *)item);
}

void writers_stop(struct hf_writers *writers)
{
    if (!writers)
        return;
    for (size_t i = 0; i < HF_STAGING_SHARDS; i++) {
        struct writer *writer = &writers->writers[i];
        if (writer->queue)
            hf_queue_close(writer->queue);
        if (writer->started)
            pthread_join(writer->thread, NULL);
        if (writer->queue)
            hf_queue_free(writer->queue, release_item);
    }
    if (writers->done)
        hf_queue_free(writers->done, release_item);
    free(writers);
}

void writers_push(struct hf_writers *writers, struct hf_write_work *work)
{
    const struct hf_write_use *use = work->part_count > 0 ? work->parts[0].uses : NULL;
    size_t shard = use ? targets_shard(use->index) : 0;
    writers->under_way++;
    hf_queue_push(writers->writers[shard].queue, &work->item);
}

struct hf_write_work *writers_collect(struct hf_writers *writers, int timeout_ms)
{
    if (writers->under_way == 0)
        return NULL;
    struct hf_write_work *work =
        (struct hf_write_work *)(void *)hf_queue_pop(writers->done, timeout_ms);
    if (work)
        writers->under_way--;
    return work;
}
