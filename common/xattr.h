/* Extended attributes of files as one string of bytes; POSIX ACLs (system.posix_acl_access,
 * system.posix_acl_default) and file capabilities (security.capability) are among them.
 *
 * For each attribute, by the order of the names' bytes: the name's length (1 byte, not 0), the
 * name, the value's length (32 bits, little endian), the value. */
#ifndef HF_COMMON_XATTR_H
#define HF_COMMON_XATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

/* All that one file may have: Linux allows 64 KiB a value, most file systems far less in all. */
#define HF_XATTRS_MAX_BYTES 131072u

struct hf_xattr {
    struct hf_bytes name, value;
};

/* The first of rest, which becomes what follows it; false at the end, and when rest is damaged
 * (it is not empty then). */
bool hf_xattrs_next(struct hf_bytes *rest, struct hf_xattr *out);
/* Whole, in order, no name twice, none with a NUL, HF_XATTRS_MAX_BYTES at most. */
bool hf_xattrs_valid(struct hf_bytes xattrs);

/* Append those of an open file or directory. Empty where the file system has none. What the kernel
 * makes up (system.* but ACLs) is left out. HF_ERR_LIMIT when they are too long, HF_ERR_IO,
 * HF_ERR_NO_MEMORY; out is as it was then. */
int hf_xattrs_read(int fd, struct hf_buf *out, struct hf_error *error);
/* The same of a name in a directory, of a link itself; not of ".". */
int hf_xattrs_read_at(int dir_fd, const char *name, struct hf_buf *out, struct hf_error *error);

/* Which of a file's attributes hf_xattrs_set and hf_xattrs_match are about; others are left alone
 * and not looked at. */
enum hf_xattr_scope {
    HF_XATTR_HARMLESS, /* user.* and ACLs: they give nobody rights beyond this file */
    HF_XATTR_ALL       /* security.*, trusted.* too: file capabilities are as good as setuid */
};
/* Whether a and b say the same, as far as the scope goes. Both valid. */
bool hf_xattrs_match(struct hf_bytes a, struct hf_bytes b, enum hf_xattr_scope scope);
/* Give an open file or directory what wanted (valid) says and take off it what that doesn't name.
 * All that can be set is, whatever fails; HF_ERR_IO with the name and the reason of the first that
 * could not. *changed whether there was anything to do. */
int hf_xattrs_set(int fd, struct hf_bytes wanted, enum hf_xattr_scope scope, bool *changed,
                  struct hf_error *error);
/* The same for a name in a directory, for a link itself. */
int hf_xattrs_set_at(int dir_fd, const char *name, struct hf_bytes wanted,
                     enum hf_xattr_scope scope, bool *changed, struct hf_error *error);

#endif
