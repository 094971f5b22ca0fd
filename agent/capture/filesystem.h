/* Which file systems tell inotify of all that changes on them. Any thread. */
#ifndef HF_AGENT_CAPTURE_FILESYSTEM_H
#define HF_AGENT_CAPTURE_FILESYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#define HF_FILESYSTEM_NAME_BYTES 32

/* Whether a file system of that kind (statfs(2), f_type) changes through this host's kernel alone,
 * which tells inotify. True of the local ones that are known, overlayfs among them: its layers may
 * not be changed while they are mounted. False of those that another machine or a process of this
 * one can change behind the kernel's back (nfs, cifs, fuse, 9p, ...), of those whose files change
 * by themselves (proc, sysfs, ...), and of any kind that is not known here. */
bool filesystem_is_told(uint64_t kind);
/* What people call it: "nfs", or "kind 0x1234" for one that is not known here. */
void filesystem_name(uint64_t kind, char out[HF_FILESYSTEM_NAME_BYTES]);

#endif
