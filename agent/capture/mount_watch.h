/* What is mounted on a source's paths, above them and beneath: that it changes is told by the
 * kernel (/proc/self/mountinfo), and by inotify it is not. One thread. */
#ifndef HF_AGENT_CAPTURE_MOUNT_WATCH_H
#define HF_AGENT_CAPTURE_MOUNT_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/config/config.h"

struct hf_mount_watch;

/* config outlives it. NULL when out of memory. */
struct hf_mount_watch *mount_watch_new(const struct hf_config *config);
void mount_watch_free(struct hf_mount_watch *mounts); /* NULL is fine */
/* To be polled for POLLPRI; -1 where the kernel doesn't say. Each poll that finds it ready is to be
 * followed by mount_watch_read. */
int mount_watch_fd(const struct hf_mount_watch *mounts);
/* Read what is mounted now. Afterwards mount_watch_changed tells, once, of each source whether
 * that is other than before; of none after the first reading. */
void mount_watch_read(struct hf_mount_watch *mounts);
bool mount_watch_changed(struct hf_mount_watch *mounts, size_t source);

#endif
