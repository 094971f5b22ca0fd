/* The audit log: each entry's hash covers the one before, so no entry can be changed, removed or
 * slipped in without breaking the chain from there on. */
#include "collector/catalog/apply.h"

#include "collector/catalog/event_codec.h"

static int find_last(struct hf_catalog *catalog, uint64_t *seq, uint8_t hash[HF_HASH_BYTES],
                     struct hf_error *error)
{
    static const char sql[] = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc == HF_OK) {
        rc = db_step(&catalog->db, statement, error);
    }
    *seq = 0;
    memset(hash, 0, HF_HASH_BYTES);
    if (rc == DB_ROW) {
        *seq = db_column_uint(statement, 0);
        db_column_hash(statement, 1, hash);
    }
    return rc < 0 ? rc : HF_OK;
}

static int link_entry(const struct hf_event *event, const uint8_t previous[HF_HASH_BYTES],
                      uint8_t out[HF_HASH_BYTES], struct hf_error *error)
{
    int rc = event_audit_hash(event, previous, out);
    return rc == HF_OK ? HF_OK
                       : hf_error_set(error, (enum hf_err)rc, 0,
                                      "An audit entry can't be encoded: a text is too long, or has "
                                      "a NUL byte");
}

int check_audit(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    struct hf_event_audit *e = &event->audit;
    uint8_t previous[HF_HASH_BYTES];
    uint64_t last;
    int rc = find_last(catalog, &last, previous, error);
    if (rc != HF_OK) {
        return rc;
    }
    e->audit_seq = last + 1;
    return link_entry(event, previous, e->hash, error);
}

static int insert_entry(struct hf_catalog *catalog, const struct hf_event *event,
                        struct hf_error *error)
{
    static const char sql[] = "INSERT INTO audit (seq, time_ns, actor, action, object, detail,"
                              " outcome, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    const struct hf_event_audit *e = &event->audit;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, e->audit_seq);
    db_bind_int(statement, 2, event->time_ns);
    db_bind_text(statement, 3, event->actor);
    db_bind_text(statement, 4, e->action);
    db_bind_text(statement, 5, e->object);
    db_bind_text(statement, 6, e->detail);
    db_bind_uint(statement, 7, e->outcome);
    db_bind_blob(statement, 8, (struct hf_bytes){.data = e->hash, .size = HF_HASH_BYTES});
    return db_run(&catalog->db, statement, error);
}

int apply_audit(struct hf_catalog *catalog, const struct hf_event *event, struct hf_error *error)
{
    const struct hf_event_audit *e = &event->audit;
    uint8_t previous[HF_HASH_BYTES];
    uint8_t hash[HF_HASH_BYTES];
    uint64_t last;
    int rc = find_last(catalog, &last, previous, error);
    if (rc != HF_OK || e->audit_seq <= last) {
        return rc;
    }
    if (e->audit_seq != last + 1) {
        return apply_contradiction(error, "audit entry %llu follows entry %llu",
                                   (unsigned long long)e->audit_seq, (unsigned long long)last);
    }
    rc = link_entry(event, previous, hash, error);
    if (rc == HF_OK && memcmp(hash, e->hash, HF_HASH_BYTES) != 0) {
        return apply_contradiction(error, "audit entry %llu does not carry on the chain of hashes",
                                   (unsigned long long)e->audit_seq);
    }
    return rc == HF_OK ? insert_entry(catalog, event, error) : rc;
}
