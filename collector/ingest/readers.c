/* A thread's own view of catalog and store. */
#include "collector/ingest/pipeline.h"

static int find_chunk(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_place *out,
                      struct hf_error *error)
{
    struct hf_chunk_place found;
    int rc = catalog_chunk_locate(context, id, &found, error);
    *out = found.place;
    return rc;
}

static int find_dictionary(void *context, const uint8_t id[HF_HASH_BYTES], struct hf_buf *out,
                           struct hf_error *error)
{
    return catalog_dictionary_get(context, id, out, error);
}

int ingest_readers_open(const struct hf_ingest *ingest, struct hf_catalog_reader **catalog,
                        struct hf_store_reader **store, struct hf_error *error)
{
    int rc = catalog_reader_open_beside(ingest->catalog, catalog, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_store_resolver resolver = {find_chunk, find_dictionary, *catalog};
    rc = store_reader_new(ingest->store, resolver, store, error);
    if (rc != HF_OK) {
        catalog_reader_close(*catalog);
        *catalog = NULL;
    }
    return rc;
}
