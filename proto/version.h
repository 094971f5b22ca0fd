/* A version: one state of one file, as it travels in frames and lies in the journal. */
#ifndef HF_PROTO_VERSION_H
#define HF_PROTO_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/block.h"
#include "common/buf.h"
#include "common/hash.h"

enum hf_file_type {
    HF_FILE_ABSENT = 0, /* the file was deleted; deletions are versions too */
    HF_FILE_REGULAR = 1,
    HF_FILE_DIRECTORY = 2,
    HF_FILE_SYMLINK = 3,
    HF_FILE_CHAR_DEVICE = 4,
    HF_FILE_BLOCK_DEVICE = 5
};

static inline bool hf_file_is_device(enum hf_file_type type)
{
    return type == HF_FILE_CHAR_DEVICE || type == HF_FILE_BLOCK_DEVICE;
}

/* As in st_mode (inode(7)): S_IFREG and so on, 0 of HF_FILE_ABSENT. */
static inline mode_t hf_file_kind(enum hf_file_type type)
{
    static const mode_t kinds[] = {0, S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK};
    return kinds[type];
}

enum hf_version_flag {
    HF_VERSION_UNPARSABLE = 1, /* it should parse (`validate = json`) or be a sound SQLite database,
                                  and was not for 30 s */
    HF_VERSION_RESTORED = 2,   /* written by Holdfast's own restore; .job says which */
    HF_VERSION_SPARSE = 4,     /* it had holes, which its content shows as zeros */
    HF_VERSION_DATABASE = 8    /* the content is SQLite's backup of a database, whole without the
                                  -wal, -shm and -journal that lay beside it */
};

#define HF_CHUNK_REFS_MAX 1024 /* that a version names itself */
/* Longer content: depth 1, where `refs` name chunks whose plaintexts, concatenated, are the
 * references of the data chunks. No such list chunk is over HF_CHUNK_MAX_BYTES, so a file has at
 * most 1024 * 14563 chunks (about 1.9 TB at the default average). */

/* The latest moment that a host's clock may show, in the year 2116. */
#define HF_TIME_MAX_NS (INT64_C(0x3fffffffffffffff))

struct hf_version {
    uint64_t seq; /* position in its source, from 1, without gaps */
    enum hf_file_type type;
    uint32_t flags;       /* enum hf_version_flag */
    struct hf_bytes path; /* absolute path on the host without the leading '/', any bytes but NUL */
    int64_t captured_ns;  /* by the host's clock; 0 to HF_TIME_MAX_NS */
    /* What follows is zero and empty for HF_FILE_ABSENT. */
    uint32_t mode; /* permission bits, 07777 */
    uint32_t uid, gid;
    struct hf_bytes owner, group; /* names, empty when the host knows none */
    int64_t mtime_ns;
    uint64_t size;          /* bytes of a regular file; else 0 */
    struct hf_bytes target; /* of a symbolic link; of a device as common/device.h has it */
    uint8_t depth;          /* 0: refs name data; 1: refs name lists */
    struct hf_bytes refs;   /* n * HF_CHUNK_REF_BYTES */
    uint64_t job;           /* restore job that wrote it, 0 for none */
    /* Of what is no directory and has more than one name: the same for all names of the same one,
     * and for no other at that moment. Else 0. */
    uint64_t link;
    struct hf_bytes xattrs; /* as common/xattr.h has them */
};

#endif
