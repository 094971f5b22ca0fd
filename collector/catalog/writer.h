/* The writing side's state. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_WRITER_H
#define HF_COLLECTOR_CATALOG_WRITER_H

#include "collector/catalog/catalog.h"
#include "collector/catalog/checkpoint.h"
#include "collector/catalog/db.h"
#include "collector/catalog/known.h"
#include "collector/catalog/recent.h"
#include "collector/catalog/source_cache.h"

struct hf_catalog {
    struct db db;
    struct checkpoint *checkpoint;
    struct known_chunks *known; /* read by the readers that were opened beside this */
    int lock_fd;                /* flock'ed PATH-lock: one writer at a time */
    bool in_transaction;
    struct source_cache sources;
    struct recent_chunks recent;
    uint64_t last_path_row; /* that was given out; 0: look */
    /* What this transaction adds to the table totals. */
    struct {
        uint64_t versions, chunks, stored_bytes, plain_bytes;
    } added;
    struct {
        struct hf_location location;
        bool known, moved;
    } applied;
    /* The live state of the path that check saw last, so that apply need not look again. */
    struct {
        uint64_t source_row, seq; /* of the version it was looked up for; 0: none */
        uint64_t path_row;        /* 0: the path had no version yet */
        bool alive;
        uint64_t size;
    } live;
};

#endif
