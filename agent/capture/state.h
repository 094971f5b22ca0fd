/* state.db: what was captured of each path. The capture thread's. Rows carry the number of the
 * version that recorded them; those above the acknowledged number count for nothing after a crash.
 */
#ifndef HF_AGENT_CAPTURE_STATE_H
#define HF_AGENT_CAPTURE_STATE_H

#include <sys/stat.h>

#include "agent/config/config.h"
#include "common/buf.h"
#include "common/error.h"
#include "proto/version.h"

struct hf_state;

#define HF_STATE_CONTENT_BYTES                                                                     \
    16 /* of the hash of a version's references, by which it is found                              \
        */

/* How a file looked when it was captured; dev 0: look again. */
struct state_print {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
    uint32_t mode, uid, gid;
};

struct state_row {
    char *name;
    enum hf_file_type type;
    struct state_print print;
    uint64_t seq;
    uint32_t flags;
    uint8_t depth;
    struct hf_buf refs, target;
    uint64_t link; /* of the version */
    struct hf_buf xattrs;
};
void state_row_free(struct state_row *row);

/* Whether it records the same state of a file, whenever that was captured. */
bool state_row_says(const struct state_row *row, const struct hf_version *version);

struct state_print state_print_of(const struct stat *status);
bool state_print_equal(const struct state_print *a, const struct state_print *b);

int state_open(const struct hf_config *config, struct hf_state **out, struct hf_error *error);
void state_close(struct hf_state *state);
/* Give back the memory that isn't needed while there is nothing to do. */
void state_rest(struct hf_state *state);

void state_begin(struct hf_state *state); /* nests not; no-op when open */
/* HF_ERR_NO_SPACE, HF_ERR_IO: all since state_begin is lost. error may be NULL. */
int state_commit(struct hf_state *state, struct hf_error *error);

void state_numbers(struct hf_state *state, size_t source, uint64_t *acked, uint64_t *last);
void state_set_acked(struct hf_state *state, size_t source, uint64_t seq);
void state_set_last(struct hf_state *state, size_t source, uint64_t seq);
/* Rows numbered from seq on are to be looked at again. */
void state_doubt_from(struct hf_state *state, size_t source, uint64_t seq);
/* Whatever changed after that moment, by the files' own times, is to be read again when it is
 * looked at next. */
void state_doubt_changed_after(struct hf_state *state, int64_t ctime_ns);
/* Comparing with the collector: nothing is confirmed; a row is, if it says the same (else it is
 * replaced by what the collector has, to be looked at again); what was not confirmed is forgotten.
 */
void state_unconfirm(struct hf_state *state, size_t source);
int state_confirm(struct hf_state *state, size_t source, const char *parent, const char *name,
                  const struct hf_version *version, uint64_t seq);
void state_forget_unconfirmed(struct hf_state *state, size_t source);

/* parent and name are parts of the absolute path without leading '/'; parent "" for the top. */
int state_put(struct hf_state *state, size_t source, const char *parent, const char *name,
              const struct state_print *print, const struct hf_version *version);
/* It looks otherwise but is what was captured. Leaves alone what fell into doubt meanwhile: the
 * caller's row may be older than that. */
int state_touch(struct hf_state *state, size_t source, const char *parent, const char *name,
                const struct state_print *print);
bool state_get(struct hf_state *state, size_t source, const char *parent, const char *name,
               struct state_row *out);
#define HF_STATE_PAGE_ROWS 512u
/* The rows of a directory that are not ABSENT, by name, from the first after that name on: at most
 * HF_STATE_PAGE_ROWS, so that fewer are the last. Free with state_rows_free, also after an error.
 */
int state_children(struct hf_state *state, size_t source, const char *parent, const char *after,
                   struct state_row **rows, size_t *count);
/* The files and links of a source that were captured as this inode, at another time of change than
 * that: where they are. At most `most` paths, each with its NUL, go to paths. */
int state_names(struct hf_state *state, size_t source, uint64_t dev, uint64_t ino, int64_t ctime_ns,
                size_t most, struct hf_buf *paths);
void state_rows_free(struct state_row *rows, size_t count); /* NULL is fine */

#endif
