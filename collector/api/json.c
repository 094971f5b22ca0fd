#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/xattr.h"

json_t *json_of_time(int64_t ns)
{
    char text[HF_TIME_TEXT_BYTES];
    if (ns == 0) {
        return NULL;
    }
    hf_time_rfc3339(ns, text);
    return json_string(text);
}

void json_set_time(json_t *object, const char *key, int64_t ns)
{
    if (ns != 0) {
        json_object_set_new(object, key, json_of_time(ns));
    }
}

json_t *json_of_text(struct hf_bytes text)
{
    return http_json_text(text.size ? (const char *)text.data : "", text.size);
}

json_t *json_of_cstr(const char *text)
{
    return json_of_text(event_text(text));
}

static char *hex_of(struct hf_bytes bytes)
{
    char *text = malloc(2 * bytes.size + 1);
    if (text) {
        hf_hex_encode(bytes.data, bytes.size, text);
    }
    return text;
}

void json_set_path(json_t *object, struct hf_bytes path)
{
    json_t *exact = json_stringn((const char *)path.data, path.size);
    if (exact) {
        json_object_set_new(object, "path", exact);
        return;
    }
    char *hex = hex_of(path);
    json_object_set_new(object, "path", json_of_text(path));
    json_object_set_new(object, "path_hex", json_string(hex));
    free(hex);
}

void json_set_next_path(json_t *page, struct hf_bytes next)
{
    char *hex = hex_of(next);
    json_object_set_new(page, "next", json_string(hex));
    free(hex);
}

void json_set_next_number(json_t *page, uint64_t next)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)next);
    json_object_set_new(page, "next", json_string(text));
}

static const char *type_name(enum hf_file_type type)
{
    switch (type) {
    case HF_FILE_ABSENT:
        return "absent";
    case HF_FILE_DIRECTORY:
        return "directory";
    case HF_FILE_SYMLINK:
        return "symlink";
    case HF_FILE_CHAR_DEVICE:
        return "char-device";
    case HF_FILE_BLOCK_DEVICE:
        return "block-device";
    case HF_FILE_REGULAR:
        break;
    }
    return "file";
}

static json_t *xattr_names(struct hf_bytes xattrs)
{
    struct hf_xattr attribute;
    json_t *names = json_array();
    while (hf_xattrs_next(&xattrs, &attribute)) {
        json_array_append_new(names, json_of_text(attribute.name));
    }
    return names;
}

json_t *json_of_file(const struct hf_version_row *row)
{
    const struct hf_version *version = &row->version;
    json_t *file = json_object();
    char mode[8];
    json_set_path(file, version->path);
    json_object_set_new(file, "type", json_string(type_name(version->type)));
    if (row->implied) {
        json_object_set_new(file, "implied", json_true());
        return file;
    }
    json_object_set_new(file, "version", json_integer((json_int_t)version->seq));
    json_set_time(file, "at", row->at_ns);
    json_set_time(file, "captured", version->captured_ns);
    if (version->type == HF_FILE_ABSENT) {
        return file;
    }
    snprintf(mode, sizeof mode, "%04o", version->mode & 07777);
    json_object_set_new(file, "size", json_integer((json_int_t)version->size));
    json_object_set_new(file, "mode", json_string(mode));
    json_object_set_new(file, "uid", json_integer(version->uid));
    json_object_set_new(file, "gid", json_integer(version->gid));
    json_object_set_new(file, "owner", json_of_text(version->owner));
    json_object_set_new(file, "group", json_of_text(version->group));
    json_object_set_new(file, "mtime", json_of_time(version->mtime_ns));
    if (version->target.size > 0) {
        json_object_set_new(file, "target", json_of_text(version->target));
    }
    if (version->link) {
        json_object_set_new(file, "link", json_integer((json_int_t)version->link));
    }
    if (version->xattrs.size > 0) {
        json_object_set_new(file, "xattrs", xattr_names(version->xattrs));
    }
    if (version->flags & HF_VERSION_SPARSE) {
        json_object_set_new(file, "sparse", json_true());
    }
    if (version->flags & HF_VERSION_DATABASE) {
        json_object_set_new(file, "database", json_true());
    }
    if (version->flags & HF_VERSION_UNPARSABLE) {
        json_object_set_new(file, "unparsable", json_true());
    }
    if (version->flags & HF_VERSION_RESTORED) {
        json_object_set_new(file, "restored_by", json_integer((json_int_t)version->job));
    }
    return file;
}

json_t *json_of_labels(const struct hf_label_text *labels, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        json_object_set_new(object, labels[i].key, json_of_cstr(labels[i].value));
    }
    return object;
}
