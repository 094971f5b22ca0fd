/* Chunks: where they lie, who holds them, which of a version's are missing. */
#include "collector/catalog/apply.h"

#include "collector/catalog/query.h"
#include "common/block.h"
#include "common/bytes.h"

static int insert_chunk(struct hf_catalog *catalog, const uint8_t *id, const struct hf_place *place,
                        uint8_t depth, uint64_t owner, bool *inserted, struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO chunks (id, pack, offset, size, position, plain_size, depth, owner)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    if (rc != HF_OK) {
        return rc;
    }
    db_bind_blob(statement, 1, (struct hf_bytes){.data = id, .size = HF_HASH_BYTES});
    db_bind_uint(statement, 2, place->location.pack);
    db_bind_uint(statement, 3, place->location.offset);
    db_bind_uint(statement, 4, place->location.size);
    db_bind_uint(statement, 5, place->position);
    db_bind_uint(statement, 6, place->size);
    db_bind_uint(statement, 7, depth);
    db_bind_uint(statement, 8, owner);
    known_add(catalog->known, id);
    rc = db_run(&catalog->db, statement, error);
    *inserted = rc == HF_OK && db_changed(&catalog->db) > 0;
    return rc;
}

/* The chunk was known before. */
static int note_other_owner(struct hf_catalog *catalog, const uint8_t *id, uint64_t owner,
                            struct hf_buf *held, struct hf_error *error)
{
    struct hf_chunk_place known;
    int rc = query_chunk(&catalog->db, id, &known, error);
    if (rc == HF_OK && known.owner != owner && hf_buf_append(held, id, HF_HASH_BYTES) != HF_OK) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the chunks of a block");
    }
    return rc;
}

int catalog_apply_block(struct hf_catalog *catalog, const struct hf_block *block,
                        const struct hf_location *location, uint8_t depth, uint64_t owner,
                        struct hf_buf *held, struct hf_error *error)
{
    struct hf_place place = {.location = *location};
    uint64_t before = catalog->added.chunks;
    int rc = HF_OK;
    for (size_t i = 0; rc == HF_OK && i < hf_block_chunk_count(block); i++) {
        const uint8_t *id = hf_block_chunk_id(block, i);
        bool inserted = false;
        place.size = hf_block_chunk_size(block, i);
        rc = insert_chunk(catalog, id, &place, depth, owner, &inserted, error);
        if (inserted) {
            catalog->added.chunks++;
            catalog->added.plain_bytes += place.size;
            recent_add(&catalog->recent, id, owner, place.size);
        } else if (rc == HF_OK && held) {
            rc = note_other_owner(catalog, id, owner, held, error);
        }
        place.position += place.size;
    }
    if (rc == HF_OK) {
        catalog->added.stored_bytes += catalog->added.chunks > before ? location->size : 0;
        catalog->applied.location = *location;
        catalog->applied.known = catalog->applied.moved = true;
    }
    return rc;
}

int check_chunks_held(struct hf_catalog *catalog, struct hf_event *event, struct hf_error *error)
{
    const struct hf_event_chunks_held *e = &event->chunks_held;
    bool news = false;
    if (e->ids.size == 0 || e->ids.size % HF_HASH_BYTES != 0) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "%zu bytes are no list of chunk ids",
                            e->ids.size);
    }
    for (size_t i = 0; i < e->ids.size; i += HF_HASH_BYTES) {
        struct hf_chunk_place place;
        bool held;
        int rc = query_chunk_held(&catalog->db, e->host_row, e->ids.data + i, &held, &place, error);
        if (rc == HF_OK && !held) {
            news = true;
            rc = query_chunk(&catalog->db, e->ids.data + i, &place, error);
        }
        if (rc != HF_OK) {
            return rc;
        }
    }
    return news ? HF_OK : hf_error_set(error, HF_ERR_EXISTS, 0, "The host holds these already");
}

int apply_chunks_held(struct hf_catalog *catalog, const struct hf_event *event,
                      struct hf_error *error)
{
    static const char sql[] =
        "INSERT INTO chunk_held (id, host_row) SELECT ?1, ?2 WHERE NOT EXISTS"
        " (SELECT 1 FROM chunks WHERE id = ?1 AND owner = ?2) ON CONFLICT DO NOTHING";
    const struct hf_event_chunks_held *e = &event->chunks_held;
    DB_STATEMENT statement = NULL;
    int rc = db_prepare(&catalog->db, sql, &statement, error);
    for (size_t i = 0; i + HF_HASH_BYTES <= e->ids.size && rc == HF_OK; i += HF_HASH_BYTES) {
        db_bind_blob(statement, 1,
                     (struct hf_bytes){.data = e->ids.data + i, .size = HF_HASH_BYTES});
        db_bind_uint(statement, 2, e->host_row);
        rc = db_run(&catalog->db, statement, error);
    }
    return rc;
}

static int add_once(struct hf_buf *missing, size_t start, const uint8_t *id, struct hf_error *error)
{
    for (size_t i = start; i < missing->size; i += HF_HASH_BYTES) {
        if (memcmp(missing->data + i, id, HF_HASH_BYTES) == 0) {
            return HF_OK;
        }
    }
    return hf_buf_append(missing, id, HF_HASH_BYTES) == HF_OK
               ? HF_OK
               : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the missing chunks");
}

int catalog_missing_refs(struct hf_catalog *catalog, uint64_t host_row, struct hf_bytes refs,
                         struct hf_buf *missing, struct hf_error *error)
{
    size_t start = missing->size;
    if (refs.size % HF_CHUNK_REF_BYTES != 0) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "%zu bytes are no whole number of chunk references", refs.size);
    }
    for (size_t i = 0; i < refs.size; i += HF_CHUNK_REF_BYTES) {
        const uint8_t *ref = refs.data + i;
        struct hf_chunk_place place;
        bool held;
        uint32_t size = hf_get_le32(ref + HF_HASH_BYTES);
        if (missing->size - start >= HF_CATALOG_MISSING_MAX * HF_HASH_BYTES) {
            break;
        }
        if (recent_has(&catalog->recent, ref, host_row, size)) {
            continue;
        }
        int rc = query_chunk_held(&catalog->db, host_row, ref, &held, &place, error);
        /* A length that is not the chunk's would break the file's size at restore. */
        if (rc == HF_OK && (!held || place.place.size != size)) {
            rc = add_once(missing, start, ref, error);
        }
        if (rc != HF_OK) {
            return rc;
        }
    }
    return HF_OK;
}
