#include "collector/catalog/reader.h"

int catalog_totals(struct hf_catalog_reader *reader, struct hf_catalog_totals *out,
                   struct hf_error *error)
{
    /* Only small tables are counted; what grows with the data has running totals. */
    static const char sql[] =
        "SELECT (SELECT count(*) FROM hosts), (SELECT count(*) FROM hosts WHERE revoked_ns <> 0),"
        " (SELECT count(*) FROM sources), t.versions, t.chunks, t.stored_bytes, t.plain_bytes,"
        " (SELECT ifnull(sum(live_files), 0) FROM sources),"
        " (SELECT ifnull(sum(live_bytes), 0) FROM sources), (SELECT count(*) FROM snapshots),"
        " (SELECT count(*) FROM jobs WHERE state = 1 AND state <= 2),"
        " (SELECT count(*) FROM jobs WHERE state = 2 AND state <= 2),"
        " (SELECT ifnull(max(seq), 0) FROM audit) FROM totals t WHERE t.id = 1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc == HF_OK) {
        rc = db_step(&reader->db, statement, error);
    }
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return db_fail(&reader->db, SQLITE_CORRUPT, error);
    }
    *out = (struct hf_catalog_totals){.hosts = db_column_uint(statement, 0),
                                      .hosts_revoked = db_column_uint(statement, 1),
                                      .sources = db_column_uint(statement, 2),
                                      .versions = db_column_uint(statement, 3),
                                      .chunks = db_column_uint(statement, 4),
                                      .stored_bytes = db_column_uint(statement, 5),
                                      .plain_bytes = db_column_uint(statement, 6),
                                      .live_files = db_column_uint(statement, 7),
                                      .live_bytes = db_column_uint(statement, 8),
                                      .snapshots = db_column_uint(statement, 9),
                                      .jobs_waiting = db_column_uint(statement, 10),
                                      .jobs_running = db_column_uint(statement, 11),
                                      .audit_entries = db_column_uint(statement, 12)};
    return HF_OK;
}
