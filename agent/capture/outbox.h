/* The outbox: what was captured and is not acknowledged yet, between the capture thread, which
 * fills it, and the session, which empties it.
 *
 * Online it is a bounded queue in memory; while the collector is away units go to the spool. Units
 * of a source leave in order of their versions; between sources, more important classes go first. A
 * unit stays the outbox's until it is acknowledged.
 */
#ifndef HF_AGENT_CAPTURE_OUTBOX_H
#define HF_AGENT_CAPTURE_OUTBOX_H

#include <stdint.h>

#include "agent/capture/unit.h"
#include "agent/config/config.h"
#include "common/error.h"

struct hf_outbox;

enum hf_outbox_resume {
    HF_OUTBOX_RESUME, /* the numbers agree: go on */
    HF_OUTBOX_RESYNC  /* they don't: LIST the source, then resync_add, resync_done */
};

int outbox_open(const struct hf_config *config, struct hf_outbox **out, struct hf_error *error);
/* Units that are still in memory are spooled. */
void outbox_free(struct hf_outbox *outbox); /* NULL is fine */

/* --- for the session; any one thread --- */

/* fn is called, with no lock held, when there is something new to take. NULL to stop that. */
void outbox_set_wake(struct hf_outbox *outbox, void (*fn)(void *context), void *context);
enum hf_outbox_resume outbox_online(struct hf_outbox *outbox, size_t source, uint64_t committed_seq,
                                    uint64_t file_count);
void outbox_offline(struct hf_outbox *outbox);
void outbox_resync_add(struct hf_outbox *outbox, size_t source, const struct hf_version *version);
void outbox_resync_done(struct hf_outbox *outbox, size_t source);
/* The next unit to send, NULL for none now. It stays valid until it is acknowledged, dropped by
 * outbox_missing or outbox_offline. */
const struct hf_unit *outbox_take(struct hf_outbox *outbox);
/* The same of the classes up to HF_URGENT_RANK alone. */
const struct hf_unit *outbox_take_urgent(struct hf_outbox *outbox);
/* It went out whole; chunk-only units are freed here. */
void outbox_sent(struct hf_outbox *outbox, const struct hf_unit *unit);
void outbox_acked(struct hf_outbox *outbox, size_t source, uint64_t version_seq);
/* The collector lacks chunks of that version: everything from it on is sent again, or, if that does
 * not help, forgotten and captured again. */
void outbox_missing(struct hf_outbox *outbox, size_t source, uint64_t version_seq);

/* --- for capture --- */

enum hf_outbox_notice_kind {
    HF_NOTICE_ACKED,     /* all through seq */
    HF_NOTICE_FORGOTTEN, /* everything from seq on is gone: capture it again */
    HF_NOTICE_RESYNC,    /* forget the source; the rows follow; go on numbering after seq */
    HF_NOTICE_ROW,       /* one version that the collector has */
    HF_NOTICE_RESYNCED,
    HF_NOTICE_CONNECTED /* the source is online */
};

struct hf_outbox_notice {
    struct hf_outbox_notice *next;
    enum hf_outbox_notice_kind kind;
    size_t source;
    uint64_t seq;
    struct hf_unit *row; /* a unit with one version */
    bool unsure;         /* there will be a RESYNC: numbers in use may mean other versions there */
};

/* notify is called, with no lock held, when outbox_notices has something. */
void outbox_set_notify(struct hf_outbox *outbox, void (*notify)(void *context), void *context);
/* All notices, oldest first; the caller frees each with outbox_notice_free. */
struct hf_outbox_notice *outbox_notices(struct hf_outbox *outbox);
void outbox_notice_free(struct hf_outbox_notice *notice);
/* What capture knows at its start: acked and last number of a source. The spool may know more;
 * *spooled is its last number. */
void outbox_set_numbers(struct hf_outbox *outbox, size_t source, uint64_t acked, uint64_t last,
                        uint64_t *spooled);
/* Hand over a unit (owned by the outbox on success). HF_ERR_AGAIN: memory is full, try again soon;
 * HF_ERR_CLOSED: a chunk-only unit, or one that goes on after such a one, can't wait on disk: read
 * the file again when the collector is back; HF_ERR_NO_SPACE: the spool is
 * full; HF_ERR_RACED: the numbers changed: read the notices first. */
int outbox_push(struct hf_outbox *outbox, struct hf_unit *unit, struct hf_error *error);
/* Wake the session for something else that it should tell soon. NULL is fine. */
void outbox_wake(struct hf_outbox *outbox);
/* While held, what waits in the spool of a source stays there; what is in memory goes out. */
void outbox_hold_spool(struct hf_outbox *outbox, size_t source, bool held);
/* Give back the memory that isn't needed while there is nothing to do. */
void outbox_rest(struct hf_outbox *outbox);
bool outbox_is_online(struct hf_outbox *outbox, size_t source);
/* Online, and no notice waits: what capture knows of numbers and acks is what the collector said.
 */
bool outbox_is_settled(struct hf_outbox *outbox, size_t source);

#endif
