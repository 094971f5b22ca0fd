/* The catalog: a SQLite index over the journal. It answers what is held, of whom, since when;
 * losing it loses nothing, because everything in it came from events and blocks that lie
 * in the packs (promise 2). The only code with the collector's SQL.
 *
 * Writing: one struct hf_catalog, used by the committer thread alone. One group commit is
 *     catalog_begin
 *     for each event:  catalog_check -> append to the journal -> catalog_apply
 *     for each block:  append to the store -> catalog_apply_block
 *     store_sync       (now it is durable)
 *     catalog_commit   (or catalog_rollback when the sync failed)
 * check of an event sees everything applied before it in the same transaction. A commit that is
 * lost in a crash (none waits for the disk) is made up by replaying the journal from
 * catalog_applied; applying what is applied already changes nothing.
 *
 * Reading: one struct hf_catalog_reader per thread, a read-only connection of its own. Readers
 * never block the writer. Results are allocated from the struct hf_catalog_memory that the caller
 * passes (zero-initialised) and live until its catalog_memory_free.
 *
 * Functions return 0 or a negative enum hf_err: HF_ERR_NOT_FOUND, HF_ERR_IO, HF_ERR_NO_SPACE,
 * HF_ERR_CORRUPT (damaged database: says that it can be rebuilt), HF_ERR_NO_MEMORY; others are
 * named where they occur.
 *
 * Rows (host_row, source_row) are integers > 0, never reused. Lists are paged by `after`: 0 or
 * empty for the start, else the key of the last row of the page before. A page that came back
 * shorter than its limit is the last one (except where a function has `last`).
 */
#ifndef HF_COLLECTOR_CATALOG_CATALOG_H
#define HF_COLLECTOR_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "collector/catalog/event.h"
#include "collector/store/location.h"
#include "common/block.h"
#include "common/buf.h"
#include "common/error.h"
#include "proto/version.h"

#define HF_CATALOG_PAGE_MAX 5000u     /* rows of one page, more are cut to this */
#define HF_CATALOG_NOW      INT64_MAX /* as at_ns: the newest state */

#define HF_CATALOG_MISSING_MAX ((size_t)1024)

/* ---- Writer (writer.c; committer thread only) ---- */

struct hf_catalog;

/* Open or create (mode 0600) the database at path and migrate it to this program's schema.
 * HF_ERR_CORRUPT: it is damaged. HF_ERR_UNSUPPORTED: it is a newer Holdfast's, or not Holdfast's.
 * HF_ERR_AGAIN: another process has it open for writing. The messages say what to do. */
int catalog_open(const char *path, struct hf_catalog **out, struct hf_error *error);
void catalog_close(struct hf_catalog *catalog); /* rolls back; NULL is fine */

int catalog_begin(struct hf_catalog *catalog, struct hf_error *error);
int catalog_commit(struct hf_catalog *catalog, struct hf_error *error);
void catalog_rollback(struct hf_catalog *catalog);

/* Whether the event may happen now; fills in its ids and other [check] fields. Returns besides
 * the errors that event.h names:
 *   HF_ERR_EXISTS    it has happened already or would change nothing; answer as if it had, write
 *                    nothing. VERSION: .seq is committed already.
 *   HF_ERR_CONFLICT  the state does not allow it. VERSION: a gap, the next seq is
 *                    catalog_source_state's committed_seq + 1.
 *   HF_ERR_DENIED    not permitted (revoked host, token used up, source of another host, a
 *                    version's chunk that its host's group does not hold: ask
 *                    catalog_missing_refs which).
 *   HF_ERR_NOT_FOUND host, source, token, job, snapshot unknown.
 *   HF_ERR_INVALID   a field is out of its range.
 * Changes nothing in the catalog. */
int catalog_check(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error);

/* Make the event part of the catalog: one that catalog_check accepted, or one from the journal.
 * location is that of its journal entry and becomes the replay position. HF_ERR_CORRUPT when the
 * journal contradicts itself (an unknown host, a gap, a broken audit hash). */
int catalog_apply(struct hf_catalog *catalog, const struct hf_event *event,
                  const struct hf_location *location, struct hf_error *error);

/* Record where a block's chunks lie; its data is not looked at. A chunk that is known keeps its
 * first place and owner; held (may be NULL) gets the ids of those whose owner is another. */
int catalog_apply_block(struct hf_catalog *catalog, const struct hf_block *block,
                        const struct hf_location *location, uint8_t depth, uint64_t owner,
                        struct hf_buf *held, struct hf_error *error);

/* The location of the last applied block or entry, zeros when there is none: replay from there;
 * that one itself may come again. As of the running transaction. */
int catalog_applied(struct hf_catalog *catalog, struct hf_location *out, struct hf_error *error);

/* The same questions as the reader's, answered within the running transaction. */
struct hf_source_state_row;
struct hf_chunk_place;
int catalog_host_find(struct hf_catalog *catalog, const char *host_id, uint64_t *host_row,
                      struct hf_error *error);
int catalog_source_find(struct hf_catalog *catalog, uint64_t host_row, struct hf_bytes name,
                        uint64_t *source_row, struct hf_error *error);
int catalog_source_state(struct hf_catalog *catalog, uint64_t source_row,
                         struct hf_source_state_row *out, struct hf_error *error);
#define HF_CATALOG_SOURCES_MAX 1024u /* a host may have */
/* Rows of a host's sources that are not retired. */
int catalog_source_rows(struct hf_catalog *catalog, uint64_t host_row,
                        uint64_t rows[HF_CATALOG_SOURCES_MAX], size_t *count,
                        struct hf_error *error);
/* HF_ERR_NOT_FOUND when nobody stored it yet. */
int catalog_chunk_find(struct hf_catalog *catalog, const uint8_t id[HF_HASH_BYTES],
                       struct hf_chunk_place *out, struct hf_error *error);
/* Whether the host's group holds the chunk (it uploaded it, or it is noted by CHUNKS_HELD). */
int catalog_chunk_is_held(struct hf_catalog *catalog, uint64_t host_row,
                          const uint8_t id[HF_HASH_BYTES], bool *held, struct hf_error *error);
/* refs: packed references (HF_CHUNK_REF_BYTES each) of a version, or of one of its lists. Appends
 * to missing the ids that the host's group does not hold, or whose plain size is another one;
 * each once, and no more than HF_CATALOG_MISSING_MAX. HF_ERR_INVALID when refs is no whole number
 * of references. */
int catalog_missing_refs(struct hf_catalog *catalog, uint64_t host_row, struct hf_bytes refs,
                         struct hf_buf *missing, struct hf_error *error);

/* The bytes of the dictionary of that id, appended; HF_ERR_NOT_FOUND when none has it. */
int catalog_dictionary_find(struct hf_catalog *catalog, const uint8_t id[HF_HASH_BYTES],
                            struct hf_buf *bytes, struct hf_error *error);
/* The newest dictionary of the source's class; HF_ERR_NOT_FOUND, without a message, when it has
 * none. */
int catalog_source_dictionary(struct hf_catalog *catalog, uint64_t source_row,
                              uint8_t id[HF_HASH_BYTES], struct hf_error *error);

struct hf_source_state_row {
    uint64_t host_row;
    uint64_t committed_seq;
    uint64_t live_files; /* regular files, directories and links that are alive */
    uint64_t live_bytes;
    int64_t last_at_ns;
};

struct hf_chunk_place {
    struct hf_place place;
    uint8_t depth;  /* of its block: how many others have to be read for it */
    uint64_t owner; /* host row of the first uploader */
};

/* ---- Reader (reader.c) ---- */

struct hf_catalog_reader;
struct hf_catalog_memory { /* where results live; zero-initialise */
    void *blocks;
    bool exhausted; /* an allocation failed; calls report it */
};

int catalog_reader_open(const char *path, struct hf_catalog_reader **out, struct hf_error *error);
/* Of a catalog that this process has open for writing, which must stay open until the reader is
 * closed: it need not look for most of the chunks that are not there. */
int catalog_reader_open_beside(const struct hf_catalog *catalog, struct hf_catalog_reader **out,
                               struct hf_error *error);
void catalog_reader_close(struct hf_catalog_reader *reader);
/* Between these, several calls see one state of the catalog. They nest; keep it short (it holds
 * up the trimming of the write-ahead log). Every single call is consistent by itself. */
int catalog_reader_begin(struct hf_catalog_reader *reader, struct hf_error *error);
void catalog_reader_end(struct hf_catalog_reader *reader);
void catalog_memory_free(struct hf_catalog_memory *memory); /* empty again, can be reused */

/* ---- Hosts, certificates, tokens (query_host.c, query_certificate.c, query_token.c) ---- */

struct hf_label_text {
    const char *key, *value;
};

struct hf_host_row {
    uint64_t row;
    const char *host_id, *name, *hostname, *machine_id, *os, *agent_version, *address; /* or "" */
    const struct hf_label_text *labels;                                                /* by key */
    size_t label_count;
    int64_t created_ns;
    int64_t last_seen_ns; /* last HOST_SEEN, MARK or version; 0: never */
    int64_t revoked_ns;   /* 0: not revoked */
    const char *revoked_reason;
    uint64_t versions, live_files, live_bytes; /* over all its sources */
    int64_t protected_until_ns;                /* the oldest of its sources'; 0: unknown */
};

int catalog_host_by_id(struct hf_catalog_reader *reader, const char *host_id,
                       struct hf_catalog_memory *memory, struct hf_host_row *out,
                       struct hf_error *error);
int catalog_host_by_row(struct hf_catalog_reader *reader, uint64_t host_row,
                        struct hf_catalog_memory *memory, struct hf_host_row *out,
                        struct hf_error *error);
/* By id, else by name, else by hostname. HF_ERR_CONFLICT when several hosts have it: the message
 * names them. */
int catalog_host_resolve(struct hf_catalog_reader *reader, const char *id_or_name,
                         struct hf_catalog_memory *memory, struct hf_host_row *out,
                         struct hf_error *error);
int catalog_host_list(struct hf_catalog_reader *reader, uint64_t after_row, size_t limit,
                      struct hf_catalog_memory *memory, const struct hf_host_row **rows,
                      size_t *count, struct hf_error *error);

struct hf_certificate_row {
    uint64_t host_row;
    const char *host_id, *serial, *certificate_pem, *token_id;
    uint8_t key_hash[HF_HASH_BYTES];
    int64_t issued_ns, not_before_ns, not_after_ns;
};

int catalog_certificate_by_serial(struct hf_catalog_reader *reader, const char *serial,
                                  struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                                  struct hf_error *error);
/* The one issued for this token and this key (enrolment asked twice). */
int catalog_certificate_by_token(struct hf_catalog_reader *reader, const char *token_id,
                                 const uint8_t key_hash[HF_HASH_BYTES],
                                 struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                                 struct hf_error *error);
/* The last one issued to the host. */
int catalog_certificate_newest(struct hf_catalog_reader *reader, uint64_t host_row,
                               struct hf_catalog_memory *memory, struct hf_certificate_row *out,
                               struct hf_error *error);

struct hf_token_row {
    uint64_t row; /* for paging */
    const char *token_id, *name, *created_by;
    enum hf_token_kind kind;
    enum hf_role role;
    uint8_t secret_hash[HF_HASH_BYTES];
    int64_t created_ns, expires_ns, revoked_ns; /* 0: never, not */
    uint32_t uses, uses_left;                   /* of an enrolment token */
    const struct hf_label_text *labels;
    size_t label_count;
};

int catalog_token_by_id(struct hf_catalog_reader *reader, const char *token_id,
                        struct hf_catalog_memory *memory, struct hf_token_row *out,
                        struct hf_error *error);
int catalog_token_list(struct hf_catalog_reader *reader, uint64_t after_row, size_t limit,
                       struct hf_catalog_memory *memory, const struct hf_token_row **rows,
                       size_t *count, struct hf_error *error);

/* ---- Sources (query_source.c) ---- */

struct hf_source_row {
    uint64_t row, host_row;
    const char *host_id, *host_name, *name, *kind, *class_name;
    const char *const *roots;
    size_t root_count;
    uint64_t committed_seq, versions, live_files, live_bytes;
    int64_t opened_ns, last_received_ns;
    int64_t protected_until_ns; /* 0: no MARK yet */
    int64_t marked_ns;          /* when the newest recorded MARK came; 0: none */
    int state;                  /* enum hf_source_state; 0: unknown */
    uint64_t pending_files;
    const char *note;
};

int catalog_source_by_row(struct hf_catalog_reader *reader, uint64_t source_row,
                          struct hf_catalog_memory *memory, struct hf_source_row *out,
                          struct hf_error *error);
int catalog_source_by_name(struct hf_catalog_reader *reader, uint64_t host_row, const char *name,
                           struct hf_catalog_memory *memory, struct hf_source_row *out,
                           struct hf_error *error);
/* host_row 0: of all hosts. */
int catalog_source_list(struct hf_catalog_reader *reader, uint64_t host_row, uint64_t after_row,
                        size_t limit, struct hf_catalog_memory *memory,
                        const struct hf_source_row **rows, size_t *count, struct hf_error *error);

/* ---- Chunks (query_chunk.c) ---- */

int catalog_chunk_locate(struct hf_catalog_reader *reader, const uint8_t id[HF_HASH_BYTES],
                         struct hf_chunk_place *out, struct hf_error *error);
/* known[i]: whether anybody stored chunk i of these references. */
int catalog_refs_known(struct hf_catalog_reader *reader, struct hf_bytes refs, bool *known,
                       struct hf_error *error);
/* Whether the host's group holds the chunk, and where it is then. */
int catalog_chunk_held(struct hf_catalog_reader *reader, uint64_t host_row,
                       const uint8_t id[HF_HASH_BYTES], bool *held, struct hf_chunk_place *out,
                       struct hf_error *error);
/* For HAVE: sets bit i (LSB first) of bitmap ((count + 7) / 8 bytes, cleared first) when the
 * host's group does not hold id i. */
int catalog_chunks_missing(struct hf_catalog_reader *reader, uint64_t host_row, const uint8_t *ids,
                           size_t count, uint8_t *bitmap, struct hf_error *error);
/* For CHUNK_GET: places of count ids; held[i] false (place zero) where the group of host_row does
 * not hold it. */
int catalog_chunks_locate(struct hf_catalog_reader *reader, uint64_t host_row, const uint8_t *ids,
                          size_t count, struct hf_chunk_place *places, bool *held,
                          struct hf_error *error);

/* ---- Dictionaries (query_dictionary.c) ---- */

/* The bytes of the dictionary of that id, appended; HF_ERR_NOT_FOUND when none has it. */
int catalog_dictionary_get(struct hf_catalog_reader *reader, const uint8_t id[HF_HASH_BYTES],
                           struct hf_buf *bytes, struct hf_error *error);
/* The id of the newest of a class; HF_ERR_NOT_FOUND when it has none. */
int catalog_dictionary_newest(struct hf_catalog_reader *reader, const char *class_name,
                              uint8_t id[HF_HASH_BYTES], struct hf_error *error);

/* ---- The timeline (query_list.c, query_tree.c, query_version.c, query_diff.c) ---- */

struct hf_version_row {
    struct hf_version version; /* .path and all views live in memory */
    int64_t at_ns, received_ns;
    bool implied; /* a directory that exists only as a prefix: nothing but .path and .type is set */
};

struct hf_version_page {
    const struct hf_version_row *rows;
    size_t count;
    struct hf_bytes next; /* pass as `after` of the next page */
    bool last;            /* nothing follows */
};

struct hf_timeline_query {
    uint64_t source_row;
    int64_t at_ns;                /* the moment; HF_CATALOG_NOW for the newest state */
    const struct hf_bytes *paths; /* what is selected; none: everything */
    size_t path_count;
    struct hf_bytes after; /* empty, or .next of the page before */
    size_t limit;          /* rows; 0: HF_CATALOG_PAGE_MAX */
    size_t bytes_max; /* stop before the versions' encodings pass this (at least one row comes);
                         0: no such limit */
};

/* One directory level: what is directly beneath paths[0] (or the top) at the moment. Ordered by
 * path bytes, an implied directory at the place of its first descendant. Of a path that is a
 * file then, that file itself. HF_ERR_NOT_FOUND when nothing is there at that moment (an empty
 * source has an empty top). At most one path. */
int catalog_list(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                 struct hf_catalog_memory *memory, struct hf_version_page *out,
                 struct hf_error *error);

/* Everything alive at the moment at or beneath the paths: selection by selection (ordered, those
 * within others dropped), in each by path bytes, so a directory comes before what it holds. A page
 * may be short or empty without being the last. `after` may also be any row's path, to go on after
 * it. */
int catalog_tree(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                 struct hf_catalog_memory *memory, struct hf_version_page *out,
                 struct hf_error *error);
/* Their number and bytes; after, limit and bytes_max are ignored. */
int catalog_tree_totals(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                        uint64_t *files, uint64_t *bytes, struct hf_error *error);

/* The state of one path at a moment; HF_ERR_NOT_FOUND when it is not alive then. */
int catalog_version_at(struct hf_catalog_reader *reader, uint64_t source_row, struct hf_bytes path,
                       int64_t at_ns, struct hf_catalog_memory *memory, struct hf_version_row *out,
                       struct hf_error *error);
/* That version of the path (deletions too). */
int catalog_version_by_seq(struct hf_catalog_reader *reader, uint64_t source_row,
                           struct hf_bytes path, uint64_t seq, struct hf_catalog_memory *memory,
                           struct hf_version_row *out, struct hf_error *error);
/* All versions of a path, deletions included, newest first; before_seq 0: from the newest. */
int catalog_version_list(struct hf_catalog_reader *reader, uint64_t source_row,
                         struct hf_bytes path, uint64_t before_seq, size_t limit,
                         struct hf_catalog_memory *memory, const struct hf_version_row **rows,
                         size_t *count, struct hf_error *error);

enum hf_change { /* METADATA: same content, type and target; mode, owner or time differ */
                 HF_CHANGE_ADDED = 1,
                 HF_CHANGE_REMOVED = 2,
                 HF_CHANGE_MODIFIED = 3,
                 HF_CHANGE_METADATA = 4
};

struct hf_diff_row {
    enum hf_change change;
    const struct hf_version_row *before, *after; /* NULL where it was not alive */
};

struct hf_diff_page {
    const struct hf_diff_row *rows;
    size_t count;
    struct hf_bytes next;
    bool last;
};

/* What changed between query->at_ns and to_ns (either may be the later one). A page may be short
 * or empty without being the last: one call looks at a bounded number of paths. At most one path.
 */
int catalog_diff(struct hf_catalog_reader *reader, const struct hf_timeline_query *query,
                 int64_t to_ns, struct hf_catalog_memory *memory, struct hf_diff_page *out,
                 struct hf_error *error);
const char *catalog_change_name(enum hf_change change); /* "added" */

/* ---- Snapshots and jobs (query_snapshot.c, query_job.c) ---- */

struct hf_snapshot_row {
    uint64_t snapshot_id, source_row, host_row;
    const char *host_id, *host_name, *source_name, *name, *created_by, *hold_reason;
    int64_t at_ns, created_ns, held_ns; /* held_ns 0: not held */
    enum hf_snapshot_reason reason;
    uint64_t job;
    bool held;
};

int catalog_snapshot_get(struct hf_catalog_reader *reader, uint64_t snapshot_id,
                         struct hf_catalog_memory *memory, struct hf_snapshot_row *out,
                         struct hf_error *error);
/* Oldest first; host_row and source_row 0: any. */
int catalog_snapshot_list(struct hf_catalog_reader *reader, uint64_t host_row, uint64_t source_row,
                          uint64_t after_id, size_t limit, struct hf_catalog_memory *memory,
                          const struct hf_snapshot_row **rows, size_t *count,
                          struct hf_error *error);

struct hf_job_row {
    uint64_t job_id, host_row, origin_host_row, source_row;
    const char *host_id, *host_name, *origin_host_id, *source_name, *created_by, *message;
    int64_t at_ns, created_ns, expires_ns;
    int64_t started_ns, finished_ns; /* 0: not yet */
    const struct hf_bytes *paths;
    size_t path_count;
    struct hf_bytes destination;
    enum hf_conflict conflict;
    bool dry_run;
    enum hf_job_state state;
    uint64_t snapshot_id;
    uint64_t files_total, files_done, files_failed; /* done counts the failed ones too */
    uint64_t bytes_total, bytes_done, fetched_bytes, reused_bytes;
};

enum hf_job_filter { HF_JOBS_ALL = 0, HF_JOBS_ACTIVE = 1 };

int catalog_job_get(struct hf_catalog_reader *reader, uint64_t job_id,
                    struct hf_catalog_memory *memory, struct hf_job_row *out,
                    struct hf_error *error);
/* Newest first; host_row 0: any; before_id 0: from the newest. */
int catalog_job_list(struct hf_catalog_reader *reader, enum hf_job_filter filter, uint64_t host_row,
                     uint64_t before_id, size_t limit, struct hf_catalog_memory *memory,
                     const struct hf_job_row **rows, size_t *count, struct hf_error *error);
/* Active jobs whose target is the host, oldest first. */
int catalog_job_active(struct hf_catalog_reader *reader, uint64_t host_row,
                       struct hf_catalog_memory *memory, const struct hf_job_row **rows,
                       size_t *count, struct hf_error *error);

struct hf_job_result_row {
    struct hf_bytes path;
    enum hf_restore_status status;
    uint64_t bytes;
    const char *message;
};

/* By path; status 0: any. */
int catalog_job_results(struct hf_catalog_reader *reader, uint64_t job_id, int status,
                        struct hf_bytes after_path, size_t limit, struct hf_catalog_memory *memory,
                        const struct hf_job_result_row **rows, size_t *count,
                        struct hf_error *error);

/* ---- Audit (query_audit.c) ---- */

struct hf_audit_row {
    uint64_t seq;
    int64_t time_ns;
    const char *actor, *action, *object, *detail;
    enum hf_audit_outcome outcome;
    uint8_t hash[HF_HASH_BYTES];
};

/* Newest first; before_seq 0: from the newest. */
int catalog_audit_list(struct hf_catalog_reader *reader, uint64_t before_seq, size_t limit,
                       struct hf_catalog_memory *memory, const struct hf_audit_row **rows,
                       size_t *count, struct hf_error *error);
/* Recompute the whole chain. 0 with *broken_at 0 when it is intact; else *broken_at is the first
 * entry that does not follow, and message (may be NULL) says how. Reads all entries. */
int catalog_audit_verify(struct hf_catalog_reader *reader, uint64_t *entries, uint64_t *broken_at,
                         struct hf_error *message, struct hf_error *error);

/* ---- The whole (query_totals.c, dump.c) ---- */

struct hf_catalog_totals {
    uint64_t hosts, hosts_revoked, sources;
    uint64_t versions; /* recorded */
    uint64_t chunks, stored_bytes, plain_bytes;
    uint64_t live_files, live_bytes; /* live_bytes: what the sources hold now, before dedup */
    uint64_t snapshots, jobs_waiting, jobs_running, audit_entries;
};

int catalog_totals(struct hf_catalog_reader *reader, struct hf_catalog_totals *out,
                   struct hf_error *error);

/* All tables as text in a fixed order: equal catalogs give equal text. Of tokens it has the hashes
 * of their secrets, so keep it as private as the catalog. */
int catalog_dump(struct hf_catalog_reader *reader, FILE *out, struct hf_error *error);

#endif
