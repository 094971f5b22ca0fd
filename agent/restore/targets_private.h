/* The inside of targets: shared by where things belong and where they are made. */
#ifndef HF_AGENT_RESTORE_TARGETS_PRIVATE_H
#define HF_AGENT_RESTORE_TARGETS_PRIVATE_H

#include "agent/restore/targets.h"

#define ANCHORS_MAX    64u
#define PARENTS_CACHED 16u

struct anchor {
    char *path; /* absolute */
    int fd;     /* -1: not opened yet */
    int staging_fd;
    int shard_fds[HF_STAGING_SHARDS];
    int tree_fd;
    int before_fd; /* -1: no interrupted run staged a tree */
};

struct parent {
    size_t anchor;
    bool staged; /* in the staged tree, not in place */
    char *path;  /* NULL: empty slot */
    int fd;      /* -1: it isn't there */
    uint64_t used;
};

struct hf_targets {
    uint64_t job;
    enum hf_leftover leftover;
    char **roots; /* absolute, no trailing '/', "/" itself as "" */
    size_t root_count;
    char **kept; /* the same form: more of what nothing may take the place of */
    size_t kept_count;
    char *destination; /* the same form; NULL: in place */
    size_t destination_root;
    struct anchor anchors[ANCHORS_MAX];
    size_t anchor_count;
    struct parent parents[PARENTS_CACHED];
    uint64_t parent_clock;
};

/* Open the anchor's directory, once. */
int anchor_open(struct hf_targets *targets, size_t index, enum hf_targets_missing missing,
                struct hf_error *error);
void anchor_close_staging(struct anchor *anchor);

#endif
