/* Where a job may write: directories beneath which every path is resolved without following a
 * link that somebody could have planted, and in each a staging directory on the same file system.
 * One thread. */
#ifndef HF_AGENT_RESTORE_TARGETS_H
#define HF_AGENT_RESTORE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "proto/version.h"

#define HF_STAGING_PREFIX ".holdfast-restore-" /* then the job's number */
#define HF_STAGING_SHARDS 2u                   /* directories in it, for as many writers */
/* Files that follow each other share a shard: their content comes together. */
#define HF_STAGING_RUN 64u

struct hf_targets;

/* Where one version belongs. */
struct hf_target {
    size_t anchor;   /* index of the directory that everything is resolved beneath */
    char path[4096]; /* relative to it; empty for the directory itself */
};

/* roots: absolute paths that the host's administrator allows (copied). destination: "" for where
 * the files were, else an absolute directory beneath one of the roots (HF_ERR_DENIED otherwise)
 * under which the versions' whole paths are put. HF_ERR_INVALID, HF_ERR_NO_MEMORY. */
int targets_new(const char *const *roots, size_t root_count, const char *destination, uint64_t job,
                struct hf_targets **out, struct hf_error *error);
/* What becomes of a staging directory of that number which is there already. Nobody knows what is
 * in it (REMOVE, if nothing else is said); an interrupted run of the job staged it, and what is
 * still wanted is taken up (TAKE_UP: what was staged in its tree is set aside, see targets_before);
 * or all of it belongs into place (KEEP). */
enum hf_leftover { HF_LEFTOVER_REMOVE, HF_LEFTOVER_TAKE_UP, HF_LEFTOVER_KEEP };
void targets_expect(struct hf_targets *targets, enum hf_leftover leftover);
void targets_free(struct hf_targets *targets);
/* An absolute path that is a root for other jobs: nothing but a directory is put where it is, or
 * where a directory above it is. The roots of this job are kept without being named.
 * HF_ERR_INVALID, HF_ERR_NO_MEMORY. */
int targets_keep(struct hf_targets *targets, const char *path, struct hf_error *error);

/* HF_ERR_DENIED for what is beneath no root, would take the place of one, or is a staging
 * directory's; with what is allowed. */
int targets_locate(struct hf_targets *targets, const struct hf_version *version,
                   struct hf_target *out, struct hf_error *error);

enum hf_targets_missing { HF_TARGETS_LEAVE, HF_TARGETS_CREATE };

/* The directory that holds the target and the target's name in it, which points into target (for
 * the anchor itself: the anchor and "."). The descriptor belongs to targets and stays good until
 * the next call but one. HF_ERR_NOT_FOUND when it isn't there and missing says to leave it so;
 * HF_ERR_DENIED when a component is a symbolic link or no directory. */
int targets_open_parent(struct hf_targets *targets, const struct hf_target *target,
                        enum hf_targets_missing missing, int *fd, const char **name,
                        struct hf_error *error);
/* Forget opened directories: what was missing may be there now. */
void targets_forget(struct hf_targets *targets);

/* The shard of the staging directory (mode 0700, ours) in which the new content of the plan's
 * version at index is made; opened or made at first use, with the anchor. The descriptor belongs to
 * targets. HF_ERR_DENIED when something that isn't ours has its name. */
int targets_staging(struct hf_targets *targets, size_t anchor, uint64_t index, int *fd,
                    struct hf_error *error);
/* The directory of the staging directory in which trees are staged: what is missing as a whole,
 * each where it will be beneath the anchor. As targets_staging. */
int targets_tree(struct hf_targets *targets, size_t anchor, int *fd, struct hf_error *error);
/* The tree of the interrupted run, -1 for none. The descriptor belongs to targets. */
int targets_before(const struct hf_targets *targets, size_t anchor);
/* As targets_open_parent, of the target's place in that tree. */
int targets_open_staged(struct hf_targets *targets, const struct hf_target *target,
                        enum hf_targets_missing missing, int *fd, const char **name,
                        struct hf_error *error);
/* Whether the anchor's staging directory is open; then its file system's free bytes are asked. */
int targets_free_bytes(struct hf_targets *targets, size_t anchor, uint64_t *bytes,
                       struct hf_error *error);
/* The anchors used so far: absolute path of each, to find their staging directories again. */
size_t targets_anchor_count(const struct hf_targets *targets);
const char *targets_anchor_path(const struct hf_targets *targets, size_t anchor);
/* syncfs of every anchor in use: all that was written there is durable afterwards. */
int targets_sync(struct hf_targets *targets, struct hf_error *error);
/* Remove the job's staging directories in the anchors that were opened, with all in them. */
void targets_remove_staging(struct hf_targets *targets);

/* Open an absolute directory, component by component. A symbolic link on the way is followed only
 * when neither it nor the directory that holds it can be changed by anybody but root and us. */
int targets_open_directory(const char *path, enum hf_targets_missing missing, int *out_fd,
                           struct hf_error *error);
/* Whether nobody but root and us can put something into that directory or exchange what is in it.
 */
bool targets_is_guarded(int dir_fd);
/* Whether the directory is ours and empty: nobody loses or gains anything with it. Who just made a
 * directory in a place where others may write has to ask, for it may have been exchanged. */
bool targets_is_fresh(int fd);
/* Remove the job's staging directory in the directory at path, if it is ours. */
void targets_remove_staging_at(const char *path, uint64_t job);

/* The shard of the file with that index in the plan. */
size_t targets_shard(uint64_t index);

#endif
