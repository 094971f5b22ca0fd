/* What stage.c (decisions, files) and stage_fetch.c (chunks on their way) share. */
#ifndef HF_AGENT_RESTORE_STAGE_PRIVATE_H
#define HF_AGENT_RESTORE_STAGE_PRIVATE_H

#include "agent/restore/flusher.h"
#include "agent/restore/links.h"
#include "agent/restore/local.h"
#include "agent/restore/metadata.h"
#include "agent/restore/stage.h"
#include "agent/restore/writers.h"
#include "common/block.h"

#define STAGE_BUCKETS 4096u

/* A file being staged. Lives until its last chunk is in. */
struct stage_file {
    uint64_t index;
    uint64_t size;
    struct hf_metadata metadata; /* its extended attributes are this file's own */
    size_t anchor;
    int staging_fd; /* of targets; name is beneath it */
    int fd;         /* -1 until the first chunk is written */
    size_t waiting; /* chunks asked for and not written */
    bool complete;  /* all its chunks are written or asked for */
    bool failed;
    bool whole;  /* one chunk: if it is fetched, a writer makes the file, metadata included, */
    bool made;   /* and has done so */
    bool sparse; /* what is zero in it is left out */
    char name[];
};

/* A chunk that was asked for. */
struct stage_wanted {
    struct stage_wanted *next; /* in its bucket */
    uint8_t id[HF_HASH_BYTES];
    uint32_t plain_size;
    struct hf_write_use *uses;
};

struct hf_stage {
    struct hf_stage_options options;
    struct hf_writers *writers;
    struct hf_flusher *flusher;
    uint8_t *plain;              /* HF_CHUNK_MAX_BYTES */
    uint8_t zero[HF_HASH_BYTES]; /* the id of as many zeros */
    struct hf_links *links;

    struct stage_wanted *buckets[STAGE_BUCKETS];
    /* Asked for and not yet written. */
    size_t outstanding_count;
    uint64_t outstanding_bytes;
    struct hf_buf request; /* ids gathered for the next CHUNK_GET */
    uint64_t request_bytes;

    /* The file whose references are being walked; NULL for none. */
    struct stage_file *current;
    const struct hf_version *current_version;
    struct hf_local *current_local; /* chunks of what is in its place now */
    int current_other;              /* fd of another file with its content, or -1 */
    bool current_leftover;          /* an earlier run staged some of it */
    size_t ref_at;                  /* index of the next reference in refs */
    uint64_t offset;                /* where its chunk goes */
    struct hf_bytes refs;           /* data references: the version's, or those of a list */
    size_t list_at;                 /* depth 1: next list */
    bool list_wanted;               /* depth 1: that list is on its way */
    struct hf_buf list;             /* depth 1: the present one */

    uint64_t reserved_bytes[64]; /* by anchor: what staging will take there in all */
    uint64_t free_bytes[64];     /* by anchor: room before staging began; 0 not asked */
};

/* Ask for a chunk that goes to offset of file. */
int stage_want(struct hf_stage *stage, const uint8_t *id, uint32_t plain_size,
               struct stage_file *file, uint64_t offset, struct hf_error *error);
/* Make file, which is one chunk, from another file of this host; it is fetched if that is no longer
 * what it was. */
int stage_copy(struct hf_stage *stage, const uint8_t *id, uint32_t plain_size,
               struct stage_file *file, const char *path, struct hf_error *error);
/* Open the file for writing, if it isn't. */
int stage_open(struct hf_stage *stage, struct stage_file *file, struct hf_error *error);
/* Write a verified chunk into a file being staged. */
int stage_write(struct hf_stage *stage, struct stage_file *file, const uint8_t *data, size_t size,
                uint64_t offset, struct hf_error *error);
/* Nobody will write what these are for: the job ends. */
void stage_abandon(struct hf_stage *stage, struct hf_write_use *uses);
void stage_wanted_free(struct stage_wanted *wanted);
void stage_fail(struct hf_stage *stage, struct stage_file *file, const char *message);
/* Give the file its metadata and close it, if nothing of it is missing any more. */
int stage_settle(struct hf_stage *stage, struct stage_file *file, struct hf_error *error);
/* Walk on along the current file's references as far as the window allows. */
int stage_advance(struct hf_stage *stage, struct hf_error *error);

#endif
