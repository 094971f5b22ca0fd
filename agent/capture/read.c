/* A file's content: cut, hashed, put into the unit. Memory is one window, whatever the file's size.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "agent/capture/json_check.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "common/clock.h"

#define LIST_REFS_MAX (HF_CHUNK_MAX_BYTES / HF_CHUNK_REF_BYTES)

/* Read until the window is full or the file ends. */
static ssize_t fill(int fd, uint8_t *out, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, out + got, size - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static int add_chunk(struct hf_capture *capture, size_t source, const uint8_t *data, size_t size,
                     struct hf_buf *refs)
{
    uint8_t ref[HF_CHUNK_REF_BYTES];
    struct hf_unit *unit = unit_of(capture, source);
    uint8_t *copy = unit ? unit_alloc(unit, size) : NULL;
    if (!copy) {
        return HF_ERR_NO_MEMORY;
    }
    memcpy(copy, data, size);
    hf_sha256(data, size, ref);
    hf_put_le32(ref + HF_HASH_BYTES, (uint32_t)size);
    int rc = unit_add_chunk(unit, ref, HF_CODEC_RAW, (uint32_t)size, (struct hf_bytes){copy, size});
    rc = rc == HF_OK ? hf_buf_append(refs, ref, sizeof ref) : rc;
    if (rc == HF_OK && unit->bytes >= UNIT_BYTES_MAX) {
        rc = flush_unit(capture, source);
    }
    return rc;
}

/* Lists of references for content of more chunks than a version names itself. */
static int make_lists(struct hf_capture *capture, size_t source, struct file_content *content)
{
    struct hf_buf lists = {0};
    int rc = HF_OK;
    for (size_t at = 0; rc == HF_OK && at < content->refs.size;) {
        size_t part = content->refs.size - at;
        size_t most = (size_t)LIST_REFS_MAX * HF_CHUNK_REF_BYTES;
        part = part < most ? part : most;
        rc = add_chunk(capture, source, content->refs.data + at, part, &lists);
        at += part;
    }
    hf_buf_free(&content->refs);
    content->refs = lists;
    content->depth = 1;
    return rc;
}

/* What there is now, up to limit: a file may grow faster than it is read. */
static int cut(struct hf_capture *capture, size_t source, int fd, uint64_t limit,
               struct hf_json_check *json, uint64_t *total, struct file_content *out,
               struct hf_error *error)
{
    size_t busy = capture->busy;
    size_t have = 0;
    bool last = false;
    int rc = HF_OK;
    capture->busy = busy == NOT_BUSY ? source : busy;
    while (rc == HF_OK && (!last || have > 0)) {
        if (!last) {
            size_t room = 2 * HF_CHUNK_MAX_BYTES - have;
            room = limit - *total < room ? (size_t)(limit - *total) : room;
            ssize_t got = fill(fd, capture->buffer + have, room);
            if (got < 0) {
                rc = hf_error_set(error, HF_ERR_IO, errno, "Reading failed");
                break;
            }
            last = (size_t)got < room || *total + (uint64_t)got == limit;
            if (json) {
                json_check_feed(json, capture->buffer + have, (size_t)got);
            }
            have += (size_t)got;
            *total += (uint64_t)got;
        }
        size_t used = 0;
        while (rc == HF_OK && have - used > 0 && (last || have - used >= HF_CHUNK_MAX_BYTES)) {
            size_t length =
                hf_chunker_cut(&hf_chunker_default, capture->buffer + used, have - used, last);
            rc = add_chunk(capture, source, capture->buffer + used, length, &out->refs);
            used += length;
        }
        memmove(capture->buffer, capture->buffer + used, have - used);
        have -= used;
        service(capture);
    }
    capture->busy = busy;
    return rc;
}

static int64_t ns_of(struct timespec time)
{
    return time.tv_sec * HF_NS_PER_SECOND + time.tv_nsec;
}

/* Content of one chunk at most: read at one go. */
static int read_small(struct hf_capture *capture, size_t source, int fd, uint64_t limit,
                      struct hf_json_check *json, uint64_t *total, struct file_content *out,
                      struct hf_error *error)
{
    ssize_t got = fill(fd, capture->buffer, (size_t)limit);
    if (got < 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "Reading failed");
    }
    *total = (uint64_t)got;
    if (json) {
        json_check_feed(json, capture->buffer, (size_t)got);
    }
    return got > 0 ? add_chunk(capture, source, capture->buffer, (size_t)got, &out->refs) : HF_OK;
}

/* Whether a second reading gives the same. If it does, that is what the file held in the moment
 * between the two. */
static bool is_same_again(struct hf_capture *capture, size_t source, int fd,
                          const struct hf_buf *refs)
{
    bool same = lseek(fd, 0, SEEK_SET) == 0;
    size_t busy = capture->busy;
    capture->busy = busy == NOT_BUSY ? source : busy;
    for (size_t at = 0; same && at < refs->size; at += HF_CHUNK_REF_BYTES) {
        const uint8_t *ref = refs->data + at;
        uint8_t id[HF_HASH_BYTES];
        size_t size = hf_get_le32(ref + HF_HASH_BYTES);
        same = fill(fd, capture->buffer, size) == (ssize_t)size;
        hf_sha256(capture->buffer, size, id);
        same = same && memcmp(id, ref, sizeof id) == 0;
        service(capture);
    }
    capture->busy = busy;
    return same;
}

/* Whoever wrote meanwhile left a trace: what was read is thrown away then, unless it is the
 * beginning of a file that only grew. */
static int check_race(struct hf_capture *capture, size_t source, int fd, const struct stat *before,
                      uint64_t total, struct file_content *out)
{
    struct stat after;
    if (total != (uint64_t)before->st_size || fstat(fd, &after) != 0) {
        return HF_ERR_RACED;
    }
    if (after.st_size == before->st_size && ns_of(after.st_mtim) == ns_of(before->st_mtim) &&
        ns_of(after.st_ctim) == ns_of(before->st_ctim)) {
        return HF_OK;
    }
    out->grew = out->may_grow && after.st_size > before->st_size &&
                is_same_again(capture, source, fd, &out->refs);
    return out->grew ? HF_OK : HF_ERR_RACED;
}

int read_content(struct hf_capture *capture, size_t source, int fd, const struct stat *before,
                 struct file_content *out, struct hf_error *error)
{
    bool small = before->st_size <= (off_t)HF_CHUNK_SINGLE_MAX_BYTES;
    uint64_t total = 0;
    uint64_t give_ups = capture->work[source].give_ups;
    struct hf_json_check *json = NULL;
    *out = (struct file_content){.may_grow = out->may_grow};
    if (capture->config->sources[source].validate == HF_VALIDATE_JSON) {
        json = json_check_new();
        if (!json) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to check JSON");
        }
    }
    int rc = (small ? read_small : cut)(capture, source, fd, (uint64_t)before->st_size, json,
                                        &total, out, error);
    out->unparsable = json && rc == HF_OK && !json_check_end(json);
    json_check_free(json);
    rc = rc == HF_OK ? check_race(capture, source, fd, before, total, out) : rc;
    if (rc == HF_OK && out->refs.size > (size_t)HF_CHUNK_REFS_MAX * HF_CHUNK_REF_BYTES) {
        rc = make_lists(capture, source, out);
    }
    return rc == HF_OK && capture->work[source].give_ups != give_ups ? HF_ERR_RACED : rc;
}
