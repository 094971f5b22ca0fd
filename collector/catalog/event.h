/* Events: everything that ever changes the catalog. An event is written to the journal in the
 * packs first and applied to the catalog afterwards, so that the packs alone rebuild the catalog
 * (promise 2). JOURNAL.md specifies the bytes.
 *
 * A struct hf_event is plain data. Its hf_bytes are views: of the producer's memory in an event
 * made for encoding, of the encoded bytes in a decoded one. Arrays of a decoded event belong to
 * the event (event_free). To copy an event, encode it and decode the copy.
 *
 * Fields marked [check] are filled in by catalog_check; leave them zero. Text is UTF-8 by intent
 * but not by check (a host's name for itself may be anything) and never holds a NUL.
 */
#ifndef HF_COLLECTOR_CATALOG_EVENT_H
#define HF_COLLECTOR_CATALOG_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"
#include "proto/frame.h"

#define HF_EVENT_IDS_MAX 1024u /* of one CHUNKS_HELD */

#define HF_EVENT_FORMAT           1u
#define HF_EVENT_MAX_BYTES        2097152u /* 2 MiB */
#define HF_EVENT_LABELS_MAX       64u
#define HF_EVENT_ROOTS_MAX        64u
#define HF_EVENT_PATHS_MAX        4096u  /* selected in one restore job */
#define HF_EVENT_TEXT_MAX_BYTES   4095u  /* one text: names, messages, reasons */
#define HF_EVENT_DETAIL_MAX_BYTES 65536u /* certificate PEM, audit detail */

enum hf_event_type {
    HF_EVENT_HOST_CREATED = 1,
    HF_EVENT_HOST_SEEN = 2,
    HF_EVENT_HOST_LABELLED = 3,
    HF_EVENT_HOST_REVOKED = 4,
    HF_EVENT_CERT_ISSUED = 5,
    HF_EVENT_TOKEN_CREATED = 6,
    HF_EVENT_TOKEN_REVOKED = 7,
    HF_EVENT_SOURCE_OPENED = 8,
    HF_EVENT_VERSION = 9,
    HF_EVENT_CHUNKS_HELD = 10,
    HF_EVENT_MARK = 11,
    HF_EVENT_SNAPSHOT_CREATED = 12,
    HF_EVENT_SNAPSHOT_HELD = 13,
    HF_EVENT_SNAPSHOT_RELEASED = 14,
    HF_EVENT_JOB_CREATED = 15,
    HF_EVENT_JOB_STATE = 16,
    HF_EVENT_JOB_RESULTS = 17,
    HF_EVENT_AUDIT = 18,
    HF_EVENT_DICTIONARY_TRAINED = 19
};

enum hf_token_kind { HF_TOKEN_ENROL = 1, HF_TOKEN_API = 2 };
enum hf_role { HF_ROLE_NONE = 0, HF_ROLE_VIEWER = 1, HF_ROLE_OPERATOR = 2, HF_ROLE_ADMIN = 3 };
enum hf_snapshot_reason { HF_SNAPSHOT_MANUAL = 1, HF_SNAPSHOT_PRE_RESTORE = 2 };
enum hf_job_state { /* the first two are active, the others final */
                    HF_JOB_STATE_WAITING = 1,
                    HF_JOB_STATE_RUNNING = 2,
                    HF_JOB_STATE_SUCCEEDED = 3,
                    HF_JOB_STATE_FAILED = 4,
                    HF_JOB_STATE_CANCELLED = 5,
                    HF_JOB_STATE_EXPIRED = 6
};
enum hf_audit_outcome { HF_AUDIT_OK = 1, HF_AUDIT_REFUSED = 2, HF_AUDIT_FAILED = 3 };

struct hf_label {
    struct hf_bytes key, value;
};

/* A host joins. The label "name", or else host_name, becomes its name. */
struct hf_event_host_created {
    uint64_t host_row;       /* [check] */
    struct hf_bytes host_id; /* "h-" and 16 hex digits */
    struct hf_bytes name;    /* what the host calls itself, may be empty */
    const struct hf_label *labels;
    size_t label_count;
    struct hf_bytes token_id; /* the token that let it in; used up by CERT_ISSUED, not by this */
};

/* What a host said of itself in HELLO. check answers HF_ERR_EXISTS when nothing changed. */
struct hf_event_host_seen {
    uint64_t host_row; /* [check] */
    struct hf_bytes host_id;
    struct hf_bytes hostname, machine_id, os, agent_version, address;
};

/* Labels set and removed; the label "name" is the host's name as well. */
struct hf_event_host_labelled {
    uint64_t host_row; /* [check] */
    struct hf_bytes host_id;
    const struct hf_label *set;
    size_t set_count;
    const struct hf_bytes *removed; /* keys */
    size_t removed_count;
};

struct hf_event_host_revoked { /* HF_ERR_EXISTS when it is revoked already */
    uint64_t host_row;         /* [check] */
    struct hf_bytes host_id;
    struct hf_bytes reason;
};

/* A certificate for a host. With a token_id one use of that token is taken: check refuses
 * with HF_ERR_DENIED when the token is unknown, expired, revoked, used up or not for enrolment,
 * and with HF_ERR_EXISTS when the serial, or the pair of this token and this key, has a
 * certificate already (catalog_certificate_by_token gives it). */
struct hf_event_cert_issued {
    uint64_t host_row; /* [check] */
    struct hf_bytes host_id;
    struct hf_bytes serial;          /* lower-case hex */
    uint8_t key_hash[HF_HASH_BYTES]; /* SHA-256 of the SubjectPublicKeyInfo */
    int64_t not_before_ns, not_after_ns;
    struct hf_bytes certificate_pem;
    struct hf_bytes token_id; /* empty for a renewal */
};

struct hf_event_token_created {
    struct hf_bytes token_id;
    enum hf_token_kind kind;
    enum hf_role role; /* of an API token, else HF_ROLE_NONE */
    uint8_t secret_hash[HF_HASH_BYTES];
    int64_t expires_ns; /* 0: never */
    uint32_t uses;      /* of an enrolment token, >= 1; else 0 */
    struct hf_bytes name;
    const struct hf_label *labels; /* that hosts get which join with it */
    size_t label_count;
};

struct hf_event_token_revoked { /* HF_ERR_EXISTS when it is revoked already */
    struct hf_bytes token_id;
};

/* A source is new, or its kind, class or roots changed; HF_ERR_EXISTS (source_row filled in) when
 * it is known just so. */
struct hf_event_source_opened {
    uint64_t host_row;
    uint64_t source_row; /* [check] */
    struct hf_bytes name, kind, class_name;
    const struct hf_bytes *roots;
    size_t root_count;
};

/* One version was accepted: version.seq is committed of its source. */
struct hf_event_version {
    uint64_t host_row, source_row;
    /* In: captured_ns corrected by the host's skew. check clamps it to <= received_ns and then
     * makes it non-decreasing within the source. */
    int64_t at_ns;
    int64_t received_ns;
    bool recorded; /* [check] false: equal to the live one, only .seq counts and is encoded */
    struct hf_version version;
};

/* A host uploaded chunks that another host owns: now its group holds them too. */
struct hf_event_chunks_held {
    uint64_t host_row;
    struct hf_bytes ids; /* n * HF_HASH_BYTES, n <= HF_EVENT_IDS_MAX */
};

struct hf_event_mark {
    uint64_t source_row;
    uint64_t version_seq; /* HF_ERR_AGAIN while it is not committed */
    int64_t until_ns;     /* corrected by the skew; check clamps it to <= time_ns */
    enum hf_source_state state;
    uint64_t pending_files;
    struct hf_bytes note;
};

struct hf_event_snapshot_created {
    uint64_t snapshot_id; /* [check] */
    uint64_t source_row;
    struct hf_bytes name;
    int64_t at_ns; /* HF_ERR_INVALID when after time_ns */
    enum hf_snapshot_reason reason;
    uint64_t job; /* 0: none */
    bool held;
    struct hf_bytes hold_reason;
};

struct hf_event_snapshot_held { /* also RELEASED, reason empty; HF_ERR_EXISTS if it is so already */
    uint64_t snapshot_id;
    struct hf_bytes reason;
};

struct hf_event_job_created {
    uint64_t job_id;     /* [check] */
    uint64_t host_row;   /* [check] who restores; HF_ERR_DENIED when revoked */
    uint64_t source_row; /* [check] what is restored: source_name of origin_host_id */
    struct hf_bytes host_id, origin_host_id, source_name;
    int64_t at_ns;
    const struct hf_bytes *paths; /* empty: the whole source */
    size_t path_count;
    struct hf_bytes destination; /* empty: where the files were */
    enum hf_conflict conflict;
    bool dry_run;
    int64_t expires_ns;
    uint64_t file_count, byte_count; /* of the moment, beneath paths */
};

/* Progress and end of a job. HF_ERR_CONFLICT once it is final. Back to waiting happens when the
 * connection was cut. */
struct hf_event_job_state {
    uint64_t job_id;
    enum hf_job_state state;
    uint64_t snapshot_id;   /* the pre-restore one; 0 leaves the known one */
    uint64_t fetched_bytes; /* totals so far */
    uint64_t reused_bytes;
    struct hf_bytes message;
};

struct hf_event_job_result {
    struct hf_bytes path;
    enum hf_restore_status status;
    uint64_t bytes;
    struct hf_bytes message;
};

struct hf_event_job_results { /* a path's newest result counts */
    uint64_t job_id;
    const struct hf_event_job_result *rows;
    size_t count; /* <= HF_FRAME_RESULTS_MAX */
};

/* actor is the event's. hash = SHA-256(previous hash || encoding of this entry without its hash);
 * the first entry's previous hash is zero. */
struct hf_event_audit {
    uint64_t audit_seq; /* [check] from 1 */
    struct hf_bytes action, object, detail;
    enum hf_audit_outcome outcome;
    uint8_t hash[HF_HASH_BYTES]; /* [check] */
};

/* From now on small content of the class may be compressed with this; earlier ones stay. check
 * answers HF_ERR_EXISTS when it is the class's newest already, HF_ERR_INVALID when id is not its
 * SHA-256. */
struct hf_event_dictionary_trained {
    uint64_t row; /* [check] */
    struct hf_bytes class_name;
    uint8_t id[HF_HASH_BYTES];
    struct hf_bytes bytes; /* 1..HF_DICTIONARY_MAX_BYTES */
};

struct hf_event {
    enum hf_event_type type;
    int64_t time_ns;       /* the collector's clock when it happened */
    struct hf_bytes actor; /* "host h-...", "token ID (name)", "collector"; may be empty */
    union {
        struct hf_event_host_created host_created;
        struct hf_event_host_seen host_seen;
        struct hf_event_host_labelled host_labelled;
        struct hf_event_host_revoked host_revoked;
        struct hf_event_cert_issued cert_issued;
        struct hf_event_token_created token_created;
        struct hf_event_token_revoked token_revoked;
        struct hf_event_source_opened source_opened;
        struct hf_event_version version;
        struct hf_event_chunks_held chunks_held;
        struct hf_event_mark mark;
        struct hf_event_snapshot_created snapshot_created;
        struct hf_event_snapshot_held snapshot_held; /* and SNAPSHOT_RELEASED */
        struct hf_event_job_created job_created;
        struct hf_event_job_state job_state;
        struct hf_event_job_results job_results;
        struct hf_event_audit audit;
        struct hf_event_dictionary_trained dictionary_trained;
    };
    void *owned; /* of the decoder; NULL in events made for encoding */
};

/* A view of a C string; NULL gives the empty view. */
static inline struct hf_bytes event_text(const char *text)
{
    return (struct hf_bytes){.data = (const uint8_t *)text, .size = text ? strlen(text) : 0};
}

/* Append the event's bytes to out. HF_ERR_LIMIT or HF_ERR_INVALID, with the field's name in
 * error, when a field breaks its limit; HF_ERR_NO_MEMORY. out is unchanged on failure. */
int event_encode(const struct hf_event *event, struct hf_buf *out, struct hf_error *error);

/* Decode exactly size bytes; views point into data. Every kind, range and count is checked before
 * anything is allocated; unknown trailing fields are ignored. HF_ERR_CORRUPT,
 * HF_ERR_UNSUPPORTED (a newer format or an unknown type), HF_ERR_NO_MEMORY; nothing is left to
 * free on failure. */
int event_decode(const uint8_t *data, size_t size, struct hf_event *event, struct hf_error *error);
void event_free(struct hf_event *event);

const char *event_type_name(enum hf_event_type type);      /* "HOST_CREATED"; "unknown" */
const char *event_role_name(enum hf_role role);            /* "operator"; "none" */
enum hf_role event_role_parse(const char *name);           /* HF_ROLE_NONE when it is none */
const char *event_job_state_name(enum hf_job_state state); /* "waiting" */
bool event_job_is_final(enum hf_job_state state);
const char *event_audit_outcome_name(enum hf_audit_outcome outcome);    /* "ok" */
const char *event_snapshot_reason_name(enum hf_snapshot_reason reason); /* "pre-restore" */
const char *event_token_kind_name(enum hf_token_kind kind);             /* "enrol", "api" */
const char *event_source_state_name(int state); /* enum hf_source_state; 0: "unknown" */

#endif
