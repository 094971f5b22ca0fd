#include "collector/catalog/reader.h"

#include <string.h>

static struct hf_bytes view_id(const uint8_t id[HF_HASH_BYTES])
{
    return (struct hf_bytes){.data = id, .size = HF_HASH_BYTES};
}

static int look_up(struct db *db, const uint8_t id[HF_HASH_BYTES], bool *known,
                   struct hf_chunk_place *out, struct hf_error *error)
{
    static const char sql[] =
        "SELECT pack, offset, size, position, plain_size, depth, owner FROM chunks WHERE id = ?1";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_blob(statement, 1, view_id(id));
    rc = db_step(db, statement, error);
    *known = rc == DB_ROW;
    *out = (struct hf_chunk_place){0};
    if (*known) {
        out->place.location.pack = db_column_uint(statement, 0);
        out->place.location.offset = db_column_uint(statement, 1);
        out->place.location.size = (uint32_t)db_column_uint(statement, 2);
        out->place.position = (uint32_t)db_column_uint(statement, 3);
        out->place.size = (uint32_t)db_column_uint(statement, 4);
        out->depth = (uint8_t)db_column_uint(statement, 5);
        out->owner = db_column_uint(statement, 6);
    }
    return rc < 0 ? rc : HF_OK;
}

int query_chunk(struct db *db, const uint8_t id[HF_HASH_BYTES], struct hf_chunk_place *out,
                struct hf_error *error)
{
    bool known;
    int rc = look_up(db, id, &known, out, error);
    if (rc == HF_OK && !known) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0, "There is no such chunk");
    }
    return rc;
}

int query_chunk_held(struct db *db, uint64_t host_row, const uint8_t id[HF_HASH_BYTES], bool *held,
                     struct hf_chunk_place *out, struct hf_error *error)
{
    static const char sql[] = "SELECT 1 FROM chunk_held WHERE id = ?1 AND host_row = ?2";
    int rc = look_up(db, id, held, out, error);
    if (rc != HF_OK || !*held || out->owner == host_row) {
        return rc;
    }
    DB_STATEMENT statement = NULL;
    rc = db_prepare(db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_blob(statement, 1, view_id(id));
    db_bind_uint(statement, 2, host_row);
    rc = db_step(db, statement, error);
    *held = rc == DB_ROW;
    if (!*held) {
        *out = (struct hf_chunk_place){0};
    }
    return rc < 0 ? rc : HF_OK;
}

int catalog_chunk_locate(struct hf_catalog_reader *reader, const uint8_t id[HF_HASH_BYTES],
                         struct hf_chunk_place *out, struct hf_error *error)
{
    return query_chunk(&reader->db, id, out, error);
}

int catalog_chunks_missing(struct hf_catalog_reader *reader, uint64_t host_row, const uint8_t *ids,
                           size_t count, uint8_t *bitmap, struct hf_error *error)
{
    memset(bitmap, 0, (count + 7) / 8);
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && rc == HF_OK; i++) {
        struct hf_chunk_place place;
        bool held = known_maybe(reader->known, ids + i * HF_HASH_BYTES);
        if (held) {
            rc = query_chunk_held(&reader->db, host_row, ids + i * HF_HASH_BYTES, &held, &place,
                                  error);
        }
        if (rc == HF_OK && !held) {
            bitmap[i / 8] = (uint8_t)(bitmap[i / 8] | 1u << i % 8);
        }
    }
    catalog_reader_end(reader);
    return rc;
}

int catalog_refs_known(struct hf_catalog_reader *reader, struct hf_bytes refs, bool *known,
                       struct hf_error *error)
{
    int rc = HF_OK;
    for (size_t i = 0; rc == HF_OK && i < refs.size / HF_CHUNK_REF_BYTES; i++) {
        const uint8_t *id = refs.data + i * HF_CHUNK_REF_BYTES;
        struct hf_chunk_place place;
        known[i] = known_maybe(reader->known, id);
        if (known[i]) {
            rc = look_up(&reader->db, id, &known[i], &place, error);
        }
    }
    return rc;
}

int catalog_chunk_held(struct hf_catalog_reader *reader, uint64_t host_row,
                       const uint8_t id[HF_HASH_BYTES], bool *held, struct hf_chunk_place *out,
                       struct hf_error *error)
{
    return query_chunk_held(&reader->db, host_row, id, held, out, error);
}

int catalog_chunks_locate(struct hf_catalog_reader *reader, uint64_t host_row, const uint8_t *ids,
                          size_t count, struct hf_chunk_place *places, bool *held,
                          struct hf_error *error)
{
    int rc = catalog_reader_begin(reader, error);
    if (rc != HF_OK) {
        return rc;
    }
    for (size_t i = 0; i < count && rc == HF_OK; i++) {
        rc = query_chunk_held(&reader->db, host_row, ids + i * HF_HASH_BYTES, &held[i], &places[i],
                              error);
    }
    catalog_reader_end(reader);
    return rc;
}
