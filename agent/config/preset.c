/* Presets: what a CasareRPA host keeps, in the paths of its code and those of its guide. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/private.h"

/* "~" stands for the home directory, "$W" for the workflows'. Both spellings of the data directory
 * are named; what does not exist is waited for. SQLite databases in use can't be copied as files
 * and have sources of their own kind; what the product rebuilds by itself is left out. */
enum form { PLAIN, JSON, SQLITE };

struct preset_source {
    const char *name, *class_name;
    enum form form;
    bool system; /* outside the home directory */
    const char *paths[8];
    const char *excludes[10];
};

#define REBUILT "*.db", "*.db-wal", "*.db-shm", "*.db-journal", "*.pid", "*_status.json", "*.tmp"

/* On both sorts of host. The product opens .casare relative to where it is started: from the home
 * directory, or its own. */
static const struct preset_source databases[] = {
    {"queue",
     "checkpoints",
     SQLITE,
     false,
     {"~/.casare_rpa/offline_queue.db", "~/.casare-rpa/offline_queue.db"},
     {NULL}},
    {"vault",
     "credentials",
     SQLITE,
     false,
     {"~/.casare/vault.db", "~/CasareRPA/.casare/vault.db"},
     {NULL}},
    {"audit",
     "database",
     SQLITE,
     false,
     {"~/.casare/audit/audit.db", "~/CasareRPA/.casare/audit/audit.db"},
     {NULL}},
    {.name = NULL},
};

static const struct preset_source robot[] = {
    {"checkpoints",
     "checkpoints",
     JSON,
     false,
     {"~/.casare_rpa/checkpoints", "~/.casare-rpa/checkpoints"},
     {"*.tmp"}},
    {"config",
     "config",
     PLAIN,
     false,
     {"~/.casare_rpa/robot_config.yaml", "~/.casare-rpa/robot_config.yaml", "~/.casare_rpa/config",
      "~/.casare-rpa/config", "~/.casare_rpa/.env", "~/.casare-rpa/.env",
      "~/CasareRPA/robot_identity.json"},
     {REBUILT}},
    {"projects", "workflows", PLAIN, false, {"~/CasareRPA/projects"}, {REBUILT}},
    {"workflows", "workflows", JSON, false, {"$W"}, {REBUILT}},
    {"logs", "logs", PLAIN, false, {"~/.casare_rpa/logs", "~/.casare-rpa/logs"}, {"*.tmp"}},
    {"credentials",
     "credentials",
     PLAIN,
     false,
     {"~/.local/share/CasareRPA/credentials"},
     {"*.tmp"}},
    {"system-config", "config", PLAIN, true, {"/etc/casare-rpa"}, {"*.log", "*.tmp"}},
    {"system-logs", "logs", PLAIN, true, {"/var/log/casare-rpa"}, {"*.tmp"}},
    {.name = NULL},
};

static const struct preset_source orchestrator[] = {
    {"store",
     "workflows",
     JSON,
     false,
     {"~/.casare_rpa/orchestrator", "~/.casare-rpa/orchestrator"},
     {REBUILT}},
    {"config",
     "config",
     PLAIN,
     false,
     {"~/.casare_rpa/config", "~/.casare-rpa/config", "~/.casare_rpa/.env", "~/.casare-rpa/.env"},
     {REBUILT}},
    {"workflows", "workflows", JSON, false, {"$W"}, {REBUILT}},
    {"logs", "logs", PLAIN, false, {"~/.casare_rpa/logs", "~/.casare-rpa/logs"}, {"*.tmp"}},
    {"credentials",
     "credentials",
     PLAIN,
     false,
     {"~/.local/share/CasareRPA/credentials"},
     {"*.tmp"}},
    {"system-config", "config", PLAIN, true, {"/etc/casare-rpa"}, {"*.log", "*.tmp"}},
    {"system-logs", "logs", PLAIN, true, {"/var/log/casare-rpa"}, {"*.tmp"}},
    {.name = NULL},
};

/* --- one source --- */

static bool has(char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* What a source leaves out, and how it is read, holds for all its paths: those of two presets go
 * together only if they want the same. */
static bool agrees(const struct hf_config_source *source, const struct preset_source *preset)
{
    enum hf_validate validate = preset->form == JSON ? HF_VALIDATE_JSON : HF_VALIDATE_NONE;
    const char *kind = preset->form == SQLITE ? HF_KIND_SQLITE : "files";
    size_t count = 0;
    while (preset->excludes[count] &&
           has(source->excludes, source->exclude_count, preset->excludes[count])) {
        count++;
    }
    return strcmp(source->kind, kind) == 0 && strcmp(source->class_name, preset->class_name) == 0 &&
           source->validate == validate && !preset->excludes[count] &&
           source->exclude_count == count;
}

static int add_source(struct hf_config *config, const struct preset_source *preset,
                      struct hf_config_source **out)
{
    struct hf_config_source *source = config_add_source(config, preset->name, preset->class_name);
    int rc = source ? HF_OK : HF_ERR_NO_MEMORY;
    for (size_t i = 0; rc == HF_OK && preset->excludes[i]; i++) {
        rc = config_add_text(&source->excludes, &source->exclude_count, preset->excludes[i]);
    }
    if (rc == HF_OK && preset->form == JSON) {
        source->validate = HF_VALIDATE_JSON;
    }
    if (rc == HF_OK && preset->form == SQLITE) {
        free(source->kind);
        source->kind = strdup(HF_KIND_SQLITE);
        rc = source->kind ? HF_OK : HF_ERR_NO_MEMORY;
    }
    *out = source;
    return rc;
}

/* --- one section --- */

struct place {
    struct hf_ini *ini;
    const char *section;
    size_t n;                     /* which of the sections of that name */
    char home[CONFIG_PATH_BYTES]; /* "" for / */
    char workflows[CONFIG_PATH_BYTES + sizeof "/workflows"];
    bool system;
};

static int add_paths(struct hf_config_source *source, const struct preset_source *preset,
                     const struct place *place)
{
    int rc = HF_OK;
    for (size_t i = 0; rc == HF_OK && preset->paths[i]; i++) {
        char path[CONFIG_PATH_BYTES + 100];
        const char *text = preset->paths[i];
        if (text[0] == '~') {
            snprintf(path, sizeof path, "%s%s", place->home, text + 1);
        } else {
            snprintf(path, sizeof path, "%s", strcmp(text, "$W") == 0 ? place->workflows : text);
        }
        if (!has(source->paths, source->path_count, path)) {
            rc = config_add_text(&source->paths, &source->path_count, path);
        }
    }
    return rc;
}

static int add(struct hf_config *config, const struct preset_source *preset,
               const struct place *place, struct hf_error *error)
{
    struct hf_config_source *source = config_find_source(config, preset->name);
    int rc = HF_OK;
    if (source && !agrees(source, preset)) {
        return hf_ini_complain_of_section(
            place->ini, place->section, place->n, error,
            "its source '%s' is not like that of the preset before it and can't be one with it; "
            "write the one or the other as a [source NAME] of its own",
            preset->name);
    }
    rc = source ? HF_OK : add_source(config, preset, &source);
    rc = rc == HF_OK ? add_paths(source, preset, place) : rc;
    return rc == HF_OK
               ? HF_OK
               : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
}

/* The value of a key beneath the n-th section of that name alone; NULL for none. */
static int find_value(const struct place *place, const char *key, const struct hf_ini_entry **out,
                      struct hf_error *error)
{
    int first = hf_ini_section_line(place->ini, place->section, place->n);
    int next = hf_ini_section_line(place->ini, place->section, place->n + 1);
    const struct hf_ini_entry *entry;
    *out = NULL;
    for (size_t i = 0; (entry = hf_ini_get(place->ini, place->section, key, i)); i++) {
        if (entry->line < first || (next > 0 && entry->line > next)) {
            continue;
        }
        if (*out) {
            return hf_ini_complain(place->ini, entry, error,
                                   "stands here twice; for a second home write a second [%s]",
                                   place->section);
        }
        *out = entry;
    }
    return HF_OK;
}

static int add_all(struct hf_config *config, const struct preset_source *list,
                   const struct place *place, struct hf_error *error)
{
    int rc = HF_OK;
    for (; rc == HF_OK && list->name; list++) {
        if (place->system || !list->system) {
            rc = add(config, list, place, error);
        }
    }
    return rc;
}

static int expand_section(struct hf_config *config, const struct preset_source *list,
                          struct place *place, struct hf_error *error)
{
    const struct hf_ini_entry *home_entry = NULL;
    const struct hf_ini_entry *workflows_entry = NULL;
    const struct hf_ini_entry *system_entry = NULL;
    place->system = true;
    int rc = find_value(place, "home", &home_entry, error);
    rc = rc == HF_OK ? find_value(place, "workflows_dir", &workflows_entry, error) : rc;
    rc = rc == HF_OK ? find_value(place, "system", &system_entry, error) : rc;
    if (rc == HF_OK && !home_entry) {
        rc = hf_ini_complain_of_section(place->ini, place->section, place->n, error,
                                        "it needs home = /..., the home directory of the user that "
                                        "CasareRPA runs as");
    }
    rc = rc == HF_OK ? config_path(place->ini, home_entry, place->home, error) : rc;
    if (rc == HF_OK && strcmp(place->home, "/") == 0) {
        place->home[0] = '\0';
    }
    snprintf(place->workflows, sizeof place->workflows, "%s/workflows", place->home);
    rc = rc == HF_OK && workflows_entry
             ? config_path(place->ini, workflows_entry, place->workflows, error)
             : rc;
    rc = rc == HF_OK && system_entry
             ? hf_ini_read_bool(place->ini, system_entry, &place->system, error)
             : rc;
    rc = rc == HF_OK ? add_all(config, list, place, error) : rc;
    return rc == HF_OK ? add_all(config, databases, place, error) : rc;
}

int preset_expand(struct hf_config *config, struct hf_ini *ini, const char *section,
                  const char *preset, struct hf_error *error)
{
    const struct preset_source *list = strcmp(preset, "casare-robot") == 0          ? robot
                                       : strcmp(preset, "casare-orchestrator") == 0 ? orchestrator
                                                                                    : NULL;
    if (!list) {
        return hf_ini_complain_of_section(
            ini, section, 0, error,
            "there is no preset '%s'; there are: casare-robot, casare-orchestrator", preset);
    }
    int rc = HF_OK;
    for (size_t n = 0; rc == HF_OK && hf_ini_section_line(ini, section, n) > 0; n++) {
        struct place place = {.ini = ini, .section = section, .n = n};
        rc = expand_section(config, list, &place, error);
    }
    return rc;
}
