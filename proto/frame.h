/* Frames: what one WebSocket message carries. PROTOCOL.md is the specification; this header is
 * its C form. All hf_bytes of a decoded frame point into the message that was decoded, arrays
 * into memory that the frame owns: keep the message until proto_frame_free. */
#ifndef HF_PROTO_FRAME_H
#define HF_PROTO_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/block.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"
#include "proto/version.h"

#define HF_PROTO_VERSION     1
#define HF_PROTO_SUBPROTOCOL "holdfast.v1" /* Sec-WebSocket-Protocol */
#define HF_PROTO_PATH        "/v1/agent"   /* of the WebSocket's URL */

#define HF_FRAME_MAX_BYTES    (1024u * 1024u)
#define HF_FRAME_DEPTH_MAX    6u
#define HF_FRAME_OBJECTS_MAX  65536u
#define HF_FRAME_BLOCKS_MAX   1024u /* blocks in one CHUNKS frame */
#define HF_FRAME_VERSIONS_MAX 1024u /* versions in one VERSIONS, LISTING or RESTORE_PAGE */
#define HF_FRAME_IDS_MAX      8192u /* ids in one HAVE or CHUNK_GET */
#define HF_OFFER_PATHS_MAX    16u
#define HF_FRAME_RESULTS_MAX  1024u
#define HF_FILES_MAX          67108864u /* of one source or job, over all pages */
#define HF_NAME_MAX_BYTES     64u       /* source names: [a-z0-9][a-z0-9._-]* */
#define HF_PATH_MAX_BYTES     4095u
#define HF_TEXT_MAX_BYTES     1024u /* messages for people, host names, versions */

enum hf_frame_type {
    HF_FRAME_HELLO = 1,           /* agent -> collector, first */
    HF_FRAME_WELCOME = 2,         /* collector -> agent, its answer */
    HF_FRAME_SOURCE = 3,          /* agent: I protect this source as stream n */
    HF_FRAME_SOURCE_STATE = 4,    /* collector: what is committed of it */
    HF_FRAME_HAVE = 5,            /* agent: which of these chunks are missing? */
    HF_FRAME_NEED = 6,            /* collector: these */
    HF_FRAME_CHUNKS = 7,          /* either: content */
    HF_FRAME_VERSIONS = 8,        /* agent: history, in order */
    HF_FRAME_ACK = 9,             /* collector: durable up to here */
    HF_FRAME_CREDIT = 10,         /* collector: you may have sent this many bulk bytes in all */
    HF_FRAME_MARK = 11,           /* agent: with version n the source is complete up to time T */
    HF_FRAME_ERROR = 12,          /* either: one frame was refused, the session goes on */
    HF_FRAME_GOAWAY = 13,         /* either: the session ends; when to come back */
    HF_FRAME_LIST = 14,           /* agent: what do you hold of my stream, after this path? */
    HF_FRAME_LISTING = 15,        /* collector: this */
    HF_FRAME_RENEW = 16,          /* agent: certificate request for a new key */
    HF_FRAME_RENEWED = 17,        /* collector: the certificate */
    HF_FRAME_DICTIONARY_GET = 18, /* agent: give me this dictionary */
    HF_FRAME_DICTIONARY = 19,     /* collector: here it is */
    HF_FRAME_RESTORE_OFFER = 32,  /* collector: a restore job for you */
    HF_FRAME_RESTORE_ANSWER = 33, /* agent: accepted (all is captured) or refused, why */
    HF_FRAME_RESTORE_NEXT = 34,   /* agent: the files after this cursor */
    HF_FRAME_RESTORE_PAGE = 35,   /* collector: files of the moment */
    HF_FRAME_CHUNK_GET = 36,      /* agent: content of the job that I lack */
    HF_FRAME_RESTORE_RESULT = 37, /* agent: outcome of each file */
    HF_FRAME_RESTORE_DONE = 38,   /* agent: outcome of the job; collector echoes it once recorded */
    HF_FRAME_RESTORE_CANCEL = 39  /* collector: stop, keep the old state */
};

enum hf_wire_code {                        /* of ERROR and GOAWAY */
                    HF_WIRE_MALFORMED = 1, /* not a frame, or a field of the wrong kind */
                    HF_WIRE_UNKNOWN_TYPE = 2,
                    HF_WIRE_TOO_LARGE = 3, /* a limit of this page was passed */
                    HF_WIRE_VERSION = 4,   /* no protocol version in common */
                    HF_WIRE_STATE = 5,     /* right frame, wrong moment */
                    HF_WIRE_CREDIT = 6,    /* more bulk bytes than granted */
                    HF_WIRE_HASH = 7,      /* content does not match its id or its length */
                    HF_WIRE_MISSING_CHUNKS =
                        8,           /* a version names chunks that this host never sent */
                    HF_WIRE_GAP = 9, /* version sequence is not the next one */
                    HF_WIRE_DENIED = 10,
                    HF_WIRE_DUPLICATE = 11, /* another live session has this identity */
                    HF_WIRE_REVOKED = 12,
                    HF_WIRE_OVERLOADED = 13,
                    HF_WIRE_SHUTDOWN = 14,
                    HF_WIRE_STORAGE =
                        15, /* the repository can't take data now (disk full, failing) */
                    HF_WIRE_NOT_FOUND = 16,
                    HF_WIRE_INTERNAL = 17,
                    HF_WIRE_PATH = 18, /* a path that may not be */
                    HF_WIRE_IDLE = 19,
                    HF_WIRE_EXPIRED = 20
};

enum hf_conflict { HF_CONFLICT_REPLACE = 1, HF_CONFLICT_SKIP = 2, HF_CONFLICT_RENAME = 3 };

enum hf_source_state { /* of MARK */
                       HF_SOURCE_WATCHING = 1,
                       HF_SOURCE_SCANNING =
                           2, /* a scan is under way; complete only up to until_ns */
                       HF_SOURCE_DEGRADED = 3, /* protected by scans alone; note says why */
                       HF_SOURCE_FAILING = 4,  /* something can't be read; note says what */
                       HF_SOURCE_WAITING = 5,  /* for the end of quiet hours; note says when */
                       HF_SOURCE_RETIRED = 6   /* its host has it no more; never in a frame */
};

enum hf_restore_status { /* of one file */
                         HF_RESTORE_RESTORED = 1,
                         HF_RESTORE_IDENTICAL = 2, /* already as wanted */
                         HF_RESTORE_SKIPPED = 3,   /* conflict = skip and something else is there */
                         HF_RESTORE_RENAMED =
                             4, /* conflict = rename: written beside it; message is the new path */
                         HF_RESTORE_FAILED = 5, /* message says why; the old state stands */
                         HF_RESTORE_WOULD = 6   /* dry run */
};

enum hf_job_outcome { HF_JOB_SUCCEEDED = 1, HF_JOB_FAILED = 2, HF_JOB_CANCELLED = 3 };

#define HF_INSTANCE_BYTES 16
/* Of HELLO and WELCOME: the agent may compress with dictionaries that the collector trained. */
#define HF_CAPABILITY_DICTIONARIES "dictionaries"
#define HF_CHUNKING_BYTES          32 /* HF_CHUNK_SEED_BYTES */

struct hf_ack {
    uint32_t stream;
    uint64_t version_seq; /* all up to and with it are durable */
    int64_t received_ns;
};

struct hf_restore_result {
    struct hf_bytes path;
    enum hf_restore_status status;
    uint64_t bytes;
    struct hf_bytes message;
};

struct hf_hello {
    uint32_t version_min, version_max;
    const struct hf_bytes *capabilities;
    size_t capability_count; /* <= 32 */
    struct hf_bytes agent_version, hostname, machine_id, os;
    int64_t now_ns;
    struct hf_bytes instance; /* HF_INSTANCE_BYTES, random per agent process */
};

struct hf_welcome {
    uint32_t version;
    const struct hf_bytes *capabilities; /* those both have */
    size_t capability_count;
    struct hf_bytes host_id;
    uint64_t session;
    int64_t now_ns;
    uint64_t credit_bytes;
    uint32_t frame_max_bytes, ping_seconds;
    struct hf_bytes chunking; /* HF_CHUNKING_BYTES: what this repository's content is cut by */
};

struct hf_source_open {
    uint32_t stream; /* chosen by the agent, 1..1024, unique in the session */
    struct hf_bytes name, kind, class_name;
    const struct hf_bytes *roots; /* absolute paths, for people */
    size_t root_count;            /* <= 64 */
};

struct hf_source_committed {
    uint32_t stream;
    uint64_t version_seq; /* 0: nothing yet */
    uint64_t file_count;  /* alive now */
    /* HF_HASH_BYTES: the dictionary for small content of its class; empty: there is none, or the
     * agent can't use it. */
    struct hf_bytes dictionary;
};

struct hf_ids {          /* HAVE, CHUNK_GET */
    uint64_t request;    /* HAVE: echoed in NEED; CHUNK_GET: the job */
    struct hf_bytes ids; /* n * HF_HASH_BYTES */
};

struct hf_need {
    uint64_t request;
    struct hf_bytes bitmap; /* bit i (LSB first) set: send id i; (n + 7) / 8 bytes */
};

struct hf_versions { /* VERSIONS, LISTING */
    uint32_t stream;
    const struct hf_version *versions;
    size_t count;
    bool last; /* LISTING: nothing follows; VERSIONS: unused, false */
};

struct hf_mark {
    uint32_t stream;
    uint64_t version_seq;
    int64_t until_ns; /* by the host's clock */
    enum hf_source_state state;
    uint64_t pending_files; /* known to have changed, not yet sent */
    struct hf_bytes note;
};

struct hf_refusal { /* ERROR and GOAWAY */
    enum hf_wire_code code;
    uint64_t about_seq;      /* seq of the refused frame, 0 for none (ERROR) */
    uint32_t stream;         /* 0 for none */
    uint64_t version_seq;    /* GAP: the one expected; MISSING_CHUNKS: the one refused */
    uint32_t retry_after_ms; /* GOAWAY */
    struct hf_bytes message;
    struct hf_bytes ids; /* MISSING_CHUNKS, NOT_FOUND: n * HF_HASH_BYTES */
};

struct hf_list {
    uint32_t stream;
    struct hf_bytes after_path;
};

struct hf_dictionary_frame { /* DICTIONARY_GET, DICTIONARY */
    struct hf_bytes id;      /* HF_HASH_BYTES: the SHA-256 of its bytes */
    struct hf_bytes bytes;   /* DICTIONARY: 1..HF_DICTIONARY_MAX_BYTES; not looked into */
};

struct hf_blob { /* RENEW: PKCS#10 in DER; RENEWED: PEM chain, leaf first */
    struct hf_bytes data;
};

struct hf_restore_offer {
    uint64_t job;
    struct hf_bytes source;
    struct hf_bytes origin_host; /* empty: the host's own data; else whose it is */
    int64_t at_ns;
    struct hf_bytes destination; /* empty: where the files were; else an absolute directory */
    enum hf_conflict conflict;
    bool dry_run;
    uint64_t file_count, byte_count;
    int64_t expires_ns;
    const struct hf_bytes
        *paths;        /* nothing else is restored than what is there or beneath; none: */
    size_t path_count; /* anything of the source */
};

struct hf_restore_answer {
    uint64_t job;
    bool accepted;
    struct hf_bytes message;
};

struct hf_restore_next {
    uint64_t job;
    struct hf_bytes cursor; /* empty: from the start; else next_cursor of a page */
};

struct hf_restore_page {
    uint64_t job;
    const struct hf_version *versions; /* .seq is informative here */
    size_t count;
    struct hf_bytes next_cursor;
    bool last;
};

struct hf_restore_results {
    uint64_t job;
    const struct hf_restore_result *results;
    size_t count;
};

struct hf_restore_done {
    uint64_t job;
    enum hf_job_outcome outcome;
    uint64_t file_count, failed_count, fetched_bytes, reused_bytes;
    struct hf_bytes message;
};

struct hf_frame {
    enum hf_frame_type type;
    uint64_t seq; /* counts this direction's frames of the session, from 1 */
    union {
        struct hf_hello hello;
        struct hf_welcome welcome;
        struct hf_source_open source;
        struct hf_source_committed source_state;
        struct hf_ids ids; /* HAVE, CHUNK_GET */
        struct hf_need need;
        struct {
            const struct hf_block *blocks;
            size_t count;
            uint64_t job; /* 0, or the restore job that asked for them */
        } chunks;
        struct hf_versions versions; /* VERSIONS, LISTING */
        struct {
            const struct hf_ack *acks;
            size_t count;
        } ack;
        struct {
            uint64_t total_bytes;
        } credit;
        struct hf_mark mark;
        struct hf_refusal refusal; /* ERROR, GOAWAY */
        struct hf_list list;
        struct hf_blob blob; /* RENEW, RENEWED */
        struct hf_dictionary_frame dictionary;
        struct hf_restore_offer offer;
        struct hf_restore_answer answer;
        struct hf_restore_next next;
        struct hf_restore_page page;
        struct hf_restore_results results;
        struct hf_restore_done done;
        struct {
            uint64_t job;
        } cancel;
    };
    void *owned; /* of the decoder; NULL in frames made for encoding */
    size_t owned_bytes;
};

/* Decode one whole message. Every limit above and every field's kind and range is checked,
 * sizes before anything is allocated; source names and paths are checked too (paths by
 * hf_path_check_relative). Unknown trailing fields are ignored. HF_ERR_PROTOCOL,
 * HF_ERR_LIMIT (a limit), HF_ERR_UNSUPPORTED (unknown type, named by number), HF_ERR_NO_MEMORY;
 * frame->type and ->seq are set as far as they were read, nothing is left to free on failure. */
int proto_decode(const uint8_t *data, size_t size, struct hf_frame *frame, struct hf_error *error);
void proto_frame_free(struct hf_frame *frame);

/* Append the frame's bytes to out. HF_ERR_LIMIT when they would pass HF_FRAME_MAX_BYTES or the
 * frame breaks a limit of its own, HF_ERR_NO_MEMORY, HF_ERR_UNSUPPORTED for no type of ours (out's
 * content is unchanged then). Texts for people (messages, notes, HELLO's facts) are cut at their
 * limit and cleaned of control characters instead. */
int proto_encode(const struct hf_frame *frame, struct hf_buf *out);

/* A version alone, as it also lies in the journal: encode appends, decode reads exactly size bytes;
 * its views point into data. */
int proto_version_encode(const struct hf_version *version, struct hf_buf *out);
int proto_version_decode(const uint8_t *data, size_t size, struct hf_version *version,
                         struct hf_error *error);
/* Upper bound of the encoded size, for packing frames to their limit. */
size_t proto_version_size_bound(const struct hf_version *version);

/* Whether the agent's HELLO, or the collector's WELCOME, has that capability. */
bool proto_has_capability(const struct hf_bytes *capabilities, size_t count, const char *name);
const char *proto_frame_name(enum hf_frame_type type);   /* "VERSIONS"; "unknown" */
const char *proto_code_name(enum hf_wire_code code);     /* "missing-chunks"; "unknown" */
const char *proto_status_name(enum hf_restore_status s); /* "restored" */
/* Whether the frame's bytes are paid with credit (agent to collector: CHUNKS, VERSIONS). */
bool proto_frame_is_bulk(enum hf_frame_type type);

#endif
