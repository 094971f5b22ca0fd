/* Capture: notices what changes in the sources, reads it once it is still, and hands it to the
 * outbox.
 *
 * One thread of its own. inotify wakes it; scans are the truth; state.db remembers what was
 * captured, so that an unchanged file is never read again. Functions may be called from any thread.
 */
#ifndef HF_AGENT_CAPTURE_CAPTURE_H
#define HF_AGENT_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/capture/outbox.h"
#include "agent/config/config.h"
#include "common/buf.h"
#include "common/chunker.h"
#include "common/error.h"
#include "proto/frame.h"

struct hf_capture;

int capture_start(const struct hf_config *config, struct hf_outbox *outbox, struct hf_capture **out,
                  struct hf_error *error);
/* Ends the thread; what it captured stays in the outbox. The other functions may still be called.
 */
void capture_stop(struct hf_capture *capture);
void capture_free(struct hf_capture *capture); /* NULL is fine */

/* What long content is cut by from now on, as the collector says (the `chunking` of WELCOME). Call
 * it before the sources of that connection are online. */
void capture_set_chunking(struct hf_capture *capture, const uint8_t seed[HF_CHUNK_SEED_BYTES]);
/* Whether it is known; *out (NULL is fine) becomes a share of what cuts by it. */
bool capture_chunker(struct hf_capture *capture, struct hf_chunker **out);

#define HF_MARK_NOTE_BYTES 256

struct hf_mark_state {
    uint64_t version_seq;
    int64_t until_ns; /* complete up to here, by this host's clock */
    enum hf_source_state state;
    uint64_t pending_files;
    char note[HF_MARK_NOTE_BYTES];
};
/* How far a source is captured and acknowledged; false while nothing can be said (first scan). */
bool capture_mark(struct hf_capture *capture, size_t source, struct hf_mark_state *out);

/* Where a restore writes: beneath these roots (absolute), and if there are paths (absolute without
 * the leading '/') only there and beneath. */
struct hf_capture_area {
    const char *const *roots;
    size_t root_count;
    const char *const *paths;
    size_t path_count;
};
/* Look now at what is in the area, by all sources that have a part in it, quiet hours or not (NULL:
 * at everything, but for sources in quiet hours); done is called (on the capture thread) once all
 * that these sources hold is acknowledged. */
void capture_flush(struct hf_capture *capture, const struct hf_capture_area *area,
                   void (*done)(void *context), void *context);
/* Whether somebody waits for that: it is no time to stand back for others. */
bool capture_hurries(struct hf_capture *capture);
/* After a restore put a version's state in place: record it, flagged as restored by job, without
 * reading the file again. path is absolute on the host without the leading '/'. Waits while many
 * are to be recorded already. */
void capture_adopt(struct hf_capture *capture, size_t source, const char *path,
                   const struct hf_version *version, uint64_t job);
/* Between these, the sources that have a part in the area are not looked at; afterwards what is in
 * the area is. */
void capture_hold(struct hf_capture *capture, const struct hf_capture_area *area);
void capture_release(struct hf_capture *capture, const struct hf_capture_area *area);
/* The path (absolute, NUL-terminated) of a local file that had the same content when it was
 * captured, by what was known when this was first asked since capture_find_end.
 * HF_ERR_NOT_FOUND. The caller verifies. Both from one thread. */
int capture_find_content(struct hf_capture *capture, const struct hf_version *version,
                         struct hf_buf *path);
void capture_find_end(struct hf_capture *capture);

#endif
