#include "collector/api/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "collector/api/call.h"
#include "common/clock.h"
#include "common/device.h"
#include "common/xattr.h"

#define TAR_OCTAL_MAX UINT64_C(077777777777) /* of an eleven-digit field */

/* ustar header fields, by offset and size. */
struct tar_field {
    size_t offset, size;
};
static const struct tar_field tar_name = {0, 100}, tar_mode = {100, 8}, tar_uid = {108, 8},
                              tar_gid = {116, 8}, tar_size = {124, 12}, tar_mtime = {136, 12},
                              tar_checksum = {148, 8}, tar_type = {156, 1}, tar_link = {157, 100},
                              tar_magic = {257, 8}, tar_owner = {265, 32}, tar_group = {297, 32},
                              tar_major = {329, 8}, tar_minor = {337, 8};

static void put_octal(uint8_t *header, struct tar_field field, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%0*llo", (int)field.size - 1, (unsigned long long)value);
    memcpy(header + field.offset, text, field.size - 1);
}

static void put_bytes(uint8_t *header, struct tar_field field, struct hf_bytes bytes)
{
    size_t size = bytes.size < field.size ? bytes.size : field.size;
    if (size > 0) {
        memcpy(header + field.offset, bytes.data, size);
    }
}

static int append_header(struct hf_buf *out, uint8_t header[TAR_BLOCK], char type)
{
    unsigned sum = 0;
    header[tar_type.offset] = (uint8_t)type;
    static const uint8_t magic[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    memcpy(header + tar_magic.offset, magic, sizeof magic);
    memset(header + tar_checksum.offset, ' ', tar_checksum.size);
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += header[i];
    }
    snprintf((char *)header + tar_checksum.offset, tar_checksum.size, "%06o", sum);
    header[tar_checksum.offset + 7] = ' ';
    return hf_buf_append(out, header, TAR_BLOCK);
}

int tar_append_padding(struct hf_buf *out, uint64_t size)
{
    static const uint8_t zeros[TAR_BLOCK];
    return hf_buf_append(out, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static int append_record(struct hf_buf *out, const char *key, struct hf_bytes value)
{
    size_t body = strlen(key) + value.size + 3; /* blank, '=', newline */
    size_t length = body + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", length) + body != length) {
        length = (size_t)snprintf(digits, sizeof digits, "%zu", length) + body;
    }
    int rc = hf_buf_append_format(out, "%zu %s=", length, key);
    rc = rc == HF_OK ? hf_buf_append(out, value.data, value.size) : rc;
    return rc == HF_OK ? hf_buf_append_byte(out, '\n') : rc;
}

static int append_number_record(struct hf_buf *out, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return append_record(out, key, event_text(text));
}

/* As star, GNU tar and libarchive have them. A key ends at the first '='. */
static int append_xattrs(struct hf_bytes xattrs, struct hf_buf *out)
{
    struct hf_xattr attribute;
    struct hf_buf key = {0};
    int rc = HF_OK;
    while (rc == HF_OK && hf_xattrs_next(&xattrs, &attribute)) {
        hf_buf_clear(&key);
        rc = hf_buf_append_str(&key, "SCHILY.xattr.");
        for (size_t i = 0; rc == HF_OK && i < attribute.name.size; i++) {
            uint8_t c = attribute.name.data[i];
            rc = c == '=' || c == '%' ? hf_buf_append_format(&key, "%%%02X", c)
                                      : hf_buf_append_byte(&key, c);
        }
        rc = rc == HF_OK ? hf_buf_terminate(&key) : rc;
        rc = rc == HF_OK ? append_record(out, (const char *)key.data, attribute.value) : rc;
    }
    hf_buf_free(&key);
    return rc;
}

/* The times in nanoseconds and whatever the old header has no room for. */
static int pax_records(const struct hf_version *version, struct hf_bytes link, uint64_t size,
                       struct hf_buf *out)
{
    char mtime[40];
    int64_t fraction = version->mtime_ns % HF_NS_PER_SECOND;
    int64_t seconds = version->mtime_ns / HF_NS_PER_SECOND;
    const char *sign = version->mtime_ns < 0 ? "-" : "";
    snprintf(mtime, sizeof mtime, "%s%lld.%09lld", sign, llabs((long long)seconds),
             llabs((long long)fraction));
    int rc = append_record(out, "mtime", event_text(mtime));
    json_t *utf8 = json_stringn((const char *)version->path.data, version->path.size);
    if (!utf8 && rc == HF_OK) {
        rc = append_record(out, "hdrcharset", event_text("BINARY"));
    }
    json_decref(utf8);
    if (rc == HF_OK) {
        rc = append_record(out, "path", version->path);
    }
    if (rc == HF_OK && link.size > 0) {
        rc = append_record(out, "linkpath", link);
    }
    if (rc == HF_OK && size > TAR_OCTAL_MAX) {
        rc = append_number_record(out, "size", size);
    }
    if (rc == HF_OK && version->uid > 07777777) {
        rc = append_number_record(out, "uid", version->uid);
    }
    if (rc == HF_OK && version->gid > 07777777) {
        rc = append_number_record(out, "gid", version->gid);
    }
    return rc == HF_OK ? append_xattrs(version->xattrs, out) : rc;
}

static void put_device(uint8_t *header, struct hf_bytes numbers)
{
    dev_t device = 0;
    if (hf_device_parse(numbers, &device)) {
        put_octal(header, tar_major, major(device));
        put_octal(header, tar_minor, minor(device));
    }
}

int tar_append_member(const struct hf_version *version, struct hf_bytes first, struct hf_buf *out)
{
    struct hf_buf records = {0};
    uint8_t pax[TAR_BLOCK] = {0};
    uint8_t header[TAR_BLOCK] = {0};
    bool device = hf_file_is_device(version->type);
    struct hf_bytes link = first.size > 0 ? first : device ? (struct hf_bytes){0} : version->target;
    uint64_t size = first.size > 0 ? 0 : version->size;
    char type = '0';
    if (first.size > 0) {
        type = '1';
    } else if (version->type == HF_FILE_DIRECTORY) {
        type = '5';
    } else if (version->type == HF_FILE_SYMLINK) {
        type = '2';
    } else if (device) {
        type = version->type == HF_FILE_CHAR_DEVICE ? '3' : '4';
        put_device(header, version->target);
    }
    int rc = pax_records(version, link, size, &records);
    put_bytes(pax, tar_name, event_text("holdfast.pax"));
    put_octal(pax, tar_mode, 0644);
    put_octal(pax, tar_size, records.size);
    rc = rc == HF_OK ? append_header(out, pax, 'x') : rc;
    rc = rc == HF_OK ? hf_buf_append(out, records.data, records.size) : rc;
    rc = rc == HF_OK ? tar_append_padding(out, records.size) : rc;
    put_bytes(header, tar_name, version->path);
    put_bytes(header, tar_link, link);
    put_octal(header, tar_mode, version->mode & 07777);
    put_octal(header, tar_uid, version->uid & 07777777);
    put_octal(header, tar_gid, version->gid & 07777777);
    put_octal(header, tar_size, size & TAR_OCTAL_MAX);
    put_octal(header, tar_mtime,
              version->mtime_ns > 0 ? (uint64_t)(version->mtime_ns / HF_NS_PER_SECOND) : 0);
    put_bytes(header, tar_owner, version->owner);
    put_bytes(header, tar_group, version->group);
    rc = rc == HF_OK ? append_header(out, header, type) : rc;
    hf_buf_free(&records);
    return rc;
}

int tar_append_end(struct hf_buf *out)
{
    static const uint8_t end_of_archive[2 * TAR_BLOCK];
    return hf_buf_append(out, end_of_archive, sizeof end_of_archive);
}
