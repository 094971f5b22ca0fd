#include "collector/catalog/reader.h"

#define RETIRED "6"
_Static_assert(HF_SOURCE_RETIRED == 6, "SQL text can't take the enum's number by itself");

/* A host's counters are the sums over its sources. */
#define SELECT_HOST                                                                                \
    "SELECT row, host_id, name, hostname, machine_id, os, agent_version, address, created_ns,"     \
    " max(seen_ns,"                                                                                \
    "  (SELECT ifnull(max(last_received_ns), 0) FROM sources WHERE host_row = hosts.row),"         \
    "  (SELECT ifnull(max(marked_ns), 0) FROM sources WHERE host_row = hosts.row)),"               \
    " revoked_ns, revoked_reason,"                                                                 \
    " (SELECT ifnull(sum(versions), 0) FROM sources WHERE host_row = hosts.row),"                  \
    " (SELECT ifnull(sum(live_files), 0) FROM sources WHERE host_row = hosts.row),"                \
    " (SELECT ifnull(sum(live_bytes), 0) FROM sources WHERE host_row = hosts.row),"                \
    " (SELECT ifnull(min(until_ns), 0) FROM sources WHERE host_row = hosts.row AND state "         \
    "<> " RETIRED ")"                                                                              \
    " FROM hosts "

static void read_host(sqlite3_stmt *statement, struct hf_catalog_memory *memory, void *out)
{
    struct hf_host_row *row = out;
    *row = (struct hf_host_row){.row = db_column_uint(statement, 0),
                                .host_id = db_column_text(statement, 1, memory),
                                .name = db_column_text(statement, 2, memory),
                                .hostname = db_column_text(statement, 3, memory),
                                .machine_id = db_column_text(statement, 4, memory),
                                .os = db_column_text(statement, 5, memory),
                                .agent_version = db_column_text(statement, 6, memory),
                                .address = db_column_text(statement, 7, memory),
                                .created_ns = db_column_int(statement, 8),
                                .last_seen_ns = db_column_int(statement, 9),
                                .revoked_ns = db_column_int(statement, 10),
                                .revoked_reason = db_column_text(statement, 11, memory),
                                .versions = db_column_uint(statement, 12),
                                .live_files = db_column_uint(statement, 13),
                                .live_bytes = db_column_uint(statement, 14),
                                .protected_until_ns = db_column_int(statement, 15)};
}

int reader_labels(struct hf_catalog_reader *reader, const char *sql, uint64_t row,
                  struct hf_catalog_memory *memory, const struct hf_label_text **labels,
                  size_t *count, struct hf_error *error)
{
    struct memory_rows found = {.size = sizeof **labels};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, row);
    while ((rc = db_step(&reader->db, statement, error)) == DB_ROW) {
        struct hf_label_text *label = memory_add_row(memory, &found);
        if (label) {
            label->key = db_column_text(statement, 0, memory);
            label->value = db_column_text(statement, 1, memory);
        }
    }
    *labels = found.rows;
    *count = found.count;
    return rc < 0 ? rc : db_check_memory(memory, error);
}

static int add_labels(struct hf_catalog_reader *reader, struct hf_catalog_memory *memory,
                      struct hf_host_row *row, struct hf_error *error)
{
    static const char sql[] = "SELECT key, value FROM host_labels WHERE host_row = ?1 ORDER BY key";
    return reader_labels(reader, sql, row->row, memory, &row->labels, &row->label_count, error);
}

/* Finish a question for one host whose statement is bound. */
static int read_one(struct hf_catalog_reader *reader, sqlite3_stmt *statement, const char *name,
                    struct hf_catalog_memory *memory, struct hf_host_row *out,
                    struct hf_error *error)
{
    int rc = db_step(&reader->db, statement, error);
    if (rc < 0) {
        return rc;
    }
    if (rc == DB_DONE) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no host %s", name);
    }
    read_host(statement, memory, out);
    rc = add_labels(reader, memory, out, error);
    return rc == HF_OK ? db_check_memory(memory, error) : rc;
}

int catalog_host_by_id(struct hf_catalog_reader *reader, const char *host_id,
                       struct hf_catalog_memory *memory, struct hf_host_row *out,
                       struct hf_error *error)
{
    static const char sql[] = SELECT_HOST "WHERE host_id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, event_text(host_id));
    return read_one(reader, statement, host_id, memory, out, error);
}

int catalog_host_by_row(struct hf_catalog_reader *reader, uint64_t host_row,
                        struct hf_catalog_memory *memory, struct hf_host_row *out,
                        struct hf_error *error)
{
    static const char sql[] = SELECT_HOST "WHERE row = ?1";
    char name[32];
    snprintf(name, sizeof name, "%llu", (unsigned long long)host_row);
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, host_row);
    return read_one(reader, statement, name, memory, out, error);
}

/* The one host that the SQL finds for the name; several are a conflict that names them. Revoked
 * hosts give way to one that is not: a machine that joined anew has the same name. */
static int find_by_name(struct hf_catalog_reader *reader, const char *sql, const char *name,
                        uint64_t *row, struct hf_error *error)
{
    char ids[256] = "";
    size_t used = 0;
    int found = 0;
    int64_t first_revoked = 0;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_text(statement, 1, event_text(name));
    while ((rc = db_step(&reader->db, statement, error)) == DB_ROW) {
        int64_t revoked = db_column_int(statement, 2);
        if (found > 0 && first_revoked == 0 && revoked != 0) {
            break;
        }
        if (found++ == 0) {
            *row = db_column_uint(statement, 0);
            first_revoked = revoked;
        }
        struct hf_bytes id = db_column_view(statement, 1);
        if (used < sizeof ids) {
            used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%.*s", used ? ", " : "",
                                     (int)id.size, (const char *)id.data);
        }
    }
    if (rc < 0) {
        return rc;
    }
    if (found > 1) {
        return hf_error_set(error, HF_ERR_CONFLICT, 0,
                            "%d hosts are called %s: name one by its id (%s)", found, name, ids);
    }
    return found == 1 ? HF_OK
                      : hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no host %s", name);
}

static int resolve(struct hf_catalog_reader *reader, const char *id_or_name,
                   struct hf_catalog_memory *memory, struct hf_host_row *out,
                   struct hf_error *error)
{
    static const char by_name[] =
        "SELECT row, host_id, revoked_ns FROM hosts WHERE name = ?1 ORDER BY revoked_ns <> 0, row";
    static const char by_hostname[] = "SELECT row, host_id, revoked_ns FROM hosts"
                                      " WHERE hostname = ?1 ORDER BY revoked_ns <> 0, row";
    uint64_t row = 0;
    int rc = catalog_host_by_id(reader, id_or_name, memory, out, error);
    if (rc != HF_ERR_NOT_FOUND) {
        return rc;
    }
    rc = find_by_name(reader, by_name, id_or_name, &row, error);
    if (rc == HF_ERR_NOT_FOUND) {
        rc = find_by_name(reader, by_hostname, id_or_name, &row, error);
    }
    return rc == HF_OK ? catalog_host_by_row(reader, row, memory, out, error) : rc;
}

int catalog_host_resolve(struct hf_catalog_reader *reader, const char *id_or_name,
                         struct hf_catalog_memory *memory, struct hf_host_row *out,
                         struct hf_error *error)
{
    int rc = catalog_reader_begin(reader, error);
    if (rc == HF_OK) {
        rc = resolve(reader, id_or_name, memory, out, error);
        catalog_reader_end(reader);
    }
    return rc;
}

int catalog_host_list(struct hf_catalog_reader *reader, uint64_t after_row, size_t limit,
                      struct hf_catalog_memory *memory, const struct hf_host_row **rows,
                      size_t *count, struct hf_error *error)
{
    static const char sql[] = SELECT_HOST "WHERE row > ?1 ORDER BY row";
    struct memory_rows found = {.size = sizeof **rows};
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&reader->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_uint(statement, 1, after_row);
    rc = reader_collect(reader, statement, limit, read_host, memory, &found, error);
    for (size_t i = 0; i < found.count && rc == HF_OK; i++) {
        rc = add_labels(reader, memory, &((struct hf_host_row *)found.rows)[i], error);
    }
    *rows = found.rows;
    *count = found.count;
    return rc;
}
