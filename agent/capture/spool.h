/* The spool: units that wait on disk while the collector is away. One SQLite file, bounded. Used
 * under the outbox's lock. */
#ifndef HF_AGENT_CAPTURE_SPOOL_H
#define HF_AGENT_CAPTURE_SPOOL_H

#include "agent/capture/unit.h"
#include "agent/config/config.h"
#include "common/error.h"

struct hf_spool;

int spool_open(const struct hf_config *config, struct hf_spool **out, struct hf_error *error);
void spool_close(struct hf_spool *spool);
/* Give back the memory that isn't needed while there is nothing to do. */
void spool_rest(struct hf_spool *spool);
/* Keep a unit, durably. A class may fill the spool only up to its share (config all of it,
 * checkpoints 80 %, others 65 %, logs 50 %): HF_ERR_NO_SPACE then. What could not be kept is logged
 * once, and again only after something was dropped. What is counted is what the files of the spool
 * take on disk. */
int spool_put(struct hf_spool *spool, const struct hf_unit *unit, struct hf_error *error);
/* The first unit of a source with a version beyond seq; NULL when there is none or it can't be
 * read. */
struct hf_unit *spool_after(struct hf_spool *spool, size_t source, uint64_t seq);
/* Drop the units of a source whose versions are all <= seq; all from seq on. */
void spool_drop_through(struct hf_spool *spool, size_t source, uint64_t seq);
void spool_drop_from(struct hf_spool *spool, size_t source, uint64_t seq);
/* Highest seq of a source in the spool, 0 for none. */
uint64_t spool_last_seq(struct hf_spool *spool, size_t source);

#endif
