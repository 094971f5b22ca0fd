#include "collector/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/identity/identity.h"
#include "collector/store/store.h"
#include "common/clock.h"
#include "common/ini.h"
#include "common/join_token.h"

const struct hf_ini_key collector_config_keys[] = {
    {"collector", "advertise", "NAME", "localhost",
     "the name or address by which hosts reach this collector; written into enrolment tokens"},
    {"collector", "catalog", "FILE", "catalog.db",
     "the SQLite index over the repository; on a local disk. Relative paths here and below are "
     "beneath the directory of the configuration"},
    {"listen", "agents", "ADDRESS:PORT", "0.0.0.0:7443", "for agents: WebSockets, mutual TLS"},
    {"listen", "enrol", "ADDRESS:PORT", "0.0.0.0:7444", "for hosts that enrol"},
    {"listen", "api", "ADDRESS:PORT", "127.0.0.1:7445",
     "for operators and Prometheus: keep it where only they can reach it"},
    {"store", "repository", "DIR", "repository", "where the packs are"},
    {"store", "key", "FILE", "repository.key", "the key that encrypts them"},
    {"store", "pack_size", "SIZE", "64MiB", "size at which a pack is sealed"},
    {"limits", "memory", "SIZE", "256MiB", "bulk data of all sessions that is under way at once"},
    {"limits", "sessions", "N", "20000", "agents that may be connected at once"},
    {"certificates", "validity", "DURATION", "7d",
     "for how long a host's certificate is valid; it is renewed after half of that"},
    {"dictionaries", "interval", "DURATION", "1h",
     "how often to see whether a dictionary, trained on what at least three hosts have in common, "
     "would make their small files take less room; 0s: never"},
    {"log", "level", "LEVEL", "info", "error, warning, info or debug"},
    {.key = NULL},
};

/* Relative paths are beneath the file's directory. */
static int read_path(struct hf_ini *ini, const struct hf_collector_config *config,
                     const char *section, const char *key, const char *fallback, char *out,
                     size_t size, struct hf_error *error)
{
    const char *value = NULL;
    int rc = hf_ini_get_string(ini, section, key, fallback, &value, error);
    if (rc == HF_OK) {
        snprintf(out, size, "%s%s%s", value[0] == '/' ? "" : config->data,
                 value[0] == '/' ? "" : "/", value);
    }
    return rc;
}

static int read_address(struct hf_ini *ini, const char *key, const char *fallback,
                        struct hf_collector_address *out, struct hf_error *error)
{
    const char *value = NULL;
    struct hf_error reason = {0};
    int rc = hf_ini_get_string(ini, "listen", key, fallback, &value, error);
    if (rc == HF_OK && join_address_split(value, out->host, &out->port, &reason) != HF_OK) {
        const struct hf_ini_entry *entry = hf_ini_get(ini, "listen", key, 0);
        rc = hf_ini_complain(ini, entry, error, "%s", reason.message);
    }
    return rc;
}

static int read_values(struct hf_ini *ini, struct hf_collector_config *config,
                       struct hf_error *error)
{
    const char *advertise = NULL;
    const char *level = NULL;
    int rc = hf_ini_get_string(ini, "collector", "advertise", "localhost", &advertise, error);
    rc = rc == HF_OK ? hf_ini_get_string(ini, "log", "level", "info", &level, error) : rc;
    rc = rc == HF_OK ? read_path(ini, config, "collector", "catalog", "catalog.db", config->catalog,
                                 sizeof config->catalog, error)
                     : rc;
    rc = rc == HF_OK ? read_path(ini, config, "store", "repository", "repository",
                                 config->repository, sizeof config->repository, error)
                     : rc;
    rc = rc == HF_OK ? read_path(ini, config, "store", "key", "repository.key", config->key,
                                 sizeof config->key, error)
                     : rc;
    rc = rc == HF_OK ? read_address(ini, "agents", "0.0.0.0:7443", &config->agents, error) : rc;
    rc = rc == HF_OK ? read_address(ini, "enrol", "0.0.0.0:7444", &config->enrol, error) : rc;
    rc = rc == HF_OK ? read_address(ini, "api", "127.0.0.1:7445", &config->api, error) : rc;
    rc = rc == HF_OK ? hf_ini_get_size(ini, "store", "pack_size", HF_STORE_PACK_TARGET_BYTES,
                                       &config->pack_bytes, error)
                     : rc;
    rc = rc == HF_OK
             ? hf_ini_get_size(ini, "limits", "memory", 256u << 20, &config->memory_bytes, error)
             : rc;
    rc = rc == HF_OK ? hf_ini_get_u64(ini, "limits", "sessions", 20000, 1, 1000000,
                                      &config->sessions_max, error)
                     : rc;
    rc = rc == HF_OK ? hf_ini_get_duration(ini, "certificates", "validity", HF_IDENTITY_VALIDITY_NS,
                                           &config->validity_ns, error)
                     : rc;
    rc = rc == HF_OK ? hf_ini_get_duration(ini, "dictionaries", "interval", 3600 * HF_NS_PER_SECOND,
                                           &config->dictionary_interval_ns, error)
                     : rc;
    if (rc == HF_OK && hf_log_level_parse(level, &config->log_level) != HF_OK) {
        rc = hf_ini_complain(ini, hf_ini_get(ini, "log", "level", 0), error,
                             "'%s' is not error, warning, info or debug", level);
    }
    if (rc == HF_OK && config->memory_bytes < (4u << 20)) {
        rc = hf_ini_complain(ini, hf_ini_get(ini, "limits", "memory", 0), error,
                             "less than 4MiB does not carry one busy agent");
    }
    if (rc == HF_OK && config->dictionary_interval_ns > 0 &&
        config->dictionary_interval_ns < HF_NS_PER_SECOND) {
        rc = hf_ini_complain(ini, hf_ini_get(ini, "dictionaries", "interval", 0), error,
                             "less than a second leaves no time for anything else; 0s is never");
    }
    if (rc == HF_OK && config->validity_ns < 2 * HF_NS_PER_SECOND) {
        rc = hf_ini_complain(ini, hf_ini_get(ini, "certificates", "validity", 0), error,
                             "certificates have to be valid for some seconds at least");
    }
    if (rc == HF_OK) {
        snprintf(config->advertise, sizeof config->advertise, "%s", advertise);
    }
    return rc;
}

int collector_config_load(const char *path, struct hf_collector_config *out, struct hf_error *error)
{
    struct hf_ini *ini = NULL;
    char resolved[4096];
    *out = (struct hf_collector_config){0};
    int rc = hf_ini_load(path, &ini, error);
    if (rc == HF_OK && realpath(path, resolved)) {
        snprintf(out->path, sizeof out->path, "%s", resolved);
        char *slash = strrchr(resolved, '/');
        *slash = '\0';
        snprintf(out->data, sizeof out->data, "%s", *resolved ? resolved : "/");
    }
    rc = rc == HF_OK ? read_values(ini, out, error) : rc;
    rc = rc == HF_OK ? hf_ini_check_keys(ini, collector_config_keys, error) : rc;
    hf_ini_free(ini);
    return rc;
}
