#include "collector/catalog/schema.h"

/* Times are nanoseconds since the epoch, 0 for "never". Texts are bytes without NUL, by intent
 * UTF-8. Rows are given out by catalog_check and come with the events, so that a replay yields the
 * same; tables without such a key are numbered in the journal's order by SQLite. */
static const char schema_1[] =
    "CREATE TABLE hosts ("
    " row INTEGER PRIMARY KEY, host_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " hostname TEXT NOT NULL, machine_id TEXT NOT NULL, os TEXT NOT NULL,"
    " agent_version TEXT NOT NULL, address TEXT NOT NULL, created_ns INTEGER NOT NULL,"
    " seen_ns INTEGER NOT NULL, revoked_ns INTEGER NOT NULL, revoked_reason TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX hosts_name ON hosts (name);"
    "CREATE INDEX hosts_hostname ON hosts (hostname);"
    "CREATE TABLE host_labels ("
    " host_row INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (host_row, key)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE certificates ("
    " row INTEGER PRIMARY KEY, serial TEXT NOT NULL UNIQUE, host_row INTEGER NOT NULL,"
    " key_hash BLOB NOT NULL, issued_ns INTEGER NOT NULL, not_before_ns INTEGER NOT NULL,"
    " not_after_ns INTEGER NOT NULL, certificate_pem TEXT NOT NULL, token_id TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX certificates_host ON certificates (host_row);"
    "CREATE INDEX certificates_token ON certificates (token_id, key_hash) WHERE token_id <> '';"

    "CREATE TABLE tokens ("
    " row INTEGER PRIMARY KEY, token_id TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " role INTEGER NOT NULL, secret_hash BLOB NOT NULL, name TEXT NOT NULL,"
    " created_ns INTEGER NOT NULL, created_by TEXT NOT NULL, expires_ns INTEGER NOT NULL,"
    " uses INTEGER NOT NULL, uses_left INTEGER NOT NULL, revoked_ns INTEGER NOT NULL) STRICT;"
    "CREATE TABLE token_labels ("
    " token_row INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (token_row, key)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE sources ("
    " row INTEGER PRIMARY KEY, host_row INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,"
    " class TEXT NOT NULL, opened_ns INTEGER NOT NULL, committed_seq INTEGER NOT NULL,"
    " versions INTEGER NOT NULL, live_files INTEGER NOT NULL, live_bytes INTEGER NOT NULL,"
    " last_at_ns INTEGER NOT NULL, last_received_ns INTEGER NOT NULL,"
    " until_ns INTEGER NOT NULL, marked_ns INTEGER NOT NULL, state INTEGER NOT NULL,"
    " pending_files INTEGER NOT NULL, note TEXT NOT NULL, UNIQUE (host_row, name)) STRICT;"
    "CREATE TABLE source_roots ("
    " source_row INTEGER NOT NULL, position INTEGER NOT NULL, root TEXT NOT NULL,"
    " PRIMARY KEY (source_row, position)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE versions ("
    " source_row INTEGER NOT NULL, path BLOB NOT NULL, at_ns INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, received_ns INTEGER NOT NULL, captured_ns INTEGER NOT NULL,"
    " type INTEGER NOT NULL, flags INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL,"
    " gid INTEGER NOT NULL, owner TEXT NOT NULL, grp TEXT NOT NULL, mtime_ns INTEGER NOT NULL,"
    " size INTEGER NOT NULL, target BLOB NOT NULL, depth INTEGER NOT NULL, refs BLOB NOT NULL,"
    " job INTEGER NOT NULL, PRIMARY KEY (source_row, path, at_ns DESC, seq DESC)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE chunks ("
    " id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,"
    " codec INTEGER NOT NULL, plain_size INTEGER NOT NULL, owner INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE chunk_held ("
    " id BLOB NOT NULL, host_row INTEGER NOT NULL, PRIMARY KEY (id, host_row)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE snapshots ("
    " id INTEGER PRIMARY KEY, source_row INTEGER NOT NULL, name TEXT NOT NULL,"
    " at_ns INTEGER NOT NULL, created_ns INTEGER NOT NULL, created_by TEXT NOT NULL,"
    " reason INTEGER NOT NULL, job INTEGER NOT NULL, held INTEGER NOT NULL,"
    " held_ns INTEGER NOT NULL, hold_reason TEXT NOT NULL) STRICT;"
    "CREATE INDEX snapshots_source ON snapshots (source_row);"

    "CREATE TABLE jobs ("
    " id INTEGER PRIMARY KEY, host_row INTEGER NOT NULL, origin_host_row INTEGER NOT NULL,"
    " source_row INTEGER NOT NULL, at_ns INTEGER NOT NULL, destination BLOB NOT NULL,"
    " conflict INTEGER NOT NULL, dry_run INTEGER NOT NULL, created_ns INTEGER NOT NULL,"
    " created_by TEXT NOT NULL, expires_ns INTEGER NOT NULL, state INTEGER NOT NULL,"
    " started_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL, snapshot_id INTEGER NOT NULL,"
    " files_total INTEGER NOT NULL, files_done INTEGER NOT NULL, files_failed INTEGER NOT NULL,"
    " bytes_total INTEGER NOT NULL, bytes_done INTEGER NOT NULL, fetched_bytes INTEGER NOT NULL,"
    " reused_bytes INTEGER NOT NULL, message TEXT NOT NULL) STRICT;"
    "CREATE INDEX jobs_host ON jobs (host_row);"
    "CREATE INDEX jobs_active ON jobs (host_row) WHERE state <= 2;"
    "CREATE TABLE job_paths ("
    " job_id INTEGER NOT NULL, position INTEGER NOT NULL, path BLOB NOT NULL,"
    " PRIMARY KEY (job_id, position)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE job_results ("
    " job_id INTEGER NOT NULL, path BLOB NOT NULL, status INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (job_id, path)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE audit ("
    " seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, actor TEXT NOT NULL,"
    " action TEXT NOT NULL, object TEXT NOT NULL, detail TEXT NOT NULL, outcome INTEGER NOT NULL,"
    " hash BLOB NOT NULL) STRICT;"

    "CREATE TABLE totals ("
    " id INTEGER PRIMARY KEY CHECK (id = 1), versions INTEGER NOT NULL, chunks INTEGER NOT NULL,"
    " stored_bytes INTEGER NOT NULL, plain_bytes INTEGER NOT NULL) STRICT;"
    "INSERT INTO totals VALUES (1, 0, 0, 0, 0);"
    "CREATE TABLE progress ("
    " id INTEGER PRIMARY KEY CHECK (id = 1), pack INTEGER NOT NULL, offset INTEGER NOT NULL"
    ") STRICT;"
    "INSERT INTO progress VALUES (1, 0, 0);";

/* Hard links and extended attributes. */
static const char schema_2[] = "ALTER TABLE versions ADD COLUMN link INTEGER NOT NULL DEFAULT 0;"
                               "ALTER TABLE versions ADD COLUMN xattrs BLOB NOT NULL DEFAULT x'';";

/* Chunks are stretches of blocks, and journal entries lie several in a record. The journal was
 * written anew with that, so what this catalog knew of it is of no use. */
static const char schema_3[] =
    "DROP TABLE chunks;"
    "CREATE TABLE chunks ("
    " id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL,"
    " position INTEGER NOT NULL, plain_size INTEGER NOT NULL, depth INTEGER NOT NULL,"
    " owner INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "ALTER TABLE progress ADD COLUMN entry INTEGER NOT NULL DEFAULT 0;";

/* A path is kept once and its versions name its row, instead of every version repeating it. */
static const char schema_4[] =
    "CREATE TABLE paths ("
    " source_row INTEGER NOT NULL, path BLOB NOT NULL, row INTEGER NOT NULL,"
    " PRIMARY KEY (source_row, path)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE numbered_paths ("
    " row INTEGER PRIMARY KEY, source_row INTEGER NOT NULL, path BLOB NOT NULL) STRICT;"
    "INSERT INTO numbered_paths (source_row, path)"
    " SELECT DISTINCT source_row, path FROM versions ORDER BY source_row, path;"
    "INSERT INTO paths SELECT source_row, path, row FROM numbered_paths ORDER BY row;"
    "DROP TABLE numbered_paths;"
    "ALTER TABLE versions RENAME TO old_versions;"
    "CREATE TABLE versions ("
    " path_row INTEGER NOT NULL, at_ns INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " received_ns INTEGER NOT NULL, captured_ns INTEGER NOT NULL, type INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
    " owner TEXT NOT NULL, grp TEXT NOT NULL, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL,"
    " target BLOB NOT NULL, depth INTEGER NOT NULL, refs BLOB NOT NULL, job INTEGER NOT NULL,"
    " link INTEGER NOT NULL, xattrs BLOB NOT NULL,"
    " PRIMARY KEY (path_row, at_ns DESC, seq DESC)) STRICT, WITHOUT ROWID;"
    "INSERT INTO versions SELECT p.row, v.at_ns, v.seq, v.received_ns, v.captured_ns, v.type,"
    " v.flags, v.mode, v.uid, v.gid, v.owner, v.grp, v.mtime_ns, v.size, v.target, v.depth, v.refs,"
    " v.job, v.link, v.xattrs FROM old_versions v CROSS JOIN paths p"
    " ON p.source_row = v.source_row AND p.path = v.path"
    " ORDER BY v.source_row, v.path, v.at_ns DESC, v.seq DESC;"
    "DROP TABLE old_versions;";

/* What small content is compressed with: the newest of its class, the others as long as a block
 * names them. */
static const char schema_5[] =
    "CREATE TABLE dictionaries ("
    " row INTEGER PRIMARY KEY, class TEXT NOT NULL, id BLOB NOT NULL, trained_ns INTEGER NOT NULL,"
    " bytes BLOB NOT NULL) STRICT;"
    "CREATE INDEX dictionaries_class ON dictionaries (class, row);"
    "CREATE INDEX dictionaries_id ON dictionaries (id);";

/* migrations[n] makes schema n + 1 of schema n. Published ones never change; new ones are added. */
static const char *const migrations[] = {schema_1, schema_2, schema_3, schema_4, schema_5};

int schema_newest(void)
{
    return (int)(sizeof migrations / sizeof migrations[0]);
}

int schema_migrate(struct db *db, struct hf_error *error)
{
    int64_t version = 0;
    int rc = db_exec_int(db, "PRAGMA user_version", &version, error);
    for (int next = (int)version; rc == HF_OK && next < schema_newest(); next++) {
        char stamp[128];
        sqlite3_snprintf(sizeof stamp, stamp,
                         "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                         DB_APPLICATION_ID, next + 1);
        rc = db_exec(db, "BEGIN IMMEDIATE", error);
        if (rc == HF_OK) {
            rc = db_exec(db, migrations[next], error);
        }
        if (rc == HF_OK) {
            rc = db_exec(db, stamp, error);
        }
        if (rc != HF_OK) {
            sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
            hf_error_prefix(error, "Bringing the catalog to schema %d", next + 1);
        }
    }
    return rc;
}
