/* Builds, in a line each, a host with files, a collector's memory of other ones, and a restore. */
#ifndef HF_TESTS_RESTORE_BUILDER_H
#define HF_TESTS_RESTORE_BUILDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/apply.h"
#include "agent/restore/job.h"
#include "agent/restore/stage.h"
#include "agent/restore/targets.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "common/fs.h"

#define BUILT_MTIME_NS INT64_C(1700000000123456789)
#define BUILT_CHUNKING "the collector's own 32 bytes, ..."

struct built_chunk {
    uint8_t id[HF_HASH_BYTES];
    struct hf_buf plain;
    bool lost;      /* the collector no longer has it */
    bool corrupted; /* it sends something else */
};

struct builder {
    char directory[64], root[80], state[80];
    struct hf_version versions[256];
    size_t version_count;
    struct built_chunk chunks[1024];
    size_t chunk_count;
    void *memory[1024];
    size_t memory_count;
    enum hf_conflict conflict;
    const char *destination;
    bool dry_run;
    bool privileged;
    const char *elsewhere;      /* a file beneath root that is said to have every wanted content */
    size_t requests, requested; /* CHUNK_GET frames and ids of the last run */
    struct hf_buf asked;
    size_t answer_limit; /* chunks to answer before the connection is cut; 0: all */
    struct hf_job *job;
    struct hf_targets *targets;
    struct hf_owners *owners;
    struct hf_chunker *chunker;
    size_t placed;
};

static inline void *builder_keep(struct builder *b, void *memory)
{
    assert_true(b->memory_count < sizeof(b->memory) / sizeof(b->memory[0]));
    assert_non_null(memory);
    return b->memory[b->memory_count++] = memory;
}

static inline struct builder *builder_new(void)
{
    struct builder *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    strcpy(b->directory, "/tmp/holdfast-restore-XXXXXX");
    assert_non_null(mkdtemp(b->directory));
    snprintf(b->root, sizeof(b->root), "%s/root", b->directory);
    snprintf(b->state, sizeof(b->state), "%s/state", b->directory);
    assert_int_equal(mkdir(b->root, 0755), 0);
    assert_int_equal(mkdir(b->state, 0700), 0);
    b->conflict = HF_CONFLICT_REPLACE;
    b->destination = "";
    b->chunker = hf_chunker_new((const uint8_t *)BUILT_CHUNKING);
    assert_non_null(b->chunker);
    return b;
}

static inline int remove_entry(const char *path, const struct stat *status, int kind,
                               struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static inline void builder_end_run(struct builder *b)
{
    job_close(b->job);
    targets_free(b->targets);
    owners_free(b->owners);
    b->job = NULL;
    b->targets = NULL;
    b->owners = NULL;
}

static inline void builder_free(struct builder *b)
{
    builder_end_run(b);
    nftw(b->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    for (size_t i = 0; i < b->memory_count; i++)
        free(b->memory[i]);
    for (size_t i = 0; i < b->chunk_count; i++)
        hf_buf_free(&b->chunks[i].plain);
    hf_buf_free(&b->asked);
    hf_chunker_free(b->chunker);
    free(b);
}

static inline const char *builder_path(struct builder *b, const char *name)
{
    char *path = builder_keep(b, malloc(512));
    snprintf(path, 512, "%s%s%s", b->root, name[0] ? "/" : "", name);
    return path;
}

static inline struct hf_version *builder_version(struct builder *b, enum hf_file_type type,
                                                 const char *name, uint32_t mode)
{
    const char *path = builder_path(b, name);
    struct hf_version *version = &b->versions[b->version_count++];
    *version = (struct hf_version){
        .seq = b->version_count,
        .type = type,
        .path = {(const uint8_t *)path + 1, strlen(path) - 1},
        .captured_ns = BUILT_MTIME_NS,
        .mode = mode,
        .uid = geteuid(),
        .gid = getegid(),
        .mtime_ns = BUILT_MTIME_NS,
    };
    return version;
}

static inline size_t builder_chunk(struct builder *b, const uint8_t *data, size_t size)
{
    uint8_t id[HF_HASH_BYTES];
    hf_sha256(data, size, id);
    for (size_t i = 0; i < b->chunk_count; i++)
        if (!memcmp(b->chunks[i].id, id, sizeof(id)))
            return i;
    struct built_chunk *chunk = &b->chunks[b->chunk_count];
    memcpy(chunk->id, id, sizeof(id));
    assert_int_equal(hf_buf_append(&chunk->plain, data, size), 0);
    return b->chunk_count++;
}

static inline void append_ref(struct hf_buf *refs, const struct built_chunk *chunk)
{
    uint8_t size[4];
    hf_put_le32(size, (uint32_t)chunk->plain.size);
    assert_int_equal(hf_buf_append(refs, chunk->id, HF_HASH_BYTES), 0);
    assert_int_equal(hf_buf_append(refs, size, 4), 0);
}

static inline struct hf_version *builder_file(struct builder *b, const char *name,
                                              const void *content, size_t size, uint32_t mode)
{
    struct hf_version *version = builder_version(b, HF_FILE_REGULAR, name, mode);
    struct hf_buf refs = {0};
    const uint8_t *data = content;
    version->size = size;
    while (size > 0) {
        size_t part = version->size <= HF_CHUNK_SINGLE_MAX_BYTES
                          ? size
                          : hf_chunker_cut(b->chunker, hf_chunker_params_of(NULL, version->size),
                                           data, size, 1);
        append_ref(&refs, &b->chunks[builder_chunk(b, data, part)]);
        data += part;
        size -= part;
    }
    if (refs.size > 0)
        builder_keep(b, refs.data);
    version->refs = (struct hf_bytes){refs.data, refs.size};
    return version;
}

static inline struct hf_version *builder_text(struct builder *b, const char *name, const char *text)
{
    return builder_file(b, name, text, strlen(text), 0644);
}

static inline struct hf_version *builder_link(struct builder *b, const char *name,
                                              const char *target)
{
    struct hf_version *version = builder_version(b, HF_FILE_SYMLINK, name, 0777);
    version->target = (struct hf_bytes){(const uint8_t *)target, strlen(target)};
    return version;
}

/* A version of a file with the wrong kind of indirection turned into depth 1. */
static inline void builder_deepen(struct builder *b, struct hf_version *version,
                                  size_t refs_per_list)
{
    struct hf_buf lists = {0};
    size_t step = refs_per_list * HF_CHUNK_REF_BYTES;
    for (size_t at = 0; at < version->refs.size; at += step) {
        size_t size = version->refs.size - at < step ? version->refs.size - at : step;
        append_ref(&lists, &b->chunks[builder_chunk(b, version->refs.data + at, size)]);
    }
    builder_keep(b, lists.data);
    version->refs = (struct hf_bytes){lists.data, lists.size};
    version->depth = 1;
}

static inline void *builder_noise(struct builder *b, size_t size, uint64_t seed)
{
    uint8_t *data = builder_keep(b, malloc(size));
    for (size_t i = 0; i < size; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        data[i] = (uint8_t)(seed >> 56);
    }
    return data;
}

/* What is on the host now. */
static inline void builder_put(struct builder *b, const char *name, const void *content,
                               size_t size)
{
    const char *path = builder_path(b, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(hf_write_all(fd, content, size, NULL), 0);
    close(fd);
}

static inline void assert_content(struct builder *b, const char *name, const void *content,
                                  size_t size)
{
    struct hf_buf now = {0};
    assert_int_equal(hf_read_file(builder_path(b, name), SIZE_MAX / 4, &now, NULL), 0);
    assert_int_equal(now.size, size);
    if (size > 0)
        assert_memory_equal(now.data, content, size);
    hf_buf_free(&now);
}

static inline void assert_missing(struct builder *b, const char *name)
{
    assert_int_equal(access(builder_path(b, name), F_OK), -1);
}

static inline int builder_request(void *context, struct hf_bytes ids, struct hf_error *error)
{
    struct builder *b = context;
    (void)error;
    assert_true(ids.size <= HF_STAGE_REQUEST_IDS * HF_HASH_BYTES);
    b->requests++;
    b->requested += ids.size / HF_HASH_BYTES;
    return hf_buf_append(&b->asked, ids.data, ids.size);
}

static inline int builder_find(void *context, const struct hf_version *version, struct hf_buf *path)
{
    struct builder *b = context;
    (void)version;
    if (!b->elsewhere)
        return HF_ERR_NOT_FOUND;
    return hf_buf_append_str(path, builder_path(b, b->elsewhere));
}

/* The collector's answer to everything asked so far; false once the connection is cut. */
static inline bool builder_answer(struct builder *b, struct hf_stage *stage, int *result,
                                  struct hf_error *error)
{
    struct hf_buf asked = b->asked;
    b->asked = (struct hf_buf){0};
    bool alive = true;
    for (size_t at = 0; at < asked.size && !*result && alive; at += HF_HASH_BYTES) {
        size_t i = 0;
        while (i < b->chunk_count && memcmp(b->chunks[i].id, asked.data + at, HF_HASH_BYTES) != 0)
            i++;
        assert_true(i < b->chunk_count);
        struct built_chunk *built = &b->chunks[i];
        uint8_t ref[HF_CHUNK_REF_BYTES];
        memcpy(ref, built->id, HF_HASH_BYTES);
        hf_put_le32(ref + HF_HASH_BYTES, (uint32_t)built->plain.size);
        struct hf_block block = {.chunks = {ref, sizeof(ref)},
                                 .data = {built->plain.data, built->plain.size}};
        struct hf_frame frame = {.type = HF_FRAME_CHUNKS,
                                 .chunks = {.blocks = &block, .count = 1, .job = 7}};
        if (built->corrupted)
            built->plain.data[0] ^= 1;
        if (built->lost)
            *result = stage_lack(stage, (struct hf_bytes){built->id, HF_HASH_BYTES},
                                 "the collector no longer holds it", error);
        else
            *result = stage_take(stage, &frame, error);
        if (built->corrupted)
            built->plain.data[0] ^= 1;
        if (b->answer_limit > 0 && --b->answer_limit == 0)
            alive = false;
    }
    hf_buf_free(&asked);
    return alive;
}

static inline void count_placed(void *context, const char *path, const struct hf_version *version)
{
    (void)version;
    assert_true(path[0] != '/');
    ((struct builder *)context)->placed++;
}

/* Stage everything. HF_ERR_CLOSED when the connection was cut on the way. */
static inline int builder_stage(struct builder *b, struct hf_error *error)
{
    const char *roots[] = {b->root};
    struct hf_restore_offer offer = {
        .job = 7,
        .source = {(const uint8_t *)"config", 6},
        .at_ns = BUILT_MTIME_NS,
        .destination = {(const uint8_t *)b->destination, strlen(b->destination)},
        .conflict = b->conflict,
        .dry_run = b->dry_run,
        .file_count = b->version_count,
        .expires_ns = INT64_MAX,
    };
    builder_end_run(b);
    b->requests = b->requested = b->placed = 0;
    hf_buf_clear(&b->asked);
    int result = targets_new(roots, 1, b->destination, 7, &b->targets, error);
    if (result)
        return result;
    b->owners = owners_new();
    assert_non_null(b->owners);
    result = job_open(b->state, &offer, &b->job, error);
    if (!result && b->job->interrupted)
        targets_expect(b->targets,
                       b->job->phase == HF_JOB_STAGING ? HF_LEFTOVER_TAKE_UP : HF_LEFTOVER_KEEP);
    if (result || b->job->phase != HF_JOB_STAGING)
        return result;
    struct hf_stage *stage;
    struct hf_stage_options options = {.job = b->job,
                                       .targets = b->targets,
                                       .rules = {.owners = b->owners, .privileged = b->privileged},
                                       .cutting = {.chunker = b->chunker},
                                       .request = builder_request,
                                       .find_content = builder_find,
                                       .context = b};
    assert_int_equal(stage_new(&options, &stage, error), 0);
    size_t next = 0;
    bool alive = true;
    while (!result && alive && (next < b->version_count || !stage_idle(stage))) {
        if (next < b->version_count && stage_wants_more(stage))
            result = stage_add(stage, &b->versions[next++], error);
        else
            result = stage_flush(stage, error);
        if (!result && (next == b->version_count || !stage_wants_more(stage))) {
            result = stage_flush(stage, error);
            if (!result)
                alive = builder_answer(b, stage, &result, error);
            if (!result)
                result = stage_collect(stage, -1, error);
        }
    }
    if (!result && alive && !b->dry_run)
        result = stage_finish(stage, error);
    stage_free(stage);
    return result ? result : alive ? 0 : HF_ERR_CLOSED;
}

static inline int builder_apply(struct builder *b, struct hf_error *error)
{
    struct hf_apply_options options = {.job = b->job,
                                       .targets = b->targets,
                                       .rules = {.owners = b->owners, .privileged = b->privileged},
                                       .cutting = {.chunker = b->chunker}};
    int result = apply_job(&options, error);
    if (!result)
        result = apply_tell(&options, count_placed, b, error);
    if (!result)
        targets_remove_staging(b->targets);
    return result;
}

/* The whole job. */
static inline int builder_restore(struct builder *b, struct hf_error *error)
{
    int result = builder_stage(b, error);
    if (!result && !b->dry_run && b->job->phase == HF_JOB_STAGING)
        result = targets_sync(b->targets, error);
    if (!result && !b->dry_run && b->job->phase == HF_JOB_STAGING)
        result = job_save_phase(b->job, HF_JOB_APPLYING, error);
    if (!result && !b->dry_run)
        result = builder_apply(b, error);
    return result;
}

static inline enum hf_action builder_outcome(struct builder *b, size_t index)
{
    return (enum hf_action)b->job->actions[index];
}

static inline void assert_no_staging(struct builder *b)
{
    assert_missing(b, HF_STAGING_PREFIX "7");
}

#endif
