/* Files, safely: paths resolved beneath a root without following links (openat2 with
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, Linux >= 5.6), whole
 * reads and writes, atomic replacement, durable directories. */
#ifndef HF_COMMON_FS_H
#define HF_COMMON_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/error.h"

/* A relative path that can't leave its root by its own text: not empty, no leading or
 * trailing '/', no empty, "." or ".." component, no NUL, each component <= 255 bytes,
 * whole <= 4095. HF_ERR_INVALID with the reason otherwise. */
int hf_path_check_relative(const char *path, size_t length, struct hf_error *error);

/* openat to read, which leaves no trace in the time of access where that is permitted: of one's own
 * files, and for root. -1 with errno, as openat. */
int hf_open_quietly(int dir_fd, const char *name, int flags);

/* openat2 beneath dir_fd; no component may be a symbolic link, the last included
 * (O_NOFOLLOW is added; with O_PATH the link itself opens). path "" means dir_fd itself
 * (a new descriptor). O_CLOEXEC is added. HF_ERR_DENIED (sys_errno ELOOP, EXDEV) for a
 * link in the way or a path that leaves dir_fd; with O_DIRECTORY a last component that is a link
 * or a file is HF_ERR_NOT_FOUND (ENOTDIR). HF_ERR_AGAIN when renames or a lease kept it from
 * opening. */
int hf_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, int *out_fd,
                    struct hf_error *error);
/* Open the directory that holds path's last component; *name points into path.
 * HF_ERR_INVALID for a path that hf_path_check_relative refuses. */
int hf_open_parent_beneath(int dir_fd, const char *path, int *out_fd, const char **name,
                           struct hf_error *error);
/* mkdir -p beneath dir_fd, with mode for what is made. HF_ERR_DENIED when a link or a file is in
 * the way. */
int hf_mkdirs_beneath(int dir_fd, const char *path, mode_t mode, struct hf_error *error);

/* Read all (EINTR and short reads handled); HF_ERR_LIMIT when longer than max_bytes. */
int hf_read_file(const char *path, size_t max_bytes, struct hf_buf *out, struct hf_error *error);
int hf_read_file_at(int dir_fd, const char *name, size_t max_bytes, struct hf_buf *out,
                    struct hf_error *error);
int hf_write_all(int fd, const void *data, size_t size, struct hf_error *error);
int hf_pread_all(int fd, void *out, size_t size, uint64_t offset, struct hf_error *error);
/* Write name.tmp-XXXX, fsync, rename over name, fsync the directory. */
int hf_write_file_atomic(const char *path, const void *data, size_t size, mode_t mode,
                         struct hf_error *error);
/* fsync the directory that holds path (or path itself if it is one). */
int hf_sync_dir_of(const char *path, struct hf_error *error);
/* mkdir -p of an absolute or relative path (not hostile), 0 when it exists. */
int hf_mkdirs(const char *path, mode_t mode, struct hf_error *error);

#endif
