#include "proto/version.h"

#include <string.h>

#include "common/device.h"
#include "common/xattr.h"
#include "proto/codec.h"

#define VERSION_FIELDS 18
#define NEEDED_FIELDS  16 /* links and extended attributes came later */
#define ABSENT_FIELDS  5

void version_write(const struct hf_version *version, struct proto_writer *writer)
{
    bool absent = version->type == HF_FILE_ABSENT;
    if (version->path.size == 0) {
        writer_refuse(writer);
    }
    write_array(writer, absent ? ABSENT_FIELDS : VERSION_FIELDS, VERSION_FIELDS);
    write_uint(writer, version->seq);
    write_uint(writer, version->type);
    write_uint(writer, version->flags);
    write_bytes(writer, version->path, HF_PATH_MAX_BYTES);
    write_int(writer, version->captured_ns);
    if (absent) {
        return;
    }
    write_uint(writer, version->mode);
    write_uint(writer, version->uid);
    write_uint(writer, version->gid);
    write_text(writer, version->owner, HF_NAME_MAX_BYTES);
    write_text(writer, version->group, HF_NAME_MAX_BYTES);
    write_int(writer, version->mtime_ns);
    write_uint(writer, version->size);
    write_bytes(writer, version->target, HF_PATH_MAX_BYTES);
    write_uint(writer, version->depth);
    write_bytes(writer, version->refs, (size_t)HF_CHUNK_REFS_MAX * HF_CHUNK_REF_BYTES);
    write_uint(writer, version->job);
    write_uint(writer, version->link);
    write_bytes(writer, version->xattrs, HF_XATTRS_MAX_BYTES);
}

/* The references must be whole and their lengths possible; at depth 0 they must add up to the size.
 */
static void check_content(struct proto_reader *reader, const struct hf_version *version)
{
    uint64_t total = 0;
    reader->field = "refs";
    if (version->refs.size % HF_CHUNK_REF_BYTES != 0) {
        reader_fail(reader, HF_ERR_PROTOCOL, "has %zu bytes, which is no multiple of %d",
                    version->refs.size, HF_CHUNK_REF_BYTES);
        return;
    }
    for (size_t i = 0; i < version->refs.size; i += HF_CHUNK_REF_BYTES) {
        const uint8_t *p = version->refs.data + i + HF_HASH_BYTES;
        uint32_t length =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        if (length == 0 || length > HF_CHUNK_MAX_BYTES) {
            reader_fail(reader, HF_ERR_LIMIT, "names a chunk of %u bytes; allowed are 1 to %u",
                        length, HF_CHUNK_MAX_BYTES);
            return;
        }
        if (version->depth == 1 && length % HF_CHUNK_REF_BYTES != 0) {
            reader_fail(reader, HF_ERR_PROTOCOL, "names a list of %u bytes, no multiple of %d",
                        length, HF_CHUNK_REF_BYTES);
            return;
        }
        total += length;
    }
    if (version->type != HF_FILE_REGULAR && (version->refs.size > 0 || version->size > 0)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "gives content to what is no regular file");
    } else if (version->depth == 0 && total != version->size) {
        reader_fail(reader, HF_ERR_PROTOCOL, "adds up to %llu bytes, but the size is %llu",
                    (unsigned long long)total, (unsigned long long)version->size);
    } else if (version->depth == 1 && version->refs.size == 0) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is empty at depth 1");
    }
}

static void check_kind(struct proto_reader *reader, const struct hf_version *version)
{
    bool device = hf_file_is_device(version->type);
    bool needed = version->type == HF_FILE_SYMLINK || device;
    dev_t numbers;
    reader->field = "target";
    if (needed != (version->target.size > 0)) {
        reader_fail(reader, HF_ERR_PROTOCOL,
                    needed ? "is missing for a symbolic link or a device"
                           : "is given for what is neither a symbolic link nor a device");
    } else if (device && !hf_device_parse(version->target, &numbers)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "is not the numbers of a device");
    } else if (memchr(version->target.data ? version->target.data : (const uint8_t *)"", 0,
                      version->target.size)) {
        reader_fail(reader, HF_ERR_PROTOCOL, "has a NUL byte");
    } else if (version->link && version->type == HF_FILE_DIRECTORY) {
        reader->field = "link";
        reader_fail(reader, HF_ERR_PROTOCOL, "is given for a directory");
    } else if (!hf_xattrs_valid(version->xattrs)) {
        reader->field = "xattrs";
        reader_fail(reader, HF_ERR_PROTOCOL, "are no list of names and values in order");
    }
}

void version_read(struct proto_reader *reader, struct hf_version *version)
{
    size_t fields = reader_array(reader, "version", ABSENT_FIELDS, 64);
    size_t known = ABSENT_FIELDS;
    *version = (struct hf_version){0};
    version->seq = reader_uint(reader, "version-seq", 0, INT64_MAX);
    version->type = (enum hf_file_type)reader_uint(reader, "type", 0, HF_FILE_BLOCK_DEVICE);
    version->flags = (uint32_t)reader_uint(reader, "flags", 0, UINT32_MAX);
    version->path = reader_path(reader, "path");
    version->captured_ns = reader_time(reader, "captured");
    if (reader->rc == HF_OK && version->type != HF_FILE_ABSENT) {
        reader->field = "version";
        if (fields < NEEDED_FIELDS) {
            reader_fail(reader, HF_ERR_PROTOCOL, "has %zu fields; it needs %d", fields,
                        NEEDED_FIELDS);
            return;
        }
        known = fields < VERSION_FIELDS ? NEEDED_FIELDS : VERSION_FIELDS;
        version->mode = (uint32_t)reader_uint(reader, "mode", 0, 07777);
        version->uid = (uint32_t)reader_uint(reader, "uid", 0, UINT32_MAX);
        version->gid = (uint32_t)reader_uint(reader, "gid", 0, UINT32_MAX);
        version->owner = reader_text(reader, "owner", HF_NAME_MAX_BYTES);
        version->group = reader_text(reader, "group", HF_NAME_MAX_BYTES);
        version->mtime_ns = reader_int(reader, "mtime");
        version->size = reader_uint(reader, "size", 0, INT64_MAX);
        version->target = reader_bytes(reader, "target", HF_PATH_MAX_BYTES);
        version->depth = (uint8_t)reader_uint(reader, "depth", 0, 1);
        version->refs =
            reader_bytes(reader, "refs", (size_t)HF_CHUNK_REFS_MAX * HF_CHUNK_REF_BYTES);
        version->job = reader_uint(reader, "job", 0, INT64_MAX);
        if (known == VERSION_FIELDS) {
            version->link = reader_uint(reader, "link", 0, INT64_MAX);
            version->xattrs = reader_bytes(reader, "xattrs", HF_XATTRS_MAX_BYTES);
        }
        if (reader->rc == HF_OK) {
            check_content(reader, version);
            check_kind(reader, version);
        }
    }
    size_t objects = HF_FRAME_OBJECTS_MAX;
    for (size_t i = known; i < fields && reader->rc == HF_OK; i++) {
        reader_skip(reader, HF_FRAME_DEPTH_MAX, &objects);
    }
}

int proto_version_encode(const struct hf_version *version, struct hf_buf *out)
{
    struct proto_writer writer;
    writer_init(&writer, out, HF_FRAME_MAX_BYTES);
    version_write(version, &writer);
    return writer_finish(&writer);
}

int proto_version_decode(const uint8_t *data, size_t size, struct hf_version *version,
                         struct hf_error *error)
{
    struct proto_reader reader;
    reader_init(&reader, data, size, error);
    version_read(&reader, version);
    if (reader.rc == HF_OK && reader.next != reader.end) {
        reader.field = "version";
        reader_fail(&reader, HF_ERR_PROTOCOL, "is followed by %zu bytes that are not part of it",
                    (size_t)(reader.end - reader.next));
    }
    return reader.rc;
}

size_t proto_version_size_bound(const struct hf_version *version)
{
    /* Numbers and headers of at most 9 bytes each. */
    return (VERSION_FIELDS + 1) * 9u + version->path.size + version->owner.size +
           version->group.size + version->target.size + version->refs.size + version->xattrs.size;
}
