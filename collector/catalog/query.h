/* Questions that the writer and readers ask alike, of one connection. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_QUERY_H
#define HF_COLLECTOR_CATALOG_QUERY_H

#include "collector/catalog/catalog.h"
#include "collector/catalog/db.h"

/* Where a chunk lies; HF_ERR_NOT_FOUND. */
int query_chunk(struct db *db, const uint8_t id[HF_HASH_BYTES], struct hf_chunk_place *out,
                struct hf_error *error);
/* The same if the host's group holds it; else *held is false and *out zero. */
int query_chunk_held(struct db *db, uint64_t host_row, const uint8_t id[HF_HASH_BYTES], bool *held,
                     struct hf_chunk_place *out, struct hf_error *error);
/* A dictionary's bytes, appended; HF_ERR_NOT_FOUND. */
int query_dictionary(struct db *db, const uint8_t id[HF_HASH_BYTES], struct hf_buf *bytes,
                     struct hf_error *error);
/* The newest of a class; HF_ERR_NOT_FOUND when it has none. */
int query_dictionary_newest(struct db *db, struct hf_bytes class_name, uint8_t id[HF_HASH_BYTES],
                            struct hf_error *error);

#endif
