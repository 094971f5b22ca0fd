/* The agent's configuration: what this host protects and what it allows.
 *
 * Plain data, read once; owned by the struct, freed with config_free. */
#ifndef HF_AGENT_CONFIG_CONFIG_H
#define HF_AGENT_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "agent/config/quiet.h"
#include "common/error.h"
#include "common/ini.h"
#include "common/priority.h"

enum hf_validate { HF_VALIDATE_NONE, HF_VALIDATE_JSON };

#define HF_KIND_FILES  "files"
#define HF_KIND_SQLITE "sqlite"

struct hf_config_source {
    char *name, *kind, *class_name; /* kind: HF_KIND_... */
    char **paths;                   /* absolute, no trailing '/' */
    size_t path_count;
    char **includes, **excludes; /* globs over paths relative to the source's path */
    size_t include_count, exclude_count;
    int64_t debounce_ns;
    int64_t rescan_ns; /* between scans where inotify does not tell of everything */
    int64_t verify_ns; /* and where it does: not longer than that */
    enum hf_validate validate;
    struct hf_quiet quiet; /* when it waits: its own, or the agent's unless its class is urgent */
    bool quiet_given;      /* its own, or none on purpose */
    bool one_file_system;  /* what is mounted in it is left out */
    char **restore_roots;  /* absolute; the paths unless given */
    size_t restore_root_count;
    char **restore_from; /* ids of other hosts, or "*" */
    size_t restore_from_count;
    bool restore_privileged; /* set-id bits, capabilities, devices: as the collector has them */
    const char **before_restore, **after_restore; /* argv, NULL-terminated; NULL for none */
};

struct hf_config {
    char *file;  /* where it was read from */
    char *state; /* directory */
    char *identity_directory;
    char *collector_host; /* NULL: what the host was told when it joined */
    uint16_t collector_port;
    uint64_t spool_max_bytes;
    int64_t mark_interval_ns;
    struct hf_priority priority; /* of capture and packing; not of restores and of the connection */
    struct hf_quiet quiet;
    uint64_t upload_limit;    /* bytes of bulk a second; 0: none */
    int64_t reconnect_max_ns; /* the longest wait before the next try to reach the collector */
    struct hf_config_source *sources;
    size_t source_count;
};

/* Every key that a configuration may have, ends with a NULL key (keys.c). */
extern const struct hf_ini_key config_keys[];

/* HF_ERR_DENIED when others than root and this process's user could write the file: whoever can has
 * files read, written and hooks run as this user. */
int config_check_file(const char *path, struct hf_error *error);
/* Every complaint names file, line, section, key and remedy. */
int config_load(const char *path, struct hf_config **out, struct hf_error *error);
void config_free(struct hf_config *config); /* NULL is fine */
/* Say what it means, with what is on the disk now, and warn of what looks wrong. */
void config_describe(const struct hf_config *config, FILE *out);

/* Whether its regular files are SQLite databases, which are captured through SQLite. */
bool config_is_sqlite(const struct hf_config_source *source);

/* Rank of a class when not everything fits: 0 goes first (config, credentials), then checkpoints,
 * others, logs. Up to HF_URGENT_RANK it is small and precious, and waits for nothing. */
#define HF_URGENT_RANK 1u
unsigned config_class_rank(const char *class_name);

#endif
