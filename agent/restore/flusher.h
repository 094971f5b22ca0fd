/* The flusher: a thread that has the kernel write out what is staged while more is coming, so that
 * the disk isn't idle until the end and the sync before the first rename has little left to do.
 * That nothing failed here makes nothing durable: targets_sync does. But what failed here must not
 * be forgotten: the kernel tells of an error once, and who opens the directory later does not hear
 * of it. */
#ifndef HF_AGENT_RESTORE_FLUSHER_H
#define HF_AGENT_RESTORE_FLUSHER_H

#include <stdint.h>

#include "common/error.h"

struct hf_flusher;

/* HF_ERR_NO_MEMORY, or HF_ERR_IO when the thread can't be started. */
int flusher_start(struct hf_flusher **out, struct hf_error *error);
/* Ends the thread, after the flush that it is at. 0, or the errno of the first that failed: what
 * was staged may not be on the disk. NULL is fine: 0. */
int flusher_stop(struct hf_flusher *flusher);
/* bytes more were written to the file system of fd, which is to stay open until flusher_stop. From
 * one thread. */
void flusher_note(struct hf_flusher *flusher, int fd, uint64_t bytes);

#endif
