/* The catalog as text, for comparing two: each table by its primary key, each value as a SQL
 * literal. The replay position is left out: it says how far this file is, not what it holds. So are
 * the rows of paths, which only join two tables. */
#include <errno.h>

#include "collector/catalog/reader.h"

static const struct {
    const char *table, *sql;
} tables[] = {
    {"hosts", "SELECT * FROM hosts ORDER BY row"},
    {"host_labels", "SELECT * FROM host_labels ORDER BY host_row, key"},
    {"certificates", "SELECT * FROM certificates ORDER BY row"},
    {"tokens", "SELECT * FROM tokens ORDER BY row"},
    {"token_labels", "SELECT * FROM token_labels ORDER BY token_row, key"},
    {"sources", "SELECT * FROM sources ORDER BY row"},
    {"source_roots", "SELECT * FROM source_roots ORDER BY source_row, position"},
    {"versions",
     "SELECT p.source_row, p.path, v.at_ns, v.seq, v.received_ns, v.captured_ns, v.type,"
     " v.flags, v.mode, v.uid, v.gid, v.owner, v.grp, v.mtime_ns, v.size, v.target,"
     " v.depth, v.refs, v.job, v.link, v.xattrs"
     " FROM paths p CROSS JOIN versions v ON v.path_row = p.row"
     " ORDER BY p.source_row, p.path, v.at_ns DESC, v.seq DESC"},
    {"chunks", "SELECT * FROM chunks ORDER BY id"},
    {"chunk_held", "SELECT * FROM chunk_held ORDER BY id, host_row"},
    {"snapshots", "SELECT * FROM snapshots ORDER BY id"},
    {"jobs", "SELECT * FROM jobs ORDER BY id"},
    {"job_paths", "SELECT * FROM job_paths ORDER BY job_id, position"},
    {"job_results", "SELECT * FROM job_results ORDER BY job_id, path"},
    {"audit", "SELECT * FROM audit ORDER BY seq"},
    {"dictionaries", "SELECT * FROM dictionaries ORDER BY row"},
    {"totals", "SELECT * FROM totals"},
};

static void print_hex(struct hf_bytes bytes, FILE *out)
{
    fputs("x'", out);
    for (size_t i = 0; i < bytes.size; i++) {
        fprintf(out, "%02x", bytes.data[i]);
    }
    fputc('\'', out);
}

static void print_text(struct hf_bytes text, FILE *out)
{
    fputc('\'', out);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] == '\\' || text.data[i] == 0x7f) {
            fprintf(out, "\\x%02x", text.data[i]); /* one row stays one line */
        } else {
            fputc(text.data[i], out);
        }
    }
    fputc('\'', out);
}

static void print_row(sqlite3_stmt *statement, const char *table, FILE *out)
{
    fputs(table, out);
    for (int column = 0; column < sqlite3_column_count(statement); column++) {
        fprintf(out, " %s=", sqlite3_column_name(statement, column));
        switch (sqlite3_column_type(statement, column)) {
        case SQLITE_INTEGER:
            fprintf(out, "%lld", (long long)sqlite3_column_int64(statement, column));
            break;
        case SQLITE_BLOB:
            print_hex(db_column_view(statement, column), out);
            break;
        default:
            print_text(db_column_view(statement, column), out);
            break;
        }
    }
    fputc('\n', out);
}

static int dump_tables(struct hf_catalog_reader *reader, FILE *out, struct hf_error *error)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        DB_STATEMENT statement = NULL;
        int rc = db_prepare(&reader->db, tables[i].sql, &statement, error);
        if (rc != HF_OK) {
            return rc;
        }
        while ((rc = db_step(&reader->db, statement, error)) == DB_ROW) {
            print_row(statement, tables[i].table, out);
        }
        if (rc != HF_OK) {
            return rc;
        }
    }
    return HF_OK;
}

int catalog_dump(struct hf_catalog_reader *reader, FILE *out, struct hf_error *error)
{
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = dump_tables(reader, out, error);
    catalog_reader_end(reader);
    if (rc == HF_OK && (fflush(out) != 0 || ferror(out))) {
        return hf_error_set(error, HF_ERR_IO, errno, "The catalog's dump can't be written");
    }
    return rc;
}
