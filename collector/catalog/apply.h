/* One pair of functions a type of event: check_* decides whether it may happen and gives out its
 * ids, apply_* makes it part of the tables. What apply_* does depends on the event and the tables
 * alone (no clock, nothing random), so that a replay yields the same catalog. Doing it again
 * leaves the tables as they are. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_APPLY_H
#define HF_COLLECTOR_CATALOG_APPLY_H

#include "collector/catalog/writer.h"

#define APPLY_PAIR(name)                                                                           \
    int check_##name(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error);  \
    int apply_##name(struct hf_catalog *catalog, const struct hf_event *event,                     \
                     struct hf_error *error)
APPLY_PAIR(host_created);
APPLY_PAIR(host_seen);
APPLY_PAIR(host_labelled);
APPLY_PAIR(host_revoked);
APPLY_PAIR(cert_issued);
APPLY_PAIR(token_created);
APPLY_PAIR(token_revoked);
APPLY_PAIR(source_opened);
APPLY_PAIR(version);
APPLY_PAIR(chunks_held);
APPLY_PAIR(mark);
APPLY_PAIR(snapshot_created);
APPLY_PAIR(snapshot_held); /* and released */
APPLY_PAIR(job_created);
APPLY_PAIR(job_state);
APPLY_PAIR(job_results);
APPLY_PAIR(audit);
APPLY_PAIR(dictionary_trained);
#undef APPLY_PAIR

/* HF_ERR_CORRUPT: the journal says something that can't follow from what it said before. */
int apply_contradiction(struct hf_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* One more than the largest key; sql is "SELECT max(key) FROM table". */
int apply_next_row(struct hf_catalog *catalog, const char *sql, uint64_t *out,
                   struct hf_error *error);
/* The host's row; HF_ERR_NOT_FOUND. revoked may be NULL. */
int apply_find_host(struct hf_catalog *catalog, struct hf_bytes host_id, uint64_t *host_row,
                    bool *revoked, struct hf_error *error);
/* Whether the SQL with this one uint parameter has a row. */
int apply_has_row(struct hf_catalog *catalog, const char *sql, uint64_t key, bool *found,
                  struct hf_error *error);
/* Run SQL with (row, key, value) for each label. */
int apply_put_labels(struct hf_catalog *catalog, const char *sql, uint64_t row,
                     const struct hf_label *labels, size_t count, struct hf_error *error);

/* %.*s of bytes. */
#define APPLY_TEXT(bytes) (int)(bytes).size, (bytes).size ? (const char *)(bytes).data : ""

#endif
