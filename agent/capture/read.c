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
#include "common/log.h"
#include "common/sparse.h"

#define LIST_REFS_MAX (HF_CHUNK_MAX_BYTES / HF_CHUNK_REF_BYTES)
/* What a version's references can name if all chunks are of the longest. */
#define FILE_MAX_BYTES ((uint64_t)HF_CHUNK_REFS_MAX * LIST_REFS_MAX * HF_CHUNK_MAX_BYTES)

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

/* A chunk for the unit, and its reference behind refs. */
static int put_chunk(struct hf_capture *capture, size_t source, const uint8_t *data, size_t size,
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

/* The references so far become a list of their own. */
static int put_list(struct hf_capture *capture, size_t source, struct file_content *content)
{
    struct hf_buf *refs = &content->refs;
    if (content->lists.size >= (size_t)HF_CHUNK_REFS_MAX * HF_CHUNK_REF_BYTES) {
        return HF_ERR_LIMIT;
    }
    int rc = put_chunk(capture, source, refs->data, refs->size, &content->lists);
    hf_buf_clear(refs);
    return rc;
}

static int make_room(struct hf_capture *capture, size_t source, struct file_content *content)
{
    bool full = content->refs.size >= (size_t)LIST_REFS_MAX * HF_CHUNK_REF_BYTES;
    return full ? put_list(capture, source, content) : HF_OK;
}

static int add_chunk(struct hf_capture *capture, size_t source, const uint8_t *data, size_t size,
                     struct file_content *content)
{
    int rc = make_room(capture, source, content);
    if (content->whole) {
        hf_hash_update(content->whole, data, size);
    }
    return rc == HF_OK ? put_chunk(capture, source, data, size, &content->refs) : rc;
}

/* A hole is chunks of zeros, which are hashed, and sent, once. */
static int add_hole(struct hf_capture *capture, size_t source, uint64_t size,
                    struct file_content *content)
{
    uint8_t ref[HF_CHUNK_REF_BYTES] = {0};
    bool known = false;
    int rc = HF_OK;
    content->sparse = true;
    memset(capture->buffer, 0, HF_CHUNK_MAX_BYTES);
    while (rc == HF_OK && size > 0) {
        size_t part = size < HF_CHUNK_MAX_BYTES ? (size_t)size : HF_CHUNK_MAX_BYTES;
        if (known && part == HF_CHUNK_MAX_BYTES) {
            rc = make_room(capture, source, content);
            rc = rc == HF_OK ? hf_buf_append(&content->refs, ref, sizeof ref) : rc;
        } else {
            rc = add_chunk(capture, source, capture->buffer, part, content);
        }
        if (rc == HF_OK && !known) {
            memcpy(ref, content->refs.data + content->refs.size - sizeof ref, sizeof ref);
            known = true;
        }
        size -= part;
    }
    return rc;
}

/* More chunks than a version names itself are named by lists. */
static int finish_lists(struct hf_capture *capture, size_t source, struct file_content *content)
{
    bool many = content->refs.size > (size_t)HF_CHUNK_REFS_MAX * HF_CHUNK_REF_BYTES;
    if (content->lists.size == 0 && !many) {
        return HF_OK;
    }
    int rc = put_list(capture, source, content);
    hf_buf_free(&content->refs);
    content->refs = content->lists;
    content->lists = (struct hf_buf){0};
    content->depth = 1;
    return rc;
}

/* What there is from here on, up to limit: a file may grow faster than it is read. */
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
            page_cache_before(out->cache, *total);
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
            size_t length = hf_chunker_cut(out->chunker, out->params, capture->buffer + used,
                                           have - used, last);
            rc = add_chunk(capture, source, capture->buffer + used, length, out);
            used += length;
        }
        memmove(capture->buffer, capture->buffer + used, have - used);
        have -= used;
        service(capture);
        rc = rc == HF_OK && is_quiet(capture, source) ? HF_ERR_AGAIN : rc;
    }
    capture->busy = busy;
    return rc;
}

/* Data and holes by turns. JSON has no zeros: of a hole it is told by one. */
static int cut_sparse(struct hf_capture *capture, size_t source, int fd, uint64_t limit,
                      struct hf_json_check *json, uint64_t *total, struct file_content *out,
                      struct hf_error *error)
{
    int rc = HF_OK;
    while (rc == HF_OK && *total < limit) {
        uint64_t at = *total;
        bool hole = false;
        uint64_t end = hf_sparse_extent(fd, at, limit, &hole);
        if (hole) {
            if (json) {
                json_check_feed(json, (const uint8_t *)"", 1);
            }
            rc = add_hole(capture, source, end - at, out);
            *total = end;
        } else if (lseek(fd, (off_t)at, SEEK_SET) < 0) {
            rc = hf_error_set(error, HF_ERR_IO, errno, "Reading failed");
        } else {
            rc = cut(capture, source, fd, end, json, total, out, error);
            if (rc == HF_OK && *total < end) {
                break; /* it was cut short: check_race sees that */
            }
        }
        service(capture);
        rc = rc == HF_OK && is_quiet(capture, source) ? HF_ERR_AGAIN : rc;
    }
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
    return got > 0 ? add_chunk(capture, source, capture->buffer, (size_t)got, out) : HF_OK;
}

/* Whether a second reading gives the same. If it does, that is what the file held in the moment
 * between the two. */
static bool is_same_again(struct hf_capture *capture, size_t source, int fd, uint64_t size,
                          struct hf_hash *whole)
{
    bool same = lseek(fd, 0, SEEK_SET) == 0;
    size_t busy = capture->busy;
    uint8_t first[HF_HASH_BYTES];
    uint8_t second[HF_HASH_BYTES];
    hf_hash_final(whole, first);
    capture->busy = busy == NOT_BUSY ? source : busy;
    for (uint64_t left = size; same && left > 0 && !is_quiet(capture, source);) {
        size_t part = left < HF_CHUNK_MAX_BYTES ? (size_t)left : HF_CHUNK_MAX_BYTES;
        same = fill(fd, capture->buffer, part) == (ssize_t)part;
        hf_hash_update(whole, capture->buffer, part);
        left -= part;
        service(capture);
    }
    capture->busy = busy;
    hf_hash_final(whole, second);
    return same && memcmp(first, second, sizeof first) == 0;
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
    out->grew = out->whole && after.st_size > before->st_size &&
                is_same_again(capture, source, fd, total, out->whole);
    return out->grew ? HF_OK : HF_ERR_RACED;
}

/* Even one too short to count: whoever writes the file again may leave out what is zero. */
static bool has_hole(int fd, const struct stat *status)
{
    off_t hole = lseek(fd, 0, SEEK_HOLE);
    return hole >= 0 && hole < status->st_size;
}

void content_free(struct file_content *content)
{
    hf_buf_free(&content->refs);
    hf_buf_free(&content->lists);
    hf_buf_free(&content->xattrs);
    hf_hash_free(content->whole);
    content->whole = NULL;
    hf_chunker_free(content->chunker);
    content->chunker = NULL;
}

static int too_long(struct hf_error *error)
{
    return hf_error_set(error, HF_ERR_LIMIT, 0, "Is too long: at most %llu GB can be recorded",
                        (unsigned long long)(FILE_MAX_BYTES / 1000000000u));
}

static int read_all(struct hf_capture *capture, size_t source, int fd, const struct stat *before,
                    struct hf_json_check *json, struct file_content *out, struct hf_error *error)
{
    uint64_t total = 0;
    uint64_t limit = (uint64_t)before->st_size;
    bool sparse = hf_sparse_possible(before);
    int rc;
    out->cache = page_cache_begin(fd, limit);
    out->warm = out->cache ? UINT64_MAX : page_cache_warm(fd, limit);
    if (limit <= out->params->single_max_bytes) {
        rc = read_small(capture, source, fd, limit, json, &total, out, error);
    } else if (sparse) {
        rc = cut_sparse(capture, source, fd, limit, json, &total, out, error);
    } else {
        rc = cut(capture, source, fd, limit, json, &total, out, error);
    }
    out->sparse = out->sparse || (sparse && rc == HF_OK && has_hole(fd, before));
    rc = rc == HF_OK ? check_race(capture, source, fd, before, total, out) : rc;
    page_cache_end(out->cache);
    out->cache = NULL;
    if (out->warm < limit) {
        page_cache_drop_behind(fd, out->warm);
    }
    return rc;
}

/* How the content is cut is settled before it is read: what the collector says meanwhile concerns
 * what is read next. */
static int find_chunker(struct hf_capture *capture, size_t source, uint64_t size,
                        struct file_content *out)
{
    out->params = hf_chunker_params_of(capture->config->sources[source].class_name, size);
    if (size <= out->params->single_max_bytes || capture_chunker(capture, &out->chunker)) {
        return HF_OK;
    }
    if (!capture->said_that_it_waits) {
        capture->said_that_it_waits = true;
        hf_log_info("Files that are too long for one chunk wait for the first connection: how they "
                    "are cut is the collector's secret");
    }
    lose(capture, source);
    return HF_ERR_CLOSED;
}

int read_content(struct hf_capture *capture, size_t source, int fd, const struct stat *before,
                 struct file_content *out, struct hf_error *error)
{
    uint64_t give_ups = capture->work[source].give_ups;
    struct hf_json_check *json = NULL;
    if ((uint64_t)before->st_size > FILE_MAX_BYTES) {
        return too_long(error);
    }
    if (find_chunker(capture, source, (uint64_t)before->st_size, out) != HF_OK) {
        return HF_ERR_CLOSED;
    }
    if (out->may_grow && !hf_sparse_possible(before)) {
        out->whole = hf_hash_new(); /* without, it is read again later */
    }
    if (capture->config->sources[source].validate == HF_VALIDATE_JSON) {
        json = json_check_new();
        if (!json) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to check JSON");
        }
    }
    int rc = read_all(capture, source, fd, before, json, out, error);
    out->unparsable = json && rc == HF_OK && !json_check_end(json);
    json_check_free(json);
    rc = rc == HF_OK ? finish_lists(capture, source, out) : rc;
    if (rc == HF_ERR_LIMIT) {
        too_long(error);
    }
    return rc == HF_OK && capture->work[source].give_ups != give_ups ? HF_ERR_RACED : rc;
}
