#include "common/xattr.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "common/bytes.h"

#define NAME_MAX_BYTES 255u

/* --- the string of bytes --- */

bool hf_xattrs_next(struct hf_bytes *rest, struct hf_xattr *out)
{
    if (rest->size < 1 || rest->data[0] == 0 || rest->size < 1u + rest->data[0] + 4u) {
        return false;
    }
    size_t name = rest->data[0];
    size_t value = hf_get_le32(rest->data + 1 + name);
    size_t whole = 1 + name + 4;
    if (value > rest->size - whole) {
        return false;
    }
    *out = (struct hf_xattr){.name = {rest->data + 1, name}, .value = {rest->data + whole, value}};
    whole += value;
    *rest = (struct hf_bytes){rest->data + whole, rest->size - whole};
    return true;
}

static int compare(struct hf_bytes a, struct hf_bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

bool hf_xattrs_valid(struct hf_bytes xattrs)
{
    struct hf_xattr attribute;
    struct hf_bytes last = {0};
    if (xattrs.size > HF_XATTRS_MAX_BYTES) {
        return false;
    }
    while (hf_xattrs_next(&xattrs, &attribute)) {
        if ((last.size > 0 && compare(last, attribute.name) >= 0) ||
            memchr(attribute.name.data, 0, attribute.name.size)) {
            return false;
        }
        last = attribute.name;
    }
    return xattrs.size == 0;
}

static bool begins(struct hf_bytes name, const char *with)
{
    size_t length = strlen(with);
    return name.size > length && memcmp(name.data, with, length) == 0;
}

static bool equals(struct hf_bytes name, const char *with)
{
    return name.size == strlen(with) && memcmp(name.data, with, name.size) == 0;
}

static bool is_acl(struct hf_bytes name)
{
    return equals(name, "system.posix_acl_access") || equals(name, "system.posix_acl_default");
}

static bool in_scope(struct hf_bytes name, enum hf_xattr_scope scope)
{
    return begins(name, "user.") || is_acl(name) ||
           (scope == HF_XATTR_ALL && (begins(name, "security.") || begins(name, "trusted.")));
}

static bool next_in_scope(struct hf_bytes *rest, enum hf_xattr_scope scope, struct hf_xattr *out)
{
    while (hf_xattrs_next(rest, out)) {
        if (in_scope(out->name, scope)) {
            return true;
        }
    }
    return false;
}

bool hf_xattrs_match(struct hf_bytes a, struct hf_bytes b, enum hf_xattr_scope scope)
{
    struct hf_xattr x, y;
    for (;;) {
        bool more = next_in_scope(&a, scope, &x);
        if (more != next_in_scope(&b, scope, &y)) {
            return false;
        }
        if (!more) {
            return true;
        }
        if (compare(x.name, y.name) != 0 || x.value.size != y.value.size ||
            (x.value.size > 0 && memcmp(x.value.data, y.value.data, x.value.size) != 0)) {
            return false;
        }
    }
}

/* --- the file --- */

/* An open file, or a name in a directory: the kernel has no call for that but by way of /proc. */
struct place {
    int fd;
    char path[64 + NAME_MAX];
};

static struct place place_of(int fd, const char *name)
{
    struct place place = {.fd = fd};
    if (name) {
        snprintf(place.path, sizeof place.path, "/proc/self/fd/%d/%s", fd, name);
    }
    return place;
}

static ssize_t list_names(const struct place *place, char *out, size_t size)
{
    return place->path[0] ? llistxattr(place->path, out, size) : flistxattr(place->fd, out, size);
}

static ssize_t get_value(const struct place *place, const char *name, void *out, size_t size)
{
    return place->path[0] ? lgetxattr(place->path, name, out, size)
                          : fgetxattr(place->fd, name, out, size);
}

static int set_value(const struct place *place, const char *name, struct hf_bytes value)
{
    const void *data = value.size > 0 ? (const void *)value.data : "";
    return place->path[0] ? lsetxattr(place->path, name, data, value.size, 0)
                          : fsetxattr(place->fd, name, data, value.size, 0);
}

static int remove_value(const struct place *place, const char *name)
{
    return place->path[0] ? lremovexattr(place->path, name) : fremovexattr(place->fd, name);
}

static int fail(struct hf_error *error, const char *doing)
{
    return hf_error_set(error, HF_ERR_IO, errno, "%s extended attributes failed", doing);
}

/* All names, each with its NUL; *count 0 for none. Freed by the caller. */
static int names_of(const struct place *place, char ***out, size_t *count, struct hf_error *error)
{
    char few[1024];
    char *names = few;
    *out = NULL;
    *count = 0;
    ssize_t size = list_names(place, few, sizeof few);
    if (size < 0 && errno == ERANGE) {
        names = malloc(XATTR_LIST_MAX);
        size = names ? list_names(place, names, XATTR_LIST_MAX) : -1;
    }
    bool none = size == 0 || (size < 0 && (errno == ENOTSUP || errno == ENOSYS));
    int rc = !names ? HF_ERR_NO_MEMORY : size < 0 && !none ? fail(error, "Listing") : HF_OK;
    size_t found = 0;
    for (ssize_t i = 0; rc == HF_OK && i < size; i++) {
        found += names[i] == '\0';
    }
    /* One block: the pointers, then the text. */
    char **list = rc == HF_OK && !none ? malloc(found * sizeof *list + (size_t)size) : NULL;
    if (list) {
        char *text = (char *)(list + found);
        memcpy(text, names, (size_t)size);
        for (size_t i = 0; i < found; i++) {
            list[i] = text;
            text += strlen(text) + 1;
        }
        *out = list;
        *count = found;
    } else if (rc == HF_OK && !none) {
        rc = HF_ERR_NO_MEMORY;
    }
    if (names != few) {
        free(names);
    }
    return rc == HF_ERR_NO_MEMORY ? hf_error_set(error, rc, 0, "No memory for extended attributes")
                                  : rc;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct hf_bytes text_of(const char *name)
{
    return (struct hf_bytes){(const uint8_t *)name, strlen(name)};
}

/* What the kernel makes up of other things is not the file's. */
static bool is_kept(const char *name)
{
    struct hf_bytes text = text_of(name);
    return text.size <= NAME_MAX_BYTES && (!begins(text, "system.") || is_acl(text));
}

static int append(const struct place *place, const char *name, uint8_t *value, struct hf_buf *out,
                  struct hf_error *error)
{
    uint8_t length[4];
    ssize_t size = get_value(place, name, value, XATTR_SIZE_MAX);
    if (size < 0 && errno == ENODATA) {
        return HF_OK; /* gone since */
    }
    if (size < 0) {
        return fail(error, "Reading");
    }
    hf_put_le32(length, (uint32_t)size);
    int rc = hf_buf_append_byte(out, (uint8_t)strlen(name));
    rc = rc == HF_OK ? hf_buf_append(out, name, strlen(name)) : rc;
    rc = rc == HF_OK ? hf_buf_append(out, length, sizeof length) : rc;
    rc = rc == HF_OK ? hf_buf_append(out, value, (size_t)size) : rc;
    return rc == HF_OK ? HF_OK : hf_error_set(error, rc, 0, "No memory for extended attributes");
}

static int read_place(const struct place *place, struct hf_buf *out, struct hf_error *error)
{
    char **names;
    size_t count;
    size_t start = out->size;
    int rc = names_of(place, &names, &count, error);
    if (rc != HF_OK || count == 0) {
        return rc;
    }
    uint8_t *value = malloc(XATTR_SIZE_MAX);
    rc = value ? HF_OK
               : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for extended attributes");
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; rc == HF_OK && i < count; i++) {
        if (is_kept(names[i])) {
            rc = append(place, names[i], value, out, error);
        }
        if (rc == HF_OK && out->size - start > HF_XATTRS_MAX_BYTES) {
            rc = hf_error_set(error, HF_ERR_LIMIT, 0,
                              "Has more than %u bytes of extended attributes", HF_XATTRS_MAX_BYTES);
        }
    }
    if (rc != HF_OK) {
        out->size = start;
    }
    free(value);
    free(names);
    return rc;
}

int hf_xattrs_read(int fd, struct hf_buf *out, struct hf_error *error)
{
    struct place place = place_of(fd, NULL);
    return read_place(&place, out, error);
}

int hf_xattrs_read_at(int dir_fd, const char *name, struct hf_buf *out, struct hf_error *error)
{
    struct place place = place_of(dir_fd, name);
    return read_place(&place, out, error);
}

/* Remembers the first that failed. */
static void note(struct hf_error *error, int *rc, const char *doing, const char *name)
{
    if (*rc == HF_OK) {
        *rc = hf_error_set(error, HF_ERR_IO, errno, "%s the extended attribute %s failed", doing,
                           name);
    }
}

static bool names(struct hf_bytes wanted, struct hf_bytes name)
{
    struct hf_xattr attribute;
    while (hf_xattrs_next(&wanted, &attribute)) {
        if (compare(attribute.name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int take_off(const struct place *place, struct hf_bytes wanted, enum hf_xattr_scope scope,
                    bool *changed, struct hf_error *error)
{
    char **present;
    size_t count;
    int rc = names_of(place, &present, &count, error);
    for (size_t i = 0; i < count; i++) {
        struct hf_bytes name = text_of(present[i]);
        if (!in_scope(name, scope) || names(wanted, name)) {
            continue;
        }
        *changed = true;
        if (remove_value(place, present[i]) != 0 && errno != ENODATA) {
            note(error, &rc, "Removing", present[i]);
        }
    }
    free(present);
    return rc;
}

static int set_place(const struct place *place, struct hf_bytes wanted, enum hf_xattr_scope scope,
                     bool *changed, struct hf_error *error)
{
    struct hf_xattr attribute;
    *changed = false;
    int rc = take_off(place, wanted, scope, changed, error);
    while (next_in_scope(&wanted, scope, &attribute)) {
        *changed = true;
        char name[NAME_MAX_BYTES + 1];
        memcpy(name, attribute.name.data, attribute.name.size);
        name[attribute.name.size] = '\0';
        if (set_value(place, name, attribute.value) != 0) {
            note(error, &rc, "Setting", name);
        }
    }
    return rc;
}

int hf_xattrs_set(int fd, struct hf_bytes wanted, enum hf_xattr_scope scope, bool *changed,
                  struct hf_error *error)
{
    struct place place = place_of(fd, NULL);
    return set_place(&place, wanted, scope, changed, error);
}

int hf_xattrs_set_at(int dir_fd, const char *name, struct hf_bytes wanted,
                     enum hf_xattr_scope scope, bool *changed, struct hf_error *error)
{
    struct place place = place_of(dir_fd, name);
    return set_place(&place, wanted, scope, changed, error);
}
