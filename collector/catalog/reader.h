/* The reading side's state. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_READER_H
#define HF_COLLECTOR_CATALOG_READER_H

#include "collector/catalog/catalog.h"
#include "collector/catalog/db.h"
#include "collector/catalog/known.h"
#include "collector/catalog/query.h"

struct hf_catalog_reader {
    struct db db;
    unsigned depth;                   /* of catalog_reader_begin */
    const struct known_chunks *known; /* the writer's, when it is in this process; or NULL */
};

/* Rows of a page: the caller's limit, or the most that is allowed. */
size_t reader_page_limit(size_t limit);

/* Step the bound statement until the limit or the end; read() copies each row into one of rows. */
int reader_collect(struct hf_catalog_reader *reader, sqlite3_stmt *statement, size_t limit,
                   void (*read)(sqlite3_stmt *statement, struct hf_catalog_memory *memory,
                                void *row),
                   struct hf_catalog_memory *memory, struct memory_rows *rows,
                   struct hf_error *error);

/* The labels that SQL (key, value; one parameter) has for the row. */
int reader_labels(struct hf_catalog_reader *reader, const char *sql, uint64_t row,
                  struct hf_catalog_memory *memory, const struct hf_label_text **labels,
                  size_t *count, struct hf_error *error);

#endif
