/* collector.conf: where things are and how much they may take. */
#ifndef HF_COLLECTOR_CONFIG_H
#define HF_COLLECTOR_CONFIG_H

#include <stdint.h>

#include "common/error.h"
#include "common/ini.h"
#include "common/log.h"

struct hf_collector_address {
    char host[256];
    uint16_t port;
};

struct hf_collector_config {
    char path[4096]; /* of the file itself */
    char data[4096]; /* the directory that holds it */
    char advertise[256];
    char catalog[4400], repository[4400], key[4400];
    struct hf_collector_address agents, enrol, api;
    uint64_t pack_bytes, memory_bytes, sessions_max;
    int64_t validity_ns;
    int64_t dictionary_interval_ns; /* 0: none are trained */
    enum hf_log_level log_level;
};

/* Every key that it may have, ends with a NULL key. */
extern const struct hf_ini_key collector_config_keys[];

/* Read and check; every complaint names file, line, section, key and what is expected. */
int collector_config_load(const char *path, struct hf_collector_config *out,
                          struct hf_error *error);

#endif
