/* Fills a catalog with the fleet's versions and chunks, the way the committer does: look a chunk
 * up, note its place, see that a version misses none, check its event, encode it, apply it. */
#ifndef HF_BENCH_GROW_H
#define HF_BENCH_GROW_H

#include "collector/catalog/catalog.h"
#include "figures.h"
#include "fleet.h"

enum grow_way {
    GROW_INGEST, /* as they come from agents */
    GROW_REPLAY  /* as a rebuild reads them from the journal: decoded, applied, nothing asked */
};

struct grow {
    const struct fleet *fleet;
    struct hf_catalog *catalog;
    enum grow_way way;
    uint64_t done, chunks; /* versions and chunks so far */
    uint64_t offset;       /* of the journal */
    uint64_t random;
    uint64_t *seqs;                        /* the last one by source row */
    uint64_t workflow_chunks[FLEET_FILES]; /* 1 + the chunk of the first host's workflow; 0: none */
    struct hf_buf entry, held;
    struct hf_error error;
};

/* Hosts, certificates and sources are committed. Failures end the process with a message. */
void grow_start(struct grow *grow, const struct fleet *fleet, struct hf_catalog *catalog,
                enum grow_way way);
/* Go on with a catalog that another process filled with all of the fleet's versions. */
void grow_resume(struct grow *grow, const struct fleet *fleet, struct hf_catalog *catalog);
void grow_free(struct grow *grow);
/* Up to this many versions in all, `batch` to a transaction; each transaction's time goes into
 * commits. May go beyond the fleet's number. */
void grow_until(struct grow *grow, uint64_t versions, unsigned batch, struct figure *commits);

/* What is asked of a version that comes in and says nothing new: check it, and one that says
 * something: both against the row that is alive. Nothing is written. */
void grow_compare(struct grow *grow, const struct hf_version_row *live, uint64_t host_row,
                  uint64_t source_row, struct figure *equal, struct figure *changed);

/* End with the error's message when rc is a failure. */
void bench_must(int rc, const struct hf_error *error);

#endif
