/* Following and showing restore jobs. Internal to ctl/. */
#ifndef HF_COLLECTOR_CTL_JOB_H
#define HF_COLLECTOR_CTL_JOB_H

#include "collector/ctl/ctl.h"

/* Poll a job with a progress bar until it has ended; then print its outcome. Returns the exit
 * status that the outcome deserves. */
int job_follow(struct ctl *ctl, int64_t id);
/* One job, for people, in some lines. */
void job_print(const json_t *job);

#endif
