/* A catalog in a directory of its own, and builders that put whole hosts into it in a line. Every
 * event goes the way of the committer: checked, encoded, decoded, applied; the encodings are kept
 * as a journal, so that any test can end by rebuilding the catalog from it. */
#ifndef HF_TESTS_CATALOG_FIXTURE_H
#define HF_TESTS_CATALOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "collector/catalog/catalog.h"
#include "common/bytes.h"

#define T0     INT64_C(1790000000000000000)
#define SECOND INT64_C(1000000000)

struct journal_record {
    bool is_chunk;
    struct hf_buf event;
    struct hf_location location;
    uint8_t id[HF_HASH_BYTES];
    uint32_t plain_size;
    uint64_t owner;
};

struct fixture {
    char directory[64];
    char path[96];
    struct hf_catalog *catalog;
    struct hf_catalog_reader *reader;
    struct hf_catalog_memory memory;
    struct hf_error error;
    int64_t now; /* moves on by a second with each event */
    struct journal_record *journal;
    size_t journal_count;
};

static inline void remove_catalog(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static inline struct fixture fixture_open(void)
{
    struct fixture f = {.directory = "/tmp/hf-catalog-XXXXXX", .now = T0};
    assert_non_null(mkdtemp(f.directory));
    snprintf(f.path, sizeof f.path, "%s/catalog.db", f.directory);
    int rc = catalog_open(f.path, &f.catalog, &f.error);
    if (rc != HF_OK) {
        print_message("%s\n", f.error.message);
    }
    assert_int_equal(rc, HF_OK);
    assert_int_equal(catalog_reader_open(f.path, &f.reader, &f.error), HF_OK);
    return f;
}

static inline void fixture_close(struct fixture *f)
{
    catalog_memory_free(&f->memory);
    catalog_reader_close(f->reader);
    catalog_close(f->catalog);
    remove_catalog(f->path);
    for (size_t i = 0; i < f->journal_count; i++) {
        hf_buf_free(&f->journal[i].event);
    }
    free(f->journal);
    rmdir(f->directory);
}

#define ok(f, call)                                                                                \
    do {                                                                                           \
        int ok_rc = (call);                                                                        \
        if (ok_rc != HF_OK) {                                                                      \
            print_message("%s:%d: %d %s\n", __FILE__, __LINE__, ok_rc, (f)->error.message);        \
        }                                                                                          \
        assert_int_equal(ok_rc, HF_OK);                                                            \
    } while (0)

static inline struct journal_record *journal_add(struct fixture *f)
{
    if ((f->journal_count & (f->journal_count - 1)) == 0) {
        size_t capacity = f->journal_count ? f->journal_count * 2 : 1;
        f->journal = realloc(f->journal, capacity * sizeof *f->journal);
        assert_non_null(f->journal);
    }
    struct journal_record *record = &f->journal[f->journal_count++];
    *record = (struct journal_record){
        .location = {.pack = 1, .offset = f->journal_count * 100, .size = 60}};
    return record;
}

/* Within the running transaction; returns what check said. */
static inline int put(struct fixture *f, struct hf_event *event)
{
    event->time_ns = event->time_ns ? event->time_ns : f->now;
    f->now += SECOND;
    int rc = catalog_check(f->catalog, event, &f->error);
    if (rc != HF_OK) {
        return rc;
    }
    struct journal_record *record = journal_add(f);
    struct hf_event decoded;
    ok(f, event_encode(event, &record->event, &f->error));
    ok(f, event_decode(record->event.data, record->event.size, &decoded, &f->error));
    ok(f, catalog_apply(f->catalog, &decoded, &record->location, &f->error));
    event_free(&decoded);
    return HF_OK;
}

/* In a transaction of its own. */
static inline int commit(struct fixture *f, struct hf_event *event)
{
    ok(f, catalog_begin(f->catalog, &f->error));
    int rc = put(f, event);
    if (rc != HF_OK) {
        catalog_rollback(f->catalog);
        return rc;
    }
    ok(f, catalog_commit(f->catalog, &f->error));
    return HF_OK;
}

static inline uint64_t add_host(struct fixture *f, const char *host_id, const char *name)
{
    struct hf_event event = {.type = HF_EVENT_HOST_CREATED, .actor = event_text("test")};
    event.host_created.host_id = event_text(host_id);
    event.host_created.name = event_text(name);
    ok(f, commit(f, &event));
    return event.host_created.host_row;
}

static inline uint64_t add_source(struct fixture *f, uint64_t host_row, const char *name)
{
    static const struct hf_bytes roots[] = {{.data = (const uint8_t *)"/home", .size = 5},
                                            {.data = (const uint8_t *)"/etc", .size = 4}};
    struct hf_event event = {.type = HF_EVENT_SOURCE_OPENED};
    event.source_opened.host_row = host_row;
    event.source_opened.name = event_text(name);
    event.source_opened.kind = event_text("files");
    event.source_opened.class_name = event_text("checkpoints");
    event.source_opened.roots = roots;
    event.source_opened.root_count = 2;
    ok(f, commit(f, &event));
    return event.source_opened.source_row;
}

static inline void chunk_id(unsigned number, uint8_t id[HF_HASH_BYTES])
{
    hf_sha256(&number, sizeof number, id);
}

/* A block of one chunk. */
static inline void apply_chunk(struct fixture *f, struct hf_catalog *catalog,
                               const struct journal_record *record)
{
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_block block = {.codec = HF_CODEC_ZSTD, .chunks = {ref, sizeof ref}};
    memcpy(ref, record->id, HF_HASH_BYTES);
    hf_put_le32(ref + HF_HASH_BYTES, record->plain_size);
    ok(f,
       catalog_apply_block(catalog, &block, &record->location, 0, record->owner, NULL, &f->error));
}

static inline void put_chunk(struct fixture *f, uint64_t owner, unsigned number,
                             uint32_t plain_size)
{
    struct journal_record *record = journal_add(f);
    record->is_chunk = true;
    record->owner = owner;
    record->plain_size = plain_size;
    chunk_id(number, record->id);
    apply_chunk(f, f->catalog, record);
}

static inline void add_chunk(struct fixture *f, uint64_t owner, unsigned number, uint32_t size)
{
    ok(f, catalog_begin(f->catalog, &f->error));
    put_chunk(f, owner, number, size);
    ok(f, catalog_commit(f->catalog, &f->error));
}

/* A file whose content is one chunk (0: empty file). ref has HF_CHUNK_REF_BYTES. */
static inline struct hf_event version_event(struct fixture *f, uint64_t host_row,
                                            uint64_t source_row, struct hf_bytes path,
                                            enum hf_file_type type, unsigned chunk, uint8_t *ref)
{
    struct hf_event event = {.type = HF_EVENT_VERSION};
    struct hf_source_state_row state;
    ok(f, catalog_source_state(f->catalog, source_row, &state, &f->error));
    event.version.host_row = host_row;
    event.version.source_row = source_row;
    event.version.received_ns = f->now;
    event.version.at_ns = f->now;
    struct hf_version *v = &event.version.version;
    v->seq = state.committed_seq + 1;
    v->type = type;
    v->path = path;
    v->captured_ns = f->now;
    if (type == HF_FILE_ABSENT) {
        return event;
    }
    v->mode = 0644;
    v->owner = event_text("robot");
    v->group = event_text("robot");
    v->mtime_ns = T0;
    v->target = event_text(type == HF_FILE_SYMLINK ? "elsewhere" : "");
    if (chunk != 0 && type == HF_FILE_REGULAR) {
        chunk_id(chunk, ref);
        hf_put_le32(ref + HF_HASH_BYTES, 1000);
        v->size = 1000;
        v->refs = (struct hf_bytes){.data = ref, .size = HF_CHUNK_REF_BYTES};
    }
    return event;
}

static inline int add_version(struct fixture *f, uint64_t host_row, uint64_t source_row,
                              const char *path, enum hf_file_type type, unsigned chunk)
{
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_event event =
        version_event(f, host_row, source_row, event_text(path), type, chunk, ref);
    return commit(f, &event);
}

static inline char *dump_text(struct fixture *f, struct hf_catalog_reader *reader)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    ok(f, catalog_dump(reader, out, &f->error));
    fclose(out);
    return text;
}

static inline void apply_record(struct fixture *f, struct hf_catalog *catalog,
                                const struct journal_record *record)
{
    if (record->is_chunk) {
        apply_chunk(f, catalog, record);
        return;
    }
    struct hf_event event;
    ok(f, event_decode(record->event.data, record->event.size, &event, &f->error));
    ok(f, catalog_apply(catalog, &event, &record->location, &f->error));
    event_free(&event);
}

static inline void replay(struct fixture *f, struct hf_catalog *catalog, size_t first)
{
    ok(f, catalog_begin(catalog, &f->error));
    for (size_t i = first; i < f->journal_count; i++) {
        apply_record(f, catalog, &f->journal[i]);
    }
    ok(f, catalog_commit(catalog, &f->error));
}

/* The catalog that the journal alone gives is the same as the one that grew with it. */
static inline void assert_rebuild_equals(struct fixture *f)
{
    char path[96];
    struct hf_catalog *rebuilt;
    struct hf_catalog_reader *reader;
    snprintf(path, sizeof path, "%s/rebuilt.db", f->directory);
    ok(f, catalog_open(path, &rebuilt, &f->error));
    replay(f, rebuilt, 0);
    ok(f, catalog_reader_open(path, &reader, &f->error));
    char *expected = dump_text(f, f->reader);
    char *actual = dump_text(f, reader);
    assert_string_equal(actual, expected);
    assert_true(strlen(expected) > 0);
    free(expected);
    free(actual);
    catalog_reader_close(reader);
    catalog_close(rebuilt);
    remove_catalog(path);
}

#define assert_bytes(bytes, text)                                                                  \
    do {                                                                                           \
        assert_int_equal((bytes).size, strlen(text));                                              \
        assert_memory_equal((bytes).data, text, strlen(text));                                     \
    } while (0)

#endif
