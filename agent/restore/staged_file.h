/* A file on its way: what is staged under its name before is not trusted to be one. */
#ifndef HF_AGENT_RESTORE_STAGED_FILE_H
#define HF_AGENT_RESTORE_STAGED_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

/* Make path beneath dir_fd, of the staging directory, anew for reading and writing. What an
 * interrupted run, or the plan under another type, has put there is taken away, unopened: a device
 * would be written to, and a file of several names through all of them. With keep a regular file of
 * one name stays, with what is in it. Errors are those of hf_open_beneath. */
int staged_file_open(int dir_fd, const char *path, mode_t mode, bool keep, int *out_fd,
                     struct hf_error *error);
/* Take path away, if it is there. */
void staged_file_remove(int dir_fd, const char *path);

#endif
