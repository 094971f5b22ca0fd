/* The thread that trains dictionaries now and then, when there is something new to learn. */
#ifndef HF_COLLECTOR_DICTIONARY_TRAINER_H
#define HF_COLLECTOR_DICTIONARY_TRAINER_H

#include <stdint.h>

#include "collector/ingest/ingest.h"

struct hf_trainer;

/* Every interval_ns; 0: never, and *out is NULL. The trainer must be stopped before ingest is. */
int trainer_start(struct hf_ingest *ingest, int64_t interval_ns, struct hf_trainer **out,
                  struct hf_error *error);
/* Ends after the class that is being trained, some seconds at most; NULL is fine. */
void trainer_stop(struct hf_trainer *trainer);

#endif
