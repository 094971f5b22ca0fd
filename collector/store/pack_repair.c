/* What a crash left of a pack: where its good records end, and whether what is bad was ever good.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/log.h"

#define WINDOW_BYTES (1024u * 1024u)

struct scan {
    int fd;
    struct pack_cipher *cipher;
    uint64_t size;        /* of the file */
    uint64_t end;         /* of the last good record */
    uint64_t durable;     /* all before was, by the word of the good records or of the caller */
    bool indexed;         /* it ends with an index */
    struct hf_buf gaps;   /* offsets (8 bytes each) where something bad begins */
    struct hf_buf index;  /* of the records before the first gap */
    struct hf_buf window; /* for looking for records */
};

/* The next place, from offset on, where a whole record lies. HF_ERR_NOT_FOUND when there is none.
 */
static int find_record(struct scan *scan, uint64_t offset, uint64_t *found)
{
    struct record_header header;
    struct hf_buf payload = {0};
    uint8_t *bytes = NULL;
    int rc = HF_ERR_NOT_FOUND;
    while (rc == HF_ERR_NOT_FOUND && scan->size - offset > RECORD_HEADER_BYTES) {
        uint64_t left = scan->size - offset;
        size_t size = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        hf_buf_clear(&scan->window);
        if (hf_buf_extend(&scan->window, size, &bytes) != HF_OK) {
            rc = HF_ERR_NO_MEMORY;
        } else if (hf_pread_all(scan->fd, bytes, size, offset, NULL) != HF_OK) {
            rc = HF_ERR_IO;
        }
        size_t last = size - RECORD_HEADER_BYTES;
        for (size_t at = 0; rc == HF_ERR_NOT_FOUND && at <= last; at++) {
            if (record_header_decode(bytes + at, &header) != HF_OK) {
                continue;
            }
            rc = pack_read_record(scan->fd, scan->cipher, offset + at, &header, &payload);
            *found = offset + at;
            rc = rc == HF_ERR_CORRUPT ? HF_ERR_NOT_FOUND : rc;
        }
        offset += last + 1;
    }
    hf_buf_free(&payload);
    return rc;
}

static int note_gap(struct scan *scan, uint64_t offset)
{
    uint8_t bytes[8];
    hf_put_le64(bytes, offset);
    return hf_buf_append(&scan->gaps, bytes, sizeof bytes);
}

static int note_record(struct scan *scan, uint64_t offset, const struct record_header *header)
{
    uint32_t size = RECORD_HEADER_BYTES + header->size;
    uint64_t begun = header->group < offset ? offset - header->group : 0;
    scan->durable = begun > scan->durable ? begun : scan->durable;
    scan->end = offset + size;
    return scan->gaps.size == 0 ? index_append(&scan->index, offset, size) : HF_OK;
}

/* Every good record of the pack, whatever lies between them. */
static int scan_pack(struct scan *scan)
{
    struct hf_buf payload = {0};
    struct record_header header;
    uint64_t offset = PACK_HEADER_BYTES;
    int rc = HF_OK;
    scan->end = offset;
    while (rc == HF_OK) {
        rc = pack_read_record(scan->fd, scan->cipher, offset, &header, &payload);
        if (rc == HF_OK && header.type == RECORD_INDEX) {
            scan->indexed = true;
            scan->durable = offset; /* an index is written behind good records only */
            break;
        }
        if (rc == HF_OK) {
            rc = note_record(scan, offset, &header);
            offset = scan->end;
        } else if (rc == HF_ERR_CORRUPT) {
            rc = note_gap(scan, offset);
            rc = rc == HF_OK ? find_record(scan, offset + 1, &offset) : rc;
        }
    }
    hf_buf_free(&payload);
    return rc == HF_ERR_NOT_FOUND ? HF_OK : rc;
}

/* Of the gaps, those before what was durable are damage; the first after it is where a crash tore
 * the last group. Returns how many are damage. */
static size_t judge(struct scan *scan)
{
    size_t damaged = 0;
    for (size_t at = 0; at < scan->gaps.size; at += 8) {
        uint64_t gap = hf_get_le64(scan->gaps.data + at);
        if (gap < scan->durable) {
            damaged++;
            scan->end = gap == scan->end ? scan->size : scan->end; /* nothing good follows */
        } else if (gap < scan->end) {
            scan->end = gap;
        }
    }
    return damaged;
}

static int cut(const struct scan *scan, const char *name, struct hf_error *error)
{
    if (scan->end == scan->size) {
        return HF_OK;
    }
    hf_log_warning("Pack %s: %llu bytes that a crash left unfinished are cut off", name,
                   (unsigned long long)(scan->size - scan->end));
    return ftruncate(scan->fd, (off_t)scan->end) == 0
               ? HF_OK
               : hf_error_set(error, HF_ERR_IO, errno, "Can't cut off the end of %s", name);
}

static int cut_and_seal(struct scan *scan, const char *name, struct hf_error *error)
{
    struct hf_hash *hash = hf_hash_new();
    int rc = hash ? cut(scan, name, error)
                  : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to repair %s", name);
    rc = rc == HF_OK ? pack_hash_file(scan->fd, scan->end, hash, error) : rc;
    rc = rc == HF_OK ? pack_write_seal(scan->fd, scan->cipher, scan->end, &scan->index, hash, error)
                     : rc;
    hf_hash_free(hash);
    return rc;
}

static int repair(struct scan *scan, const char *name, struct hf_error *error)
{
    int rc = scan_pack(scan);
    if (rc != HF_OK) {
        return hf_error_set(error, rc, rc == HF_ERR_IO ? errno : 0,
                            "Pack %s can't be read, so it is not known what a crash left of it; "
                            "nothing was changed. See to the disk, or restore the file from a "
                            "replica",
                            name);
    }
    size_t damaged = judge(scan);
    if (damaged == 0) {
        return cut_and_seal(scan, name, error);
    }
    hf_log_error(
        "Pack %s is damaged in %zu place%s, first at offset %llu: what was stored there is "
        "lost unless you restore the file from a replica. The rest is kept and can be "
        "read; the pack is left without a seal",
        name, damaged, damaged == 1 ? "" : "s", (unsigned long long)hf_get_le64(scan->gaps.data));
    return scan->indexed ? HF_OK : cut(scan, name, error);
}

int pack_repair(struct hf_store *store, uint64_t number, struct hf_error *error)
{
    char name[PACK_NAME_BYTES];
    struct pack_cipher cipher = {0};
    struct stat status;
    int fd = -1;
    pack_name(number, name);
    int rc = pack_open_file(store, number, O_RDWR, &fd, &cipher, error);
    if (rc == HF_ERR_CORRUPT && fstatat(store->directory_fd, name, &status, 0) == 0 &&
        (size_t)status.st_size < PACK_HEADER_BYTES) {
        /* The crash came before the header was durable: nothing in it was ever acknowledged. */
        unlinkat(store->directory_fd, name, 0);
        return HF_ERR_NOT_FOUND;
    }
    if (rc != HF_OK) {
        return rc;
    }
    if (fstat(fd, &status) == 0) {
        struct scan scan = {
            .fd = fd,
            .cipher = &cipher,
            .size = (uint64_t)status.st_size,
            .durable = number == store->durable_pack ? store->durable_offset + 1 : 0,
        };
        rc = repair(&scan, name, error);
        hf_buf_free(&scan.gaps);
        hf_buf_free(&scan.index);
        hf_buf_free(&scan.window);
    } else {
        rc = hf_error_set(error, HF_ERR_IO, errno, "Can't look at %s", name);
    }
    pack_cipher_close(&cipher);
    close(fd);
    return rc;
}
