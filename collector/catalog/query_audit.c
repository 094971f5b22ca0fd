#include <string.h>

#include "collector/catalog/event_codec.h"
#include "collector/catalog/reader.h"

#define SELECT_AUDIT "SELECT seq, time_ns, actor, action, object, detail, outcome, hash FROM audit "

static void read_entry(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_audit_row *row = out;
    *row = (struct hf_audit_row){.seq = db_column_uint(statement, 0),
                                 .time_ns = db_column_int(statement, 1),
                                 .actor = db_column_text(statement, 2, memory),
                                 .action = db_column_text(statement, 3, memory),
                                 .object = db_column_text(statement, 4, memory),
                                 .detail = db_column_text(statement, 5, memory),
                                 .outcome = (enum hf_audit_outcome)db_column_int(statement, 6)};
    db_column_hash(statement, 7, row->hash);
}

int catalog_audit_list(struct hf_catalog_reader *reader, uint64_t before_seq, size_t limit,
                       struct hf_catalog_memory *memory, const struct hf_audit_row **rows,
                       size_t *count, struct hf_error *error)
{
    static const char sql[] = SELECT_AUDIT "WHERE seq < ?1 ORDER BY seq DESC";
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, before_seq ? before_seq : UINT64_MAX);
    rc = reader_collect(reader, statement, limit, read_entry, memory, &found, error);
    *rows = found.rows;
    *count = found.count;
    return rc;
}

/* Whether the entry follows the chain up to here; *reason says why not. `chain` moves on. */
static int check_entry(sqlite3_stmt *statement, uint64_t expected_seq, uint8_t chain[HF_HASH_BYTES],
                       const char **reason)
{
    struct hf_event event = {
        .type = HF_EVENT_AUDIT,
        .time_ns = db_column_int(statement, 1),
        .actor = db_column_view(statement, 2),
        .audit = {.audit_seq = db_column_uint(statement, 0),
                  .action = db_column_view(statement, 3),
                  .object = db_column_view(statement, 4),
                  .detail = db_column_view(statement, 5),
                  .outcome = (enum hf_audit_outcome)db_column_int(statement, 6)}};
    uint8_t stored[HF_HASH_BYTES];
    uint8_t hash[HF_HASH_BYTES];
    *reason = NULL;
    db_column_hash(statement, 7, stored);
    if (event.audit.audit_seq != expected_seq) {
        *reason = "an entry before it is missing";
        return HF_OK;
    }
    int rc = event_audit_hash(&event, chain, hash);
    if (rc == HF_ERR_NO_MEMORY) {
        return rc;
    }
    if (rc != HF_OK || memcmp(hash, stored, HF_HASH_BYTES) != 0) {
        *reason = "its hash does not match its content and the entry before it";
    }
    memcpy(chain, stored, HF_HASH_BYTES);
    return HF_OK;
}

int catalog_audit_verify(struct hf_catalog_reader *reader, uint64_t *entries, uint64_t *broken_at,
                         struct hf_error *message, struct hf_error *error)
{
    static const char sql[] = SELECT_AUDIT "ORDER BY seq";
    uint8_t chain[HF_HASH_BYTES] = {0};
    DB_STATEMENT statement = NULL;
    *entries = *broken_at = 0;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    while ((rc = db_step(&reader->db, statement, error)) == DB_ROW) {
        const char *reason = NULL;
        uint64_t seq = db_column_uint(statement, 0);
        if (check_entry(statement, *entries + 1, chain, &reason) != HF_OK) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to verify the audit log");
        }
        if (reason) {
            *broken_at = seq;
            hf_error_set(message, HF_ERR_CORRUPT, 0,
                         "The audit log is intact up to entry %llu; entry %llu was tampered with "
                         "or damaged: %s",
                         (unsigned long long)*entries, (unsigned long long)seq, reason);
            return HF_OK;
        }
        ++*entries;
    }
    return rc;
}
