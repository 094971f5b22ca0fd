/* The writers: threads that turn blocks as they came over the wire into verified bytes in staged
 * files, since making a file costs more than everything else that a restore does for it. Files that
 * follow each other in the plan go to the same one, and outside trees each has a shard of the
 * staging directory of its own, so that they seldom wait for each other at a directory.
 *
 * Work is handed over, done, and collected; between the two it is the writers'. */
#ifndef HF_AGENT_RESTORE_WRITERS_H
#define HF_AGENT_RESTORE_WRITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/restore/metadata.h"
#include "common/block.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/queue.h"

struct stage_file; /* opaque here: whose outcome it is */

/* A place where a chunk goes. */
struct hf_write_use {
    struct hf_write_use *next;
    struct stage_file *file; /* NULL: nowhere; the plain bytes are wanted back */
    uint64_t offset;
    /* The chunk is the whole file: it is made here, with its metadata. Else fd is open. */
    bool whole;
    bool sparse; /* blocks that are all zero are left out: nothing else is there */
    int staging_fd, fd;
    const char *name; /* beneath staging_fd; the file's own */
    uint64_t index;
    struct hf_metadata metadata;
    /* How it went: 0, HF_ERR_NO_SPACE or HF_ERR_IO with sys_errno, and what was being done;
     * `of_file` when only this file suffers. */
    int result, sys_errno;
    bool of_file;
    const char *doing;
    char *shortfall; /* what the file is made without; NULL for nothing */
};

/* Write all of size bytes at offset; with sparse, without blocks that are all zero. 0, or -1 with
 * errno. */
int write_content(int fd, const uint8_t *data, size_t size, uint64_t offset, bool sparse);

/* A chunk of a block that is wanted. */
struct hf_write_part {
    uint8_t id[HF_HASH_BYTES];
    uint32_t position, size; /* in the block's plaintext */
    struct hf_write_use *uses;
    bool keep_plain;
    struct hf_buf plain; /* with keep_plain, when it matched */
    bool mismatch;       /* the bytes are not the chunk: nothing was written */
};

/* A block, or one chunk of this host. */
struct hf_write_work {
    struct hf_queue_item item;
    enum hf_codec codec;
    uint32_t plain_size; /* of the whole block, at most HF_BLOCK_MAX_BYTES */
    struct hf_buf stored;
    char *local_path; /* read it from this file of the host instead; NULL: it is in stored */
    struct hf_write_part *parts;
    size_t part_count;
};

/* NULL when out of memory. */
struct hf_write_work *write_work_new(size_t part_count);

struct hf_writers;

/* wake is called from the writers' threads when something can be collected after nothing could. */
int writers_start(void (*wake)(void *context), void *context, struct hf_writers **out,
                  struct hf_error *error);
/* Ends the threads; what was not collected is freed. */
void writers_stop(struct hf_writers *writers);
void writers_push(struct hf_writers *writers, struct hf_write_work *work);
/* The next finished work, or NULL after timeout_ms (-1: wait, as long as any is under way). */
struct hf_write_work *writers_collect(struct hf_writers *writers, int timeout_ms);
void write_work_free(struct hf_write_work *work); /* uses included */

#endif
